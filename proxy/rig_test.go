package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"drover/bucketmap"
	"drover/bucketmap/file"
	"drover/proxy/internal/config"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// These two of fasthttp end late, or never, by its design.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.Cleanup(func(code int) {
			if err := built.remove(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = 1
			}
			os.Exit(code)
		}))
}

const (
	legacy bucketmap.Datacenter = "legacy"
	cloud  bucketmap.Datacenter = "cloud"

	buckets  = 64
	patience = 10 * time.Second // no test waits so long unless it fails
)

// app is an application in one datacenter.
type app struct {
	*httptest.Server
	handler atomic.Pointer[http.HandlerFunc]
	served  atomic.Int64
}

func newApp(t *testing.T, dc bucketmap.Datacenter) *app {
	a := &app{}
	a.handle(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) //nolint:errcheck // a test's client
		fmt.Fprint(w, dc)
	})
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.served.Add(1)
		(*a.handler.Load())(w, r)
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *app) handle(f http.HandlerFunc) { a.handler.Store(&f) }

func (a *app) address() string { return a.Listener.Addr().String() }

// rig is a proxy with two datacenters and a store.
type rig struct {
	t       *testing.T
	config  *config.Config
	store   bucketmap.Store
	dir     string
	apps    map[bucketmap.Datacenter]*app
	clients string // address
	admin   string
	http    *http.Client
	out     *buffer
	log     buffer
	signals chan os.Signal // SIGHUP, as far as the proxy knows
	cancel  context.CancelFunc
	done    chan error
}

// newRig starts the applications, publishes a map where every bucket is in
// legacy, and starts a proxy.
func newRig(t *testing.T, change func(*config.Config)) *rig {
	t.Helper()
	r := prepareRig(t, change)
	r.publishFirst()
	r.start()
	r.waitAck(func(a bucketmap.Ack) bool { return a.Version == 1 })
	return r
}

func prepareRig(t *testing.T, change func(*config.Config)) *rig {
	t.Helper()
	r := &rig{t: t, out: &buffer{}, signals: make(chan os.Signal), apps: map[bucketmap.Datacenter]*app{legacy: newApp(t, legacy), cloud: newApp(t, cloud)}}
	dir := t.TempDir()
	r.dir = dir
	c := config.Default()
	c.Listen, c.Admin.Listen, c.ID = "127.0.0.1:0", "127.0.0.1:0", "p1"
	c.Map.Dir, c.Map.Cache = filepath.Join(dir, "map"), filepath.Join(dir, "cache")
	c.Identity = []config.Identity{{Header: "X-User-Id"}, {Cookie: "uid"}}
	c.Datacenters = map[string]config.Datacenter{}
	for dc, a := range r.apps {
		c.Datacenters[string(dc)] = config.Datacenter{Upstreams: []string{a.address()}}
	}
	c.Passport.Sample = 1
	c.Drain = config.Drain{Idle: 50 * time.Millisecond, Timeout: patience}
	c.Log.Level = "debug"
	if change != nil {
		change(&c)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	r.config = &c
	if r.store == nil && c.Map.Store == config.StoreFile {
		store, err := file.Open(c.Map.Dir, file.Options{})
		if err != nil {
			t.Fatal(err)
		}
		r.publishBy(store)
	}
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 1000}
	r.http = &http.Client{Transport: transport, Timeout: 3 * patience}
	t.Cleanup(transport.CloseIdleConnections)
	return r
}

// publishBy makes store the one that the tests publish by.
func (r *rig) publishBy(store interface {
	bucketmap.Store
	Close() error
}) {
	r.store = store
	r.t.Cleanup(func() { store.Close() }) //nolint:errcheck // a test's
}

// start starts the proxy and waits until it listens.
func (r *rig) start() {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.done = cancel, make(chan error, 1)
	listening := make(chan struct{})
	log := &r.log
	done := r.done
	go func() {
		done <- run(ctx, r.config, surroundings{out: r.out, err: log, reopen: r.signals, listening: func(clients, admin net.Addr) {
			r.clients, r.admin = clients.String(), admin.String()
			close(listening)
		}})
	}()
	select {
	case <-listening:
	case err := <-done:
		r.t.Fatalf("the proxy ended: %v\n%s", err, log.String())
	}
	r.t.Cleanup(func() {
		r.http.CloseIdleConnections()
		if err := r.stop(); err != nil {
			r.t.Errorf("the proxy ended with %v", err)
		}
		if r.t.Failed() {
			r.t.Logf("log:\n%s\npassports:\n%s", log.String(), r.out.String())
		}
	})
}

// stop ends the proxy and waits for it. Again it does nothing.
func (r *rig) stop() error {
	r.cancel()
	if r.done == nil {
		return nil
	}
	err := <-r.done
	r.done = nil
	return err
}

