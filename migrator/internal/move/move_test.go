package move

import (
	"testing"
	"time"

	"drover/bucketmap"
)

func TestABucketMovesReturnsAndComesAgainUnderWritesAndNothingIsLost(t *testing.T) {
	w := newWorld(t)
	buckets := Buckets{3, 4, 9}
	var users []string
	for i, b := range []bucketmap.BucketID{3, 4, 9, 3, 9, 20} {
		users = append(users, userIn(b, i))
	}
	l := w.newLedger(users...)
	stop := l.run(8)
	defer stop()
	e := w.engine(nil)
	waitWrites(t, l, 50)
	m, err := e.Start(t.Context(), Plan{Buckets: buckets, Target: "gamma", Who: "test"})
	must(t, err)
	must(t, e.Run(t.Context(), m))
	if m.State() != Soaking {
		t.Fatalf("state %s, want soaking", m.State())
	}
	waitWrites(t, l, l.total()+50)
	for range 3 {
		must(t, e.Return(t.Context(), m))
		waitWrites(t, l, l.total()+50)
	}
	stop()
	l.check()
	snap, err := w.store.Load(t.Context())
	must(t, err)
	for _, b := range buckets {
		if home, _ := snap.Home(b); home.Name != "alpha" || snap.Epoch(b) != 5 {
			t.Errorf("bucket %d: home %s, epoch %d; want alpha and 5", b, home.Name, snap.Epoch(b))
		}
	}
	t.Logf("%d writes acknowledged, %d refused and sent again", l.total(), l.refusals)
	must(t, e.Finish(t.Context(), m))
	l.check()
	if n := w.count(w.gamma, "SELECT (SELECT COUNT(*) FROM steps) + (SELECT COUNT(*) FROM request) + (SELECT COUNT(*) FROM profile)"); n != 0 {
		t.Errorf("%d rows are left where the buckets were", n)
	}
}

// waitWrites waits until so many writes are acknowledged.
func waitWrites(t *testing.T, l *ledger, n int) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); l.total() < n; {
		if time.Now().After(deadline) {
			t.Fatalf("%d writes acknowledged, want %d", l.total(), n)
		}
		time.Sleep(time.Millisecond)
	}
}
