package consul

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"drover/bucketmap"
)

// gateway stands before the shared agent.
type gateway struct {
	*httptest.Server
	forward *httputil.ReverseProxy
	// around may answer a request itself, and then says true.
	around func(w http.ResponseWriter, r *http.Request) bool
}

func newGateway(t *testing.T, listener net.Listener) *gateway {
	t.Helper()
	g := &gateway{forward: httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: shared.server.Addr()})}
	transport := new(http.Transport)
	g.forward.Transport = transport
	g.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.around == nil || !g.around(w, r) {
			g.forward.ServeHTTP(w, r)
		}
	}))
	if listener != nil {
		must(t, g.Listener.Close())
		g.Listener = listener
	}
	g.Start()
	t.Cleanup(func() { g.CloseClientConnections(); g.Close(); transport.CloseIdleConnections() })
	return g
}

// follow watches and acknowledges three versions by a store.
func follow(t *testing.T, proxy *Store) {
	t.Helper()
	o := proxy.options
	o.Address = shared.server.Addr()
	publisher := open(t, o)
	now := publishTo(t, publisher, 1)
	calls := watching(t, proxy)
	for version := range bucketmap.Version(3) {
		if version != 0 {
			now = publish(t, publisher, edit(t, now))
		}
		if got := awaitVersion(t, calls, version+1); !got.Equal(now) {
			t.Fatal("another map")
		}
		must(t, proxy.Ack(within(t), bucketmap.Ack{Proxy: "p1", Version: version + 1}))
		acks, err := publisher.Acks(within(t))
		if err != nil || len(acks) != 1 || acks[0].Version != version+1 {
			t.Fatalf("%v, %v", acks, err)
		}
	}
}

func TestVersionsComeThroughASocket(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "drover-") // a socket's path is at most 107 bytes long
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	path := filepath.Join(dir, "consul.sock")
	listener, err := net.Listen("unix", path)
	must(t, err)
	newGateway(t, listener)
	follow(t, open(t, Options{Address: "unix://" + path, Prefix: prefix()}))
}

func TestVersionsComeThroughAGatewayThatHasConsulInAFolder(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil)
	g.around = func(w http.ResponseWriter, r *http.Request) bool {
		path, ok := strings.CutPrefix(r.URL.Path, "/consul")
		if !ok {
			http.NotFound(w, r)
		}
		r.URL.Path = path
		return !ok
	}
	follow(t, open(t, Options{Address: g.URL + "/consul", Prefix: prefix()}))
}

// acquires says whether a request is an acknowledgement.
func acquires(r *http.Request) bool {
	return r.Method == http.MethodPut && r.URL.Query().Has("acquire")
}

func TestAnAckIsSentAgainWhileThereIsNoLeader(t *testing.T) {
	t.Parallel()
	var left atomic.Int64
	g := newGateway(t, nil)
	g.around = func(w http.ResponseWriter, r *http.Request) bool {
		if !acquires(r) || left.Add(-1) < 0 {
			return false
		}
		http.Error(w, "No cluster leader", http.StatusInternalServerError)
		return true
	}
	s := open(t, Options{Address: g.URL, Prefix: prefix()})
	for version := range bucketmap.Version(3) {
		left.Store(int64(version))
		must(t, s.Ack(within(t), bucketmap.Ack{Proxy: "p1", Version: version}))
		if acks, err := s.Acks(within(t)); err != nil || len(acks) != 1 || acks[0].Version != version {
			t.Fatalf("%v, %v", acks, err)
		}
	}
}

// The agent took the acknowledgement, and its connection broke before it said
// so: it is asked again, and nobody hears of it.
func TestAnAckWhoseAnswerIsLostIsGivenAgain(t *testing.T) {
	t.Parallel()
	var lose atomic.Bool
	g := newGateway(t, nil)
	g.around = func(_ http.ResponseWriter, r *http.Request) bool {
		if acquires(r) && lose.CompareAndSwap(true, false) {
			g.forward.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		return false
	}
	s := open(t, Options{Address: g.URL, Prefix: prefix()})
	for version := range bucketmap.Version(3) {
		lose.Store(version != 0) // the first is on a new connection, of which nobody knows whether it is one to Consul
		must(t, s.Ack(within(t), bucketmap.Ack{Proxy: "p1", Version: version}))
		if lose.Load() {
			t.Fatal("no answer was lost")
		}
		if acks, err := s.Acks(within(t)); err != nil || len(acks) != 1 || acks[0].Version != version {
			t.Fatalf("%v, %v", acks, err)
		}
	}
}

// Consul's rules for indexes: one that goes back, and one of zero, begin anew.
func TestAWatchAsksByTheIndexOfTheLastAnswer(t *testing.T) {
	t.Parallel()
	publisher := open(t, options())
	var values []string
	for now := publishTo(t, publisher, 1); len(values) < 4; now = publish(t, publisher, edit(t, now)) {
		values = append(values, string(getRaw(t, publisher, publisher.pointerKey())))
	}
	type step struct {
		asked   string // the query's index
		index   int
		version int // of the map, from 1
	}
	steps := []step{
		{"", 10, 1}, {"10", 12, 2}, {"12", 5, 2}, {"", 5, 2}, {"5", 9, 3}, {"9", 0, 3}, {"", 0, 3}, {"1", 20, 4},
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	queries := make(chan string, len(steps))
	agent := newGateway(t, nil)
	var count atomic.Int64
	agent.around = func(w http.ResponseWriter, r *http.Request) bool {
		if !r.URL.Query().Has("raw") {
			return false // history and chunks
		}
		n := int(count.Add(1)) - 1
		if n >= len(steps) {
			<-ctx.Done()
			return true
		}
		queries <- r.URL.Query().Get("index")
		w.Header().Set("X-Consul-Index", fmt.Sprint(steps[n].index))
		_, err := fmt.Fprint(w, values[steps[n].version-1])
		return err == nil
	}
	o := publisher.options
	o.Address = agent.URL
	calls := watching(t, open(t, o))
	for version := range bucketmap.Version(4) {
		if c := next(t, calls); c.err != nil || c.snapshot.Version() != version+1 {
			t.Fatalf("%v, %v, want version %d", c.snapshot, c.err, version+1)
		}
	}
	for i, s := range steps {
		if got := <-queries; got != s.asked {
			t.Errorf("request %d asked by the index %q, want %q", i, got, s.asked)
		}
	}
	cancel()
}
