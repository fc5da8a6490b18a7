package testservers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"drover/internal/pause"
)

const (
	startWaitMax = 60 * time.Second // crash recovery of a loaded server on a loaded machine
	stopWaitMax  = 60 * time.Second // an orderly end writes the buffer pool's dirty pages
	stateWaitMax = 5 * time.Second  // the kernel stops every thread of a process
	readyPoll    = 10 * time.Millisecond
	logTailMax   = 4 << 10 // bytes of a server's log in an error
	bindTriesMax = 20      // ports tried for a new server
)

// launchScript records its own pid in the run folder, $1, and then becomes the
// server. If the watchdog took the run folder away, there is nothing to record
// in, and nothing starts: no server can be missing from the watchdog's list.
const launchScript = `: >"$1/$$" || exit 125; shift; exec "$@"`

var (
	// ErrRunning and ErrNotRunning say that a server is not in the state that
	// what was asked of it needs.
	ErrRunning    = errors.New("the server is running")
	ErrNotRunning = errors.New("the server is not running")

	errPortTaken = errors.New("the port is taken")
	errExited    = errors.New("the server ended")
)

// process is one server's process, and the next one after a restart. What makes
// it a MariaDB or a memcached is in the fields that are functions.
type process struct {
	fleet   *Fleet
	name    string
	dir     string // the server's folder; named on its command line, for the watchdog
	logPath string

	prepare func(port int) error            // called before each try of a new server's start, with the port to try
	command func() []string                 // the program and its arguments
	probe   func(ctx context.Context) error // nil once the server, and no other, answers
	taken   string                          // what its log says when the port is another's

	operation sync.Mutex // one Kill, Stop, Pause, Resume or Restart at a time

	mu struct {
		sync.Mutex
		port int
		run  *run // the last one; nil before the first
	}
}

// init names the server and makes its folder.
func (p *process) init(fleet *Fleet, name, dir string) error {
	p.fleet, p.name, p.dir, p.logPath = fleet, name, dir, filepath.Join(dir, "error.log")
	return os.Mkdir(dir, 0o700)
}

// run is one execution of a server.
type run struct {
	pid       int
	logOffset int64
	life      context.Context  //nolint:containedctx // the process's own: ends once it has been waited for
	state     *os.ProcessState // set by then
}

func (r *run) ended() bool { return r.life.Err() != nil }

// Name returns the server's name in its fleet.
func (p *process) Name() string { return p.name }

// Host returns the address the server listens on, 127.0.0.1.
func (p *process) Host() string { return loopback }

// Port returns the port the server listens on, the same after a restart.
func (p *process) Port() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.port
}

// Addr returns the address the server listens on, host:port, the same after a
// restart.
func (p *process) Addr() string { return loopback + ":" + strconv.Itoa(p.Port()) }

// Dir returns the server's own folder, with its log in it.
func (p *process) Dir() string { return p.dir }

// PID returns the process id of the server, or of its last run if it is down.
func (p *process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.run == nil {
		return 0
	}
	return p.mu.run.pid
}

func (p *process) current() (*run, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.run == nil || p.mu.run.ended() {
		return nil, fmt.Errorf("%s: %w", p.name, ErrNotRunning)
	}
	return p.mu.run, nil
}

// Kill ends the server as a crash would (SIGKILL) and waits for its end. It is
// no error if the server is down.
func (p *process) Kill() error {
	p.operation.Lock()
	defer p.operation.Unlock()
	return p.end(syscall.SIGKILL)
}

// Stop ends the server in order (SIGTERM) and waits for its end. It is no error
// if the server is down.
func (p *process) Stop() error {
	p.operation.Lock()
	defer p.operation.Unlock()
	return p.end(syscall.SIGTERM)
}

func (p *process) end(signal syscall.Signal) error {
	r, err := p.current()
	if errors.Is(err, ErrNotRunning) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := r.signal(signal); err != nil {
		return fmt.Errorf("end %s: %w", p.name, err)
	}
	if signal != syscall.SIGKILL {
		// A paused server would not see it.
		if err := r.signal(syscall.SIGCONT); err != nil {
			return fmt.Errorf("end %s: %w", p.name, err)
		}
	}
	select {
	case <-r.life.Done():
		return nil
	case <-time.After(stopWaitMax):
		return fmt.Errorf("end %s: still there %v after %v\n%s", p.name, stopWaitMax, signal, p.logTail(r.logOffset))
	}
}

// Pause stops the server in its tracks (SIGSTOP), its connections open and
// unanswered, and returns once all its threads stand still.
func (p *process) Pause() error {
	p.operation.Lock()
	defer p.operation.Unlock()
	r, err := p.current()
	if err != nil {
		return err
	}
	if err := r.signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("pause %s: %w", p.name, err)
	}
	for deadline := time.Now().Add(stateWaitMax); !allStopped(r.pid); time.Sleep(time.Millisecond) {
		if r.ended() {
			return fmt.Errorf("pause %s: %w", p.name, ErrNotRunning)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("pause %s: still running after %v", p.name, stateWaitMax)
		}
	}
	return nil
}

// Resume lets a paused server go on (SIGCONT).
func (p *process) Resume() error {
	p.operation.Lock()
	defer p.operation.Unlock()
	r, err := p.current()
	if err != nil {
		return err
	}
	if err := r.signal(syscall.SIGCONT); err != nil {
		return fmt.Errorf("resume %s: %w", p.name, err)
	}
	return nil
}

