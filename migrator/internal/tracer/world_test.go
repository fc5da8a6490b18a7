package tracer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"drover/bucketmap"
)

const testBuckets = 64

// fakeMap is a store whose newest map the test publishes, and tells of or not.
type fakeMap struct {
	mu       sync.Mutex
	versions []*bucketmap.Snapshot
	records  []bucketmap.Record // the newest first
	changed  func(*bucketmap.Snapshot, error)
	failing  error
	loads    int
}

func (m *fakeMap) Load(context.Context) (*bucketmap.Snapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.loads++
	if m.failing != nil {
		return nil, m.failing
	}
	return m.versions[len(m.versions)-1], nil
}

func (m *fakeMap) Watch(ctx context.Context, changed func(*bucketmap.Snapshot, error)) error {
	m.mu.Lock()
	m.changed = changed
	m.mu.Unlock()
	<-ctx.Done()
	return ctx.Err()
}

func (m *fakeMap) History(context.Context) ([]bucketmap.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.records, nil
}

func (m *fakeMap) At(_ context.Context, v bucketmap.Version) (*bucketmap.Snapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.versions {
		if s.Version() == v {
			return s, nil
		}
	}
	return nil, bucketmap.ErrNoMap
}

// publish publishes the next version.
func (m *fakeMap) publish(t testing.TB, when time.Time, edit func(*bucketmap.Draft)) *bucketmap.Snapshot {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	var d *bucketmap.Draft
	if len(m.versions) == 0 {
		d = bucketmap.NewDraft(testBuckets)
		d.Default.Datacenter = "legacy"
		must(t, errors.Join(d.PutShard(bucketmap.Shard{Name: "alpha", Datacenter: "legacy"}), d.PutShard(bucketmap.Shard{Name: "gamma", Datacenter: "cloud"}),
			d.SetHome(32, testBuckets-1, "alpha"), d.SetHome(0, 31, "gamma")))
	} else {
		d = m.versions[len(m.versions)-1].Edit()
	}
	edit(d)
	next, err := d.Snapshot()
	must(t, err)
	m.versions = append(m.versions, next)
	m.records = append([]bucketmap.Record{{Version: next.Version(), Digest: next.Digest(), When: when}}, m.records...)
	return next
}

// writes are what an application's database has, by user.
type writes struct {
	mu sync.Mutex
	n  map[string]int64
}

// add adds to a user's writes, and returns them.
func (w *writes) add(user string, n int64) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n[user] += n
	return w.n[user]
}

func same(*bucketmap.Draft) {}

func move(b bucketmap.BucketID, shard bucketmap.ShardName) func(*bucketmap.Draft) {
	return func(d *bucketmap.Draft) {
		if err := d.SetHome(b, b, shard); err != nil {
			panic(err)
		}
	}
}

// front is a proxy and its applications in one, as a test wants it to be.
type front struct {
	server *httptest.Server
	admin  *httptest.Server

	mu      sync.Mutex
	snap    *bucketmap.Snapshot // what the proxy runs
	hide    bool                // its headers
	counts  *writes
	before  func(r *http.Request)                                     // before anything is done
	served  func(dc bucketmap.Datacenter) bucketmap.Datacenter        // who answers for dc
	send    func(d bucketmap.Decision) (bucketmap.Datacenter, string) // where the proxy sends it
	count   func(n int64) int64                                       // what is told of a count
	answer  func(w http.ResponseWriter, r *http.Request) bool         // answers by itself
	shard   bucketmap.ShardName                                       // what the application says; empty: the truth
	again   bool                                                      // says that a write was there
	digest  string                                                    // of the acknowledgement; empty: the map's
	adminID string
}

func newFront(t testing.TB, snap *bucketmap.Snapshot) *front {
	t.Helper()
	f := &front{snap: snap, counts: &writes{n: map[string]int64{}}, adminID: "edge-1"}
	f.server = httptest.NewServer(http.HandlerFunc(f.serve))
	f.admin = httptest.NewServer(http.HandlerFunc(f.tell))
	t.Cleanup(f.server.Close)
	t.Cleanup(f.admin.Close)
	return f
}

