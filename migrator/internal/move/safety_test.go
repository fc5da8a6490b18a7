package move

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/file"
	"drover/migrator/internal/crash"
	"drover/migrator/internal/database"
	"drover/shardlib/fence"
	"drover/tools/testservers"
)

// waitEvent waits until the engine reports what f looks for.
func (w *world) waitEvent(f func(Event) bool) {
	w.t.Helper()
	deadline := time.After(60 * time.Second)
	for {
		select {
		case e := <-w.events:
			if f(e) {
				return
			}
		case <-deadline:
			w.t.Fatal("the event did not come")
		}
	}
}

func noted(words string) func(Event) bool {
	return func(e Event) bool { return strings.Contains(e.Note, words) }
}

func TestALongTransactionMakesTheMoveStepBackAndOthersDoNotWait(t *testing.T) {
	w := newWorld(t)
	slow, quick := userIn(7, 1), userIn(7, 2)
	l := w.newLedger(slow, quick)
	must(t, l.write(t.Context(), quick, 1, 0))
	open, err := l.dbs["legacy"].BeginTx(t.Context(), nil)
	must(t, err)
	_, err = fence.CheckWrite(t.Context(), open, 7)
	must(t, err)
	_, err = open.ExecContext(t.Context(), "INSERT INTO request (user_id, id) VALUES (?, 1)", slow)
	must(t, err)
	e := w.engine(nil)
	m, err := e.Start(t.Context(), Plan{Buckets: Buckets{7}, Target: "gamma", Who: "test"})
	must(t, err)
	ended := make(chan error, 1)
	// The claim waits for the transaction too, so nothing moves while it is open.
	go func() { ended <- e.Run(t.Context(), m) }()
	began := time.Now()
	for id := uint64(2); id < 22; id++ {
		must(t, l.write(t.Context(), quick, id, 0))
	}
	if stalled := time.Since(began); stalled > 5*time.Second {
		t.Errorf("20 writes took %s beside an open transaction", stalled)
	}
	select {
	case err := <-ended:
		t.Fatalf("the move ended beside an open transaction: %v", err)
	default:
	}
	for _, s := range []string{"INSERT INTO steps (bucket, user_id, day, steps) VALUES (7, ?, '2026-01-01', 1)",
		"INSERT INTO profile (user_id, lifetime) VALUES (?, 1)"} {
		_, err = open.ExecContext(t.Context(), s, slow)
		must(t, err)
	}
	must(t, open.Commit())
	l.acked[slow]++
	must(t, <-ended)
	l.check()
	w.agree()
}

func TestATransactionOpenAtTheFreezeMakesTheMoveStepBack(t *testing.T) {
	w := newWorld(t)
	user := userIn(7, 1)
	l := w.newLedger(user)
	must(t, l.write(t.Context(), user, 1, 0))
	var points crash.Points
	var once sync.Once
	var open *sql.Tx
	must(t, points.ArmFunc("freezing.before_freeze", func() {
		once.Do(func() {
			tx, err := l.dbs["legacy"].BeginTx(t.Context(), nil)
			must(t, err)
			_, err = fence.CheckWrite(t.Context(), tx, 7)
			must(t, err)
			open = tx
		})
	}))
	e := w.engine(&points)
	m, err := e.Start(t.Context(), Plan{Buckets: Buckets{7}, Target: "gamma", Who: "test"})
	must(t, err)
	ended := make(chan error, 1)
	go func() { ended <- e.Run(t.Context(), m) }()
	w.waitEvent(noted("an open transaction has the buckets' rows"))
	snap, err := w.store.Load(t.Context())
	must(t, err)
	if len(snap.Holds()) != 0 {
		t.Error("the hold goes on while the move waits for its next try")
	}
	must(t, open.Rollback())
	must(t, <-ended)
	l.check()
	w.agree()
}

func TestAConnectionThatIsLostInTheFreezeIsAStepBackAndPastTheTriesAnAbort(t *testing.T) {
	for name, tries := range map[string]int{"step back": 2, "abort": 1} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			l := w.newLedger(userIn(7, 1))
			must(t, l.write(t.Context(), userIn(7, 1), 1, 0))
			var points crash.Points
			e := w.engine(&points)
			e.Report = func(Event) {}
			e.Limits.FreezeTries = tries
			m, err := e.Start(t.Context(), Plan{Buckets: Buckets{7}, Target: "gamma", Who: "test"})
			must(t, err)
			var once sync.Once
			must(t, points.ArmFunc("freezing.before_freeze", func() {
				once.Do(func() { // all but the one with the move's lock
					w.exec(w.alpha, fmt.Sprintf("BEGIN NOT ATOMIC FOR c IN (SELECT id FROM information_schema.processlist WHERE db = DATABASE()"+
						" AND id <> CONNECTION_ID() AND id <> IS_USED_LOCK('drover.%s') AND user = '%s' AND command = 'Sleep') DO KILL c.id; END FOR; END",
						m.Record.Move, testservers.AccountDrover))
				})
			}))
			err = e.Run(t.Context(), m)
			if tries == 1 && (!errors.Is(err, ErrSteppedBack) || m.State() != Aborted) || tries != 1 && (err != nil || m.State() != Soaking) {
				t.Fatalf("%v; it is %s", err, m.State())
			}
			l.check()
			w.agree()
		})
	}
}

