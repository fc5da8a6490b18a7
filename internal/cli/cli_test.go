package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// TestMain is a program's main where the tests start themselves as one.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "program" {
		name := "program"
		if os.Args[2] == "nameless" {
			name = ""
		}
		os.Exit(Run(name, program(os.Args[2])))
	}
	// For the children: else each takes a second to end.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		panic(err)
	}
	m.Run()
}

var errCleaning = errors.New("the folder is still there")

// program returns a command that ends in one way or another.
func program(way string) *cobra.Command {
	wait := func(ctx context.Context) error {
		fmt.Println("ready")
		<-ctx.Done()
		return fmt.Errorf("wait: %w", ctx.Err())
	}
	ways := map[string]func(context.Context) error{
		"good":     func(context.Context) error { return nil },
		"bad":      func(context.Context) error { return errCleaning },
		"nameless": func(context.Context) error { return errCleaning },
		"aborted":  func(context.Context) error { return context.Canceled }, // by no signal
		"waits":    wait,
		"serves":   func(ctx context.Context) error { _ = wait(ctx); return nil },
		"joins":    func(ctx context.Context) error { return errors.Join(wait(ctx), wait(ctx)) },
		"leaves":   func(ctx context.Context) error { return errors.Join(wait(ctx), errCleaning) },
		"hangs": func(ctx context.Context) error {
			_ = wait(ctx)
			fmt.Println("cleaning")
			select {}
		},
	}
	return &cobra.Command{Use: "program", SilenceErrors: true, SilenceUsage: true, FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true},
		Args: cobra.ArbitraryArgs, RunE: func(c *cobra.Command, _ []string) error { return ways[way](c.Context()) }}
}

// child is this test as a program.
type child struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout *bufio.Reader
	stderr strings.Builder
}

func start(t *testing.T, way string, before ...string) *child {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	args := append(before, os.Args[0], "program", way)
	c := &child{t: t, cmd: exec.CommandContext(ctx, args[0], args[1:]...)}
	c.cmd.Stderr = &c.stderr
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.stdout = bufio.NewReader(out)
	return c
}

// says waits until the program has said a word.
func (c *child) says(want string) {
	c.t.Helper()
	if line, err := c.stdout.ReadString('\n'); strings.TrimSpace(line) != want {
		c.t.Fatalf("it said %q, %v; want %q", line, err, want)
	}
}

func (c *child) signal(s syscall.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}

// ended returns how the program ended.
func (c *child) ended() (*os.ProcessState, string) {
	_, _ = io.Copy(io.Discard, c.stdout)
	_ = c.cmd.Wait() // the state says it
	return c.cmd.ProcessState, c.stderr.String()
}

func TestTheExitCodeSaysHowTheCommandEnded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		way, says string
		code      int
	}{
		{"good", "", 0},
		{"bad", "program: the folder is still there\n", Failed},
		{"nameless", "the folder is still there\n", Failed},
		{"aborted", "program: context canceled\n", Failed},
	} {
		state, said := start(t, c.way).ended()
		if state.ExitCode() != c.code || said != c.says {
			t.Errorf("%s: %s, %q", c.way, state, said)
		}
	}
}

func TestASignalEndsTheCommandsContext(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		way, says string
		code      int
	}{
		{"waits", "program: interrupted; everything is cleaned up\n", Interrupted},
		{"joins", "program: interrupted; everything is cleaned up\n", Interrupted},
		{"leaves", "program: interrupted: wait: context canceled\nthe folder is still there\n", Interrupted},
		{"serves", "", 0},
	} {
		for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
			p := start(t, c.way)
			p.says("ready")
			p.signal(s)
			state, said := p.ended()
			if state.ExitCode() != c.code || said != c.says {
				t.Errorf("%s, %s: %s, %q", c.way, s, state, said)
			}
		}
	}
}

func TestASecondSignalEndsTheProcessAtOnce(t *testing.T) {
	t.Parallel()
	p := start(t, "hangs")
	p.says("ready")
	p.signal(syscall.SIGINT)
	p.says("cleaning")
	p.signal(syscall.SIGINT)
	// Run gives signals back beside the command, so the second one may be early.
	again := time.AfterFunc(time.Second, func() { _ = p.cmd.Process.Signal(syscall.SIGINT) })
	defer again.Stop()
	state, _ := p.ended()
	if status, ok := state.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != syscall.SIGINT {
		t.Errorf("%s; want an end by the signal", state)
	}
}

func TestAProgramUnderNohupOutlivesItsTerminal(t *testing.T) {
	t.Parallel()
	p := start(t, "waits", "nohup")
	p.says("ready")
	p.signal(syscall.SIGHUP)
	p.signal(syscall.SIGTERM)
	if state, said := p.ended(); state.ExitCode() != Interrupted || !strings.Contains(said, "interrupted") {
		t.Errorf("%s, %q", state, said)
	}
}
