package move

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"drover/internal/testrun"
	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

// freezes are the ways to freeze.
func (r *run) freezes(c *crossing) map[string]func(context.Context) (database.GTID, error) {
	return map[string]func(context.Context) (database.GTID, error){
		"in a gap": func(ctx context.Context) (database.GTID, error) { return r.freezeInAGap(ctx, c, time.Millisecond) },
		"queued":   func(ctx context.Context) (database.GTID, error) { return r.freezeQueued(ctx, c) },
	}
}

// freezer is a run that can only freeze.
func (w *world) freezer(buckets Buckets, limits Limits) (*run, *crossing) {
	w.t.Helper()
	server, err := w.shards.Primary(w.t.Context(), "alpha")
	must(w.t, err)
	s, err := openSession(w.t.Context(), server)
	must(w.t, err)
	w.t.Cleanup(s.close)
	r := &run{Engine: &Engine{Limits: limits}, move: &Move{Detail: Detail{Buckets: buckets}}, from: server}
	return r, &crossing{source: s}
}

// settings are those of a session that a freeze must leave as they were.
func (s *session) settings(t *testing.T) (all string) {
	t.Helper()
	must(t, s.conn.QueryRowContext(t.Context(), "SELECT CONCAT_WS(' ', @@innodb_lock_wait_timeout, @@max_statement_time, @@in_transaction)").Scan(&all))
	return all
}

func TestAFreezeThatFailsLeavesNoLockAndNobodyWaitingBehindIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	r, c := w.freezer(Buckets{7, 8, 9}, testLimits())
	before := c.source.settings(t)
	// A writer has the middle row of three.
	app := w.open(w.alpha)
	writer, err := app.BeginTx(ctx, nil)
	must(t, err)
	_, err = fence.CheckWrite(ctx, writer, 8)
	must(t, err)
	for name, freeze := range r.freezes(c) {
		if _, err := freeze(ctx); !database.TimedOut(err) {
			t.Errorf("%s: error %v, want a lock that was not to be had", name, err)
		}
		if after := c.source.settings(t); after != before {
			t.Errorf("%s: the session was %q and is %q", name, before, after)
		}
		must(t, database.InTx(ctx, r.from.DB, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "SELECT bucket FROM drover_fence FORCE INDEX (PRIMARY) WHERE bucket IN (7, 9) AND state = 'active' FOR UPDATE NOWAIT")
			return err
		}))
	}
	must(t, writer.Commit())
	if _, err := r.freeze(ctx, c); err != nil {
		t.Fatal(err)
	}
}

func TestWhileAFreezeLooksForAGapOtherWritersOfTheRowGoOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	r, c := w.freezer(Buckets{7}, testLimits())
	app := w.open(w.alpha)
	first, err := app.BeginTx(ctx, nil)
	must(t, err)
	_, err = fence.CheckWrite(ctx, first, 7)
	must(t, err)
	type frozen struct {
		own database.GTID
		err error
	}
	looking := make(chan frozen, 1)
	go func() {
		own, err := r.freezeInAGap(ctx, c, 20*time.Second) // of pauses; it ends with the writers
		looking <- frozen{own, err}
	}()
	for range 50 { // there is always one that has the row
		next, err := app.BeginTx(ctx, nil)
		must(t, err)
		_, err = next.ExecContext(ctx, "SET STATEMENT innodb_lock_wait_timeout = 0 FOR SELECT state FROM drover_fence WHERE bucket = 7 LOCK IN SHARE MODE")
		must(t, err)
		must(t, first.Commit())
		first = next
	}
	select {
	case f := <-looking:
		t.Fatalf("it ended though a writer had the row: %+v", f)
	default:
	}
	began := time.Now()
	must(t, first.Commit())
	f := <-looking
	must(t, f.err)
	if f.own.Sequence == 0 {
		t.Error("the freeze has no position")
	}
	// The users' wait begins with the lock, not with the look.
	if early := began.Sub(c.began); early > 5*time.Second {
		t.Errorf("the stall began %s before the last writer ended", early)
	}
}

