package move

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/file"
	"drover/migrator/internal/crash"
	"drover/shardlib/fence"
)

// left counts the rows of buckets 7 and 8 at the old home.
func (w *world) left() int {
	w.t.Helper()
	return w.count(w.alpha, "SELECT (SELECT COUNT(*) FROM tricky WHERE bucket IN (7, 8)) + (SELECT COUNT(*) FROM steps WHERE bucket IN (7, 8)) + "+
		"(SELECT COUNT(*) FROM request WHERE bucket IN (7, 8)) + (SELECT COUNT(*) FROM profile WHERE CRC32(user_id) % 64 IN (7, 8))")
}

func TestFinishIsRefusedWhileAProxyRunsAnOldMap(t *testing.T) {
	t.Parallel()
	w, m := soakingWorld(t, 100)
	rows := w.left()
	proxy, err := file.Open(w.dir, file.Options{})
	must(t, err)
	defer func() { must(t, proxy.Close()) }()
	e := w.engine(nil)
	e.Limits.Hold.Ack = 1 // nanosecond: nobody is on the way
	for _, ack := range []bucketmap.Ack{
		{Proxy: "p1", Version: 1},
		{Proxy: "p1"}, // none, or none that could be asked
		{Proxy: "p1", Version: 1_000_000},
	} {
		must(t, proxy.Ack(t.Context(), ack))
		if err := e.Finish(t.Context(), m); !errors.Is(err, ErrReaders) || !strings.Contains(err.Error(), "p1") {
			t.Fatalf("%+v: error %v, want ErrReaders that names p1", ack, err)
		}
		if m.State() != Soaking || w.left() != rows {
			t.Fatalf("a finish that was refused left state %s and %d of %d rows", m.State(), w.left(), rows)
		}
	}
	snap, err := w.store.Load(t.Context())
	must(t, err)
	must(t, proxy.Ack(t.Context(), bucketmap.Ack{Proxy: "p1", Version: snap.Version(), Digest: snap.Digest()}))
	must(t, e.Finish(t.Context(), m))
	if n := w.left(); n != 0 || m.Record.Open {
		t.Errorf("%d rows are left, open %t", n, m.Record.Open)
	}
	w.agree()
}

func TestFinishByForceSaysWhyInTheJournalAndIsResumedByForce(t *testing.T) {
	t.Parallel()
	w, m := soakingWorld(t, 100)
	proxy, err := file.Open(w.dir, file.Options{})
	must(t, err)
	defer func() { must(t, proxy.Close()) }()
	must(t, proxy.Ack(t.Context(), bucketmap.Ack{Proxy: "p1", Version: 1}))
	if err := w.engine(nil).FinishForced(t.Context(), m, "  "); err == nil {
		t.Error("a force without a reason was taken")
	}
	ctx, interrupt := context.WithCancel(t.Context())
	var points crash.Points
	must(t, points.ArmFunc("done.before_remove", interrupt))
	if err := w.engine(&points).FinishForced(ctx, m, "p1 is a spare"); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want canceled", err)
	}
	if !strings.Contains(w.notes(m), "p1 is a spare") {
		t.Errorf("the journal has\n%s", w.notes(m))
	}
	must(t, w.engine(nil).Resume(t.Context(), m))
	if n := w.left(); n != 0 || !m.Purged {
		t.Errorf("%d rows are left", n)
	}
}

