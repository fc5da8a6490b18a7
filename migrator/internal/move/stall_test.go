package move

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/internal/testrun"
	"drover/migrator/internal/binlog"
	"drover/migrator/internal/crash"
	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

// longTransaction is how long one stays open beside a move: long enough for
// the gate to see it, and longer in a soak.
func longTransaction() time.Duration {
	if servers.soak {
		return 60 * time.Second
	}
	return 2 * time.Second
}

func TestALongTransactionClosesTheGateAndNobodyWaitsForIt(t *testing.T) {
	w := newWorld(t)
	slow, quick := userIn(7, 1), userIn(7, 2)
	l := w.newLedger(slow, quick)
	must(t, l.write(t.Context(), quick, 1, 0))
	var points crash.Points
	var open *sql.Tx
	must(t, points.ArmFunc("verifying.after_journal", func() {
		tx, err := l.dbs["legacy"].BeginTx(t.Context(), nil)
		must(t, err)
		_, err = fence.CheckWrite(t.Context(), tx, 7)
		must(t, err)
		open = tx
	}))
	e := w.engine(&points)
	e.Limits.GateKnock = 30 * time.Second
	m, err := e.Start(t.Context(), Plan{Buckets: Buckets{7}, Target: "gamma", Who: "test"})
	must(t, err)
	ended := make(chan error, 1)
	go func() { ended <- e.Run(t.Context(), m) }()
	w.waitEvent(noted("the gate is closed: an open transaction has the buckets' rows: connection"))
	if open == nil {
		t.Fatal("the gate was closed by something else")
	}
	snap, err := w.store.Load(t.Context())
	must(t, err)
	version := snap.Version()
	var longest time.Duration
	id := uint64(2)
	lasting, cancel := context.WithTimeout(t.Context(), longTransaction()) // open for so long
	defer cancel()
	pace := testrun.NewPace(writePause)
	defer pace.Stop()
	for ; pace.Wait(lasting); id++ {
		began := time.Now()
		must(t, l.write(t.Context(), quick, id, 0))
		longest = max(longest, time.Since(began))
	}
	// One knock in 30 s asks for one hold and ends it: two versions.
	knocks := uint64(1 + longTransaction()/(30*time.Second))
	if snap, err = w.store.Load(t.Context()); err != nil || uint64(snap.Version()-version) > 2*knocks {
		t.Errorf("the map went from version %d to %d beside a closed gate, error %v", version, snap.Version(), err)
	}
	if longest > 2*time.Second {
		t.Errorf("a write took %s beside an open transaction", longest)
	}
	select {
	case err := <-ended:
		t.Fatalf("the move ended beside an open transaction: %v", err)
	default:
	}
	must(t, open.Rollback())
	must(t, <-ended)
	l.check()
	w.agree()
}

func TestALongTransactionOnAnotherBucketDoesNotCloseTheGate(t *testing.T) {
	w := newWorld(t)
	user := userIn(7, 1)
	l := w.newLedger(user)
	must(t, l.write(t.Context(), user, 1, 0))
	open, err := l.dbs["legacy"].BeginTx(t.Context(), nil)
	must(t, err)
	defer func() { _ = open.Rollback() }()
	_, err = fence.CheckWrite(t.Context(), open, 8)
	must(t, err)
	server, err := w.shards.Primary(t.Context(), "alpha")
	must(t, err)
	var points crash.Points
	var once sync.Once
	must(t, points.ArmFunc("holding.after_journal", func() {
		once.Do(func() { // until the server says that it is long
			for age := 0; age < 2; {
				must(t, server.DB.QueryRowContext(t.Context(), "SELECT SLEEP(0.1) + TIMESTAMPDIFF(SECOND, MIN(trx_started), CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', 'SYSTEM')) "+
					"FROM information_schema.innodb_trx").Scan(&age))
			}
		})
	}))
	e := w.engine(&points)
	m, err := e.Start(t.Context(), Plan{Buckets: Buckets{7}, Target: "gamma", Who: "test"})
	must(t, err)
	must(t, e.Run(t.Context(), m))
	l.check()
	w.agree()
}

func TestAnInterruptPastTheCommitPointWaitsUntilTheUsersCanWrite(t *testing.T) {
	for _, at := range []crash.Point{"freezing.after_commit", "switching.before_activate", "switching.after_activate", "publishing.before_map"} {
		t.Run(string(at), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			user := userIn(7, 1)
			l := w.newLedger(user)
			must(t, l.write(t.Context(), user, 1, 0))
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			var points crash.Points
			must(t, points.ArmFunc(string(at), interrupt))
			e := w.engine(&points)
			m, err := e.Start(t.Context(), Plan{Buckets: Buckets{7}, Target: "gamma", Who: "test"})
			must(t, err)
			if err := e.Run(ctx, m); !errors.Is(err, context.Canceled) {
				t.Fatalf("error %v, want canceled", err)
			}
			w.agree() // the home is the target, by the map and by the fences
			must(t, l.write(t.Context(), user, 2, 0))
			must(t, w.engine(nil).Resume(t.Context(), m))
			l.check()
			w.agree()
		})
	}
}

