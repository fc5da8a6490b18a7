package publish

import (
	"context"
	"errors"
	"testing"

	"drover/bucketmap"
)

// counting is a store that stages, and can be told what a commit says.
type counting struct {
	Store
	stager    bucketmap.Stager
	published int
	staged    int
	answer    func(bucketmap.Staged) error // nil commits
}

func (c *counting) Publish(ctx context.Context, next *bucketmap.Snapshot, change bucketmap.Change) error {
	c.published++
	return c.Store.Publish(ctx, next, change)
}

func (c *counting) Stage(ctx context.Context, next *bucketmap.Snapshot, change bucketmap.Change) (bucketmap.Staged, error) {
	c.staged++
	st, err := c.stager.Stage(ctx, next, change)
	return &countingStaged{st, c}, err
}

type countingStaged struct {
	bucketmap.Staged
	store *counting
}

func (c *countingStaged) Commit(ctx context.Context) error {
	if c.store.answer != nil {
		return c.store.answer(c.Staged)
	}
	return c.Staged.Commit(ctx)
}

// openCounting returns a publisher on a store that counts, with bucket 5 held for
// m-1.
func openCounting(t *testing.T) (*Publisher, *counting) {
	t.Helper()
	p, other := open(t)
	must(t, p.Hold(t.Context(), "m-1", DefaultHoldLimits(), []bucketmap.Hold{{First: 5, Last: 5}}))
	c := &counting{Store: p.Store, stager: other}
	p.Store = c
	return p, c
}

func toGamma(d *bucketmap.Draft) error { return d.SetHome(5, 5, "gamma") }

func prepare(t *testing.T, p *Publisher, edit func(*bucketmap.Draft) error) *PreparedHome {
	t.Helper()
	h, err := p.PrepareHome(t.Context(), "m-1", edit)
	must(t, err)
	t.Cleanup(h.Discard)
	return h
}

// wantHome checks that bucket 5 is at home on gamma, and nothing is held.
func wantHome(t *testing.T, p *Publisher, snap *bucketmap.Snapshot, version bucketmap.Version) {
	t.Helper()
	home, _ := snap.Home(5)
	if snap.Version() != version || home.Name != "gamma" || len(snap.Holds()) != 0 || !load(t, p).Equal(snap) {
		t.Errorf("version %d with %s and %v, in force %d; want %d", snap.Version(), home.Name, snap.Holds(), load(t, p).Version(), version)
	}
	records, err := p.Store.History(t.Context())
	must(t, err)
	if records[0].Why != "new home by m-1" || records[0].Who != "test" || records[0].Version != version {
		t.Errorf("newest record %+v", records[0])
	}
}

func TestAPreparedHomeIsPublishedByItsCommitAlone(t *testing.T) {
	p, c := openCounting(t)
	edits := 0
	h := prepare(t, p, func(d *bucketmap.Draft) error { edits++; return toGamma(d) })
	if v := load(t, p).Version(); v != 2 {
		t.Fatalf("version %d is in force before it is published", v)
	}
	for range 2 { // the second time it is done
		snap, err := h.Publish(t.Context())
		must(t, err)
		wantHome(t, p, snap, 3)
		if snap.Moved() != 1 {
			t.Errorf("%d declared, want 1", snap.Moved())
		}
	}
	h.Discard()
	if c.published != 0 || c.staged != 1 || edits != 1 {
		t.Errorf("%d published, %d staged, %d edits; want 0, 1, 1", c.published, c.staged, edits)
	}
}

func TestAPreparedHomeIsEditedAnewUponAVersionThatCameInBetween(t *testing.T) {
	p, c := openCounting(t)
	h := prepare(t, p, toGamma)
	_, err := p.Edit(t.Context(), "in between", func(d *bucketmap.Draft) error { d.Whitelist["ann"] = "cloud"; return nil })
	must(t, err)
	snap, err := h.Publish(t.Context())
	must(t, err)
	wantHome(t, p, snap, 4)
	if c.published != 2 || snap.WhitelistLen() != 1 {
		t.Errorf("%d published, %d on the whitelist", c.published, snap.WhitelistLen())
	}
}

func TestAHomeIsPreparedForAStoreThatCannotStage(t *testing.T) {
	p, c := openCounting(t)
	p.Store = struct{ Store }{c.Store} // hides Stage
	h := prepare(t, p, toGamma)
	snap, err := h.Publish(t.Context())
	must(t, err)
	wantHome(t, p, snap, 3)
	h.Discard()
}

