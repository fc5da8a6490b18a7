package hold

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"drover/bucketmap"
	"drover/proxy/internal/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const buckets = 8

// newMap returns a map of a version where these buckets are held by a move.
func newMap(t *testing.T, version bucketmap.Version, move bucketmap.MoveID, until time.Time, held ...bucketmap.BucketID) *bucketmap.Snapshot {
	t.Helper()
	d := bucketmap.NewDraft(buckets)
	d.Version = version
	d.Default = bucketmap.Default{Datacenter: "legacy"}
	if err := d.PutShard(bucketmap.Shard{Name: "a", Datacenter: "legacy"}); err != nil {
		t.Fatal(err)
	}
	if err := d.SetHome(0, buckets-1, "a"); err != nil {
		t.Fatal(err)
	}
	for _, b := range held {
		d.Holds = append(d.Holds, bucketmap.Hold{First: b, Last: b, Move: move, Until: until.UTC().Truncate(time.Millisecond)})
	}
	s, err := d.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type fixture struct {
	*Manager
	metrics *metrics.Metrics
}

func newManager(t *testing.T, change func(*Options)) fixture {
	t.Helper()
	o := Options{
		RequestsMax: 100, Total: 1000, Bytes: 1 << 20, WaitMax: 10 * time.Second, ReactiveMax: 10 * time.Second,
		ReleaseRate: 1_000_000, ClientPoll: time.Millisecond,
		Metrics: metrics.New(prometheus.NewRegistry(), []bucketmap.Datacenter{"legacy"}),
	}
	if change != nil {
		change(&o)
	}
	return fixture{New(o), o.Metrics}
}

func (f fixture) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.Run(ctx) //nolint:errcheck // always nil
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

func (f fixture) waitHeld(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); f.Status().Requests != n; time.Sleep(100 * time.Microsecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d held, want %d", f.Status().Requests, n)
		}
	}
}

// waitOutcome waits until just n requests ended so.
func (f fixture) waitOutcome(t *testing.T, o Outcome, n int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); f.outcome(o) != n; time.Sleep(100 * time.Microsecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d are %v, want %d", f.outcome(o), o, n)
		}
	}
}

func value(c prometheus.Metric) int {
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		return -1
	}
	return int(m.GetCounter().GetValue())
}

func (f fixture) outcome(o Outcome) int {
	return value(f.metrics.Holds.WithLabelValues(o.String()))
}

func (f fixture) wantBalance(t *testing.T) {
	t.Helper()
	sum := f.Status().Requests
	for _, o := range Outcomes() {
		sum += f.outcome(o)
	}
	if entered := value(f.metrics.HoldEntered); entered != sum {
		t.Errorf("%d entered, %d accounted for", entered, sum)
	}
}

func ticket(s *bucketmap.Snapshot, b bucketmap.BucketID) Ticket {
	return Ticket{Bucket: b, Snapshot: s, Entered: time.Now(), Bytes: 10}
}

