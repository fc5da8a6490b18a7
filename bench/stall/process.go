package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	listenMax = 30 * time.Second
	endMax    = 20 * time.Second
	lineMax   = 1 << 20 // bytes of a line of a log
	linesKept = 20      // of a log, for an error
)

// process is a proxy or a sample application.
type process struct {
	cmd     *exec.Cmd
	address string
	reading sync.WaitGroup

	mu    sync.Mutex
	lines []string // the last of the log
}

// build builds a program of the project into a folder.
func build(ctx context.Context, dir, name string) (string, error) {
	path := filepath.Join(dir, filepath.Base(name))
	if output, err := exec.CommandContext(ctx, "go", "build", "-o", path, "drover/"+name).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, err, output)
	}
	return path, nil
}

// start starts a program and waits until it listens.
func start(program string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(program, args...)} //nolint:noctx // stop ends it, in order
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	found := make(chan string, 1)
	p.reading.Go(func() { p.read(stderr, found) })
	select {
	case p.address = <-found:
		return p, nil
	case <-time.After(listenMax):
		return nil, errors.Join(fmt.Errorf("%s does not listen", program), p.stop())
	}
}

// read keeps the last lines of the log and finds the address in it.
func (p *process) read(stderr io.Reader, found chan<- string) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, lineMax)
	for lines.Scan() {
		var l struct {
			Message string   `json:"message"`
			Address string   `json:"address"` // the sample application's
			Clients []string `json:"clients"` // the proxy's
		}
		if json.Unmarshal(lines.Bytes(), &l) == nil && l.Message == "listening" {
			if l.Address == "" && len(l.Clients) == 1 {
				l.Address = l.Clients[0]
			}
			select {
			case found <- l.Address:
			default:
			}
		}
		p.mu.Lock()
		p.lines = append(p.lines, lines.Text())
		p.lines = slices.Clone(p.lines[max(0, len(p.lines)-linesKept):])
		p.mu.Unlock()
	}
	_, _ = io.Copy(io.Discard, stderr) // so that it never blocks
}

// stop ends the program in order, and waits.
func (p *process) stop() error {
	late := time.AfterFunc(endMax, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // Wait says how it ended
	p.reading.Wait()
	if err := p.cmd.Wait(); err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		return fmt.Errorf("%s: %w\n%v", filepath.Base(p.cmd.Path), err, p.lines)
	}
	return nil
}
