package cli

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"drover/bucketmap"
	"drover/bucketmap/file"
	"drover/bucketmap/push"
	"drover/tools/testservers"
)

// edge is a proxy as publishers see it: a real receiver on an admin server, and
// the counters that a canary is judged by.
type edge struct {
	t                  *testing.T
	server             *httptest.Server
	receiver           *push.Receiver
	ends, responses    *prometheus.CounterVec
	mu                 sync.Mutex
	current            *bucketmap.Snapshot
	refuse             func(*bucketmap.Snapshot) error // nil: takes everything that may succeed
	came               func(*bucketmap.Snapshot)       // told of what comes into force
	versions           []bucketmap.Version             // that came into force
	failing            func(*bucketmap.Snapshot) bool  // whether requests fail with this map
	requestsEachScrape int
}

func newEdge(t *testing.T, id string, options push.ReceiverOptions) *edge {
	t.Helper()
	e := &edge{t: t, requestsEachScrape: 10}
	options.Proxy, options.Offer, options.Current = id, e.offer, e.inForce
	var err error
	e.receiver, err = push.NewReceiver(options)
	must(t, err)
	registry := prometheus.NewRegistry()
	e.ends = prometheus.NewCounterVec(prometheus.CounterOpts{Name: metricEnds}, []string{"end"})
	e.responses = prometheus.NewCounterVec(prometheus.CounterOpts{Name: metricResponses}, []string{"datacenter", "class"})
	registry.MustRegister(e.ends, e.responses)
	e.ends.WithLabelValues("answered").Add(1000)
	e.responses.WithLabelValues("legacy", "2xx").Add(1000)
	e.responses.WithLabelValues("legacy", "5xx").Add(0)
	mux := http.NewServeMux()
	mux.Handle("/map", e.receiver)
	mux.Handle("/map/ack", e.receiver)
	metrics := promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, r *http.Request) {
		e.serve()
		metrics.ServeHTTP(w, r)
	})
	e.server = httptest.NewServer(mux)
	t.Cleanup(e.server.Close)
	return e
}

// serve is the traffic between two looks at the counters.
func (e *edge) serve() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for range e.requestsEachScrape {
		e.ends.WithLabelValues("answered").Inc()
		class := "2xx"
		if e.failing != nil && e.current != nil && e.failing(e.current) {
			class = "5xx"
		}
		e.responses.WithLabelValues("legacy", class).Inc()
	}
}

func (e *edge) offer(_ context.Context, next *bucketmap.Snapshot) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.refuse != nil {
		if err := e.refuse(next); err != nil {
			return err
		}
	}
	if err := (bucketmap.Guard{Reader: true, MaxChange: 0.1}).Check(e.current, next); err != nil {
		return err
	}
	e.current = next
	e.versions = append(e.versions, next.Version())
	if e.came != nil {
		e.came(next)
	}
	return nil
}

func (e *edge) inForce() *bucketmap.Snapshot {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.current
}

// follow makes the edge take maps from a store too, as a proxy does whose store
// is not push, and acknowledge there.
func (e *edge) follow(source bucketmap.Source, id string) {
	e.t.Helper()
	ctx, cancel := context.WithCancel(e.t.Context())
	acks := make(chan bucketmap.Ack, 100) // more than a test has versions
	e.came = func(snap *bucketmap.Snapshot) {
		acks <- bucketmap.Ack{Proxy: id, Version: snap.Version(), Digest: snap.Digest()}
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			select {
			case ack := <-acks:
				if err := errors.Join(source.Ack(ctx, ack), e.receiver.Ack(ctx, ack)); err != nil && ctx.Err() == nil {
					e.t.Error(err)
				}
			case <-ctx.Done():
				return
			}
		}
	})
	running.Go(func() {
		_ = source.Watch(ctx, func(next *bucketmap.Snapshot, err error) { // ends with ctx
			if err == nil {
				_ = e.offer(ctx, next) // a version that it has, or that its guard refuses
			}
		})
	})
	e.t.Cleanup(func() { cancel(); running.Wait() })
	e.await(func(snap *bucketmap.Snapshot) bool { return snap != nil })
}

// await waits until the edge acknowledges a map.
func (e *edge) await(good func(*bucketmap.Snapshot) bool) {
	e.t.Helper()
	for range 1000 {
		snap := e.inForce()
		if ack, err := (&canary{base: e.server.URL, client: e.server.Client()}).ack(e.t.Context()); err == nil && good(snap) && snap.Version() == ack.Version {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	e.t.Fatalf("the edge runs %v", e.inForce())
}

// initialized is a desktop with a store of another kind, after migrator init.
func initialized(t *testing.T, mapConfig string) *desktop {
	t.Helper()
	d := newDesktop(t)
	d.configure(mapConfig)
	d.want(0, initArgs, "map version 1 is published")
	return d
}

// configure replaces the configuration's map.
func (d *desktop) configure(mapConfig string) {
	d.t.Helper()
	text, err := os.ReadFile(d.path("migrator.yaml"))
	must(d.t, err)
	_, rest, ok := strings.Cut(string(text), "\n")
	if !ok {
		d.t.Fatal("the configuration has one line")
	}
	d.write("migrator.yaml", "map: "+mapConfig+"\n"+rest)
}

// fileProxy acknowledges in the file store.
func (d *desktop) fileProxy() *file.Store {
	d.t.Helper()
	proxy, err := file.Open(d.path("map"), file.Options{})
	must(d.t, err)
	d.t.Cleanup(func() { must(d.t, proxy.Close()) })
	return proxy
}

func (d *desktop) load() *bucketmap.Snapshot {
	d.t.Helper()
	snap, err := d.fileProxy().Load(d.t.Context())
	must(d.t, err)
	return snap
}

// keys makes a pair and returns the public half.
func (d *desktop) keys(name string) ed25519.PublicKey {
	d.t.Helper()
	d.want(0, []string{"map", "keygen", "--out", d.path(name)}, "is the private key")
	keys, err := loadKeys(d.path(name + ".pub"))
	must(d.t, err)
	return keys[0]
}

var consulServer struct {
	sync.Once
	server *testservers.Consul
	err    error
}

// consulConfig is the configuration of a map of its own on a real Consul.
func consulConfig(t *testing.T) string {
	t.Helper()
	fleet, n := startFleet(t)
	consulServer.Do(func() {
		consulServer.server, consulServer.err = fleet.Consul(context.Background(), "consul", testservers.ConsulOptions{})
	})
	must(t, consulServer.err)
	return fmt.Sprintf("{store: consul, consul: {address: %q, prefix: drover/%d}}", consulServer.server.Addr(), n)
}

// keyOf is short for tests.
type keyOf = ed25519.PublicKey
