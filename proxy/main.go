package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"drover/proxy/internal/config"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "proxy:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	var path string
	runFrom := func(cmd *cobra.Command, _ []string) error {
		c, err := config.Load(path)
		if err != nil {
			return err
		}
		return run(cmd.Context(), c, surroundings{out: cmd.OutOrStdout(), err: cmd.ErrOrStderr()})
	}
	root := &cobra.Command{
		Use: "proxy", Short: "Drover's edge: sends every request to the datacenter that holds its user's data",
		Args: cobra.NoArgs, RunE: runFrom, SilenceUsage: true, SilenceErrors: true,
	}
	serve := &cobra.Command{
		Use: "run", Short: "Serve until SIGTERM or SIGINT, then drain",
		Args: cobra.NoArgs, RunE: runFrom,
	}
	for _, cmd := range []*cobra.Command{root, serve} {
		cmd.Flags().StringVar(&path, "config", "", "the configuration `file` (wanted)")
		if err := cmd.MarkFlagRequired("config"); err != nil {
			panic(err) // the flag is there: the line before
		}
	}
	check := &cobra.Command{
		Use: "check FILE", Short: "Say everything that is wrong with a configuration",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := config.Load(args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "ok")
			return err
		},
	}
	root.AddCommand(serve, check)
	return root
}