func (r *rig) publishFirst() {
	r.t.Helper()
	d := bucketmap.NewDraft(buckets)
	d.Default = bucketmap.Default{Datacenter: legacy}
	for _, dc := range []bucketmap.Datacenter{legacy, cloud} {
		if err := d.PutShard(bucketmap.Shard{Name: bucketmap.ShardName("shard-" + dc), Datacenter: dc}); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := d.SetHome(0, buckets-1, "shard-legacy"); err != nil {
		r.t.Fatal(err)
	}
	s, err := d.Snapshot()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.store.Publish(r.t.Context(), s, bucketmap.Change{Who: "test", Why: "first"}); err != nil {
		r.t.Fatal(err)
	}
}

// publish changes the map and waits for the proxy's acknowledgement.
func (r *rig) publish(edit func(*bucketmap.Draft)) bucketmap.Version {
	r.t.Helper()
	v := r.publishOnly(edit)
	r.waitAck(func(a bucketmap.Ack) bool { return a.Version >= v })
	return v
}

func (r *rig) publishOnly(edit func(*bucketmap.Draft)) bucketmap.Version {
	r.t.Helper()
	s, err := bucketmap.Update(r.t.Context(), r.store, bucketmap.Change{Who: "test"}, func(d *bucketmap.Draft) error {
		edit(d)
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return s.Version()
}

func (r *rig) waitAck(want func(bucketmap.Ack) bool) {
	r.t.Helper()
	err := waitAcks(r.t, r.store, func(acks []bucketmap.Ack) bool {
		return slices.ContainsFunc(acks, func(a bucketmap.Ack) bool { return a.Proxy == r.config.ID && want(a) })
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// waitAcks waits until the acknowledgements of all are as wanted.
func waitAcks(t *testing.T, store bucketmap.Fleet, want func([]bucketmap.Ack) bool) error {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var last []bucketmap.Ack
	err := store.WatchAcks(ctx, func(acks []bucketmap.Ack) bool {
		last = acks
		return !want(acks)
	})
	if err != nil {
		return fmt.Errorf("waiting for the acknowledgement: %w; last %v", err, last)
	}
	return nil
}

func holdBucket(b bucketmap.BucketID, d time.Duration) func(*bucketmap.Draft) {
	return func(draft *bucketmap.Draft) {
		draft.Holds = append(draft.Holds, bucketmap.Hold{First: b, Last: b, Move: "m-1",
			Until: time.Now().Add(d).UTC().Truncate(time.Millisecond)})
	}
}

func endHold(d *bucketmap.Draft) { d.DropHolds("m-1") }

// moveTo gives the bucket a new home and ends its hold.
func moveTo(t *testing.T, b bucketmap.BucketID, dc bucketmap.Datacenter) func(*bucketmap.Draft) {
	return func(d *bucketmap.Draft) {
		d.DropHolds("m-1")
		if err := d.SetHome(b, b, bucketmap.ShardName("shard-"+dc)); err != nil {
			t.Error(err)
		}
		d.Epochs[b] = max(d.Epochs[b], bucketmap.FirstEpoch) + 1
	}
}

func bucketOf(user string) bucketmap.BucketID { return bucketmap.Bucket([]byte(user), buckets) }

// answer is what a client got.
type answer struct {
	status int
	body   string
	header http.Header
	err    error
}

func (a answer) String() string { return fmt.Sprintf("%d %q %v", a.status, a.body, a.err) }

func (r *rig) do(method, path, user string, body io.Reader) answer {
	req, err := http.NewRequestWithContext(context.Background(), method, "http://"+r.clients+path, body)
	if err != nil {
		return answer{err: err}
	}
	if user != "" {
		req.Header.Set("X-User-Id", user)
	}
	return r.send(req)
}

func (r *rig) send(req *http.Request) answer {
	resp, err := r.http.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, string(text), resp.Header, err}
}

func (r *rig) get(user string) answer { return r.do(http.MethodGet, "/", user, nil) }

// later makes a request and gives its answer when it comes.
func (r *rig) later(method, user, body string) <-chan answer {
	got := make(chan answer, 1)
	go func() { got <- r.do(method, "/", user, strings.NewReader(body)) }()
	return got
}

func (r *rig) want(got answer, status int, body string) {
	r.t.Helper()
	if got.err != nil || got.status != status || got.body != body {
		r.t.Fatalf("got %v, want %d %q", got, status, body)
	}
}

func (r *rig) adminGet(path string) string {
	r.t.Helper()
	resp, err := r.http.Get("http://" + r.admin + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(text)
}

// metric sums the values of a metric whose labels contain all of labels.
func (r *rig) metric(name string, labels ...string) float64 {
	r.t.Helper()
	sum := 0.0
lines:
	for line := range strings.SplitSeq(r.adminGet("/metrics"), "\n") {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest == "" || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(rest, l) {
				continue lines
			}
		}
		v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			r.t.Fatal(err)
		}
		sum += v
	}
	return sum
}

// eventually waits until ok.
func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			r.t.Fatalf("never: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func (r *rig) eventuallyHeld(n int) {
	r.t.Helper()
	r.eventually(fmt.Sprintf("%d requests held", n), func() bool { return r.metric("drover_proxy_held_requests") == float64(n) })
}

// raw is a client that writes bytes.
type raw struct {
	t *testing.T
	net.Conn
	*bufio.Reader
}

func (r *rig) dial() raw {
	r.t.Helper()
	c, err := net.Dial("tcp", r.clients)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience)) //nolint:errcheck // a test's
	return raw{r.t, c, bufio.NewReader(c)}
}

func (c raw) Read(p []byte) (int, error) { return c.Reader.Read(p) }

func (c raw) WriteTo(w io.Writer) (int64, error) { return c.Reader.WriteTo(w) }

func (c raw) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, text); err != nil {
		c.t.Fatal(err)
	}
}

// response reads one response, its body too.
func (c raw) response(method string) answer {
	c.t.Helper()
	resp, err := http.ReadResponse(c.Reader, &http.Request{Method: method})
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, string(text), resp.Header, err}
}

// buffer is safe for concurrent use.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// passports returns the lines written.
func (r *rig) passports() []map[string]any {
	var lines []map[string]any
	for line := range strings.Lines(r.out.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			r.t.Fatalf("%q: %v", line, err)
		}
		lines = append(lines, m)
	}
	return lines
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
