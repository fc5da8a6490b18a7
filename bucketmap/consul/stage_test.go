package consul

import (
	"errors"
	"testing"

	"drover/bucketmap"
	"drover/bucketmap/storetest"
)

func stage(t testing.TB, s *Store, next *bucketmap.Snapshot) bucketmap.Staged {
	t.Helper()
	staged, err := s.Stage(within(t), next, bucketmap.Change{Who: "test", Why: t.Name()})
	must(t, err)
	return staged
}

func TestACommitIsOneTransactionWhoseLostAnswerIsFoundOut(t *testing.T) {
	t.Parallel()
	c := newCutter(t)
	s := open(t, c.options())
	now := publishTo(t, s, 1)
	for lost := range int64(3) {
		next := edit(t, now)
		staged := stage(t, s, next)
		wantLoad(t, s, now)
		before := c.reached.Load()
		c.lose.Store(lost)
		must(t, staged.Commit(within(t)))
		if n := c.reached.Load() - before; n != lost+1 {
			t.Errorf("%d transactions, want %d", n, lost+1)
		}
		wantLoad(t, s, next)
		now = next
	}
	records, err := s.History(within(t))
	if err != nil || len(records) != 4 {
		t.Errorf("history %v, %v", records, err)
	}
}

func TestACommitOfWhichNothingIsHeardAgainIsUnknown(t *testing.T) {
	t.Parallel()
	c := newCutter(t)
	s := open(t, c.options())
	now := publishTo(t, s, 1)
	next := edit(t, now)
	staged := stage(t, s, next)
	c.lose.Store(1)
	c.dead.Store(true)
	if err := staged.Commit(short(t)); !errors.Is(err, bucketmap.ErrOutcomeUnknown) {
		t.Fatalf("error %v, want an unknown outcome", err)
	}
	must(t, staged.Discard(within(t)))
	c.dead.Store(false)
	wantLoad(t, s, next) // Consul had done it
}

// The full encoding of a version that was never in force is overwritten by the
// next publisher's of the same, or named by nobody.
func TestABaseThatWasStagedAndDiscardedHindersNobody(t *testing.T) {
	s := open(t, options())
	must(t, stage(t, s, storetest.First(t)).Discard(within(t)))
	now := publishTo(t, s, deltasMax)
	staged := stage(t, s, edit(t, now)) // with a base
	if p := staged.(*stagedVersion).publication; p.document.Base.Version != deltasMax+1 {
		t.Fatalf("base %d", p.document.Base.Version)
	}
	must(t, staged.Discard(within(t)))
	staged = stage(t, s, edit(t, now))
	must(t, staged.Commit(within(t)))
	wantLoad(t, open(t, s.options), edit(t, now))
}

func TestAPointerThatWasWrittenAgainIsAConflict(t *testing.T) {
	s := open(t, options())
	now := publishTo(t, s, 2)
	staged := stage(t, s, edit(t, now))
	pointer := getRaw(t, s, s.pointerKey())
	deleteRaw(t, s, s.pointerKey())
	putRaw(t, s, s.pointerKey(), pointer)
	if err := staged.Commit(within(t)); !errors.Is(err, bucketmap.ErrConflict) {
		t.Errorf("error %v, want a conflict", err)
	}
	publish(t, s, edit(t, now))
}
