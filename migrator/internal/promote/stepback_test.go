package promote

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/internal/testrun"
	"drover/migrator/internal/crash"
	"drover/migrator/internal/journal"
	"drover/shardlib/fence"
	"drover/tools/testservers"
)

// steppedBack waits until a promotion has stepped back n times for this reason.
func (w *world) steppedBack(n int, reason string) {
	w.t.Helper()
	testrun.Until(w.t, fmt.Sprintf("%d steps back for %q", n, reason), func() error {
		found := 0
		for _, note := range w.notes() {
			if strings.HasPrefix(note, "stepped back, try") && strings.Contains(note, reason) {
				found++
			}
		}
		if found < n {
			return fmt.Errorf("%q", w.notes())
		}
		return nil
	})
}

// start runs a promotion beside the test.
func (w *world) start(target bucketmap.Datacenter) <-chan error {
	ended := make(chan error, 1)
	go func() {
		_, err := w.promote(target)
		ended <- err
	}()
	return ended
}

// writable checks that the shard is as before a promotion: active, free and
// writable on its primary.
func (w *world) writable(dc bucketmap.Datacenter) {
	w.t.Helper()
	if err := w.write(dc, true); err != nil {
		w.t.Errorf("the primary in %s does not take a write: %v", dc, err)
	}
	if readOnly, err := w.server(dc).ReadOnly(w.t.Context()); err != nil || readOnly {
		w.t.Errorf("%s is read-only: %t, %v", dc, readOnly, err)
	}
}

func TestAnOpenTransactionMakesItStepBackAndOthersGoOn(t *testing.T) {
	w := newWorld(t)
	ws := w.startWriters()
	db, opened := w.appDB(legacy), make(chan *sql.Tx, 1)
	must(t, w.points.ArmFunc("holding.before_hold", func() {
		tx, err := db.BeginTx(context.Background(), nil)
		must(t, err)
		_, err = fence.CheckWrite(context.Background(), tx, 5)
		must(t, err)
		_, err = tx.Exec("INSERT INTO counter VALUES (1000, 0)")
		must(t, err)
		opened <- tx
	}))
	ended := w.start(cloud)
	tx := <-opened
	for began := time.Now(); time.Since(began) < time.Second; {
		ws.waitAcked(10) // fails when others do not go on
	}
	w.steppedBack(2, "an open transaction")
	must(t, tx.Commit())
	must(t, <-ended)
	w.settled(cloud, 2)
	ws.check(cloud)
	var n int
	must(t, w.server(cloud).DB.QueryRow("SELECT COUNT(*) FROM counter WHERE bucket = 1000").Scan(&n))
	if n != 1 {
		t.Error("what the open transaction wrote is lost")
	}
}

// stranger runs a long write that the fence does not know of, and returns what
// ends it.
func (w *world) stranger(dc bucketmap.Datacenter) (end func()) {
	w.t.Helper()
	w.exec(w.server(dc).DB, "CREATE TABLE IF NOT EXISTS stranger (a INT)")
	db := w.appDB(dc)
	conn, err := db.Conn(context.Background())
	must(w.t, err)
	var id int64
	must(w.t, conn.QueryRowContext(context.Background(), "SELECT CONNECTION_ID()").Scan(&id))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = conn.ExecContext(context.Background(), "INSERT INTO stranger VALUES (SLEEP(60))")
		_ = conn.Close()
	}()
	w.until("the stranger writes", func() bool {
		var n int
		must(w.t, w.server(dc).DB.QueryRow("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = ? AND STATE = 'User sleep'", id).Scan(&n))
		return n != 0
	})
	return func() {
		must(w.t, w.server(dc).Kill(context.Background(), id))
		<-done
	}
}

func TestAStrangersLongStatementMakesItStepBackWithinTheBudget(t *testing.T) {
	w := newWorld(t)
	ws := w.startWriters()
	end := w.stranger(legacy)
	ended := w.start(cloud)
	w.steppedBack(2, "a statement that the fence does not know")
	ws.waitAcked(10)
	end()
	must(t, <-ended)
	w.settled(cloud, 2)
	ws.check(cloud)
}

