package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"drover/bench/edge/internal/peer"
	"drover/bench/edge/internal/yard"
	"drover/internal/cli"
)

func main() { os.Exit(cli.Run("edge", command())) }

func command() *cobra.Command {
	var b bench
	var c compareOptions
	root := &cobra.Command{
		Use: "edge", Short: "Set Drover's edge beside nginx, haproxy and Go's own reverse proxy",
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return b.run(cmd, func(ctx context.Context) error { return b.compare(ctx, c) })
		},
	}
	all := root.PersistentFlags()
	all.IntVar(&b.rounds, "rounds", 5, "how often each is measured")
	all.IntVar(&b.seconds, "seconds", 5, "of a measurement; fewer than 5 are only good for trying")
	all.StringVar(&b.proxy, "proxy", "", "Drover's `binary`; default: ./proxy is built")
	all.StringVar(&b.label, "label", "", "a `name` for this run, shown in tables and kept in --json")
	all.StringVar(&b.json, "json", "", "write every figure to this `file`")
	all.BoolVar(&b.gate, "gate", false, "fail unless the figures are as good as they must be")
	own := root.Flags()
	own.StringSliceVar(&c.peers, "peers", peer.Names(), "who is measured")
	own.StringSliceVar(&c.loads, "load", loadNames(), "how")
	own.StringVar(&c.profile, "profile", "", "write a CPU profile of drover, saturated, to this `file`")
	own.IntVar(&c.retakes, "retakes", 0, "how often a turn is taken again that others disturbed")
	root.AddCommand(heldCommand(&b), slowCommand(&b), restartCommand(&b), yardCommand(), nethttpCommand())
	return root
}

// yardCommand and nethttpCommand are the processes that the bench makes of
// itself.
func yardCommand() *cobra.Command {
	return &cobra.Command{
		Use: "yard", Hidden: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return yard.Serve(os.Stdin, os.Stdout) },
	}
}

func nethttpCommand() *cobra.Command {
	var listen, admin string
	var origins [2]string
	cmd := &cobra.Command{
		Use: "nethttp", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return peer.ServeNethttp(cmd.Context(), listen, admin, origins)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "", "for clients")
	cmd.Flags().StringVar(&admin, "admin", "", "for metrics")
	cmd.Flags().StringVar(&origins[0], "source", "", "the source's origin")
	cmd.Flags().StringVar(&origins[1], "target", "", "the target's origin")
	return cmd
}
