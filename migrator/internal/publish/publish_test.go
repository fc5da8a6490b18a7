package publish

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/file"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open returns a publisher on a map of ten buckets, all on alpha, and a second
// store on the same folder, as a proxy has.
func open(t *testing.T) (*Publisher, *file.Store) {
	t.Helper()
	dir := t.TempDir()
	var stores []*file.Store
	for range 2 {
		s, err := file.Open(dir, file.Options{})
		must(t, err)
		t.Cleanup(func() { must(t, s.Close()) })
		stores = append(stores, s)
	}
	d := bucketmap.NewDraft(10)
	must(t, d.PutShard(bucketmap.Shard{Name: "alpha", Datacenter: "legacy"}))
	must(t, d.PutShard(bucketmap.Shard{Name: "gamma", Datacenter: "cloud"}))
	must(t, d.SetHome(0, 9, "alpha"))
	d.Default = bucketmap.Default{Auto: true, Source: "legacy", Target: "cloud", Datacenter: "legacy"}
	snap, err := d.Snapshot()
	must(t, err)
	must(t, stores[0].Publish(t.Context(), snap, bucketmap.Change{Who: "test", Why: "first"}))
	return &Publisher{Store: stores[0], Who: "test"}, stores[1]
}

func load(t *testing.T, p *Publisher) *bucketmap.Snapshot {
	t.Helper()
	snap, err := p.Store.Load(t.Context())
	must(t, err)
	return snap
}

func TestAHoldWaitsForEveryLiveProxyAndNamesTheLate(t *testing.T) {
	p, proxy := open(t)
	must(t, proxy.Ack(t.Context(), bucketmap.Ack{Proxy: "edge-1", Version: 1}))
	limits := HoldLimits{Until: time.Second, Ack: 50 * time.Millisecond}
	err := p.Hold(t.Context(), "m-1", limits, []bucketmap.Hold{{First: 3, Last: 4}})
	if !errors.Is(err, ErrNotAcknowledged) || !strings.Contains(err.Error(), "edge-1 runs 1") {
		t.Fatalf("error %v, want ErrNotAcknowledged that names edge-1", err)
	}
	if _, held := load(t, p).HoldOf(3); !held {
		t.Error("the hold is not published")
	}

	limits.Ack = 10 * time.Second
	ended := make(chan error, 1)
	go func() { ended <- p.Hold(t.Context(), "m-1", limits, []bucketmap.Hold{{First: 5, Last: 5}}) }()
	must(t, proxy.Ack(t.Context(), bucketmap.Ack{Proxy: "edge-1", Version: 3}))
	must(t, <-ended)
	snap := load(t, p)
	if _, held := snap.HoldOf(3); held {
		t.Error("the move's earlier hold is still there")
	}
	if h, held := snap.HoldOf(5); !held || h.Move != "m-1" || time.Until(h.Until) > time.Second {
		t.Errorf("the hold is %+v", h)
	}
}

func TestReleaseEndsTheMovesHoldsAndNoOthers(t *testing.T) {
	p, _ := open(t)
	limits := DefaultHoldLimits()
	must(t, p.Hold(t.Context(), "m-1", limits, []bucketmap.Hold{{First: 3, Last: 4}}))
	must(t, p.Hold(t.Context(), "m-2", limits, []bucketmap.Hold{{First: 7, Last: 7}}))
	must(t, p.Release(t.Context(), "m-1"))
	snap := load(t, p)
	if holds := snap.Holds(); len(holds) != 1 || holds[0].Move != "m-2" {
		t.Errorf("holds %v, want m-2's alone", holds)
	}
	must(t, p.Release(t.Context(), "m-1"))
	if load(t, p).Version() != snap.Version() {
		t.Error("releasing nothing published a version")
	}
}

