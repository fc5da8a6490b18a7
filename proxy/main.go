package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"drover/internal/logging"
	"drover/proxy/internal/config"
	"drover/proxy/internal/restart"
)

// gcPercent is for a program whose requests leave no garbage: what there is comes
// from a new map, and need not stay. GOGC in the environment takes its place.
const gcPercent = 50

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	switch err := command().ExecuteContext(ctx); {
	case errors.Is(err, errWouldRefuse): // explain has said it
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "proxy:", err)
		os.Exit(1)
	}
}

// serve runs the proxy with what a process has: its signals, and sockets that a
// new process can take over.
func serve(cmd *cobra.Command, c *config.Config) error {
	log, err := logging.New(cmd.ErrOrStderr(), c.Log.Level, c.Log.Format)
	if err != nil {
		return err
	}
	sockets, err := restart.New(restart.Options{
		PIDFile: c.Restart.PIDFile, ReadyTimeout: c.Restart.ReadyTimeout, Log: log, Getenv: os.Getenv,
	})
	if err != nil {
		return err
	}
	defer sockets.Stop()
	reopen, again := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(reopen, syscall.SIGHUP)
	signal.Notify(again, syscall.SIGUSR2)
	defer signal.Stop(reopen)
	defer signal.Stop(again)
	return run(cmd.Context(), c, surroundings{
		out: cmd.OutOrStdout(), err: cmd.ErrOrStderr(), sockets: sockets, reopen: reopen, restart: again,
	})
}

func command() *cobra.Command {
	var path string
	runFrom := func(cmd *cobra.Command, _ []string) error {
		c, err := config.Load(path)
		if err != nil {
			return err
		}
		return serve(cmd, c)
	}
	root := &cobra.Command{
		Use: "proxy", Short: "Drover's edge: sends every request to the datacenter that holds its user's data",
		Args: cobra.NoArgs, RunE: runFrom, SilenceUsage: true, SilenceErrors: true,
	}
	runs := &cobra.Command{
		Use: "run", Short: "Serve until SIGTERM or SIGINT, then drain",
		Args: cobra.NoArgs, RunE: runFrom,
	}
	for _, cmd := range []*cobra.Command{root, runs} {
		cmd.Flags().StringVar(&path, "config", "", "the configuration `file` (wanted)")
		if err := cmd.MarkFlagRequired("config"); err != nil {
			panic(err) // the flag is there: the line before
		}
	}
	root.AddCommand(runs, checkCommand(), explainCommand())
	return root
}
