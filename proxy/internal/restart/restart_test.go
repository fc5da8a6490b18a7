package restart

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const patience = 30 * time.Second

// life is a running program and those that replace it.
type life struct {
	t       *testing.T
	cmd     *exec.Cmd
	pidFile string
	fail    string
	lines   chan string
	past    []string // lines that nobody has waited for yet: two processes write
	pid     int      // of the process that is ready
	addrs   []string
}

func begin(t *testing.T) *life {
	t.Helper()
	dir := t.TempDir()
	l := &life{t: t, cmd: exec.Command(os.Args[0]), pidFile: filepath.Join(dir, "pid"), fail: filepath.Join(dir, "fail"), lines: make(chan string, 1000)}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	l.cmd.Env = append(os.Environ(), pidFileVariable+"="+l.pidFile, failVariable+"="+l.fail, GenerationVariable+"=77")
	l.cmd.Stdout, l.cmd.Stderr = w, w
	if err := errors.Join(l.cmd.Start(), w.Close()); err != nil {
		t.Fatal(err)
	}
	go func() { // ends when the last process does
		defer close(l.lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			l.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		if t.Failed() {
			syscall.Kill(l.pid, syscall.SIGKILL) //nolint:errcheck // gone already
			l.cmd.Process.Kill()                 //nolint:errcheck // gone already
		}
		l.cmd.Wait() //nolint:errcheck // its output says it
	})
	l.ready(0)
	return l
}

// line waits for a line that begins with one of the words.
func (l *life) line(words ...string) string {
	l.t.Helper()
	is := func(line string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(line, w) })
	}
	if i := slices.IndexFunc(l.past, is); i >= 0 {
		line := l.past[i]
		l.past = slices.Delete(l.past, i, i+1)
		return line
	}
	late := time.After(patience)
	for {
		select {
		case line, ok := <-l.lines:
			if !ok {
				l.t.Fatalf("all processes ended before %q", words)
			}
			if is(line) {
				return line
			}
			l.past = append(l.past, line)
		case <-late:
			l.t.Fatalf("no %q in time", words)
		}
	}
}

func (l *life) ready(generation int) { l.isReady(l.line("ready"), generation) }

func (l *life) isReady(line string, generation int) {
	l.t.Helper()
	var got, pid int
	addrs := make([]string, 2)
	if _, err := fmt.Sscanf(line, "ready %d %d %s %s", &got, &pid, &addrs[0], &addrs[1]); err != nil || got != generation {
		l.t.Fatalf("want generation %d: %q, %v", generation, line, err)
	}
	if l.addrs != nil && (addrs[0] != l.addrs[0] || addrs[1] != l.addrs[1]) || addrs[0] == addrs[1] {
		l.t.Fatalf("listeners %v became %v", l.addrs, addrs)
	}
	l.pid, l.addrs = pid, addrs
	if b, err := os.ReadFile(l.pidFile); err != nil || string(b) != strconv.Itoa(pid) {
		l.t.Fatalf("process %d wrote the PID file %q: %v", pid, b, err)
	}
}

func (l *life) signal(s syscall.Signal) {
	l.t.Helper()
	if err := syscall.Kill(l.pid, s); err != nil {
		l.t.Fatal(err)
	}
}

// upgrade replaces the process, trying again while the one before it is still
// seen alive.
func (l *life) upgrade(generation int) {
	l.t.Helper()
	for {
		l.signal(syscall.SIGUSR2)
		line := l.line("ready", "refused")
		if strings.Contains(line, "parent hasn't exited") {
			continue
		}
		l.isReady(line, generation)
		l.line(fmt.Sprintf("ended %d", generation-1))
		return
	}
}

// end stops the last process, and checks that its sockets are closed.
func (l *life) end() {
	l.t.Helper()
	l.signal(syscall.SIGTERM)
	l.line("ended")
	for range l.lines { // until no process is left
	}
	for _, a := range l.addrs {
		if c, err := net.Dial("tcp", a); err == nil {
			c.Close()
			l.t.Errorf("%s still accepts", a)
		}
	}
}

