package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "publish:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	var f fanout
	root := &cobra.Command{
		Use: "publish", Short: "Measure how soon a published map is in force everywhere",
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	flags := root.Flags()
	flags.IntVar(&f.proxies, "proxies", 200, "how many watch")
	flags.IntVar(&f.publications, "publications", 50, "how many are measured")
	flags.IntVar(&f.moved, "moved", 100, "buckets that one of them moves")
	flags.Uint32Var(&f.buckets, "buckets", 1<<20, "of the map")
	flags.BoolVar(&f.gate, "gate", false, "fail unless 99 of 100 proxies have a map in force within 250 ms")
	flags.BoolVar(&f.spread, "spread", false, "the buckets are anywhere, each to a shard of its own; default: a batch, from anywhere to one shard")
	flags.StringVar(&f.profile, "profile", "", "write a CPU profile of publisher and proxies to this `file`")
	root.AddCommand(versionsCommand())
	return root
}

func versionsCommand() *cobra.Command {
	var v versions
	cmd := &cobra.Command{
		Use: "versions", Short: "Publish versions in a row under a proxy that serves",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return v.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	flags := cmd.Flags()
	flags.IntVar(&v.rounds, "rounds", 3, "of each kind, for each store")
	flags.IntVar(&v.count, "versions", 1000, "published in all rounds of a store together")
	flags.IntVar(&v.rate, "rate", 2000, "requests a second")
	flags.Uint32Var(&v.buckets, "buckets", 1<<12, "of the map")
	flags.DurationVar(&v.quiet, "quiet", defaultQuiet, "a round without publications")
	flags.StringVar(&v.proxy, "proxy", "", "the proxy's `binary`; default: ./proxy is built")
	return cmd
}
