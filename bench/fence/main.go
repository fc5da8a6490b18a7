package main

import (
	"os"

	"github.com/spf13/cobra"

	"drover/internal/cli"
)

func main() { os.Exit(cli.Run("fence", command())) }

func command() *cobra.Command {
	var b bench
	c := &cobra.Command{
		Use: "fence", Short: "Measure the CPU time that the fence costs a write",
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return b.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	flags := c.Flags()
	flags.IntVar(&b.rounds, "rounds", 9, "how often each kind is measured")
	flags.IntVar(&b.transactions, "transactions", 4000, "of a turn")
	flags.IntVar(&b.workers, "workers", 4, "that write at once")
	flags.BoolVar(&b.durable, "durable", false, "sync every commit to disk, as in production; default: the CPU alone")
	return c
}