func TestAQueuedFreezeWaitsForAWriterAndThenHasTheRow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	limits := testLimits()
	limits.FreezeLock = 20 * time.Second
	r, c := w.freezer(Buckets{7}, limits)
	writer, err := w.open(w.alpha).BeginTx(ctx, nil)
	must(t, err)
	_, err = fence.CheckWrite(ctx, writer, 7)
	must(t, err)
	ended := make(chan error, 1)
	go func() { _, err := r.freezeQueued(ctx, c); ended <- err }()
	// Once it is updating it waits for the writer. (The list of lock waits is no
	// help: the server keeps an old one for those who ask for it all the time.)
	testrun.Until(t, "the freeze queues", func() error {
		select {
		case err := <-ended:
			t.Fatalf("it ended though a writer had the row: %v", err)
		default:
		}
		if w.count(w.alpha, "SELECT COUNT(*) FROM information_schema.processlist WHERE id = ? AND state = 'Updating'", c.source.id) == 0 {
			return errors.New("it is not updating")
		}
		return nil
	})
	must(t, writer.Commit())
	must(t, <-ended)
	if n := w.count(w.alpha, "SELECT COUNT(*) FROM drover_fence WHERE bucket = 7 AND state = 'frozen'"); n != 1 {
		t.Error("the row is not frozen")
	}
}

// The server calls some of the changes that it ends a success: see
// fence.ErrUnfinished.
func TestAFreezeThatTheServerEndsIsTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	r, c := w.freezer(Buckets{7, 9}, testLimits())
	look := func() (states string) {
		t.Helper()
		must(t, r.from.DB.QueryRowContext(ctx, "SELECT GROUP_CONCAT(state ORDER BY bucket) FROM drover_fence WHERE bucket IN (7, 9)").Scan(&states))
		return states
	}
	frozen, ended := 0, 0
	var last uint64
	for i := 0; i < 5000 && (frozen == 0 || ended < 200); i++ {
		// A script takes 0.1 ms and more to its change.
		own, err := r.freezeWithin(ctx, c, fmt.Sprintf("SET STATEMENT max_statement_time=%.6f FOR ", float64(20*(1+i%25))/1e6))
		states := look()
		switch {
		case err == nil:
			frozen++
			if states != "frozen,frozen" || own.Sequence <= last {
				t.Fatalf("%d: frozen at %s, after %d, and the rows are %s", i, own, last, states)
			}
			last = own.Sequence
			must(t, fence.Transition(ctx, r.from.DB, fence.Change{
				Buckets: r.move.Buckets, From: fence.Frozen, FromToken: r.token, To: fence.Active, ToToken: r.token}))
		case notFree(err):
			ended++
			// Nor may the session's next transaction commit it.
			if state := c.source.settings(t); states != "active,active" || !strings.HasSuffix(state, " 0") {
				t.Fatalf("%d: the rows are %s, the session %q after %v", i, states, state, err)
			}
		default:
			t.Fatal(err)
		}
	}
	t.Logf("%d frozen, %d ended", frozen, ended)
	if frozen == 0 || ended == 0 {
		t.Error("nothing was ended, or everything")
	}
	// A row that another move has is lost all the same.
	must(t, fence.Transition(ctx, r.from.DB, fence.Change{
		Buckets: Buckets{9}, From: fence.Active, FromToken: r.token, To: fence.Active, ToToken: fence.Token{Move: "other", Run: 1}}))
	for name, freeze := range r.freezes(c) {
		if _, err := freeze(ctx); !errors.Is(err, fence.ErrLostRow) || notFree(err) {
			t.Errorf("%s: error %v, want ErrLostRow", name, err)
		}
	}
}

