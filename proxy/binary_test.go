package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"drover/bucketmap"
	"drover/bucketmap/file"
)

// ledger is an application that notes every request's number.
type ledger struct {
	*httptest.Server
	mu   sync.Mutex
	seen map[uint64]int
}

func newLedger(t *testing.T) *ledger {
	l := &ledger{seen: map[uint64]int{}}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		number, err2 := strconv.ParseUint(string(text), 10, 64)
		if err := errors.Join(err, err2); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		l.mu.Lock()
		l.seen[number]++
		l.mu.Unlock()
		time.Sleep(time.Duration(5+rand.IntN(15)) * time.Millisecond) // stands for work
		w.Write(text)                                                 //nolint:errcheck // the client says it
	}))
	t.Cleanup(l.Close)
	return l
}

// traffic is clients that each send one POST after the other, at a pace, on a
// connection that is kept alive, and retry nothing.
type traffic struct {
	t        *testing.T
	address  string
	interval time.Duration
	stop     chan struct{}
	clients  sync.WaitGroup
	sent     atomic.Uint64
	refused  atomic.Int64

	mu       sync.Mutex
	answered map[uint64]bool
}

const (
	trafficClients = 64
	trafficRate    = 500 // a second, together
)

func newTraffic(t *testing.T, address string) *traffic {
	x := &traffic{
		t: t, address: address, interval: trafficClients * time.Second / trafficRate,
		stop: make(chan struct{}), answered: map[uint64]bool{},
	}
	for i := range trafficClients {
		x.clients.Go(func() { x.client(i) })
	}
	return x
}

func (x *traffic) client(i int) {
	var c net.Conn
	var r *bufio.Reader
	hangUp := func() {
		if c != nil {
			c.Close()
			c = nil
		}
	}
	defer hangUp()
	due := time.Now().Add(x.interval * time.Duration(i) / trafficClients)
	for {
		select {
		case <-x.stop:
			return
		case <-time.After(time.Until(due)):
		}
		due = due.Add(x.interval)
		if c != nil && ended(c) {
			hangUp() // before anything was sent
		}
		for c == nil {
			select {
			case <-x.stop:
				return
			default:
			}
			var err error
			if c, err = net.Dial("tcp", x.address); err != nil {
				c = nil
				x.refused.Add(1)
				time.Sleep(2 * time.Millisecond) // until somebody listens
				continue
			}
			r = bufio.NewReader(c)
		}
		number := x.sent.Add(1)
		closes, err := x.exchange(c, r, number)
		if err != nil {
			x.t.Errorf("request %d was lost: %v", number, err)
		}
		if err != nil || closes {
			hangUp()
		}
	}
}

func (x *traffic) exchange(c net.Conn, r *bufio.Reader, number uint64) (closes bool, err error) {
	c.SetDeadline(time.Now().Add(patience)) //nolint:errcheck // the read says it
	text := strconv.FormatUint(number, 10)
	_, err = fmt.Fprintf(c, "POST /%d HTTP/1.1\r\nHost: h\r\nX-User-Id: u%d\r\nContent-Length: %d\r\n\r\n%s", number, number, len(text), text)
	if err != nil {
		return true, err
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return true, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || string(body) != text {
		return true, fmt.Errorf("%s: %q: %w", resp.Status, body, errors.Join(err, errors.New("not the answer")))
	}
	x.mu.Lock()
	x.answered[number] = true
	x.mu.Unlock()
	return resp.Close, nil
}

// ended says whether the other side has closed an idle connection.
func ended(c net.Conn) bool {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return true
	}
	n := 0
	if err := raw.Control(func(fd uintptr) {
		n, _, err = unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
	}); err != nil {
		return true
	}
	return n == 0 || err != nil && !errors.Is(err, unix.EAGAIN)
}

// count waits for n more answers.
func (x *traffic) count(n int) {
	x.t.Helper()
	answers := func() int {
		x.mu.Lock()
		defer x.mu.Unlock()
		return len(x.answered)
	}
	for want, end := answers()+n, time.Now().Add(patience); answers() < want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			x.t.Fatalf("%d of %d more answers in time", answers()-want+n, n)
		}
	}
}

// end ends the clients and compares what they know with what the application
// knows: every request answered, and seen once.
func (x *traffic) end(l *ledger) {
	x.t.Helper()
	close(x.stop)
	x.clients.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for number := uint64(1); number <= x.sent.Load(); number++ {
		if !x.answered[number] || l.seen[number] != 1 {
			x.t.Errorf("request %d: answered %v, seen %d times", number, x.answered[number], l.seen[number])
		}
	}
	x.t.Logf("%d requests, %d refused connects", x.sent.Load(), x.refused.Load())
}

// program is the built proxy, and the processes that follow one another.
type program struct {
	t       *testing.T
	binary  string
	dir     string
	address string
	origin  string // the application of both datacenters
	ledger  *ledger
	store   *file.Store
}