func TestRowsThatDifferAbortTheMove(t *testing.T) {
	w := newWorld(t)
	users := []string{userIn(7, 1), userIn(7, 2)}
	l := w.newLedger(users...)
	for i, u := range users {
		must(t, l.write(t.Context(), u, uint64(i), 0))
	}
	var points crash.Points
	must(t, points.ArmFunc("verifying.after_journal", func() {
		must(t, w.gamma.Exec(t.Context(), "UPDATE "+w.database+".profile SET name = 'spoilt' WHERE user_id = '"+users[1]+"'"))
	}))
	e := w.engine(&points)
	m, err := e.Start(t.Context(), Plan{Buckets: Buckets{7}, Target: "gamma", Who: "test"})
	must(t, err)
	err = e.Run(t.Context(), m)
	if !errors.Is(err, ErrDiffers) || !strings.Contains(err.Error(), users[1]) {
		t.Fatalf("error %v, want ErrDiffers that names %s", err, users[1])
	}
	if m.State() != Aborted {
		t.Errorf("state %s, want aborted", m.State())
	}
	l.check()
	w.agree()
}

func TestARowSpoiltAfterTheVerificationIsFoundUnderTheFreeze(t *testing.T) {
	w := newWorld(t)
	user := userIn(7, 1)
	l := w.newLedger(user)
	must(t, l.write(t.Context(), user, 1, 0))
	var points crash.Points
	must(t, points.ArmFunc("holding.after_hold", func() {
		// A write that the tail carries over, and a change behind its back.
		must(t, l.write(t.Context(), user, 2, 0))
	}))
	e := w.engine(&points)
	e.Report = func(Event) {}
	m, err := e.Start(t.Context(), Plan{Buckets: Buckets{7}, Target: "gamma", Who: "test"})
	must(t, err)
	// The trigger spoils what the tail applies.
	must(t, w.gamma.Exec(t.Context(), "CREATE TRIGGER "+w.database+".spoil BEFORE INSERT ON "+w.database+".profile FOR EACH ROW SET NEW.name = IF(NEW.lifetime = 2, 'spoilt', NEW.name)"))
	if err := e.Run(t.Context(), m); !errors.Is(err, ErrDiffers) {
		t.Fatalf("error %v, want ErrDiffers", err)
	}
	must(t, w.gamma.Exec(t.Context(), "DROP TRIGGER "+w.database+".spoil"))
	l.check()
	w.agree()
}

func TestInterruptDuringAFreezeLeavesTheBucketWritable(t *testing.T) {
	for _, at := range []string{"holding.after_hold", "freezing.after_freeze", "freezing.before_commit"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			user := userIn(7, 1)
			l := w.newLedger(user)
			must(t, l.write(t.Context(), user, 1, 0))
			ctx, interrupt := context.WithCancel(t.Context())
			var points crash.Points
			must(t, points.ArmFunc(at, interrupt))
			e := w.engine(&points)
			m, err := e.Start(t.Context(), Plan{Buckets: Buckets{7}, Target: "gamma", Who: "test"})
			must(t, err)
			if err := e.Run(ctx, m); !errors.Is(err, context.Canceled) {
				t.Fatalf("error %v, want canceled", err)
			}
			must(t, l.write(t.Context(), user, 2, 0))
			w.agree()
			must(t, w.engine(nil).Resume(t.Context(), m))
			l.check()
			w.agree()
		})
	}
}

