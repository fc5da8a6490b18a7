package yard

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"drover/bench/edge/internal/scene"
)

// Yard is a process that runs Serve, seen from its parent.
type Yard struct {
	Origins [2]string // addresses, by datacenter
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
}

// Start begins the process: program with args must call Serve. The end of ctx
// kills it.
func Start(ctx context.Context, program string, args ...string) (*Yard, error) {
	y := &Yard{cmd: exec.CommandContext(ctx, program, args...)}
	// The scheduler would interrupt a loop that never ends.
	y.cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1", "GOMAXPROCS=1")
	y.cmd.Stderr = os.Stderr
	y.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt from the keyboard is for the parent
	in, err := y.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("make the yard's pipe: %w", err)
	}
	out, err := y.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("make the yard's pipe: %w", err)
	}
	if err := y.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the yard: %w", err)
	}
	y.in, y.out = in, bufio.NewReader(out)
	var h hello
	if err := y.answer(&h); err != nil {
		return nil, errors.Join(err, y.Stop())
	}
	y.Origins = h.Origins
	return y, nil
}

func (y *Yard) answer(to any) error {
	line, err := y.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read the yard's answer; its own words are on stderr: %w", err)
	}
	if err := json.Unmarshal(line, to); err != nil {
		return fmt.Errorf("understand the yard's answer: %w", err)
	}
	return nil
}

// Do gives the process a command and waits for its result.
func (y *Yard) Do(c Command) (Result, error) {
	line, err := json.Marshal(c)
	if err != nil {
		return Result{}, fmt.Errorf("write a command: %w", err)
	}
	if _, err := y.in.Write(append(line, '\n')); err != nil {
		return Result{}, fmt.Errorf("give the yard a command: %w", err)
	}
	var r Result
	if err := y.answer(&r); err != nil {
		return Result{}, err
	}
	if r.Error != "" {
		return r, fmt.Errorf("%s: %s", c.Op, r.Error)
	}
	return r, nil
}

// Open opens connections to a peer.
func (y *Yard) Open(target string, connections int) error {
	_, err := y.Do(Command{Op: OpOpen, Target: target, Connections: connections})
	return err
}

// Send sends a request for each user, each on a connection of its own, from
// the connection of number first on.
func (y *Yard) Send(first int, users []scene.User) error {
	_, err := y.Do(Command{Op: OpSend, First: first, Users: users})
	return err
}

// Collect waits for the answers to Send, bounded by last.
func (y *Yard) Collect(last time.Duration) (Result, error) {
	return y.Do(Command{Op: OpCollect, Last: last})
}

// Close closes what Open opened.
func (y *Yard) Close() error {
	_, err := y.Do(Command{Op: OpClose})
	return err
}

// Stop ends the process and waits for it.
func (y *Yard) Stop() error {
	err := y.in.Close()
	if wait := y.cmd.Wait(); wait != nil {
		err = errors.Join(err, fmt.Errorf("end the yard: %w", wait))
	}
	return err
}
