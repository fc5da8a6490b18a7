package tracer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"drover/bucketmap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAProxyThatHangsKeepsNoOtherFromBeingTried(t *testing.T) {
	t.Parallel()
	store := &fakeMap{}
	snap := store.publish(t, time.Now().Add(-time.Hour), same)
	hangs, good := newFront(t, snap), newFront(t, snap)
	good.counts = hangs.counts
	done := make(chan struct{})
	hangs.before = func(r *http.Request) {
		select {
		case <-done:
		case <-r.Context().Done():
		}
	}
	var rights atomic.Int64
	enough := make(chan struct{})
	o := testOptions(store, hangs, good)
	o.Report = func(r Result) {
		if r.Proxy == "edge-2" && r.Outcome == Right && rights.Add(1) == 50 {
			close(enough)
		}
	}
	w, err := New(o)
	must(t, err)
	must(t, w.Start(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	select {
	case <-enough:
	case <-time.After(30 * time.Second):
		t.Error("the good proxy is not tried")
	}
	cancel()
	must(t, <-ended)
	close(done)
	w.Close()
	for _, p := range w.Status().Proxies {
		if p.Bad() != 0 {
			t.Errorf("what was cut off by the end is counted: %+v", p)
		}
	}
}

func TestEveryTracerGoesThroughEveryProxyAndTheRateIsKept(t *testing.T) {
	t.Parallel()
	store := &fakeMap{}
	snap := store.publish(t, time.Now().Add(-time.Hour), func(d *bucketmap.Draft) {
		d.Whitelist = map[string]bucketmap.Datacenter{"tracer-vip": "cloud", "other": "cloud"}
	})
	a, b := newFront(t, snap), newFront(t, snap)
	b.counts = a.counts
	var mu sync.Mutex
	seen := map[string]int{}
	o := testOptions(store, a, b)
	o.PerShard, o.Rate = 3, 200
	o.Report = func(r Result) {
		mu.Lock()
		defer mu.Unlock()
		seen[r.Proxy+" "+r.User+" "+string(r.Expected.Datacenter)]++
		if r.Outcome != Right {
			t.Errorf("%+v", r)
		}
	}
	w, err := New(o)
	must(t, err)
	defer w.Close()
	must(t, w.Start(t.Context()))
	began := time.Now()
	must(t, w.Round(t.Context()))
	// 7 tracers, 2 proxies, 2 requests: 28, of which the last turn is not waited for.
	if took := time.Since(began); took < 100*time.Millisecond {
		t.Errorf("28 requests at 200 a second took %s", took)
	}
	if len(seen) != 14 || seen["edge-1 tracer-vip cloud"] != 2 {
		t.Errorf("seen %v", seen)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(w.Collector())
	families, err := registry.Gather()
	must(t, err)
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetType() == dto.MetricType_GAUGE {
				labels := ""
				for _, l := range m.GetLabel() {
					labels += "{" + l.GetValue() + "}"
				}
				got[f.GetName()+labels] = m.GetGauge().GetValue()
			}
		}
	}
	for name, want := range map[string]float64{"drover_tracer_users{cloud}": 4, "drover_tracer_users{legacy}": 3, "drover_tracer_untraced": 0,
		"drover_tracer_map_readable": 1, "drover_tracer_published_map_version": 1, "drover_tracer_proxy_map_version{edge-1}": 1} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v, want %v", name, v, want)
		}
	}
	if got["drover_tracer_last_right_timestamp_seconds{edge-2}"] == 0 {
		t.Error("nobody knows when a tracer through edge-2 was right")
	}
}

type fleet struct {
	acks []bucketmap.Ack
	err  error
}

func (f fleet) Acks(context.Context) ([]bucketmap.Ack, error) { return f.acks, f.err }

func TestALiveProxyThatNoTracerGoesThroughIsSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.Fleet = fleet{acks: []bucketmap.Ack{{Proxy: "edge-1"}, {Proxy: "edge-7"}}} })
	if s := w.Status(); len(s.Untraced) != 1 || !strings.Contains(s.Untraced[0], "edge-7") {
		t.Errorf("%+v", s)
	}
	w = newWorld(t, func(o *Options) { o.Fleet = fleet{err: errors.New("no answer")} })
	if s := w.Status(); s.Error != "no answer" {
		t.Errorf("%+v", s)
	}
}

func TestATracerStaysWhenItsBucketMovesAndItsShardGetsAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	first := w.view.list()[0]
	w.view.changed(w.store.publish(t, time.Now(), move(first.bucket, "gamma")), nil)
	users := w.view.list()
	if len(users) != 3 || users[0] != first {
		t.Fatalf("tracers %v, want the two of before and another", users)
	}
	if home, _ := w.store.versions[2].Home(users[2].bucket); home.Name != "alpha" {
		t.Errorf("the new tracer lives on %s", home.Name)
	}
	for b := bucketmap.BucketID(32); b < testBuckets; b++ { // and one after the other all go
		w.view.changed(w.store.publish(t, time.Now(), move(b, "gamma")), nil)
	}
	if n := len(w.view.list()); n != 1+surplusMax {
		t.Errorf("gamma has %d tracers, want its own and %d that came", n, surplusMax)
	}
	if n := len(first.places); n > placesMax {
		t.Errorf("%d places are kept", n)
	}
	if s := w.Status(); len(s.Empty) != 1 || s.Empty[0] != "legacy" {
		t.Errorf("%+v", s)
	}
}

