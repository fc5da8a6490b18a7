package mirror

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"drover/bucketmap"
	"drover/internal/parity"
	"drover/internal/testrun"
	"drover/proxy/internal/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second // no test waits so long unless it fails

// world is a mirror between two applications, with a map in which everybody
// lives in a.
type world struct {
	t        testing.TB
	mirror   *Mirror
	snapshot atomic.Pointer[bucketmap.Snapshot]
	held     atomic.Bool
	a, b     atomic.Pointer[http.HandlerFunc]
	outcomes sync.Map // of *atomic.Int64
}

func (w *world) Current() *bucketmap.Snapshot { return w.snapshot.Load() }

func (w *world) Covers(*bucketmap.Snapshot, bucketmap.BucketID, bool) bool { return w.held.Load() }

func (w *world) Mirrored(o metrics.MirrorOutcome) {
	n, _ := w.outcomes.LoadOrStore(o, new(atomic.Int64))
	n.(*atomic.Int64).Add(1)
}

func newSnapshot(t testing.TB, home bucketmap.ShardName) *bucketmap.Snapshot {
	t.Helper()
	d := bucketmap.NewDraft(16)
	d.Default = bucketmap.Default{Datacenter: "a"}
	for _, dc := range []bucketmap.Datacenter{"a", "b"} {
		if err := d.PutShard(bucketmap.Shard{Name: bucketmap.ShardName("s-" + dc), Datacenter: dc}); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.SetHome(0, 15, home); err != nil {
		t.Fatal(err)
	}
	s, err := d.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newWorld(t testing.TB, change func(*Options)) *world {
	t.Helper()
	w := &world{t: t}
	w.snapshot.Store(newSnapshot(t, "s-a"))
	serve := func(handler *atomic.Pointer[http.HandlerFunc]) Target {
		server := httptest.NewServer(http.HandlerFunc(func(x http.ResponseWriter, r *http.Request) { (*handler.Load())(x, r) }))
		t.Cleanup(server.Close)
		return Target{Upstreams: []string{server.Listener.Addr().String()}}
	}
	w.handle(&w.a, "one answer")
	w.handle(&w.b, "one answer")
	o := Options{
		Proxy: "p", Share: 1, Salt: "s", Methods: []string{"GET", "HEAD"}, Pair: [2]bucketmap.Datacenter{"a", "b"},
		Targets: map[bucketmap.Datacenter]Target{"a": serve(&w.a), "b": serve(&w.b)},
		Timeout: patience, Connect: time.Second, KeepAlive: time.Second, Concurrency: 2, Queue: 100,
		BodyMax: 64 << 10, HeaderBytes: 16 << 10, Noise: true, NoiseShare: 0.05, Examples: 10,
		Table: w, Holds: w, Counter: w,
	}
	if change != nil {
		change(&o)
	}
	w.mirror = New(o)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.mirror.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) handle(of *atomic.Pointer[http.HandlerFunc], body string) {
	w.with(of, func(x http.ResponseWriter, _ *http.Request) { io.WriteString(x, body) }) //nolint:errcheck // a test's
}

func (w *world) with(of *atomic.Pointer[http.HandlerFunc], f http.HandlerFunc) { of.Store(&f) }

// pass is what the edge does with one request, and the answer that its user got.
func (w *world) pass(user, target, contentType, body string) bool {
	s := w.snapshot.Load()
	head := "GET " + target + " HTTP/1.1\r\nHost: h\r\nuser-agent: u\r\nx-odd_Name: v\r\nCookie: c\r\n"
	sample := w.mirror.Begin(&Request{Method: "GET", User: []byte(user), Snapshot: s, Decision: s.Decide([]byte(user)),
		Head: []byte(head), Status: 200, Length: int64(len(body))})
	if sample == nil {
		return false
	}
	sample.Field([]byte("Content-Type"), []byte(contentType))
	sample.Body([]byte(body))
	sample.End(true)
	return true
}

const textType = "text/plain; charset=utf-8" // net/http's, of the answers here

// judged waits until so many have their outcome.
func (w *world) judged(n uint64) parity.Report {
	w.t.Helper()
	var r parity.Report
	testrun.Until(w.t, "the outcomes", func() error {
		r = w.mirror.Report()
		if c := r.Total; c.Same+c.Different+c.Noise+c.Dropped+c.Failed+c.Timeout < n {
			return fmt.Errorf("only %+v of %d", r.Total, n)
		}
		return nil
	})
	return r
}

func TestTheShareIsOfTheUsersAndTheSameForEveryMirror(t *testing.T) {
	for _, share := range []float64{0.01, 0.3, 1} {
		const users = 100_000
		chosen, other := 0, 0
		limit := limitOf(share)
		for i := range users {
			user := fmt.Appendf(nil, "user-%d", i)
			if hash("s", user) <= limit {
				chosen++
				if hash("another", user) <= limit {
					other++
				}
			}
		}
		if d := math.Abs(float64(chosen)/users - share); d > 0.005 {
			t.Errorf("share %v: %d of %d", share, chosen, users)
		}
		if share < 1 && math.Abs(float64(other)/float64(chosen)-share) > 0.05 {
			t.Errorf("share %v: another salt chooses %d of the same %d", share, other, chosen)
		}
	}
	if got := hash("s", []byte("user-1")); got != 0x6209f41988bfb3ac {
		t.Errorf("got %#x: other users are mirrored than by the proxies of before", got)
	}
}

func TestARequestGoesOutAsItCame(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Noise = false })
	seen := make(chan string, 10)
	w.with(&w.b, func(x http.ResponseWriter, r *http.Request) {
		seen <- fmt.Sprint(r.RequestURI, " ", r.Host, " ", r.UserAgent(), " ", r.Header["Cookie"], " ", r.Header["X-Odd_name"], " ",
			r.Header.Get("X-Drover-Mirror"), " ", r.Header.Get("Drover-Datacenter"), " ", r.Header.Get("Accept-Encoding"))
		io.WriteString(x, "one answer") //nolint:errcheck // a test's
	})
	for _, target := range []string{"/", "/a%2fb?x=%zz&y", "//double?q", "/a?", "/ä", "*", `/"<>^`} {
		w.pass("u", target, textType, "one answer")
		if got, want := <-seen, target+" h u [c] [v] 1 b "; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if r := w.judged(7); r.Total.Same != 7 {
		t.Errorf("got %+v", r)
	}
}

func TestEachOutcomeIsCounted(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Noise, o.Concurrency, o.Timeout = false, 1, 300*time.Millisecond })
	w.pass("u", "/same", textType, "one answer")
	w.pass("u", "/different", textType, "another answer")
	w.judged(2)
	w.with(&w.b, func(x http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/timeout":
			<-r.Context().Done()
		case "/broken":
			x.Header().Set("Content-Length", "100")
			io.WriteString(x, "x") //nolint:errcheck // a test's
		case "/misdirected":
			x.Header().Set("Drover-Map-Version", "7")
			x.WriteHeader(http.StatusMisdirectedRequest)
		case "/long":
			io.WriteString(x, strings.Repeat("x", 65<<10)) //nolint:errcheck // a test's
		}
	})
	for _, path := range []string{"/timeout", "/broken", "/misdirected", "/long"} {
		w.pass("u", path, textType, "x")
	}
	w.judged(6)
	w.held.Store(true)
	if w.pass("u", "/held", textType, "x") {
		t.Error("a request of a held bucket is mirrored")
	}
	w.held.Store(false)
	r := w.judged(6)
	want := parity.Counts{Same: 1, Different: 2, Failed: 2, Timeout: 1}
	if r.Total != want || r.LastFailure == nil || !strings.Contains(r.LastFailure.Error, "421") {
		t.Errorf("got %+v, last %+v, want %+v", r.Total, r.LastFailure, want)
	}
}