func TestANewHomeEndsTheHoldAndMovesTheDefaultInOneVersion(t *testing.T) {
	p, _ := open(t)
	must(t, p.Hold(t.Context(), "m-1", DefaultHoldLimits(), []bucketmap.Hold{{First: 0, Last: 5}}))
	before := load(t, p)
	snap, err := p.Home(t.Context(), "m-1", func(d *bucketmap.Draft) error { return d.SetHome(0, 5, "gamma") })
	must(t, err)
	if snap.Version() != before.Version()+1 || len(snap.Holds()) != 0 {
		t.Errorf("version %d with holds %v, want %d and none", snap.Version(), snap.Holds(), before.Version()+1)
	}
	if snap.Default().Datacenter != "cloud" {
		t.Errorf("default %s with six of ten buckets in cloud", snap.Default().Datacenter)
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	p, proxy := open(t)
	must(t, proxy.Ack(t.Context(), bucketmap.Ack{Proxy: "edge-1", Version: 1}))
	next, err := load(t, p).Edit().Snapshot()
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.WaitAcks(ctx, next, time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want canceled", err)
	}
}

func TestAnEditMovesNoMoreThanItMayAndANewHomeWhatItMust(t *testing.T) {
	p, _ := open(t)
	p.MaxChange = 0.2
	to := func(last bucketmap.BucketID, shard bucketmap.ShardName) func(*bucketmap.Draft) error {
		return func(d *bucketmap.Draft) error { return d.SetHome(0, last, shard) }
	}
	_, err := p.Edit(t.Context(), "three of ten", to(2, "gamma"))
	var refused *bucketmap.RefusedError
	if !errors.As(err, &refused) || refused.Rule != bucketmap.RuleMaxChange || !strings.Contains(err.Error(), "3 of 10") {
		t.Fatalf("error %v, want a refusal that says 3 of 10", err)
	}
	if load(t, p).Version() != 1 {
		t.Fatal("a refused edit was published")
	}
	snap, err := p.Edit(t.Context(), "two of ten", to(1, "gamma"))
	must(t, err)
	if snap.Moved() != 2 {
		t.Errorf("%d declared, want 2", snap.Moved())
	}
	if snap, err = p.Home(t.Context(), "m-1", to(9, "gamma")); err != nil || snap.Moved() != 10 {
		t.Fatalf("a new home of eight more: %v, %d declared, want 10", err, snap.Moved())
	}
	if _, err := p.Home(t.Context(), "m-1", to(9, "")); !errors.Is(err, bucketmap.ErrRefused) {
		t.Errorf("a map without a home: %v, want it refused for moves too", err)
	}
}

func TestWeightsDecideWhatAnEditMayMove(t *testing.T) {
	p, _ := open(t)
	p.MaxChange = 0.5
	p.Weight = func(b bucketmap.BucketID) uint64 { return map[bucketmap.BucketID]uint64{9: 99, 8: 1}[b] }
	heavy := func(d *bucketmap.Draft) error { return d.SetHome(9, 9, "gamma") }
	if _, err := p.Edit(t.Context(), "99 of 100 users", heavy); !errors.Is(err, bucketmap.ErrRefused) {
		t.Fatalf("error %v, want it refused", err)
	}
	_, err := p.Edit(t.Context(), "one user", func(d *bucketmap.Draft) error { return d.SetHome(0, 8, "gamma") })
	must(t, err)
	p.Weight = func(bucketmap.BucketID) uint64 { return 0 }
	if _, err := p.Edit(t.Context(), "all back", func(d *bucketmap.Draft) error { return d.SetHome(0, 8, "alpha") }); !errors.Is(err, bucketmap.ErrRefused) {
		t.Fatalf("error %v: weights that name nobody let everything through", err)
	}
}

func TestReplacingIsRefusedWhenAnotherWasFaster(t *testing.T) {
	p, _ := open(t)
	current := load(t, p)
	next, err := current.Edit().Snapshot()
	must(t, err)
	must(t, p.Replace(t.Context(), current, next, "mine"))
	if err := p.Replace(t.Context(), current, next, "again"); !errors.Is(err, bucketmap.ErrConflict) {
		t.Errorf("error %v, want a conflict", err)
	}
	if err := p.Replace(t.Context(), next, current, "older"); !errors.Is(err, bucketmap.ErrRefused) {
		t.Errorf("error %v, want it refused", err)
	}
}

func TestWaitingComparesDigestsAndEndsOnceEverybodyLateHasRefused(t *testing.T) {
	p, proxy := open(t)
	must(t, proxy.Ack(t.Context(), bucketmap.Ack{Proxy: "edge-1", Version: 1, Digest: bucketmap.Digest{1}}))
	var late *LateError
	err := p.WaitAcks(t.Context(), load(t, p), 50*time.Millisecond)
	if !errors.As(err, &late) || len(late.Late) != 1 || !strings.Contains(err.Error(), "another map of that version") {
		t.Fatalf("error %v, want one that says another map", err)
	}
	must(t, proxy.Ack(t.Context(), bucketmap.Ack{Proxy: "edge-1", Refused: 1, Reason: "no such place"}))
	err = p.WaitAcks(t.Context(), load(t, p), time.Hour)
	if !errors.Is(err, ErrNotAcknowledged) || !strings.Contains(err.Error(), "refused 1: no such place") {
		t.Fatalf("error %v, want the refusal", err)
	}
	must(t, proxy.Ack(t.Context(), bucketmap.Ack{Proxy: "edge-1", Version: 1, Digest: load(t, p).Digest()}))
	must(t, p.WaitAcks(t.Context(), load(t, p), time.Minute))
}