func TestTracersOfTwoHundredShardsAreFoundAlsoForAShardWithOneBucket(t *testing.T) {
	t.Parallel()
	const buckets = 1 << 18
	d := bucketmap.NewDraft(buckets)
	d.Default.Datacenter = "legacy"
	for i := range 200 {
		name := bucketmap.ShardName(fmt.Sprintf("s%d", i))
		must(t, errors.Join(d.PutShard(bucketmap.Shard{Name: name, Datacenter: "legacy"}), d.SetHome(bucketmap.BucketID(i*1250), bucketmap.BucketID(i*1250+1249), name)))
	}
	only := bucketmap.Bucket([]byte("tracer-300000"), buckets)
	must(t, errors.Join(d.PutShard(bucketmap.Shard{Name: "last", Datacenter: "cloud"}), d.SetHome(250_000, buckets-1, "s199"), d.SetHome(only, only, "last")))
	snap, err := d.Snapshot()
	must(t, err)
	began := time.Now()
	users, short := choose(snap, nil, "tracer-", 1, began)
	if len(users) != 201 || len(short) != 0 {
		t.Errorf("%d tracers, none for %v", len(users), short)
	}
	t.Logf("%d tracers in %s, the last of a shard with one bucket of %d", len(users), time.Since(began), buckets)
}

func TestTemplatesAreFilledSoThatAUserIdCannotBreakThem(t *testing.T) {
	t.Parallel()
	var path, body, header atomic.Value
	w := newWorld(t, func(o *Options) {
		o.Write.Path, o.Write.Body = "/u/{user}/d", `{"u": "{user}", "id": "{id}", "d": "{date}"}`
	})
	w.front.before = func(r *http.Request) {
		if r.Method == http.MethodPost {
			text := make([]byte, 200)
			n, _ := r.Body.Read(text)
			path.Store(r.URL.EscapedPath())
			body.Store(string(text[:n]))
			header.Store(r.Header.Get("X-User-Id"))
		}
	}
	const user = `a/b"c?d e`
	_, err := w.One(t.Context(), user, true)
	must(t, err)
	if path.Load() != `/u/a%2Fb%22c%3Fd%20e/d` || header.Load() != user || !strings.HasPrefix(fmt.Sprint(body.Load()), `{"u": "a/b\"c?d e", "id": "t`) {
		t.Errorf("%v %v %v", path.Load(), body.Load(), header.Load())
	}
	results, err := w.One(t.Context(), "a\nb", true)
	if err != nil || results[0].Outcome != Failed {
		t.Errorf("a user id that no header can hold: %+v %v", results, err)
	}
	if _, err := w.One(t.Context(), strings.Repeat("x", 257), false); err == nil {
		t.Error("a user id of 257 bytes is taken")
	}
}

func TestFieldsThatCannotBeAreRefused(t *testing.T) {
	for _, text := range []string{"datacenter", "header:", "json:", "json:a..b", "header:a b", "xml:a"} {
		if _, err := ParseField(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for range 3 * recentMax {
		w.report(Result{Proxy: "edge-1", Kind: KindRead, Outcome: Failed})
	}
	if s := w.Status(); len(s.Recent) != recentMax || s.Proxies[0].Requests != 3*recentMax || s.Bad() != 3*recentMax {
		t.Errorf("%d results are kept of %+v", len(s.Recent), s.Proxies)
	}
	for v := range versionsMax + 100 {
		shard := bucketmap.ShardName("alpha")
		if v%2 == 0 {
			shard = "gamma"
		}
		w.view.changed(w.store.publish(t, time.Now(), move(w.bucket(), shard)), nil)
		w.store.versions = w.store.versions[len(w.store.versions)-1:]
	}
	if len(w.view.mu.versions) != versionsMax || len(w.view.list()[0].places) > placesMax {
		t.Errorf("%d versions and %d places are kept", len(w.view.mu.versions), len(w.view.list()[0].places))
	}
	if since, behind := w.view.behind(2); !behind || since.IsZero() {
		t.Error("a version that is no longer known is not behind")
	}
}

func TestOptionsThatProveNothingAreRefused(t *testing.T) {
	store := &fakeMap{}
	store.publish(t, time.Now(), same)
	f := newFront(t, store.versions[0])
	for name, spoil := range map[string]func(*Options){
		"no proxy":      func(o *Options) { o.Proxies = nil },
		"no request":    func(o *Options) { o.Write, o.Read = Request{}, Request{} },
		"no datacenter": func(o *Options) { o.Write.Datacenter, o.Read.Datacenter = Field{}, Field{} },
		"no rate":       func(o *Options) { o.Rate = 0 },
		"a name twice":  func(o *Options) { o.Proxies = append(o.Proxies, o.Proxies[0]) },
	} {
		o := testOptions(store, f)
		spoil(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestRunsHaveDatesOfTheirOwnFarFromAnyDayOfPeople(t *testing.T) {
	for seed, want := range map[uint32]string{0: "2100-01-01", dateDays - 1: "2999-12-31", dateDays: "2100-01-01"} {
		if got := dateOf(seed); got != want {
			t.Errorf("date of %d is %s, want %s", seed, got, want)
		}
	}
}