func TestAMigratorThatWakesUpAfterItWasReplacedDoesNoHarm(t *testing.T) {
	for _, at := range []string{"copying.before_chunk", "freezing.before_freeze", "freezing.after_freeze", "freezing.before_commit", "switching.before_activate", "publishing.before_map"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			users := []string{userIn(7, 1), userIn(8, 2)}
			l := w.newLedger(users...)
			stop := l.run(2)
			defer stop()
			waitWrites(t, l, 10)
			var points crash.Points
			asleep, wake := make(chan struct{}), make(chan struct{})
			must(t, points.ArmFunc(at, func() { close(asleep); <-wake }))
			zombie := w.engine(&points)
			m, err := zombie.Start(t.Context(), Plan{Buckets: Buckets{7, 8}, Target: "gamma", Who: "zombie"})
			must(t, err)
			ended := make(chan error, 1)
			id := m.Record.Move // Run replaces the record
			go func() { ended <- zombie.Run(t.Context(), m) }()
			<-asleep
			// Its connections are lost, as after a pause longer than the lock.
			server, err := w.shards.Primary(t.Context(), "alpha")
			must(t, err)
			w.breakLock(server, id)
			successor := w.engine(nil)
			taken, err := successor.Find(t.Context(), "alpha", id)
			must(t, err)
			must(t, successor.Resume(t.Context(), taken))
			waitWrites(t, l, l.total()+10)
			close(wake)
			if err := <-ended; err == nil {
				t.Error("the migrator that was replaced says that it finished the move")
			}
			waitWrites(t, l, l.total()+10)
			stop()
			l.check()
			w.agree()
		})
	}
}

// breakLock kills the connection that holds the move's lock.
func (w *world) breakLock(server *database.Server, move bucketmap.MoveID) {
	w.t.Helper()
	var id sql.NullInt64
	must(w.t, server.DB.QueryRowContext(w.t.Context(), "SELECT IS_USED_LOCK(?)", "drover."+string(move)).Scan(&id))
	_, err := server.DB.ExecContext(w.t.Context(), "KILL ?", id.Int64)
	must(w.t, err)
}

func TestAProxyThatDoesNotAcknowledgeMakesTheMoveStepBack(t *testing.T) {
	w := newWorld(t)
	user := userIn(7, 1)
	l := w.newLedger(user)
	must(t, l.write(t.Context(), user, 1, 0))
	proxy, err := file.Open(w.dir, file.Options{})
	must(t, err)
	must(t, proxy.Ack(t.Context(), bucketmap.Ack{Proxy: "p1", Version: 1}))
	e := w.engine(nil)
	e.Limits.Hold.Ack = 50 * time.Millisecond
	m, err := e.Start(t.Context(), Plan{Buckets: Buckets{7}, Target: "gamma", Who: "test"})
	must(t, err)
	ended := make(chan error, 1)
	go func() { ended <- e.Run(t.Context(), m) }()
	w.waitEvent(noted("p1 runs 1"))
	must(t, proxy.Close()) // dead: nobody waits for it any more
	must(t, <-ended)
	l.check()
	w.agree()
}

func TestATableAlteredDuringTheMoveStopsItWithAClearWord(t *testing.T) {
	w := newWorld(t)
	user := userIn(7, 1)
	l := w.newLedger(user)
	must(t, l.write(t.Context(), user, 1, 0))
	var points crash.Points
	must(t, points.ArmFunc("copying.after_incoming", func() {
		must(t, w.alpha.Exec(t.Context(), "ALTER TABLE "+w.database+".profile ADD COLUMN extra INT"))
	}))
	e := w.engine(&points)
	m, err := e.Start(t.Context(), Plan{Buckets: Buckets{7}, Target: "gamma", Who: "test"})
	must(t, err)
	err = e.Run(t.Context(), m)
	if err == nil || !strings.Contains(err.Error(), "profile") {
		t.Fatalf("error %v, want one that names the table", err)
	}
	must(t, w.engine(nil).Abort(t.Context(), m, "altered"))
	must(t, l.write(t.Context(), user, 2, 0))
	l.check()
	w.agree()
}

func TestAMoveDoesNotTouchAShardThatAPromotionHas(t *testing.T) {
	for _, shard := range []string{"alpha", "gamma"} {
		t.Run(shard, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			user := userIn(7, 1)
			l := w.newLedger(user)
			must(t, l.write(t.Context(), user, 1, 0))
			server, err := w.shards.Primary(t.Context(), bucketmap.ShardName(shard))
			must(t, err)
			promotion := fence.Token{Move: "p-1", Run: 1}
			must(t, database.InTx(t.Context(), server.DB, func(tx *sql.Tx) error {
				return fence.Transition(t.Context(), tx, fence.Change{From: fence.Active, To: fence.Active, ToToken: promotion})
			}))
			e := w.engine(nil)
			m, err := e.Start(t.Context(), Plan{Buckets: Buckets{7}, Target: "gamma", Who: "test"})
			must(t, err)
			if err := e.Run(t.Context(), m); !errors.Is(err, fence.ErrLostRow) || !strings.Contains(err.Error(), "p-1") {
				t.Fatalf("error %v, want one that names the promotion", err)
			}
			must(t, database.InTx(t.Context(), server.DB, func(tx *sql.Tx) error {
				return fence.Transition(t.Context(), tx, fence.Change{From: fence.Active, FromToken: promotion, To: fence.Active})
			}))
			must(t, w.engine(nil).Resume(t.Context(), m))
			l.check()
			w.agree()
		})
	}
}
