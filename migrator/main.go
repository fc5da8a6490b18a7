// Command migrator is the operator's tool: it moves buckets, promotes
// replicas, publishes the map, and shows what is going on.
package main

import (
	"context"
	"os"
	"os/signal"
	"os/user"
	"syscall"

	"drover/migrator/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first interrupt steps back and stops. From then on signals do again what
	// they do by themselves: the second one ends the program where it is.
	quiet := context.AfterFunc(ctx, func() {
		stop()
		_, _ = os.Stderr.WriteString("migrator: interrupted: stepping back and stopping; interrupt again to end at once\n")
	})
	code := cli.Run(ctx, cli.Environment{
		Args:    os.Args[1:],
		Out:     os.Stdout,
		Err:     os.Stderr,
		Who:     who(),
		Config:  os.Getenv("DROVER_MIGRATOR_CONFIG"),
		CrashAt: os.Getenv("DROVER_CRASH_AT"),
	})
	quiet()
	stop()
	os.Exit(code)
}

// who is the operator's name in the history and the journal.
func who() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	if u, err := user.Current(); err == nil {
		return u.Username + "@" + host
	}
	return "unknown@" + host
}
