package process

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	listenMax = 30 * time.Second
	endMax    = 20 * time.Second // from SIGTERM to SIGKILL
	lineMax   = 1 << 20          // bytes of a line of a log
	linesKept = 20               // of a log, for an error: 20 MiB at worst
)

// Process is a program that listens: the proxy, or the sample application.
type Process struct {
	Address string // where its clients connect
	cmd     *exec.Cmd
	reading sync.WaitGroup

	mu    sync.Mutex
	lines []string // the last of the log
}

// Start starts a program and waits until it listens. The end of ctx ends the
// wait, and the program with it; later it ends nothing: Stop does.
func Start(ctx context.Context, program string, args ...string) (*Process, error) {
	p := &Process{cmd: exec.Command(program, args...)} //nolint:noctx // Stop ends it, in order
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	found := make(chan string, 1)
	p.reading.Go(func() { p.read(stderr, found) })
	late, cancel := context.WithTimeoutCause(ctx, listenMax, fmt.Errorf("it does not listen within %s", listenMax))
	defer cancel()
	select {
	case address, listens := <-found:
		if listens {
			p.Address = address
			return p, nil
		}
		err = errors.New("it ended before it listened")
	case <-late.Done():
		err = context.Cause(late)
	}
	ended := p.Stop()
	return nil, errors.Join(fmt.Errorf("start %s: %w:\n%s", p.name(), err, p.text()), ended)
}

// read keeps the last lines of the log, and finds the address in it. It closes
// found when the log ends without one.
func (p *Process) read(stderr io.Reader, found chan<- string) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, lineMax)
	listens := false
	for lines.Scan() {
		if at := address(lines.Bytes()); at != "" && !listens {
			listens = true
			found <- at
		}
		p.mu.Lock()
		p.lines = append(p.lines, lines.Text())
		p.lines = p.lines[max(0, len(p.lines)-linesKept):]
		p.mu.Unlock()
	}
	_, _ = io.Copy(io.Discard, stderr) // behind a line that is too long
	if !listens {
		close(found)
	}
}

// address returns where a program listens for clients, when that is what a line
// of its log says.
func address(line []byte) string {
	var l struct {
		Message string   `json:"message"`
		Address string   `json:"address"` // the sample application's
		Clients []string `json:"clients"` // the proxy's
	}
	switch err := json.Unmarshal(line, &l); {
	case err != nil || l.Message != "listening":
		return ""
	case l.Address == "" && len(l.Clients) == 1:
		return l.Clients[0]
	}
	return l.Address
}

// PID is the process's number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

func (p *Process) name() string { return filepath.Base(p.cmd.Path) }

func (p *Process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// Stop ends the program in order, waits, and says how it ended unless that was
// well. It is called once.
func (p *Process) Stop() error {
	late := time.AfterFunc(endMax, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // Wait says how it ended
	p.reading.Wait()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w\n%s", p.name(), err, p.text())
	}
	return nil
}