// process is one of them. It need not be a child of this one.
type process struct {
	t    *testing.T
	pid  int
	fd   int    // that tells of its end
	said string // the file of its output
}

func build(t *testing.T) *program {
	t.Helper()
	p := &program{t: t, dir: t.TempDir(), ledger: newLedger(t)}
	p.origin = p.ledger.Listener.Addr().String()
	p.binary = built.path(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.address = l.Addr().String()
	l.Close() //nolint:errcheck // only the port was wanted
	if p.store, err = file.Open(filepath.Join(p.dir, "map"), file.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.store.Close() }) //nolint:errcheck // a test's
	first := rig{t: t, store: p.store}
	first.publishFirst()
	return p
}

// start starts a process by a configuration of its own, and waits until it is
// ready.
func (p *program) start(id string) *process {
	p.t.Helper()
	dir := filepath.Join(p.dir, id)
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.Mkdir(dir, 0o755); err != nil {
		p.t.Fatal(err)
	}
	writeFile(p.t, at("proxy.yaml"), fmt.Sprintf(`listen: %q
reuse_port: true
id: %s
admin: {listen: "127.0.0.1:0"}
map: {dir: %q}
identity: [{header: X-User-Id}]
datacenters: {legacy: {upstreams: [%q]}, cloud: {upstreams: [%q]}}
access_log: none
drain: {delay: 200ms, idle: 500ms, timeout: 10s}
restart: {pid_file: %q}
`, p.address, id, filepath.Join(p.dir, "map"), p.origin, p.origin, at("pid")))
	output, err := os.Create(at("output"))
	if err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.Command(p.binary, "run", "--config", at("proxy.yaml")) // ended by its own test
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with all that descend from it
	if err := errors.Join(cmd.Start(), output.Close()); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) //nolint:errcheck // gone, unless the test failed
		cmd.Wait()                                      //nolint:errcheck // its output says it
	})
	return p.await(id, 0)
}

// await waits until the process with the PID file of id is another one.
func (p *program) await(id string, before int) *process {
	p.t.Helper()
	x := &process{t: p.t, said: filepath.Join(p.dir, id, "output")}
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(filepath.Join(p.dir, id, "pid"))
		if err == nil {
			x.pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		}
		if err == nil && x.pid != before {
			break
		}
		if time.Now().After(end) {
			p.t.Fatalf("process %s is not ready: %v\n%s", id, err, x.output())
		}
	}
	var err error
	if x.fd, err = unix.PidfdOpen(x.pid, 0); err != nil {
		p.t.Fatalf("process %s ended: %v\n%s", id, err, x.output())
	}
	p.t.Cleanup(func() {
		unix.PidfdSendSignal(x.fd, syscall.SIGKILL, nil, 0) //nolint:errcheck // gone, unless the test failed
		unix.Close(x.fd)                                    //nolint:errcheck // the test's end
		if p.t.Failed() {
			p.t.Logf("process %d said:\n%s", x.pid, x.output())
		}
	})
	return x
}

func (x *process) output() string {
	text, err := os.ReadFile(x.said)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// rewrite changes its configuration, for the process that replaces it.
func (x *process) rewrite(old, new string) {
	x.t.Helper()
	path := filepath.Join(filepath.Dir(x.said), "proxy.yaml")
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), old) {
		x.t.Fatalf("no %s in the configuration: %v", old, err)
	}
	writeFile(x.t, path, strings.ReplaceAll(string(text), old, new))
}

func (x *process) signal(s syscall.Signal) {
	x.t.Helper()
	if err := unix.PidfdSendSignal(x.fd, s, nil, 0); err != nil {
		x.t.Fatal(err)
	}
}

// wait waits for its end.
func (x *process) wait() {
	x.t.Helper()
	for end := time.Now().Add(2 * patience); ; {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(x.fd), Events: unix.POLLIN}}, 100)
		if n == 1 {
			return
		}
		if err != nil && !errors.Is(err, unix.EINTR) || time.Now().After(end) {
			x.t.Fatalf("process %d does not end: %v\n%s", x.pid, err, x.output())
		}
	}
}

// end drains it.
func (x *process) end() {
	x.t.Helper()
	x.signal(syscall.SIGTERM)
	x.wait()
}

// run runs the program with an input, and returns all that it says.
func (p *program) run(input string, args ...string) (string, error) {
	cmd := exec.CommandContext(p.t.Context(), p.binary, args...)
	cmd.Stdin = strings.NewReader(input)
	said, err := cmd.CombinedOutput()
	return string(said), err
}

func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

// acks are the proxies that acknowledge, and which version.
func (p *program) acks() map[string]bucketmap.Version {
	p.t.Helper()
	list, err := p.store.Acks(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	acks := map[string]bucketmap.Version{}
	for _, a := range list {
		acks[a.Proxy] = a.Version
	}
	return acks
}