func TestPastItsTriesItIsAbortedAndThePrimaryIsWritable(t *testing.T) {
	w := newWorld(t)
	w.limits.FreezeTries = 2
	end := w.stranger(legacy)
	p, err := w.promote(cloud)
	if !errors.Is(err, ErrSteppedBack) || p.State() != Aborted {
		t.Fatalf("%v; it is %s", err, p.State())
	}
	w.writable(legacy)
	end()
	w.settled(legacy, 1)
}

func TestAReplicaThatStopsInTheFreezeMakesItStepBack(t *testing.T) {
	w := newWorld(t)
	ws := w.startWriters()
	w.limits.Freeze, w.limits.FreezeTries = 300*time.Millisecond, 1
	must(t, w.points.ArmFunc("freezing.before_freeze", func() { must(t, w.b.Exec(t.Context(), "STOP SLAVE SQL_THREAD")) }))
	if _, err := w.promote(cloud); !errors.Is(err, ErrSteppedBack) {
		t.Fatal(err)
	}
	w.writable(legacy)
	ws.waitAcked(10)
	must(t, w.b.Exec(t.Context(), "START SLAVE"))
	w.settled(legacy, 1)
	ws.check(legacy)
}

// A slow machine may have no time left when the freeze begins.
func TestAFreezeThatHasNoTimeIsAStepBackAndPastItsTriesAnAbort(t *testing.T) {
	w := newWorld(t)
	w.limits.Freeze, w.limits.FreezeTries = time.Nanosecond, 2
	p, err := w.promote(cloud)
	if !errors.Is(err, ErrSteppedBack) || p.State() != Aborted {
		t.Fatalf("%v; it is %s", err, p.State())
	}
	w.writable(legacy)
	w.settled(legacy, 1)
}

func TestAnAbortThatCannotBeJournaledIsNotSaidToBeOne(t *testing.T) {
	w := newWorld(t)
	w.limits.Freeze, w.limits.FreezeTries = time.Nanosecond, 1
	db := w.server(legacy).DB
	must(t, w.points.ArmFunc("aborting.before_journal", func() { w.exec(db, "RENAME TABLE drover_journal TO away") }))
	p, err := w.promote(cloud)
	if err == nil || errors.Is(err, ErrSteppedBack) || p.State() != CatchingUp {
		t.Fatalf("%v; it is %s", err, p.State())
	}
	for _, words := range []string{ErrSteppedBack.Error(), "drover_journal' doesn't exist", "run migrator resume"} {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("it does not say %q: %v", words, err)
		}
	}
	w.exec(db, "RENAME TABLE away TO drover_journal")
	must(t, w.engine().Abort(t.Context(), w.open(), ""))
	w.settled(legacy, 1)
}

// What is aborting is not thawed any more: the shard would be frozen for good.
func TestAShardThatCannotBeThawedIsNotAborted(t *testing.T) {
	w := newWorld(t)
	w.runs = []Hook{shellHook(t, BeforeCommit, "exit 1")}
	db := w.server(legacy).DB
	must(t, w.points.ArmFunc("freezing.before_thaw", func() {
		w.exec(db, "CREATE TRIGGER stuck BEFORE UPDATE ON drover_fence FOR EACH ROW SIGNAL SQLSTATE '45000'")
	}))
	p, err := w.promote(cloud)
	if !errors.Is(err, ErrHook) || p.State() != Freezing {
		t.Fatalf("%v; it is %s", err, p.State())
	}
	w.exec(db, "DROP TRIGGER stuck")
	must(t, w.engine().Abort(t.Context(), w.open(), ""))
	w.settled(legacy, 1)
}