func TestTheCountersBalanceUnderAnything(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	f := newManager(t, func(o *Options) {
		o.RequestsMax, o.Total, o.Bytes, o.WaitMax, o.ReactiveMax, o.ReleaseRate = 4, 12, 200, 3*time.Millisecond, 2*time.Millisecond, 20_000
	})
	f.run(t)
	var current atomic.Pointer[bucketmap.Snapshot]
	set := func(s *bucketmap.Snapshot) {
		current.Store(s)
		f.Swap(s)
	}
	set(newMap(t, 1, "m", time.Now()))
	var requests sync.WaitGroup
	var returned [Shutdown + 1]atomic.Int64
	for w := range 16 {
		requests.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(w)))
			for range 300 {
				s, b := current.Load(), bucketmap.BucketID(random.IntN(buckets))
				if random.IntN(4) == 0 {
					f.React(s, b)
				}
				if random.IntN(8) == 0 {
					f.EndReactive(b)
				}
				tk := ticket(s, b)
				tk.MapOnly = random.IntN(4) == 0
				if random.IntN(4) == 0 {
					gone := time.Now().Add(time.Duration(random.IntN(2000)) * time.Microsecond)
					tk.Gone = func() bool { return time.Now().After(gone) }
				}
				if f.Covers(s, b, tk.MapOnly) {
					returned[f.Wait(tk)].Add(1)
				} else {
					time.Sleep(50 * time.Microsecond) // so that maps change meanwhile
				}
			}
		})
	}
	stop := make(chan struct{})
	var maps sync.WaitGroup
	maps.Go(func() {
		random := rand.New(rand.NewPCG(seed, 99))
		for v := bucketmap.Version(2); ; v++ {
			select {
			case <-stop:
				return
			default:
			}
			var held []bucketmap.BucketID
			for b := range bucketmap.BucketID(buckets) {
				if random.IntN(2) == 0 {
					held = append(held, b)
				}
			}
			set(newMap(t, v, bucketmap.MoveID([]string{"m", "n"}[random.IntN(2)]), time.Now().Add(time.Duration(random.IntN(5))*time.Millisecond), held...))
			time.Sleep(300 * time.Microsecond)
		}
	})
	requests.Wait()
	close(stop)
	maps.Wait()
	f.Drain()
	f.wantBalance(t)
	s := f.Status()
	if s.Requests != 0 || s.Bytes != 0 || s.Releasing != 0 || len(s.Buckets) != 0 {
		t.Errorf("left behind: %+v", s)
	}
	for _, o := range Outcomes() {
		if int(returned[o].Load()) != f.outcome(o) {
			t.Errorf("%s: %d returned, %d counted", o, returned[o].Load(), f.outcome(o))
		}
		t.Logf("%s %d", o, f.outcome(o))
	}
}

func TestReleasedInOrderOfArrival(t *testing.T) {
	f := newManager(t, func(o *Options) { o.ReleaseRate, o.ReleaseBurst = 1000, 1 })
	f.run(t)
	held := newMap(t, 1, "m", time.Now().Add(time.Minute), 3)
	f.Swap(held)
	const n = 20
	order := make(chan int, n)
	for i := range n {
		go func() {
			if o := f.Wait(ticket(held, 3)); o != Released {
				t.Errorf("request %d: %s", i, o)
			}
			order <- i
		}()
		f.waitHeld(t, i+1)
	}
	begun := time.Now()
	f.Swap(newMap(t, 2, "m", time.Now()))
	var got []int
	for range n {
		got = append(got, <-order)
	}
	if d := time.Since(begun); d < (n-3)*time.Millisecond {
		t.Errorf("%d requests were released in %s, at 1 a millisecond", n, d)
	}
	// Each is a goroutine of its own: neighbours may overtake after their release.
	for i, v := range got {
		if v < i-5 || v > i+5 {
			t.Errorf("released in the order %v", got)
			break
		}
	}
	f.wantBalance(t)
}

func TestTheDeadlineIsTheEarliestOfHoldAndWait(t *testing.T) {
	for name, c := range map[string]struct {
		until, waitMax time.Duration
	}{"the hold's": {20 * time.Millisecond, time.Minute}, "the request's": {time.Minute, 20 * time.Millisecond}} {
		t.Run(name, func(t *testing.T) {
			f := newManager(t, func(o *Options) { o.WaitMax = c.waitMax })
			s := newMap(t, 1, "m", time.Now().Add(c.until), 3)
			f.Swap(s)
			begun := time.Now()
			if o := f.Wait(ticket(s, 3)); o != Expired {
				t.Errorf("got %s", o)
			}
			if d := time.Since(begun); d > 10*time.Second {
				t.Errorf("waited %s", d)
			}
			f.wantBalance(t)
		})
	}
}

func TestAHoldThatIsMadeLongerKeepsItsRequests(t *testing.T) {
	f := newManager(t, nil)
	s := newMap(t, 1, "m", time.Now().Add(50*time.Millisecond), 3)
	f.Swap(s)
	got := make(chan Outcome, 1)
	go func() { got <- f.Wait(ticket(s, 3)) }()
	f.waitHeld(t, 1)
	until := time.Now().Add(300 * time.Millisecond)
	f.Swap(newMap(t, 2, "m", until, 3))
	if o := <-got; o != Expired || time.Now().Before(until.Truncate(time.Millisecond)) {
		t.Errorf("%s, %s before its new end", o, time.Until(until))
	}
}

