package program

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Child is one run of the migrator.
type Child struct {
	args    []string
	command *exec.Cmd
	release *os.File
	output  bytes.Buffer

	reached chan struct{} // closed at the point where it waits
	ended   chan struct{} // closed when the process is gone
	err     error         // how it ended, once ended is closed

	mu struct {
		sync.Mutex
		points []string // in the order of their first passing
		seen   map[string]bool
	}
}

// Start runs the program at path. When at is not empty it waits at that crash
// point: "NAME", or "NAME#N" for the N-th passing.
func Start(ctx context.Context, path, at string, args ...string) (*Child, error) {
	c := &Child{args: args, reached: make(chan struct{}), ended: make(chan struct{})}
	c.mu.seen = map[string]bool{}
	word, childWord, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	childWait, release, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, word.Close(), childWord.Close())
	}
	c.release = release
	c.command = exec.CommandContext(ctx, path, args...)
	c.command.Env = append(os.Environ(), "DROVER_CRASH_AT="+at)
	c.command.ExtraFiles = []*os.File{childWord, childWait}
	c.command.Stdout, c.command.Stderr = &c.output, &c.output
	err = c.command.Start()
	err = errors.Join(err, childWord.Close(), childWait.Close())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", path, err), word.Close(), release.Close())
	}
	go c.follow(word) // Wait waits for it
	return c, nil
}

// follow reads what the child tells until it is gone.
func (c *Child) follow(word *os.File) {
	lines := bufio.NewScanner(word)
	waits := false
	for lines.Scan() {
		name, here := strings.CutPrefix(lines.Text(), "!")
		if here && !waits {
			waits = true
			close(c.reached)
		}
		c.mu.Lock()
		if !c.mu.seen[name] {
			c.mu.seen[name] = true
			c.mu.points = append(c.mu.points, name)
		}
		c.mu.Unlock()
	}
	c.err = c.command.Wait()
	if c.err != nil {
		c.err = fmt.Errorf("migrator %s: %w\n%s", strings.Join(c.args, " "), c.err, c.output.String())
	}
	_ = word.Close()
	_ = c.release.Close()
	close(c.ended)
}

// Reached is closed when the child waits at its point.
func (c *Child) Reached() <-chan struct{} { return c.reached }

// Reach waits until the child waits at its point. One that does not come there
// within patience is killed; the error has what it printed.
func (c *Child) Reach(patience time.Duration) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-c.reached:
		return nil
	case <-c.ended:
		return fmt.Errorf("it ended before its point: %v\n%s", c.err, c.Output()) //nolint:errorlint // nil for one that ended well
	case <-timer.C:
		c.Kill()
		return fmt.Errorf("it did not come to its point within %s\n%s", patience, c.Output())
	}
}

// Ended is closed when the child is gone.
func (c *Child) Ended() <-chan struct{} { return c.ended }

// Wait waits until the child is gone and returns how it ended: nil for exit
// code 0. The error has what it printed.
func (c *Child) Wait() error {
	<-c.ended
	return c.err
}

// Continue lets a child that waits at its point go on.
func (c *Child) Continue() { _, _ = c.release.Write([]byte{1}) } // one that is gone needs no word

// Kill kills the child as a power cut would, and waits until it is gone.
func (c *Child) Kill() {
	_ = c.Signal(syscall.SIGKILL) // fails only for one that is gone
	<-c.ended
}

// Signal sends a signal, such as SIGSTOP.
func (c *Child) Signal(s syscall.Signal) error { return c.command.Process.Signal(s) }

// Output is what the child printed; only once it has ended.
func (c *Child) Output() string {
	<-c.ended
	return c.output.String()
}

// Points lists the crash points that the child has passed.
func (c *Child) Points() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.mu.points...)
}