func TestFinishWaitsForTransactionsThatBeganBeforeAndNamesThem(t *testing.T) {
	t.Parallel()
	w, m := soakingWorld(t, 100)
	rows := w.left()
	reader, err := w.open(w.alpha).BeginTx(t.Context(), nil)
	must(t, err)
	var id, n int
	must(t, reader.QueryRowContext(t.Context(), "SELECT CONNECTION_ID(), (SELECT COUNT(*) FROM tricky)").Scan(&id, &n))
	err = w.engine(nil).Finish(t.Context(), m)
	if !errors.Is(err, ErrReaders) || !strings.Contains(err.Error(), "app") || !strings.Contains(err.Error(), "KILL") {
		t.Fatalf("error %v, want ErrReaders that names the connection", err)
	}
	if m.State() != Soaking || w.left() != rows {
		t.Fatalf("state %s, %d of %d rows", m.State(), w.left(), rows)
	}
	// One that ends while it is waited for is no reason to refuse.
	ended := make(chan error, 1)
	go func() { ended <- w.engine(nil).Finish(t.Context(), m) }()
	w.waitEvent(func(Event) bool { return true })
	must(t, reader.Rollback())
	if err := <-ended; err != nil {
		must(t, w.engine(nil).Finish(t.Context(), m)) // the machine was too slow to see it in time
	}
	if n := w.left(); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

func TestAPurgeTouchesNoLockAndNoRowOfWhoLivesThere(t *testing.T) {
	t.Parallel()
	w, m := soakingWorld(t, 1200)
	l := w.newLedger(userIn(20, 1), userIn(21, 2))
	for i, user := range l.users {
		must(t, l.write(t.Context(), user, uint64(i), 0))
	}
	var points crash.Points
	var once sync.Once
	must(t, points.ArmFunc("done.before_remove", func() {
		once.Do(func() {
			tx, err := l.dbs["legacy"].BeginTx(context.WithoutCancel(t.Context()), nil)
			must(t, err)
			t.Cleanup(func() { _ = tx.Rollback() })
			var locked int
			must(t, tx.QueryRowContext(t.Context(), "SELECT 1 FROM profile WHERE user_id = ? FOR UPDATE", l.users[0]).Scan(&locked))
			must(t, tx.QueryRowContext(t.Context(), "SELECT 1 FROM request WHERE user_id = ? AND id = 0 FOR UPDATE", l.users[0]).Scan(&locked))
		})
	}))
	e := w.engine(&points)
	var removed []int64
	e.Report = func(ev Event) {
		if ev.State == Done && !ev.Entered && ev.Note == "" {
			removed = append(removed, ev.Rows)
		}
	}
	must(t, e.Finish(t.Context(), m))
	if n := w.left(); n != 0 {
		t.Errorf("%d rows are left", n)
	}
	// Of the three small tables one each, of the large one 500 first.
	if len(removed) < 5 || !slices.IsSorted(removed) || removed[len(removed)-1] != 1201+6 {
		t.Errorf("removed %v: want small steps to 1207", removed)
	}
	l.check()
	w.agree()
}

func TestAPurgeDeletesNothingWhereTheFenceRowIsNotAsItLeftIt(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"gone":   "DELETE FROM drover_fence WHERE bucket = 7",
		"active": "UPDATE drover_fence SET state = 'active' WHERE bucket = 7",
		"taken":  "UPDATE drover_fence SET move_id = 'm-other/1' WHERE bucket = 7",
	} {
		w, m := soakingWorld(t, 20)
		rows := w.left()
		var points crash.Points
		var once sync.Once
		must(t, points.ArmFunc("done.before_remove", func() { once.Do(func() { w.exec(w.alpha, change) }) }))
		if err := w.engine(&points).Finish(t.Context(), m); !errors.Is(err, fence.ErrLostRow) {
			t.Errorf("%s: error %v, want ErrLostRow", name, err)
		}
		if n := w.left(); n != rows {
			t.Errorf("%s: %d of %d rows are left", name, n, rows)
		}
	}
}

func TestASoakThatWakesUpAfterItWasReplacedWritesNothing(t *testing.T) {
	t.Parallel()
	w, m := soakingWorld(t, 20)
	record := *m.Record
	first := &Move{Record: &record, Detail: m.Detail}
	ended := make(chan error, 1)
	go func() { ended <- w.engine(nil).Soak(t.Context(), first) }()
	w.waitEvent(func(e Event) bool { return e.State == Soaking && !e.Entered && e.Note == "" })
	server, err := w.shards.Primary(t.Context(), "alpha")
	must(t, err)
	w.breakLock(server, m.Record.Move)
	ctx, stop := context.WithCancel(t.Context())
	second := make(chan error, 1)
	go func() { second <- w.engine(nil).Soak(ctx, m) }()
	// What is written before the second has taken over is the first's to apply:
	// so more is written until it has seen that it is replaced.
	for n := 0; ; n++ {
		w.exec(w.gamma, fmt.Sprintf("UPDATE tricky SET text = 'newer %d'", n))
		select {
		case err := <-ended:
			if !errors.Is(err, ErrReplaced) {
				t.Errorf("the first soak ended with %v, want ErrReplaced", err)
			}
		case <-time.After(10 * time.Millisecond):
			continue
		}
		break
	}
	for len(w.events) != 0 { // the first's, of long ago
		<-w.events
	}
	w.waitEvent(func(e Event) bool { return e.State == Soaking && !e.Entered && e.Note == "" })
	stop()
	must(t, <-second)
	c, err := w.engine(nil).Verify(t.Context(), m, nil)
	must(t, err)
	if c.Outcome != Equal {
		t.Errorf("%+v", c)
	}
}
