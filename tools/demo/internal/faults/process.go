package faults

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

const (
	// stopMax is how long a program may take to end in order; then it is killed.
	stopMax = 20 * time.Second
	// lineMax bounds a line; a line of a campaign's journal has 15 KB.
	lineMax = 1 << 20
)

// leash ends the program once standard input ends: when Stop is called, and when
// this process dies, by whatever signal.
const leash = `exec 3<&0 </dev/null
"$@" 3<&- & child=$!
{ read -r _ <&3; kill -TERM "$child"; } >/dev/null 2>&1 &
exec 3<&-
wait "$child"`

// Process is a program that runs.
type Process struct {
	Log string // the path of what it says

	command *exec.Cmd
	leash   *os.File
	ended   chan struct{} // closed once it has been waited for
	once    sync.Once
}

// Reader takes what a program says, such as a Feed.
type Reader interface {
	Line(text []byte)
	End() // no line comes any more
}

// Start starts a program. What it says goes to the file log, and line by line to
// reader. Stop ends it.
func Start(log string, reader Reader, args ...string) (*Process, error) {
	file, err := os.OpenFile(log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	held, rope, err1 := os.Pipe()
	output, input, err2 := os.Pipe()
	p := &Process{Log: log, leash: rope, ended: make(chan struct{})}
	if err = errors.Join(err1, err2); err == nil {
		p.command = exec.Command("/bin/sh", append([]string{"-c", leash, "leash"}, args...)...) //nolint:noctx // it outlives the call, and Stop is what ends it
		p.command.Stdin, p.command.Stdout, p.command.Stderr = held, input, input
		p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		err = p.command.Start()
	}
	for _, f := range []*os.File{held, input} {
		_ = f.Close() // the child has its own; nil is no harm
	}
	if err != nil {
		for _, f := range []*os.File{rope, output, file} {
			_ = f.Close()
		}
		return nil, fmt.Errorf("start %s: %w", filepath.Base(args[0]), err)
	}
	go p.follow(output, file, reader) // Stop waits for it
	return p, nil
}

// follow reads what the program says until it is gone.
func (p *Process) follow(output, log *os.File, reader Reader) {
	defer close(p.ended)
	defer reader.End()
	defer log.Close()
	defer output.Close()
	lines := bufio.NewScanner(io.TeeReader(output, log))
	lines.Buffer(nil, lineMax)
	for lines.Scan() {
		reader.Line(lines.Bytes())
	}
	_, _ = io.Copy(log, output) // after a line that is too long
	_ = p.command.Wait()        // who asks looks at Code
}

// Stop ends the program, in order or else with force, and returns its exit code.
func (p *Process) Stop() int {
	p.once.Do(func() { _ = p.leash.Close() })
	timer := time.NewTimer(stopMax)
	defer timer.Stop()
	select {
	case <-p.ended:
	case <-timer.C:
		_ = syscall.Kill(-p.command.Process.Pid, syscall.SIGKILL) // it may end this moment
		<-p.ended
	}
	return p.command.ProcessState.ExitCode()
}