func (f *front) tell(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	digest := f.digest
	if digest == "" {
		digest = f.snap.Digest().String()
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"proxy": f.adminID, "version": f.snap.Version(), "digest": digest})
}

func (f *front) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	before := f.before
	f.mu.Unlock()
	if before != nil {
		before(r)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	user := r.Header.Get("X-User-Id")
	d := f.snap.Decide([]byte(user))
	dc, reason := d.Datacenter, d.Reason.String()
	if f.send != nil {
		dc, reason = f.send(d)
	}
	if !f.hide {
		w.Header().Set(headerDatacenter, string(dc))
		w.Header().Set(headerRoute, reason)
		w.Header().Set(headerVersion, fmt.Sprint(f.snap.Version()))
	}
	if f.answer != nil && f.answer(w, r) {
		return
	}
	home, _ := f.snap.Home(d.Bucket)
	done := int64(0)
	if r.Method == http.MethodPost {
		done = 1
	}
	n, shard := f.counts.add(user, done), home.Name
	if f.count != nil {
		n = f.count(n)
	}
	if f.shard != "" {
		shard = f.shard
	}
	if f.served != nil {
		dc = f.served(dc)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"served": []any{map[string]any{"dc": dc, "shard": shard}}, "n": n, "again": f.again})
}

func (f *front) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func field(text string) Field {
	f, err := ParseField(text)
	if err != nil {
		panic(err)
	}
	return f
}

func testOptions(m Map, fronts ...*front) Options {
	headers := map[string]string{"X-User-Id": "{user}"}
	o := Options{Map: m, Prefix: "tracer", PerShard: 1, Rate: 500, Timeout: 5 * time.Second, Late: time.Second, Grace: 200 * time.Millisecond,
		Write: Request{Method: "POST", Path: "/w", Body: `{"id": "{id}"}`, Headers: headers, Status: 200,
			Datacenter: field("json:served.0.dc"), Shard: field("json:served.0.shard"), Count: field("json:n"), Duplicate: field("json:again")},
		Read: Request{Method: "GET", Path: "/r/{user}/{date}", Headers: headers, Status: 200, Datacenter: field("json:served.0.dc"), Count: field("json:n")}}
	for i, f := range fronts {
		o.Proxies = append(o.Proxies, Proxy{Name: fmt.Sprintf("edge-%d", i+1), URL: f.server.URL})
	}
	return o
}

// world is a map of two versions that were published long ago, a proxy that runs
// the newest, and a tracer that has started.
type world struct {
	t     *testing.T
	store *fakeMap
	front *front
	*Tracer
}

func newWorld(t *testing.T, change func(*Options)) *world {
	t.Helper()
	w := &world{t: t, store: &fakeMap{}}
	long := time.Now().Add(-time.Hour)
	w.store.publish(t, long, same)
	w.front = newFront(t, w.store.publish(t, long.Add(time.Minute), same))
	o := testOptions(w.store, w.front)
	if change != nil {
		change(&o)
	}
	var err error
	w.Tracer, err = New(o)
	must(t, err)
	t.Cleanup(w.Close)
	must(t, w.Start(t.Context()))
	return w
}

// once sends one tracer's requests, and returns their results.
func (w *world) once() []Result {
	w.t.Helper()
	results, err := w.One(w.t.Context(), "", true)
	must(w.t, err)
	return results
}

// want sends one tracer, and wants every result to be of an outcome, with words
// in its reason.
func (w *world) want(o Outcome, words string) {
	w.t.Helper()
	for _, r := range w.once() {
		if r.Outcome != o || !strings.Contains(r.Why, words) {
			w.t.Errorf("%s is %s: %s, want %s: %s", r.Kind, r.Outcome, r.Why, o, words)
		}
	}
}

// wantOne is want, for the write alone or the read alone.
func (w *world) wantOne(kind string, o Outcome, words string) {
	w.t.Helper()
	for _, r := range w.once() {
		if r.Kind == kind && (r.Outcome != o || !strings.Contains(r.Why, words)) {
			w.t.Errorf("%s is %s: %s, want %s: %s", r.Kind, r.Outcome, r.Why, o, words)
		}
	}
}

// bucket is that of the first tracer.
func (w *world) bucket() bucketmap.BucketID { return w.view.list()[0].bucket }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