// Restart starts the server again, on the same port and with the data it had,
// and waits until it answers. A server that is running is stopped first.
func (p *process) Restart(ctx context.Context) error {
	p.operation.Lock()
	defer p.operation.Unlock()
	if err := p.end(syscall.SIGTERM); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startWaitMax, fmt.Errorf("no answer after %v", startWaitMax))
	defer cancel()
	for {
		err := p.launch(ctx)
		if !errors.Is(err, errPortTaken) || pause.For(ctx, readyPoll) != nil {
			return err
		}
	}
}

// start starts a new server on a port of its own and waits until it answers.
func (p *process) start(ctx context.Context) error {
	p.operation.Lock()
	defer p.operation.Unlock()
	ctx, cancel := context.WithTimeoutCause(ctx, startWaitMax, fmt.Errorf("no answer after %v", startWaitMax))
	defer cancel()
	for try := 1; ; try++ {
		port, err := p.fleet.reservePort(ctx)
		if err != nil {
			return fmt.Errorf("start %s: %w", p.name, err)
		}
		if err := p.prepare(port); err != nil {
			return fmt.Errorf("start %s: %w", p.name, err)
		}
		p.mu.Lock()
		p.mu.port = port
		p.mu.Unlock()
		err = p.launch(ctx)
		if !errors.Is(err, errPortTaken) || try == bindTriesMax {
			return err
		}
	}
}

// launch executes the server once and waits until it answers. A server that does
// not answer is killed.
func (p *process) launch(ctx context.Context) error {
	r, err := p.execute()
	if err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	// A stranger on the port may take the connection and never say a word, so
	// the probe ends with the server.
	probing, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.life, cancel)()
	for {
		failure := p.probe(probing)
		if failure == nil {
			return nil
		}
		if !r.ended() && pause.For(ctx, readyPoll) == nil {
			continue
		}
		if !r.ended() {
			err = errors.Join(fmt.Errorf("%w: %w", context.Cause(ctx), failure), r.signal(syscall.SIGKILL))
			<-r.life.Done()
		} else if p.taken != "" && strings.Contains(p.logTail(r.logOffset), p.taken) {
			return fmt.Errorf("start %s on %s: %w", p.name, p.Addr(), errPortTaken)
		} else {
			err = fmt.Errorf("%w (%v)", errExited, r.state)
		}
		return fmt.Errorf("start %s on %s: %w; its log %s says:\n%s", p.name, p.Addr(), err, p.logPath, p.logTail(r.logOffset))
	}
}

// execute starts the process, and a goroutine that waits for its end.
func (p *process) execute() (*run, error) {
	// Under the fleet's lock, so that Close either sees this run or prevents it.
	p.fleet.mu.Lock()
	defer p.fleet.mu.Unlock()
	if p.fleet.mu.closed {
		return nil, ErrClosed
	}
	log, err := os.OpenFile(p.logPath, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	info, err := log.Stat()
	if err != nil {
		return nil, err
	}
	command := p.fleet.launcher(p.command()...)
	command.Dir = p.dir
	// Not the program's own output: go test would wait for whoever holds it.
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		return nil, err
	}
	life, die := context.WithCancel(context.Background())
	r := &run{pid: command.Process.Pid, logOffset: info.Size(), life: life}
	p.mu.Lock()
	p.mu.run = r
	p.mu.Unlock()
	p.fleet.waits.Go(func() {
		_ = command.Wait() // who asks looks at the state
		r.state = command.ProcessState
		// Gone already where the watchdog is at its work; left behind, it does no
		// harm: a pid counts only with the fleet's folder in its command line.
		_ = os.Remove(filepath.Join(p.fleet.dir, runFolder, strconv.Itoa(r.pid)))
		die()
	})
	return r, nil
}

func (r *run) signal(signal syscall.Signal) error {
	if r.ended() {
		return nil
	}
	if err := syscall.Kill(r.pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("%v to process %d: %w", signal, r.pid, err)
	}
	return nil
}

// logTail returns the end of the log, from offset on.
func (p *process) logTail(offset int64) string {
	file, err := os.Open(p.logPath)
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	if size, err := file.Seek(0, io.SeekEnd); err == nil {
		offset = max(offset, size-logTailMax)
	}
	text, err := io.ReadAll(io.NewSectionReader(file, offset, logTailMax))
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(text))
}

// allStopped says whether every thread of the process stands still. Where there
// is no /proc, it trusts the kernel.
func allStopped(pid int) bool {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return true
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // a thread that has ended
		}
		// pid (name) state …, and the name may hold anything.
		_, after, _ := strings.Cut(string(text[bytes.LastIndexByte(text, ')')+1:]), " ")
		if !strings.HasPrefix(after, "T") && !strings.HasPrefix(after, "Z") && !strings.HasPrefix(after, "X") {
			return false
		}
	}
	return true
}

// launcher makes the command that records itself in the run folder and then
// becomes the program args[0].
func (f *Fleet) launcher(args ...string) *exec.Cmd {
	//nolint:noctx // a server outlives the call that starts it
	command := exec.Command("/bin/sh", append([]string{"-c", launchScript, "drover-launch", filepath.Join(f.dir, runFolder)}, args...)...)
	command.Env = f.binaries.environment()
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return command
}
