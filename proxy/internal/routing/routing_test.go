package routing

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"drover/bucketmap"
	"drover/proxy/internal/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newMap(t *testing.T, version bucketmap.Version, dc bucketmap.Datacenter) *bucketmap.Snapshot {
	t.Helper()
	d := bucketmap.NewDraft(8)
	d.Version = version
	d.Default = bucketmap.Default{Datacenter: dc}
	if err := errors.Join(d.PutShard(bucketmap.Shard{Name: "alpha", Datacenter: dc}), d.SetHome(0, 7, "alpha")); err != nil {
		t.Fatal(err)
	}
	s, err := d.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// source is a store in memory.
type source struct {
	load   func() (*bucketmap.Snapshot, error)
	events chan *bucketmap.Snapshot
	errs   chan error
	acks   chan bucketmap.Ack
	ackErr atomic.Pointer[error]
}

func newSource() *source {
	return &source{
		load:   func() (*bucketmap.Snapshot, error) { return nil, bucketmap.ErrNoMap },
		events: make(chan *bucketmap.Snapshot), errs: make(chan error), acks: make(chan bucketmap.Ack, 1000),
	}
}

func (s *source) Load(context.Context) (*bucketmap.Snapshot, error) { return s.load() }

func (s *source) Watch(ctx context.Context, changed func(*bucketmap.Snapshot, error)) error {
	for {
		select {
		case next := <-s.events:
			changed(next, nil)
		case err := <-s.errs:
			changed(nil, err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *source) Ack(_ context.Context, ack bucketmap.Ack) error {
	if err := s.ackErr.Load(); err != nil {
		return *err
	}
	s.acks <- ack
	return nil
}

func newTable(t testing.TB, s *source, change func(*Options)) *Table {
	t.Helper()
	o := Options{
		Source: s, Proxy: "p1", Datacenters: map[bucketmap.Datacenter]bool{"legacy": true},
		Metrics: metrics.New(prometheus.NewRegistry(), []bucketmap.Datacenter{"legacy"}), Log: zap.NewNop(),
	}
	if change != nil {
		change(&o)
	}
	return New(o)
}

func start(t *testing.T, table *Table) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	if err := table.Start(ctx); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- table.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestTheAcknowledgementFollowsTheLastRequestByTheOldMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		s.load = func() (*bucketmap.Snapshot, error) { return newMap(t, 1, "legacy"), nil }
		swapped := make(chan struct{}, 10)
		table := newTable(t, s, func(o *Options) { o.OnSwap = func(*bucketmap.Snapshot) { swapped <- struct{}{} } })
		stop := start(t, table)
		defer stop()
		<-swapped
		if ack := <-s.acks; ack.Version != 1 {
			t.Fatalf("got %+v", ack)
		}
		sending, ok := table.Enter(1)
		if !ok {
			t.Fatal("cannot send by the map in force")
		}
		s.events <- newMap(t, 2, "legacy")
		<-swapped // the swap is done; the acknowledgement waits
		if _, ok := table.Enter(1); ok {
			t.Error("a request may still go by the old map")
		}
		noAckOf(t, s, 2)
		sending.Leave()
		ackOf(s, 2)
	})
}

func TestEnterAndSwapNeverBothWin(t *testing.T) {
	s := newSource()
	s.load = func() (*bucketmap.Snapshot, error) { return newMap(t, 1, "legacy"), nil }
	table := newTable(t, s, nil)
	if err := table.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	var acked atomic.Uint64 // every version under it has no sender
	acked.Store(1)
	var senders sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		senders.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				v := table.Current().Version()
				sending, ok := table.Enter(v)
				if !ok {
					continue
				}
				if over := acked.Load(); uint64(v) < over {
					t.Errorf("sending by version %d after %d was acknowledged", v, over)
				}
				sending.Leave()
			}
		})
	}
	for v := bucketmap.Version(2); v < 2000; v++ {
		if err := table.Offer(t.Context(), newMap(t, v, "legacy")); err != nil {
			t.Fatal(err)
		}
		acked.Store(uint64(v))
	}
	close(stop)
	senders.Wait()
}

func TestWaitNewerWakesAtTheSwap(t *testing.T) {
	s := newSource()
	table := newTable(t, s, nil)
	if _, err := table.WaitNewer(t.Context(), 0); !errors.Is(err, bucketmap.ErrNoMap) {
		t.Errorf("got %v", err)
	}
	if err := table.Offer(t.Context(), newMap(t, 1, "legacy")); err != nil {
		t.Fatal(err)
	}
	got := make(chan bucketmap.Version, 1)
	go func() {
		next, err := table.WaitNewer(context.Background(), 1)
		if err == nil {
			got <- next.Version()
		}
	}()
	if err := table.Offer(t.Context(), newMap(t, 2, "legacy")); err != nil {
		t.Fatal(err)
	}
	if v := <-got; v != 2 {
		t.Errorf("got %d", v)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := table.WaitNewer(ctx, 2); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestAcknowledgementsAreTriedAgainUntilTheStoreTakesTheNewest(t *testing.T) {
	s := newSource()
	down := errors.New("down")
	s.ackErr.Store(&down)
	s.load = func() (*bucketmap.Snapshot, error) { return newMap(t, 1, "legacy"), nil }
	table := newTable(t, s, nil)
	stop := start(t, table)
	defer stop()
	s.events <- newMap(t, 2, "legacy")
	s.ackErr.Store(nil)
	for ack := range s.acks {
		if ack.Version == 2 {
			break
		}
	}
}

func TestTheLastMapIsKeptEvenWhenTheProxyEndsAtOnce(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "cache")
	s := newSource()
	s.load = func() (*bucketmap.Snapshot, error) { return newMap(t, 7, "legacy"), nil }
	start(t, newTable(t, s, func(o *Options) { o.Cache = cache }))()
	down := newSource()
	down.load = func() (*bucketmap.Snapshot, error) { return nil, errors.New("down") }
	table := newTable(t, down, func(o *Options) { o.Cache = cache })
	start(t, table)()
	if got := table.Current(); got == nil || got.Version() != 7 {
		t.Fatalf("got %v", got)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(cache), ".*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestABadKeptMapIsNoReasonNotToStart(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "cache")
	if err := os.WriteFile(cache, []byte("version: ["), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSource()
	s.load = func() (*bucketmap.Snapshot, error) { return newMap(t, 1, "legacy"), nil }
	table := newTable(t, s, func(o *Options) { o.Cache = cache })
	start(t, table)()
	if table.Current() == nil {
		t.Fatal("no map")
	}
}

func TestARefusedMapLeavesTheOneInForce(t *testing.T) {
	table := newTable(t, newSource(), nil)
	if err := table.Offer(t.Context(), newMap(t, 5, "legacy")); err != nil {
		t.Fatal(err)
	}
	for name, next := range map[string]*bucketmap.Snapshot{
		"older": newMap(t, 4, "legacy"), "no upstreams": newMap(t, 6, "mars"),
	} {
		if err := table.Offer(t.Context(), next); !errors.Is(err, bucketmap.ErrRefused) {
			t.Errorf("%s: got %v", name, err)
		}
		if table.Current().Version() != 5 {
			t.Fatalf("%s: version %d is in force", name, table.Current().Version())
		}
	}
	if err := table.Offer(t.Context(), newMap(t, 5, "legacy")); err != nil { // seen already
		t.Error(err)
	}
	if s := table.Status(); s.Refused != nil {
		t.Errorf("still shown: %+v", s.Refused)
	}
}
