package pool

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"drover/bucketmap"
	"drover/proxy/internal/metrics"
)

func TestMain(m *testing.M) {
	// A look-up that is given up goes on in package net until its own timeout.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("internal/singleflight.(*Group).doCall"))
}

const long = 30 * time.Second // never waited for when all is well

func testSettings() Settings {
	return Settings{
		Connect: long, KeepAlive: long, ConnectionsMax: 4, Queue: 100, QueueTimeout: long, DNSRefresh: long,
		EjectAfter: 3, EjectFirst: time.Second, EjectMax: 5 * time.Second, RetryRatio: 0.2, RetryMin: 50,
	}
}

type rig struct {
	*Pools
	registry *prometheus.Registry
}

func newRig(t testing.TB, datacenters map[bucketmap.Datacenter]Datacenter, settings Settings) *rig {
	t.Helper()
	registry := prometheus.NewRegistry()
	p, err := New(datacenters, settings, metrics.New(registry, nil), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, pool := range p.pools {
			pool.close()
		}
	})
	return &rig{p, registry}
}

// newPoolOf is a rig with the one datacenter east.
func newPoolOf(t testing.TB, settings Settings, dc Datacenter) (*rig, *Pool) {
	t.Helper()
	r := newRig(t, map[bucketmap.Datacenter]Datacenter{"east": dc}, settings)
	return r, r.Of("east")
}

// run runs the pools until stop is called, or the test ends.
func (r *rig) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// sample returns the value of a metric's series; false when there is none.
func (r *rig) sample(t *testing.T, name string, labels ...string) (float64, bool) {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			same := f.GetName() == name && len(m.GetLabel()) == len(labels)
			for i := range labels {
				same = same && m.GetLabel()[i].GetValue() == labels[i]
			}
			if same {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue(), true
			}
		}
	}
	return 0, false
}

// until waits for what must become true.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// server accepts connections and keeps them.
type server struct {
	net.Listener
	accepted chan net.Conn

	mu         sync.Mutex
	conns      []net.Conn
	ended      bool
	open, most int
	total      int
}

// newServer serves each connection with each until it returns.
func newServer(t testing.TB, address string, each func(net.Conn)) *server {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, l, each)
}

func serve(t testing.TB, l net.Listener, each func(net.Conn)) *server {
	s := &server{Listener: l, accepted: make(chan net.Conn, 1000)}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.keep(c)
			s.count(1)
			s.accepted <- c
			group.Go(func() {
				each(c)
				s.count(-1)
				c.Close()
			})
		}
	})
	t.Cleanup(func() {
		l.Close() //nolint:errcheck // a test may have closed it
		s.end()
		group.Wait()
	})
	return s
}

// keep has end close the connection; at once when end has been called.
func (s *server) keep(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = append(s.conns, c)
	if s.ended {
		c.Close()
	}
}

func (s *server) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for _, c := range s.conns {
		c.Close()
	}
}

func (s *server) count(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open += n
	s.most = max(s.most, s.open)
	s.total += max(n, 0)
}

func (s *server) counts() (open, most, total int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open, s.most, s.total
}

func (s *server) address() string { return s.Addr().String() }

// echo sends back what comes.
func echo(c net.Conn) {
	io.Copy(c, c) //nolint:errcheck // ends with the connection
}

// talk sends a word on the connection and wants it back.
func talk(t *testing.T, c *Conn) {
	t.Helper()
	c.Socket.SetReadTimeout(long)
	if _, err := c.Write([]byte("word")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "word" {
		t.Fatalf("got %q, %v", b, err)
	}
}

func acquire(t testing.TB, h *Host, fresh bool) *Conn {
	t.Helper()
	c, err := h.Acquire(nil, time.Time{}, fresh)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// client is one that goes away when leave is called.
type client struct {
	mu   sync.Mutex
	gone bool
	tell func()
}

func (c *client) OnGone(f func()) {
	c.mu.Lock()
	c.tell = f
	gone := c.gone
	c.mu.Unlock()
	if gone && f != nil {
		f()
	}
}

func (c *client) leave() {
	c.mu.Lock()
	c.gone = true
	f := c.tell
	c.tell = nil
	c.mu.Unlock()
	if f != nil {
		f()
	}
}

// listening says whether somebody waits for the client's end.
func (c *client) listening() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tell != nil
}

// tally is Counters that can be read.
type tally struct {
	mu        sync.Mutex
	queued    map[QueueOutcome]int
	ejected   map[string]int
	forgotten map[string]int
}

func newTally() *tally {
	return &tally{queued: map[QueueOutcome]int{}, ejected: map[string]int{}, forgotten: map[string]int{}}
}

func (c *tally) Queued(_ bucketmap.Datacenter, o QueueOutcome, _ time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queued[o]++
}

func (c *tally) Ejected(_ bucketmap.Datacenter, upstream string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ejected[upstream]++
}

func (c *tally) Forget(_ bucketmap.Datacenter, upstream string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgotten[upstream]++
}

func (c *tally) of(o QueueOutcome) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queued[o]
}

func (c *tally) forgets(upstream string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.forgotten[upstream]
}

// waiting returns the length of the host's queue.
func (h *Host) waiting() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mu.queue.length
}

func wantConnectError(t *testing.T, err error) *ConnectError {
	t.Helper()
	var failed *ConnectError
	if !errors.As(err, &failed) {
		t.Fatalf("got %v, want a ConnectError", err)
	}
	return failed
}