// ask connects and reads the generation of who answers.
func ask(address string) (int, error) {
	c, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience)) //nolint:errcheck // the read says it
	b, err := io.ReadAll(c)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}

func TestNoConnectionIsRefusedWhileProcessesAreReplaced(t *testing.T) {
	l := begin(t)
	var stop atomic.Bool
	var answers [4]atomic.Int64
	var wg sync.WaitGroup
	for i := range 4 {
		address := l.addrs[i%2]
		wg.Go(func() {
			for !stop.Load() {
				generation, err := ask(address)
				if err != nil || generation > 3 {
					t.Errorf("generation %d: %v", generation, err)
					return
				}
				answers[generation].Add(1)
			}
		})
	}
	for generation := 1; generation <= 3; generation++ {
		l.upgrade(generation)
		before := answers[generation].Load()
		for end := time.Now().Add(patience); answers[generation].Load() < before+50 && !t.Failed(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("generation %d does not serve", generation)
			}
		}
	}
	stop.Store(true)
	wg.Wait()
	for generation := range answers {
		t.Logf("generation %d answered %d", generation, answers[generation].Load())
	}
	l.end()
}

func TestAProcessThatFailsToStartLeavesItsParentServing(t *testing.T) {
	for _, how := range []string{"exit", "hang"} {
		t.Run(how, func(t *testing.T) {
			l := begin(t)
			if err := os.WriteFile(l.fail, []byte(how), 0o600); err != nil {
				t.Fatal(err)
			}
			l.signal(syscall.SIGUSR2)
			var generation, pid int
			if _, err := fmt.Sscanf(l.line("starting"), "starting %d %d", &generation, &pid); err != nil || generation != 1 {
				t.Fatalf("generation %d: %v", generation, err)
			}
			for _, a := range l.addrs { // while the new one is starting, or has failed
				if got, err := ask(a); err != nil || got != 0 {
					t.Fatalf("generation %d answers: %v", got, err)
				}
			}
			if line := l.line("refused"); !strings.Contains(line, "this process goes on") {
				t.Fatalf("%s", line)
			}
			for _, a := range l.addrs {
				if got, err := ask(a); err != nil || got != 0 {
					t.Fatalf("generation %d answers: %v", got, err)
				}
			}
			for end := time.Now().Add(patience); syscall.Kill(pid, 0) == nil; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("the failed process is alive")
				}
			}
			if err := os.Remove(l.fail); err != nil {
				t.Fatal(err)
			}
			l.upgrade(1)
			if got, err := ask(l.addrs[0]); err != nil || got != 1 {
				t.Fatalf("generation %d answers: %v", got, err)
			}
			l.end()
		})
	}
}

func TestNoneListensAndCannotBeReplaced(t *testing.T) {
	var n None
	l, err := n.Listen("tcp", "127.0.0.1:0", &net.ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(n.Ready(), l.Close()); err != nil {
		t.Fatal(err)
	}
	if err := n.Upgrade(); !errors.Is(err, ErrUpgrade) || !errors.Is(err, ErrImpossible) {
		t.Errorf("upgrade: %v", err)
	}
	select {
	case <-n.Exit():
		t.Error("exit")
	default:
	}
	if n.HasParent() || n.Generation() != 0 {
		t.Error("it has a parent")
	}
	n.Stop()
}

func TestTheGenerationIsTheParentsToSay(t *testing.T) {
	for text, want := range map[string]int{"1": 1, "12": 12, "": 0, "0": 0, "-1": 0, "x": 0} {
		got, err := generation(func(string) string { return text })
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	if _, err := generation(nil); err == nil {
		t.Error("nobody reads the environment, and it is accepted")
	}
}

var (
	_ interface {
		Listen(network, address string, lc *net.ListenConfig) (net.Listener, error)
		Ready() error
		Upgrade() error
		Exit() <-chan struct{}
		HasParent() bool
		Generation() int
		Stop()
	} = (*Restart)(nil)
)
