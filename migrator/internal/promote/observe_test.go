package promote

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/shardlib/fence"
)

// seen is an observer that remembers.
type seen struct {
	mu       sync.Mutex
	setbacks map[Setback]int
	stalls   map[StallEnd][]time.Duration
	hooks    map[HookPoint]HookOutcome
	alone    []uint64
}

func newSeen() *seen {
	return &seen{setbacks: map[Setback]int{}, stalls: map[StallEnd][]time.Duration{}, hooks: map[HookPoint]HookOutcome{}}
}

func (s *seen) SteppedBack(b Setback) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setbacks[b]++
}

func (s *seen) Stalled(end StallEnd, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stalls[end] = append(s.stalls[end], took)
}

func (s *seen) Hooked(at HookPoint, o HookOutcome, _ time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks[at] = o
}

func (s *seen) Compared(n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alone = append(s.alone, n)
}

// observed takes the shard to a datacenter with an observer.
func (w *world) observed(to bucketmap.Datacenter) (*seen, error) {
	e, s := w.engine(), newSeen()
	e.Observer = s
	p, err := e.Start(w.t.Context(), Plan{Shard: alpha, Target: to, Who: "test"})
	must(w.t, err)
	return s, e.Run(w.t.Context(), p)
}

func TestAFreezeThatAHookUndoesIsObservedAsAStall(t *testing.T) {
	w := newWorld(t)
	w.runs = []Hook{shellHook(t, BeforeCommit, "sleep 0.1; exit 1")}
	s, err := w.observed(cloud)
	if !errors.Is(err, ErrHook) {
		t.Fatal(err)
	}
	stalls := s.stalls[StallSteppedBack]
	if len(stalls) != 1 || stalls[0] < 100*time.Millisecond || len(s.stalls[StallSwitched]) != 0 || s.hooks[BeforeCommit] != HookFailed || len(s.setbacks) != 0 {
		t.Errorf("stalls %v, hooks %v, setbacks %v", s.stalls, s.hooks, s.setbacks)
	}
}

func TestStallStepsBackAndHooksOfAPromotionAreObserved(t *testing.T) {
	w := newWorld(t)
	late := shellHook(t, AfterReverse, "sleep 30")
	late.Timeout = 50 * time.Millisecond
	w.runs = []Hook{shellHook(t, BeforeCommit, "sleep 0.1"), shellHook(t, AfterPromote, "exit 3"), late}
	db := w.appDB(legacy)
	must(t, w.points.ArmFunc("holding.before_hold", func() {
		tx, err := db.BeginTx(context.Background(), nil)
		must(t, err)
		_, err = fence.CheckWrite(context.Background(), tx, 5)
		must(t, err)
		go func(tx *sql.Tx) {
			w.steppedBack(1, "an open transaction")
			_ = tx.Rollback() // the server's word does not matter
		}(tx)
	}))
	s, err := w.observed(cloud)
	must(t, err)
	w.settled(cloud, 2)
	stalls := s.stalls[StallSwitched]
	if len(stalls) != 1 || stalls[0] < 100*time.Millisecond || stalls[0] > w.limits.Freeze+finishTime {
		t.Errorf("stalls %v", s.stalls)
	}
	if s.setbacks[SetbackTransaction] < 1 || len(s.alone) != 0 {
		t.Errorf("setbacks %v, transactions of a lost primary %v", s.setbacks, s.alone)
	}
	for at, want := range map[HookPoint]HookOutcome{BeforeCommit: HookDone, AfterPromote: HookFailed, AfterReverse: HookKilled} {
		if s.hooks[at] != want {
			t.Errorf("the hook at %s: %q, want %q", at, s.hooks[at], want)
		}
	}
}

func TestTheStallOfARunThatDiedFrozenCountsFromItsFreeze(t *testing.T) {
	w := newWorld(t)
	w.dieAt("freezing.after_commit", cloud)
	e, s := w.engine(), newSeen()
	e.Observer = s
	p := w.open()
	must(t, e.Resume(t.Context(), p))
	w.settled(cloud, 2)
	if stalls := s.stalls[StallSwitched]; len(stalls) != 1 || stalls[0] <= 0 {
		t.Errorf("stalls %v", s.stalls)
	}
}
