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
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.WaitAcks(ctx, 2, time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want canceled", err)
	}
}
