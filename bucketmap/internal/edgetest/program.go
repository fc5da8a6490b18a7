package edgetest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	readyWaitMax = 60 * time.Second // a large map on a loaded machine
	readyPoll    = 10 * time.Millisecond
	endWaitMax   = 5 * time.Second // after SIGTERM; then SIGKILL
	portTriesMax = 10
)

// Program is an edge that runs.
type Program struct {
	Addr    string
	Ready   time.Duration // how long it took until it answered
	command *exec.Cmd
	ended   chan struct{}
}

// Start runs a program that is to listen on an address of loopback; command
// gives its arguments for that address. The end of the test ends it.
func Start(t testing.TB, command func(addr string) []string) *Program {
	t.Helper()
	for try := 1; ; try++ {
		p, log := start(t, command)
		if p != nil {
			return p
		}
		if try == portTriesMax || !strings.Contains(strings.ToLower(log), "in use") {
			t.Fatalf("the program did not start; its log says:\n%s", log)
		}
	}
}

func start(t testing.TB, command func(addr string) []string) (*Program, string) {
	t.Helper()
	p := &Program{Addr: freeAddress(t), ended: make(chan struct{})}
	args := command(p.Addr)
	path := filepath.Join(t.TempDir(), "log")
	log, err := os.Create(path)
	Must(t, err)
	defer log.Close()
	p.command = exec.Command(args[0], args[1:]...) //nolint:noctx // it outlives this call, and the test's end ends it
	p.command.Stdout, p.command.Stderr, p.command.SysProcAttr = log, log, attributes()
	begin := time.Now()
	Must(t, p.command.Start())
	go func() { // end waits for it
		_ = p.command.Wait() // how it ended is in its log
		close(p.ended)
	}()
	t.Cleanup(p.end)
	for deadline := begin.Add(readyWaitMax); ; {
		var d net.Dialer
		if conn, err := d.DialContext(t.Context(), "tcp4", p.Addr); err == nil {
			p.Ready = time.Since(begin)
			Must(t, conn.Close())
			return p, ""
		}
		select {
		case <-p.ended:
			return nil, read(path)
		case <-time.After(readyPoll):
		}
		if time.Now().After(deadline) {
			return nil, fmt.Sprintf("no answer after %v\n%s", readyWaitMax, read(path))
		}
	}
}

func (p *Program) end() {
	_ = p.command.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.ended:
	case <-time.After(endWaitMax):
		_ = p.command.Process.Kill()
		<-p.ended
	}
}

// Signal sends the program a signal, to reload what it was started on.
func (p *Program) Signal(t testing.TB, signal os.Signal) {
	t.Helper()
	Must(t, p.command.Process.Signal(signal))
}

// MemoryMiB is the resident memory of the program and its children.
func (p *Program) MemoryMiB() int {
	pid := p.command.Process.Pid
	pids := append(strings.Fields(read(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))), fmt.Sprint(pid))
	kib := 0
	for _, pid := range pids {
		var one int
		if _, line, ok := strings.Cut(read("/proc/"+pid+"/status"), "VmRSS:"); ok {
			_, _ = fmt.Sscan(line, &one) // a process that has just ended has none
		}
		kib += one
	}
	return kib >> 10
}

func read(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func freeAddress(t testing.TB) string {
	t.Helper()
	var lc net.ListenConfig
	listener, err := lc.Listen(context.Background(), "tcp4", "127.0.0.1:0")
	Must(t, err)
	Must(t, listener.Close())
	return listener.Addr().String()
}

// Check runs a program that checks a configuration, and fails the test if it
// finds a fault or warns of something.
func Check(t testing.TB, args ...string) {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput()
	if err != nil || strings.Contains(strings.ToLower(string(output)), "warn") {
		t.Fatalf("%v: %v\n%s", args, err, output)
	}
}

// Must ends the test on an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