func TestAScriptWhoseAnswerIsLostIsOverBeforeAnybodyLooks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	server, err := w.shards.Primary(ctx, "alpha")
	must(t, err)
	token := fence.Token{}
	s, err := openSession(ctx, server)
	must(t, err)
	s.answer = 200 * time.Millisecond
	// A writer has the row, so the script waits until the answer is given up.
	writer, err := w.open(w.alpha).BeginTx(ctx, nil)
	must(t, err)
	_, err = fence.CheckWrite(ctx, writer, 7)
	must(t, err)
	if _, err := s.run(ctx, transitionScript(Buckets{7}, fence.Active, fence.Frozen, token)); !errors.Is(err, database.ErrOutcomeUnknown) ||
		strings.Contains(err.Error(), "still be at work") {
		t.Errorf("error %v, want ErrOutcomeUnknown, and the connection's end", err)
	}
	must(t, writer.Rollback())
	rows, err := fence.Rows(ctx, server.DB, Buckets{7})
	must(t, err)
	if len(rows) != 1 || rows[0].State != fence.Active {
		t.Errorf("rows %v, want one that is active", rows)
	}
	s.close()
}

func TestAScriptChangesAllRowsOrNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	server, err := w.shards.Primary(ctx, "alpha")
	must(t, err)
	must(t, database.InTx(ctx, server.DB, func(tx *sql.Tx) error {
		return fence.Transition(ctx, tx, fence.Change{Buckets: Buckets{8}, From: fence.Active, To: fence.Frozen})
	}))
	s, err := openSession(ctx, server)
	must(t, err)
	defer s.close()
	r := &run{Engine: &Engine{Limits: testLimits()}, move: &Move{Detail: Detail{Buckets: Buckets{7, 8, 9}}}, from: server}
	c := &crossing{source: s}
	for name, freeze := range r.freezes(c) {
		if _, err := freeze(ctx); !errors.Is(err, fence.ErrLostRow) {
			t.Errorf("%s: error %v, want ErrLostRow", name, err)
		}
	}
	r.move.Buckets = Buckets{7, 9}
	gtid, err := r.freezeInAGap(ctx, c, time.Millisecond)
	must(t, err)
	if end, err := server.BinlogPosition(ctx); err != nil || !end.Reached(database.Position{gtid.Domain: gtid}) || gtid.Sequence == 0 {
		t.Errorf("the script's id is %v, the binlog ends at %v, error %v", gtid, end, err)
	}
	rows, err := fence.Rows(ctx, server.DB, []bucketmap.BucketID{7, 8, 9})
	must(t, err)
	for _, row := range rows {
		if row.State != fence.Frozen {
			t.Errorf("bucket %d is %s, want frozen", row.Bucket, row.State)
		}
	}
	var wait int
	must(t, s.conn.QueryRowContext(ctx, "SELECT @@innodb_lock_wait_timeout").Scan(&wait))
	if wait == 0 {
		t.Error("the session does not wait for locks any more")
	}
}

func TestTakenKeysThatWereNotComparedAreGivenBack(t *testing.T) {
	var tl tail
	table := &database.Table{}
	tl.mu.touched = map[*database.Table]map[string]binlog.Row{table: {"a": {"a"}, "b": {"b"}}}
	tl.mu.count = 2
	taken, ok := tl.takeTouched()
	if !ok || len(taken[table]) != 2 || tl.touchedCount() != 0 {
		t.Fatalf("took %v, %v, and %d are left", taken, ok, tl.touchedCount())
	}
	tl.mu.touched[table] = map[string]binlog.Row{"b": {"b"}, "c": {"c"}}
	tl.mu.count = 2
	tl.giveBack(taken)
	keys, all := tl.touchedKeys()
	if !all || len(keys[table]) != 3 || tl.touchedCount() != 3 {
		t.Errorf("keys %v, %v, count %d, want three", keys, all, tl.touchedCount())
	}
	tl.mu.count = touchedMax + 1
	if _, ok := tl.takeTouched(); ok || tl.touchedCount() == 0 {
		t.Error("too many keys were taken, and so forgotten")
	}
}

func TestTheReportNamesThePartsOfTheStall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	user := userIn(7, 1)
	l := w.newLedger(user)
	must(t, l.write(t.Context(), user, 1, 0))
	e := w.engine(nil)
	m, err := e.Start(t.Context(), Plan{Buckets: Buckets{7}, Target: "gamma", Who: "test"})
	must(t, err)
	must(t, e.Run(t.Context(), m))
	w.waitEvent(func(e Event) bool {
		for _, part := range []string{"write stall ", "freeze ", "catch up ", "verify ", "commit ", "activate ", "publish "} {
			if !strings.Contains(e.Note, part) {
				return false
			}
		}
		return true
	})
}
