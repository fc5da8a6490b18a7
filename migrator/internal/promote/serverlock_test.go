package promote

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"drover/migrator/internal/database"
	"drover/tools/testservers"
)

// runOn is a run of a promotion that was never begun.
func (w *world) runOn(t *testing.T) *run {
	t.Helper()
	p, err := w.engine().Start(t.Context(), Plan{Shard: alpha, Target: cloud, Who: "test"})
	must(t, err)
	r := &run{Engine: w.engine(), promotion: p, token: p.Record.Token(), from: w.server(legacy), to: w.server(cloud)}
	r.dialect, err = r.from.Dialect(t.Context())
	must(t, err)
	return r
}

// holds makes a session of root hold what the statement takes, until it is
// called.
func (w *world) holds(statement string) (id int64, end func()) {
	w.t.Helper()
	db, err := w.a.Open(testservers.AccountRoot, "app")
	must(w.t, err)
	conn, err := db.Conn(context.Background())
	must(w.t, err)
	must(w.t, conn.QueryRowContext(context.Background(), "SELECT CONNECTION_ID()").Scan(&id))
	_, err = conn.ExecContext(context.Background(), statement)
	must(w.t, err)
	return id, func() {
		_, err := conn.ExecContext(context.Background(), "UNLOCK TABLES")
		must(w.t, errors.Join(err, conn.Close(), db.Close()))
	}
}

func TestALockOnTheWholeServerIsToldWithItsHolderAndTheRemedy(t *testing.T) {
	w := newWorld(t)
	r := w.runOn(t)
	write := func() error {
		return r.decide(t.Context(), r.from, func(tx *sql.Tx) error {
			_, err := tx.Exec("UPDATE drover_fence SET epoch = epoch + 0 WHERE bucket = -1")
			return err
		})
	}
	told := func(err error, words ...string) {
		t.Helper()
		if number, ok := database.ErrorNumber(err); !errors.Is(err, ErrServerLocked) || !database.TimedOut(err) || !ok || number != 1205 {
			t.Errorf("it is no such error: %v", err)
			return
		}
		for _, word := range words {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("it does not say %q: %v", word, err)
			}
		}
	}
	// By the process list alone: this server keeps no list of its locks.
	id, end := w.holds("FLUSH TABLES WITH READ LOCK")
	err := write()
	end()
	told(err, "it may be", fmt.Sprintf("connection %d of root@", id), "sleep for ", fmt.Sprintf("KILL %d", id), w.a.Addr())
	if err := write(); err != nil {
		t.Errorf("the lock is gone: %v", err)
	}
	// It is for certain where the server keeps one.
	must(t, w.a.Exec(t.Context(), "INSTALL SONAME 'metadata_lock_info'"))
	for _, statement := range []string{"FLUSH TABLES WITH READ LOCK", "LOCK TABLES drover_fence READ"} {
		id, end = w.holds(statement)
		idle, more := w.holds("SELECT 1")
		err = write()
		more()
		end()
		told(err, fmt.Sprintf("it is connection %d of root@", id))
		if strings.Contains(err.Error(), fmt.Sprintf("connection %d ", idle)) {
			t.Errorf("%s: an idle connection is named: %v", statement, err)
		}
	}
	must(t, w.a.Exec(t.Context(), "UNINSTALL SONAME 'metadata_lock_info'"))
	// A row lock is another matter.
	tx, err := w.appDB(legacy).BeginTx(t.Context(), nil)
	must(t, err)
	_, err = tx.Exec("SELECT bucket FROM drover_fence WHERE bucket = -1 LOCK IN SHARE MODE")
	must(t, err)
	err = write()
	must(t, tx.Rollback())
	if errors.Is(err, ErrServerLocked) || !database.TimedOut(err) {
		t.Errorf("a row lock: %v", err)
	}
}

// The lock comes within the freeze and goes when the freeze is undone.
func TestAFreezeThatALockOnTheServerEndsSaysWhoHasIt(t *testing.T) {
	w := newWorld(t)
	w.limits.Freeze = 10 * time.Second // the wait for the lock ends first, after 1 s
	var id int64
	end := func() {}
	must(t, w.points.ArmFunc("freezing.before_commit", func() { id, end = w.holds("FLUSH TABLES WITH READ LOCK") }))
	w.executed = func(s Statement) {
		if s.Do == commandReadOnly(false).String() { // what a thaw begins with
			end()
			end = func() {}
		}
	}
	_, err := w.promote(cloud)
	if !errors.Is(err, ErrServerLocked) || !strings.Contains(err.Error(), fmt.Sprintf("connection %d of root@", id)) || !strings.Contains(err.Error(), "KILL") {
		t.Error(err)
	}
	w.writable(legacy)
}

func TestAnErrantWriteWhileCatchingUpIsPointedToTheDoctor(t *testing.T) {
	for _, stopped := range []bool{false, true} {
		t.Run(fmt.Sprintf("replication stopped %t", stopped), func(t *testing.T) {
			w := newWorld(t)
			must(t, w.points.ArmFunc("catching_up.after_journal", func() {
				w.exec(w.server(cloud).DB, "INSERT INTO counter VALUES (500, 0)")
				if stopped { // the primary's next one is out of order there
					must(t, w.write(legacy, true))
				}
			}))
			p, err := w.promote(cloud)
			var placed *Error
			if !errors.Is(err, ErrErrant) || !errors.As(err, &placed) || placed.State != CatchingUp || placed.Hint == "" {
				t.Fatal(err)
			}
			for _, word := range []string{"migrator doctor", w.b.Addr(), fmt.Sprintf("-%d-", w.b.ServerID())} {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("it does not say %q: %v", word, err)
				}
			}
			w.writable(legacy)
			w.lives()
			must(t, w.engine().Abort(t.Context(), p, ""))
		})
	}
}
