package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"drover/internal/cli"
)

func main() { os.Exit(cli.Run("move", command())) }

func command() *cobra.Command {
	var b bench
	c := &cobra.Command{
		Use: "move", Short: "Measure the copy of 100 buckets beside mariadb-dump, and the tail",
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return b.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	flags := c.Flags()
	flags.IntVar(&b.rows, "rows", 1_000_000, "in all 1,000 buckets")
	flags.IntVar(&b.rounds, "rounds", 5, "of each kind")
	flags.IntVar(&b.changes, "changes", 200_000, "row changes of the backlog")
	flags.BoolVar(&b.gate, "gate", false, fmt.Sprintf("fail unless the move takes at most %.1f of the dump's time, and the tail applies %d rows/s", ratioMax, applyMin))
	flags.StringVar(&b.migrator, "migrator", "", "the migrator's `binary`; default: ./migrator is built")
	flags.StringVar(&b.profile, "profile", "", "a folder for what each command of the migrator said")
	return c
}
