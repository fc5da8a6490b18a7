package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// The exit codes. 0 is a command that returned no error, interrupted or not.
const (
	Failed      = 1
	Interrupted = 130 // as shells say of a program that SIGINT ended
)

// Run runs c with the process's arguments and signals, and returns the exit
// code. What it says of an error begins with the name, unless that is empty. The
// command must leave its errors to Run: SilenceErrors.
func Run(name string, c *cobra.Command) int {
	if name != "" {
		name += ": "
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends()...)
	defer stop()
	context.AfterFunc(ctx, stop)
	err := c.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case ctx.Err() == nil:
		fmt.Fprintf(c.ErrOrStderr(), "%s%v\n", name, err)
		return Failed
	case onlyCanceled(err):
		fmt.Fprintf(c.ErrOrStderr(), "%sinterrupted; everything is cleaned up\n", name)
	default: // what failed may be because of the signal, or the cleaning up
		fmt.Fprintf(c.ErrOrStderr(), "%sinterrupted: %v\n", name, err)
	}
	return Interrupted
}

// ends are the signals that end a command.
func ends() []os.Signal {
	all := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	// nohup ignores it so that the program outlives its terminal.
	if !signal.Ignored(syscall.SIGHUP) {
		all = append(all, syscall.SIGHUP)
	}
	return all
}

// onlyCanceled says that an error has nothing in it but the end of a context.
func onlyCanceled(err error) bool {
	switch e := err.(type) { //nolint:errorlint // it looks into each layer
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			if !onlyCanceled(one) {
				return false
			}
		}
		return true
	case interface{ Unwrap() error }:
		return onlyCanceled(e.Unwrap())
	default:
		return errors.Is(err, context.Canceled)
	}
}