func TestAUserWhoWritesBetweenTheTwoAnswersIsNoDifference(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.NoiseShare = 0 })
	total := atomic.Int64{}
	answer := func(x http.ResponseWriter, _ *http.Request) {
		x.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(x, `{"total":%d}`, total.Load())
	}
	w.with(&w.a, answer)
	w.with(&w.b, answer)
	body := func() string { return fmt.Sprintf(`{"total":%d}`, total.Load()) }
	const n = 60
	for i := range n {
		before := body()
		if i%6 == 5 {
			total.Add(1) // behind the answer to the user, before the mirrored one
		}
		w.pass("u", "/total", "application/json", before)
		w.judged(uint64(i + 1))
	}
	r := w.judged(n)
	if r.Total.Different != 0 || r.Total.Noise == 0 || r.Total.Same < n/2 {
		t.Errorf("got %+v", r.Total)
	}
}

func TestANoisyFieldThatIsSometimesAlikeIsLearnedAndForgivenForThePast(t *testing.T) {
	w := newWorld(t, nil)
	n := atomic.Int64{}
	w.with(&w.a, func(x http.ResponseWriter, _ *http.Request) {
		x.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(x, `{"coin":%t}`, n.Add(1)%2 == 0)
	})
	w.with(&w.b, func(x http.ResponseWriter, _ *http.Request) {
		x.Header().Set("Content-Type", "application/json")
		fmt.Fprint(x, `{"coin":true}`)
	})
	for i := range 200 {
		w.pass("u", "/x", "application/json", `{"coin":false}`)
		w.judged(uint64(i + 1))
	}
	r := w.judged(200)
	if r.Total.Different != 0 || len(r.Examples) != 0 || len(r.Classes) != 1 || len(r.Classes[0].Noise) != 1 || r.Classes[0].Noise[0].Field != "$.coin" {
		t.Errorf("got %+v", r)
	}
}