func TestADiscardedHomeIsNotPublishedAndHindersNobody(t *testing.T) {
	p, _ := openCounting(t)
	prepare(t, p, toGamma).Discard()
	(*PreparedHome)(nil).Discard()
	if v := load(t, p).Version(); v != 2 {
		t.Fatalf("version %d is in force", v)
	}
	must(t, p.Release(t.Context(), "m-1"))
	if home, _ := load(t, p).Home(5); home.Name != "alpha" {
		t.Errorf("bucket 5 is on %s", home.Name)
	}
}

// The map may be in force: whoever goes on looks at it, as after Home.
func TestAnUnknownCommitIsNotTriedAgainAsIfItHadFailed(t *testing.T) {
	for name, commits := range map[string]bool{"in force": true, "not in force": false} {
		t.Run(name, func(t *testing.T) {
			p, c := openCounting(t)
			h := prepare(t, p, toGamma)
			c.answer = func(st bucketmap.Staged) error {
				if commits {
					must(t, st.Commit(t.Context()))
				}
				return bucketmap.ErrOutcomeUnknown
			}
			if snap, err := h.Publish(t.Context()); !errors.Is(err, bucketmap.ErrOutcomeUnknown) || snap != nil {
				t.Fatalf("published %v, %v, want an unknown outcome", snap, err)
			}
			if c.published != 0 {
				t.Fatal("published again blindly")
			}
			snap, err := h.Publish(t.Context()) // loads and looks, as Home does
			must(t, err)
			wantHome(t, p, snap, map[bool]bucketmap.Version{true: 4, false: 3}[commits])
		})
	}
}

func TestACommitThatFailedIsReportedAndNotPublishedAnotherWay(t *testing.T) {
	p, c := openCounting(t)
	h := prepare(t, p, toGamma)
	broken := errors.New("the disk is full")
	c.answer = func(bucketmap.Staged) error { return broken }
	if _, err := h.Publish(t.Context()); !errors.Is(err, broken) || c.published != 0 {
		t.Fatalf("error %v after %d publications, want the commit's", err, c.published)
	}
}

func TestPreparingIsRefusedBeforeAnybodyWaits(t *testing.T) {
	p, c := openCounting(t)
	refuse := errors.New("no such bucket")
	for name, edit := range map[string]struct {
		edit func(*bucketmap.Draft) error
		want error
	}{
		"the edit fails":        {func(*bucketmap.Draft) error { return refuse }, refuse},
		"the guard refuses":     {func(d *bucketmap.Draft) error { return d.SetHome(0, 9, "") }, bucketmap.ErrRefused},
		"the draft is no map":   {func(d *bucketmap.Draft) error { d.Default.Source = "nowhere"; return nil }, nil},
		"the context has ended": {toGamma, context.Canceled},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		if errors.Is(edit.want, context.Canceled) {
			cancel()
		}
		h, err := p.PrepareHome(ctx, "m-1", edit.edit)
		cancel()
		if err == nil || h != nil || edit.want != nil && !errors.Is(err, edit.want) {
			t.Errorf("%s: %v, %v, want %v", name, h, err, edit.want)
		}
	}
	if c.staged != 0 || load(t, p).Version() != 2 {
		t.Errorf("%d staged, version %d", c.staged, load(t, p).Version())
	}
}

func TestAHomeThatTheMapHasAlreadyPreparesNothing(t *testing.T) {
	p, c := openCounting(t)
	nothing := func(*bucketmap.Draft) error { return bucketmap.ErrNoEdit }
	snap, err := prepare(t, p, nothing).Publish(t.Context())
	must(t, err)
	if snap.Version() != 2 || c.staged != 0 || c.published != 0 {
		t.Errorf("version %d, %d staged, %d published", snap.Version(), c.staged, c.published)
	}
}

func TestPreparingGoesOnUponAVersionThatCameWhileItStaged(t *testing.T) {
	p, c := openCounting(t)
	between := 2
	h := prepare(t, p, func(d *bucketmap.Draft) error {
		if between > 0 { // another publisher is faster
			between--
			next, err := load(t, p).Edit().Snapshot()
			must(t, err)
			must(t, c.Store.Publish(t.Context(), next, bucketmap.Change{}))
		}
		return toGamma(d)
	})
	snap, err := h.Publish(t.Context())
	must(t, err)
	wantHome(t, p, snap, 5)
	if c.staged != 3 || c.published != 0 {
		t.Errorf("%d staged, %d published; want 3 and 0", c.staged, c.published)
	}
}

func TestTheDefaultFollowsAPreparedHomeByTheWeights(t *testing.T) {
	p, _ := openCounting(t)
	p.Weight = func(b bucketmap.BucketID) uint64 {
		if b == 5 {
			return 10
		}
		return 1
	}
	snap, err := prepare(t, p, toGamma).Publish(t.Context())
	must(t, err)
	if snap.Default().Datacenter != "cloud" {
		t.Errorf("default %s with 10 of 19 users in cloud", snap.Default().Datacenter)
	}
}