func TestAThawThatHasToWaitIsPartOfTheStepBack(t *testing.T) {
	w := newWorld(t)
	w.limits.FreezeTries = 1
	must(t, w.points.ArmFunc("freezing.after_applied", func() { w.root(w.a, 1000) }))
	thaws, end := 0, func() {}
	w.executed = func(s Statement) {
		switch {
		case s.State != Freezing:
		case s.Do == commandReadOnly(false).String(): // what a thaw begins with
			end()
			end = func() {}
		case strings.Contains(s.Do, "SET state = 'active'"):
			if thaws++; thaws == 1 {
				_, end = w.holds("FLUSH TABLES WITH READ LOCK")
			}
		}
	}
	p, err := w.promote(cloud)
	if !errors.Is(err, ErrSteppedBack) || p.State() != Aborted || thaws != 2 {
		t.Fatalf("%v; it is %s, thawed %d times", err, p.State(), thaws)
	}
	w.settled(legacy, 1)
}

func TestAReplicaThatIsLostInTheFreezeLeavesThePrimaryWritable(t *testing.T) {
	w := newWorld(t)
	w.limits.FreezeTries = 3
	must(t, w.points.ArmFunc("freezing.after_freeze", func() { must(t, w.b.Kill()) }))
	p, err := w.promote(cloud)
	if err == nil || p.State() != CatchingUp {
		t.Fatalf("%v; it is %s", err, p.State())
	}
	w.writable(legacy)
	w.lives()
	must(t, w.b.Restart(t.Context()))
	must(t, w.server(cloud).DB.Ping())
	must(t, w.b.Exec(t.Context(), "SET GLOBAL read_only = 1"))
	must(t, w.engine().Resume(t.Context(), w.open()))
	w.settled(cloud, 2)
}

// root writes one row as an account that neither fence nor read_only stops.
func (w *world) root(m *testservers.MariaDB, bucket int) {
	must(w.t, m.Exec(context.Background(), fmt.Sprintf("INSERT INTO app.counter VALUES (%d, 0)", bucket)))
}

func TestSomebodyWhoWritesInSpiteOfReadOnlyMakesItStepBack(t *testing.T) {
	w := newWorld(t)
	w.limits.FreezeTries = 1
	must(t, w.points.ArmFunc("freezing.after_applied", func() { w.root(w.a, 1000) }))
	p, err := w.promote(cloud)
	if !errors.Is(err, ErrSteppedBack) || p.State() != Aborted {
		t.Fatalf("%v; it is %s", err, p.State())
	}
	w.settled(legacy, 1)
}

func TestWhatSomebodyWritesPastTheCommitPointComesOver(t *testing.T) {
	w := newWorld(t)
	must(t, w.points.ArmFunc("switching.before_stop", func() { w.root(w.a, 1000) }))
	_, err := w.promote(cloud)
	must(t, err)
	w.settled(cloud, 2)
	var n int
	must(t, w.server(cloud).DB.QueryRow("SELECT COUNT(*) FROM counter WHERE bucket = 1000").Scan(&n))
	if n != 1 {
		t.Error("it is lost")
	}
}

func TestInterruptedBeforeTheCommitPointItLeavesThePrimaryWritable(t *testing.T) {
	w := newWorld(t)
	for _, point := range []string{
		"replicating.after_claim", "catching_up.after_journal", "holding.before_hold", "holding.after_hold", "freezing.after_journal",
		"freezing.before_freeze", "freezing.after_freeze", "freezing.before_read_only", "freezing.after_read_only", "freezing.before_commit",
	} {
		w.points = &crash.Points{}
		ctx, cancel := context.WithCancel(t.Context())
		must(t, w.points.ArmFunc(point, cancel))
		e := w.engine()
		p, err := e.Start(ctx, Plan{Shard: alpha, Target: cloud, Who: "test"})
		must(t, err)
		if err := e.Run(ctx, p); !errors.Is(err, context.Canceled) {
			t.Fatalf("%s: %v", point, err)
		}
		w.writable(legacy)
		w.lives()
		must(t, w.engine().Abort(t.Context(), w.open(), ""))
		w.settled(legacy, 1)
		if t.Failed() {
			t.Fatalf("after an interrupt at %s", point)
		}
	}
}

