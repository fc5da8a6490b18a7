package push

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"drover/bucketmap"
	"drover/bucketmap/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testMax is when a test gives up. No test that passes comes near it.
const testMax = 20 * time.Second

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// edge is a proxy with an admin server: a Receiver, the map in force and the
// guards of a proxy.
type edge struct {
	*Receiver
	server *httptest.Server

	mu struct {
		sync.Mutex
		current *bucketmap.Snapshot
		guard   bucketmap.Guard
		puts    []string      // the Content-Type of each PUT
		block   chan struct{} // when not nil, Offer waits for it to be closed
		entered chan struct{} // when not nil, gets a value from each Offer
	}
}

// setup changes an edge before its server starts.
type setup struct {
	id      string
	address string // to listen on
	options ReceiverOptions
	tls     *tls.Config
}

func newEdge(t testing.TB, s setup) *edge {
	t.Helper()
	e := &edge{}
	s.options.Proxy = s.id
	s.options.Offer = e.offer
	s.options.Current = func() *bucketmap.Snapshot {
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.mu.current
	}
	e.mu.guard.Reader = true
	var err error
	e.Receiver, err = NewReceiver(s.options)
	must(t, err)
	e.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			e.mu.Lock()
			e.mu.puts = append(e.mu.puts, r.Header.Get("Content-Type"))
			e.mu.Unlock()
		}
		e.ServeHTTP(w, r)
	}))
	if s.address != "" {
		must(t, e.server.Listener.Close())
		e.server.Listener, err = net.Listen("tcp", s.address)
		must(t, err)
	}
	if s.tls != nil {
		e.server.TLS = s.tls
		e.server.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are wanted
		e.server.StartTLS()
	} else {
		e.server.Start()
	}
	t.Cleanup(e.server.Close)
	return e
}

func (e *edge) offer(ctx context.Context, next *bucketmap.Snapshot) error {
	e.mu.Lock()
	guard, current, block, entered := e.mu.guard, e.mu.current, e.mu.block, e.mu.entered
	e.mu.Unlock()
	if entered != nil {
		entered <- struct{}{}
	}
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if current != nil && current.Equal(next) {
		return nil
	}
	ack := bucketmap.Ack{Proxy: e.options.Proxy, Since: time.Now()}
	err := guard.Check(current, next)
	if err != nil {
		ack.Refused, ack.Reason = next.Version(), err.Error()
	} else {
		e.mu.Lock()
		e.mu.current = next
		e.mu.Unlock()
		current = next
	}
	if current != nil {
		ack.Version, ack.Digest = current.Version(), current.Digest()
	}
	return errors.Join(err, e.Ack(ctx, ack))
}

func (e *edge) version() bucketmap.Version {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.mu.current == nil {
		return 0
	}
	return e.mu.current.Version()
}

// took returns the types of the PUTs since it was asked last.
func (e *edge) took() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	puts := e.mu.puts
	e.mu.puts = nil
	return puts
}

func open(t testing.TB, options Options) *Store {
	t.Helper()
	if options.Dir == "" {
		options.Dir = t.TempDir()
	}
	s, err := Open(options)
	must(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testMax)
	t.Cleanup(cancel)
	return ctx
}

// more publishes the next version, with one user more on the whitelist.
func more(t testing.TB, ctx context.Context, s *Store) *bucketmap.Snapshot {
	t.Helper()
	next, err := bucketmap.Update(ctx, s, bucketmap.Change{Who: "test", Why: "more"}, func(d *bucketmap.Draft) error {
		d.Whitelist[fmt.Sprintf("user-%d", d.Version)] = "cloud"
		return nil
	})
	must(t, err)
	return next
}

func first(t testing.TB, ctx context.Context, s *Store) *bucketmap.Snapshot {
	t.Helper()
	m := storetest.First(t)
	must(t, s.Publish(ctx, m, bucketmap.Change{Who: "test", Why: "first"}))
	return m
}

// await waits until the acknowledgements are as wanted.
func await(t testing.TB, ctx context.Context, s *Store, wanted func([]bucketmap.Ack) bool) {
	t.Helper()
	var last []bucketmap.Ack
	err := s.WatchAcks(ctx, func(acks []bucketmap.Ack) bool {
		last = acks
		return !wanted(acks)
	})
	if err != nil {
		t.Fatalf("%v; the last acknowledgements were %+v", err, last)
	}
}

func allRun(m *bucketmap.Snapshot) func([]bucketmap.Ack) bool {
	return func(acks []bucketmap.Ack) bool {
		return !slices.ContainsFunc(acks, func(a bucketmap.Ack) bool { return a.Version != m.Version() || a.Digest != m.Digest() })
	}
}

func wantTypes(t testing.TB, e *edge, want ...string) {
	t.Helper()
	if got := e.took(); !slices.Equal(got, want) {
		t.Fatalf("proxy %s was sent %q, want %q", e.options.Proxy, got, want)
	}
}
