package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

const (
	// typedMax bounds what is typed: who types more has typed something else.
	typedMax = 256
	// typedPoll is how soon an interrupt is noticed while somebody is asked. A
	// read of a terminal cannot be interrupted, so it is begun once there is a
	// line.
	typedPoll = 100 * time.Millisecond
)

// typed reads a line, or returns ctx's error.
func typed(ctx context.Context, in io.Reader) (string, error) {
	if f, ok := in.(*os.File); ok {
		for ready := false; !ready; {
			if ctx.Err() != nil {
				return "", ctx.Err()
			}
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLIN}}, int(typedPoll.Milliseconds()))
			if err != nil && !errors.Is(err, unix.EINTR) {
				return "", fmt.Errorf("read what is typed: %w", err)
			}
			ready = n > 0
		}
	}
	line, err := bufio.NewReader(io.LimitReader(in, typedMax)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read what is typed: %w", err)
	}
	return strings.TrimSpace(line), nil
}

// confirmOnTerminal wants what is done for good typed, where there is somebody
// to ask. A program has nobody, and is asked nothing.
func (a *app) confirmOnTerminal(cmd *cobra.Command, yes, want, question string) error {
	if yes == "" {
		f, ok := cmd.InOrStdin().(*os.File)
		if !ok || a.json() || !term.IsTerminal(int(f.Fd())) {
			return nil
		}
		a.printf("%s; type %s to go on: ", question, want)
		var err error
		if yes, err = typed(cmd.Context(), f); err != nil {
			return fmt.Errorf("%w: nothing was changed: %w", errRefused, err)
		}
	}
	if yes != want {
		return fmt.Errorf("%w: nothing was changed: %q is not %s", errRefused, yes, want)
	}
	return nil
}