func TestAnotherMovesHoldReleases(t *testing.T) {
	f := newManager(t, nil)
	s := newMap(t, 1, "m", time.Now().Add(time.Minute), 3)
	f.Swap(s)
	got := make(chan Outcome, 1)
	go func() { got <- f.Wait(ticket(s, 3)) }()
	f.waitHeld(t, 1)
	f.Swap(newMap(t, 2, "n", time.Now().Add(time.Minute), 3))
	if o := <-got; o != Released {
		t.Errorf("got %s", o)
	}
}

func TestARequestDecidedByAnOlderMapDoesNotWait(t *testing.T) {
	f := newManager(t, nil)
	old := newMap(t, 1, "m", time.Now().Add(time.Minute), 3)
	f.Swap(newMap(t, 2, "m", time.Now().Add(time.Minute), 3))
	if o := f.Wait(ticket(old, 3)); o != NotHeld {
		t.Errorf("got %s", o)
	}
	// And one decided by a map that Swap does not know yet does.
	next := newMap(t, 3, "m", time.Now().Add(time.Minute), 4)
	got := make(chan Outcome, 1)
	go func() { got <- f.Wait(ticket(next, 4)) }()
	f.waitHeld(t, 1)
	f.Drain()
	if o := <-got; o != Shutdown {
		t.Errorf("got %s", o)
	}
}

func TestEveryBoundLetsRequestsOut(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"in a bucket": func(o *Options) { o.RequestsMax = 2 },
		"in all":      func(o *Options) { o.Total = 2 },
		"bytes":       func(o *Options) { o.Bytes = 25 },
	} {
		t.Run(name, func(t *testing.T) {
			f := newManager(t, change)
			s := newMap(t, 1, "m", time.Now().Add(time.Minute), 3)
			f.Swap(s)
			got := make(chan Outcome, 2)
			for range 2 {
				go func() { got <- f.Wait(ticket(s, 3)) }()
			}
			f.waitHeld(t, 2)
			if o := f.Wait(ticket(s, 3)); o != Full {
				t.Errorf("got %s", o)
			}
			f.Drain()
			if a, b := <-got, <-got; a != Shutdown || b != Shutdown {
				t.Errorf("got %s, %s", a, b)
			}
			f.wantBalance(t)
		})
	}
}

func TestReactiveHoldEndsWithAMapThatChangesTheBucketOnly(t *testing.T) {
	f := newManager(t, nil)
	s := newMap(t, 1, "m", time.Now())
	f.Swap(s)
	f.React(s, 3)
	if !f.Covers(s, 3, false) || f.Covers(s, 3, true) || f.Covers(s, 4, false) {
		t.Fatal("the reactive hold covers the wrong requests")
	}
	got := make(chan Outcome, 1)
	go func() { got <- f.Wait(ticket(s, 3)) }()
	f.waitHeld(t, 1)
	f.Swap(newMap(t, 2, "m", time.Now().Add(time.Minute), 4)) // another bucket's
	f.waitHeld(t, 1)
	next := newMap(t, 3, "m", time.Now(), 4)
	d := next.Edit()
	if err := d.PutShard(bucketmap.Shard{Name: "b", Datacenter: "cloud"}); err != nil {
		t.Fatal(err)
	}
	if err := d.SetHome(3, 3, "b"); err != nil {
		t.Fatal(err)
	}
	moved, err := d.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	f.Swap(moved)
	if o := <-got; o != Released || f.Covers(moved, 3, false) {
		t.Errorf("got %s", o)
	}
	// A 421 that comes late, by the old map, begins none.
	f.React(s, 3)
	if f.Covers(moved, 3, false) {
		t.Error("a late 421 began a hold")
	}
	f.wantBalance(t)
}

func TestOutcomesHaveNames(t *testing.T) {
	names := []string{}
	for _, o := range append(Outcomes(), NotHeld) {
		if slices.Contains(names, o.String()) || o.String() == "unknown" {
			t.Errorf("outcome %d: %s", o, o)
		}
		names = append(names, o.String())
	}
}