func TestWhereNothingIsLeftToCompareNothingIsCalledTheSame(t *testing.T) {
	w := newWorld(t, nil)
	n := atomic.Int64{}
	random := func(x http.ResponseWriter, _ *http.Request) { fmt.Fprintf(x, "answer %d", n.Add(1)) }
	w.with(&w.a, random)
	w.with(&w.b, random)
	for i := range 100 {
		w.pass("u", "/x", textType, "answer 0")
		w.judged(uint64(i + 1))
	}
	if r := w.judged(100); r.Total.Same != 0 || r.Total.Different != 0 || r.Differing.Upper != 1 {
		t.Errorf("got %+v", r)
	}
	// Nor where the second look at the user's own datacenter is refused.
	w.with(&w.a, func(x http.ResponseWriter, _ *http.Request) { x.WriteHeader(http.StatusForbidden) })
	w.handle(&w.b, "worse")
	for range 50 {
		w.pass("u", "/y", textType, "good")
	}
	if r := w.judged(150); r.Total.Same != 0 || r.Differing.Upper != 1 {
		t.Errorf("got %+v", r)
	}
}

func TestAnUpstreamThatFailedIsPassedOver(t *testing.T) {
	w := newWorld(t, func(o *Options) {
		o.Noise, o.Concurrency = false, 1
		good := o.Targets["b"].Upstreams[0]
		dead := httptest.NewServer(nil)
		dead.Close()
		o.Targets["b"] = Target{Upstreams: []string{dead.Listener.Addr().String(), good}}
	})
	for i := range 50 {
		w.pass("u", "/", textType, "one answer")
		w.judged(uint64(i + 1))
	}
	if r := w.judged(50); r.Total.Failed > 5 || r.Total.Same < 45 {
		t.Errorf("got %+v", r.Total)
	}
}

func TestPlacesAreGivenBack(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Queue, o.Noise = 1, false })
	for i := range 100 {
		if !w.pass("u", "/", textType, "one answer") {
			t.Fatalf("no place for request %d", i)
		}
		w.judged(uint64(3*i + 1))
		s := w.snapshot.Load()
		for _, end := range []func(*Sample){
			func(x *Sample) { x.End(false) },
			func(x *Sample) { x.Body(make([]byte, 65<<10)); x.Body([]byte("more")); x.End(true) },
		} {
			x := w.mirror.Begin(&Request{Method: "GET", User: []byte("u"), Snapshot: s, Decision: s.Decide([]byte("u")), Status: 200, Length: -1})
			if x == nil {
				t.Fatalf("no place for request %d", i)
			}
			end(x)
		}
	}
	testrun.Until(t, "all places free", func() error { // the last one's outcome is counted before its place is free
		if n := w.mirror.taken.Load(); n != 0 {
			return fmt.Errorf("%d are taken", n)
		}
		return nil
	})
}

func TestClassesVariantsAndExamplesAreBounded(t *testing.T) {
	var l ledger
	l.init(10)
	word := func(i int) string { return strings.Repeat(string(rune('a'+i%26)), 1+i/26) }
	for i := range 1000 {
		c := l.class("GET /" + word(i))
		l.different(c, []difference{{field: word(i), within: []string{word(i)}}}, parity.Example{Class: c.name})
		one := l.class("GET /a")
		own := comparison{differences: []difference{{field: word(i), within: []string{word(i)}}}}
		l.learn(one, own)
		l.different(one, own.differences, parity.Example{Class: one.name})
	}
	one := l.class("GET /a")
	if len(l.classes) > classesMax || len(l.examples) > 10 || len(one.seen) > noiseFieldsMax || len(one.differs) > variantsMax {
		t.Errorf("got %d classes, %d examples, %d fields, %d variants", len(l.classes), len(l.examples), len(one.seen), len(one.differs))
	}
	var r parity.Report
	l.report(&r, true)
	if r.Total.Different != 2000 {
		t.Errorf("got %+v, want 2000 different", r.Total)
	}
}

// BenchmarkWants is what a request costs that is not chosen.
func BenchmarkWants(b *testing.B) {
	w := newWorld(b, func(o *Options) { o.Share = 1e-9 })
	user := []byte("user-123456")
	d := w.snapshot.Load().Decide(user)
	b.ReportAllocs()
	for b.Loop() {
		if w.mirror.Wants("GET", user, d) {
			b.Fatal("chosen")
		}
	}
}

// BenchmarkSample is what a chosen request costs on its own path: an answer of
// 10 fields and 2 KiB is copied.
func BenchmarkSample(b *testing.B) {
	w := newWorld(b, nil)
	user, name, value, body := []byte("user-1"), []byte("X-Some-Name"), []byte("some value"), make([]byte, 2048)
	s := w.snapshot.Load()
	r := &Request{Method: "GET", User: user, Snapshot: s, Decision: s.Decide(user), Head: make([]byte, 500), Status: 200, Length: 2048}
	b.ReportAllocs()
	for b.Loop() {
		x := w.mirror.Begin(r)
		for range 10 {
			x.Field(name, value)
		}
		x.Body(body)
		x.End(false)
	}
}
