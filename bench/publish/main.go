package main

import (
	"encoding/json"
	"os"
	"time"

	"github.com/spf13/cobra"

	"drover/internal/cli"
)

func main() { os.Exit(cli.Run("publish", command())) }

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
	root.AddCommand(helperCommands()...)
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
	flags.IntVar(&v.rounds, "rounds", 50, "of each kind, for each store")
	flags.IntVar(&v.count, "versions", 1000, "published in all rounds of a store together")
	flags.IntVar(&v.rate, "rate", 2000, "requests a second")
	flags.Uint32Var(&v.buckets, "buckets", 1<<12, "of the map")
	flags.DurationVar(&v.limit, "for", 0, "begin no turn after this time, for each store; 0: all are taken")
	flags.DurationVar(&v.every, "every", 100*time.Millisecond, "a version at most")
	flags.StringSliceVar(&v.stores, "stores", []string{"file", "consul"}, "where the versions are published")
	flags.StringVar(&v.proxy, "proxy", "", "the proxy's `binary`; default: ./proxy is built")
	return cmd
}

const (
	publisherName = "helper-publisher"
	loadName      = "helper-load"
	originsName   = "helper-origins"
)

// helperCommands are what the program starts itself as.
func helperCommands() []*cobra.Command {
	helper := func(name string, run func(cmd *cobra.Command, options []byte) error) *cobra.Command {
		return &cobra.Command{
			Use: name + " OPTIONS", Short: "A part of versions, as a process", Args: cobra.ExactArgs(1), Hidden: true,
			RunE: func(cmd *cobra.Command, args []string) error { return run(cmd, []byte(args[0])) },
		}
	}
	return []*cobra.Command{
		helper(publisherName, func(cmd *cobra.Command, options []byte) error {
			var p publisher
			if err := json.Unmarshal(options, &p); err != nil {
				return err
			}
			return p.run(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
		}),
		helper(loadName, func(cmd *cobra.Command, options []byte) error {
			var l load
			if err := json.Unmarshal(options, &l); err != nil {
				return err
			}
			return l.serve(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
		}),
		helper(originsName, func(cmd *cobra.Command, _ []byte) error { return origins(cmd.InOrStdin(), cmd.OutOrStdout()) }),
	}
}