// KILL QUERY keeps a script from its handler, and so from its ROLLBACK.
func TestAScriptThatSomebodyEndsIsSeenDead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	writer, err := w.open(w.alpha).BeginTx(ctx, nil)
	must(t, err)
	defer func() { _ = writer.Rollback() }()
	_, err = fence.CheckWrite(ctx, writer, 20)
	must(t, err)
	const wait = "UPDATE drover_fence SET epoch = epoch + 1 WHERE bucket = 20"
	for name, before := range map[string]string{"in its transaction": wait, "past its commit": "COMMIT;\n" + wait} {
		r, c := w.freezer(Buckets{7, 9}, testLimits())
		body := transitionScript(r.move.Buckets, fence.Active, fence.Frozen, r.token)
		body.add(before)
		ended := make(chan error, 1)
		go func() { _, err := c.source.run(ctx, body); ended <- err }()
		testrun.Until(t, "the script waits", func() error {
			if w.count(w.alpha, "SELECT COUNT(*) FROM information_schema.processlist WHERE id = ? AND info = ?", c.source.id, wait) == 0 {
				return errors.New("it does not wait")
			}
			return nil
		})
		_, err := r.from.DB.ExecContext(ctx, "KILL QUERY ?", c.source.id)
		must(t, err)
		if err := <-ended; !errors.Is(err, database.ErrOutcomeUnknown) || notFree(err) {
			t.Errorf("%s: error %v, want ErrOutcomeUnknown", name, err)
		}
		if n := w.count(w.alpha, "SELECT COUNT(*) FROM information_schema.processlist WHERE id = ?", c.source.id); n != 0 {
			t.Errorf("%s: the session is still there", name)
		}
		want := 0
		if strings.HasPrefix(before, "COMMIT") {
			want = 2
		}
		if n := w.count(w.alpha, "SELECT COUNT(*) FROM drover_fence WHERE bucket IN (7, 9) AND state = 'frozen'"); n != want {
			t.Errorf("%s: %d rows are frozen, want %d", name, n, want)
		}
		_, err = r.from.DB.ExecContext(ctx, "UPDATE drover_fence SET state = 'active' WHERE bucket IN (7, 9)")
		must(t, err)
	}
}

func TestAFreezeWhoseTimeIsUpAfterItsCommitIsAFreeze(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	r, c := w.freezer(Buckets{7, 9}, testLimits())
	// What the time is lost with: a row that a writer has.
	writer, err := w.open(w.alpha).BeginTx(ctx, nil)
	must(t, err)
	defer func() { _ = writer.Rollback() }()
	_, err = fence.CheckWrite(ctx, writer, 20)
	must(t, err)
	var timeUp error
	try := func(statements ...string) (database.GTID, error) {
		body := transitionScript(r.move.Buckets, fence.Active, fence.Frozen, r.token)
		for _, s := range append(statements, "UPDATE drover_fence SET epoch = epoch + 1 WHERE bucket = 20") {
			body.add(s)
		}
		var own string
		err := c.source.ask(ctx, database.WithinMillis(500), scriptHead+string(body.body)+"COMMIT;\n", "@@last_gtid", &own)
		if number, _ := database.ErrorNumber(err); number != erTimeUp {
			t.Fatalf("%v: error %v, want %d", statements, err, erTimeUp)
		}
		timeUp = err
		return r.frozenInTime(ctx, c.source, err)
	}
	if gtid, err := try(); !database.TimedOut(err) {
		t.Errorf("before the commit: %v, error %v, want that the time was up", gtid, err)
	}
	gtid, err := try("COMMIT")
	must(t, err)
	var last string
	must(t, c.source.conn.QueryRowContext(ctx, "SELECT @@last_gtid").Scan(&last))
	if gtid.String() != last || gtid.Sequence == 0 {
		t.Errorf("the freeze is %v, want %s", gtid, last)
	}
	if state := c.source.settings(t); state != "10 0.000000 0" {
		t.Errorf("the session is %q", state)
	}
	// A look that fails leaves it unknown, and that is no reason to try again.
	_ = c.source.conn.Close()
	_, err = r.frozenInTime(ctx, c.source, timeUp)
	if !errors.Is(err, database.ErrOutcomeUnknown) || notFree(err) {
		t.Errorf("error %v, want ErrOutcomeUnknown alone", err)
	}
}