func TestInterruptedPastTheCommitPointItGoesOnUntilTheMapIsPublished(t *testing.T) {
	w := newWorld(t)
	at, epoch := legacy, bucketmap.FirstEpoch
	for _, point := range []string{"freezing.after_commit", "switching.after_stop", "switching.after_activate", "publishing.before_map"} {
		w.points = &crash.Points{}
		ctx, cancel := context.WithCancel(t.Context())
		must(t, w.points.ArmFunc(point, cancel))
		e := w.engine()
		p, err := e.Start(ctx, Plan{Shard: alpha, Target: other(at), Who: "test"})
		must(t, err)
		if err := e.Run(ctx, p); !errors.Is(err, context.Canceled) || p.State() != Reversing {
			t.Fatalf("%s: %v; it is %s", point, err, p.State())
		}
		at, epoch = other(at), epoch+1
		w.writable(at)
		if s := w.lives(); s.Datacenter != at || s.Epoch != epoch {
			t.Fatalf("%s: the map says %v", point, s)
		}
		must(t, w.engine().Resume(t.Context(), w.open()))
		w.settled(at, epoch)
	}
}

func TestAProxyThatDoesNotAcknowledgeMakesItStepBack(t *testing.T) {
	w := newWorld(t)
	w.limits.Hold.Ack = 50 * time.Millisecond
	must(t, w.store.Ack(t.Context(), bucketmap.Ack{Proxy: "slow", Version: 1, Since: time.Now()}))
	ended := w.start(cloud)
	w.steppedBack(2, "acknowledged")
	ctx, cancel := context.WithCancel(t.Context())
	acked := make(chan struct{})
	go func() {
		defer close(acked)
		_ = w.store.Watch(ctx, func(s *bucketmap.Snapshot, err error) {
			if err == nil {
				_ = w.store.Ack(ctx, bucketmap.Ack{Proxy: "slow", Version: s.Version(), Since: time.Now()})
			}
		})
	}()
	must(t, <-ended)
	cancel()
	<-acked
	w.settled(cloud, 2)
}

func TestAJournalNamesEveryState(t *testing.T) {
	w := newWorld(t)
	p, err := w.promote(cloud)
	must(t, err)
	entries, err := journal.Open(w.server(cloud)).Entries(t.Context(), p.Record.Move)
	must(t, err)
	var states []string
	for _, e := range entries {
		states = append(states, e.State)
	}
	if got, want := strings.Join(states, " "), "planned replicating catching_up holding freezing switching publishing reversing done"; got != want {
		t.Errorf("the journal has %q, want %q", got, want)
	}
}

// What the preflight refuses may come to be after it.
func TestAReplicaThatIsDelayedAfterThePreflightIsWaitedForAndThePrimaryStaysWritable(t *testing.T) {
	w := newWorld(t)
	ws := w.startWriters()
	w.limits.Freeze, w.limits.FreezeTries = 300*time.Millisecond, 1
	must(t, w.points.ArmFunc("freezing.before_freeze", func() {
		must(t, w.b.Exec(t.Context(), "STOP SLAVE", "CHANGE MASTER TO MASTER_DELAY = 2", "START SLAVE"))
	}))
	if _, err := w.promote(cloud); !errors.Is(err, ErrSteppedBack) {
		t.Fatal(err)
	}
	w.writable(legacy)
	must(t, w.b.Exec(t.Context(), "STOP SLAVE", "CHANGE MASTER TO MASTER_DELAY = 0", "START SLAVE"))
	ws.waitAcked(10)
	w.settled(legacy, 1)
	ws.check(legacy)
}

// The primary dies between the fence and the commit point, and comes back.
func TestAPrimaryThatDiesInTheFreezeIsWritableAgainOnceItIsBack(t *testing.T) {
	w := newWorld(t)
	w.limits.Freeze, w.limits.FreezeTries = 300*time.Millisecond, 1
	must(t, w.points.ArmFunc("freezing.after_applied", func() {
		must(t, w.a.Kill())
		must(t, w.a.Restart(context.Background()))
	}))
	ws := w.startWriters()
	_, err := w.promote(cloud)
	if err == nil {
		t.Fatal("it was promoted past a primary that died")
	}
	w.points = &crash.Points{}
	if s := w.lives(); s.Datacenter == legacy {
		w.goOn()
	}
	ws.waitAcked(10)
	at := w.lives()
	w.settled(at.Datacenter, at.Epoch)
	ws.check(at.Datacenter)
}
