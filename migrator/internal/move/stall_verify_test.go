package move

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	"drover/internal/testrun"
	"drover/migrator/internal/crash"
	"drover/migrator/internal/database"
	"drover/shardlib/fence"
	"drover/tools/testservers"
)

// unlogged is a session whose changes no tail hears of.
func (w *world) unlogged(m *testservers.MariaDB) *sql.Conn {
	w.t.Helper()
	db, err := m.Open(testservers.AccountRoot, w.database)
	must(w.t, err)
	w.t.Cleanup(func() { must(w.t, db.Close()) })
	conn, err := db.Conn(w.t.Context())
	must(w.t, err)
	w.t.Cleanup(func() { _ = conn.Close() })
	must(w.t, alter(w.t.Context(), conn, "SET sql_log_bin = 0"))
	must(w.t, alter(w.t.Context(), conn, lenient))
	return conn
}

func alter(ctx context.Context, conn *sql.Conn, statement string) error {
	_, err := conn.ExecContext(ctx, statement)
	return err
}

func TestARowThatIsAnotherAtOneEndStopsTheMoveAtTheCommitPoint(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		// write is when a user writes, and the tail brings it over; damage is
		// when that row is changed at one end alone.
		write, damage crash.Point
		source        bool
	}{
		"at the source, after the target's word":        {"freezing.before_freeze", "freezing.before_commit", true},
		"at the target, with nothing left for the tail": {"holding.before_hold", "freezing.before_freeze", false},
		"at the source, with nothing left for the tail": {"holding.before_hold", "freezing.before_commit", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			ctx := t.Context()
			user := userIn(7, 1)
			l := w.newLedger(user)
			must(t, l.write(ctx, user, 1, 0))
			end := w.gamma
			if c.source {
				end = w.alpha
			}
			conn := w.unlogged(end)
			var points crash.Points
			must(t, points.ArmFunc(string(c.write), func() {
				must(t, l.write(ctx, user, 2, 0))
				if c.write == "holding.before_hold" {
					testrun.Until(t, "the tail has applied the write", func() error {
						if w.count(w.gamma, "SELECT COUNT(*) FROM request WHERE user_id = ? AND id = 2", user) == 0 {
							return errors.New("it is not there")
						}
						return nil
					})
				}
				must(t, points.ArmFunc(string(c.damage), func() {
					must(t, alter(ctx, conn, "UPDATE profile SET name = UPPER(name) WHERE user_id = '"+user+"'"))
				}))
			}))
			e := w.engine(&points)
			m, err := e.Start(ctx, Plan{Buckets: Buckets{7}, Target: "gamma", Who: "test"})
			must(t, err)
			err = e.Run(ctx, m)
			if !errors.Is(err, ErrDiffers) || !strings.Contains(err.Error(), user) || m.State() != Aborted {
				t.Fatalf("error %v, state %s, want ErrDiffers that names %s, and an abort", err, m.State(), user)
			}
			must(t, l.write(ctx, user, 3, 0)) // the source is active again
			l.check()
		})
	}
}

func TestTheCommitPointComparesValuesAndKeysOfEveryTypeAsTheVerificationDoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	user := userIn(7, 1)
	types := typeTables()
	w.tables = w.tables[:len(w.tables):len(w.tables)]
	var create, insert []string
	for _, table := range types {
		w.tables = append(w.tables, fence.Sharded{Name: table.name, UserColumn: "user_id"})
		create = append(create, table.create())
		for n := range 2 {
			insert = append(insert, table.insert(user, n))
		}
	}
	for i, key := range keyTypes {
		name := fmt.Sprintf("keys%d", i)
		w.tables = append(w.tables, fence.Sharded{Name: name, UserColumn: "user_id"})
		create = append(create, fmt.Sprintf("CREATE TABLE %s (user_id VARCHAR(64) COLLATE utf8mb4_bin, `k?` %s NOT NULL, v INT, PRIMARY KEY (`k?`, user_id))", name, key.definition))
		for n, v := range key.values {
			insert = append(insert, fmt.Sprintf("INSERT INTO %s VALUES ('%s', %s, %d)", name, user, v, n))
		}
	}
	w.exec(w.alpha, create...)
	w.exec(w.gamma, create...)
	e := w.engine(nil)
	m, err := e.Start(ctx, Plan{Buckets: Buckets{7}, Target: "gamma", Who: "test"})
	must(t, err)
	must(t, e.locked(ctx, m, func(r *run) error {
		c := w.brought(r, insert)
		if len(c.checks) != len(types)+len(keyTypes) {
			t.Errorf("%d tables are compared, want %d", len(c.checks), len(types)+len(keyTypes))
		}
		defer c.close()
		w.sameAsOutside(r, c)
		if err := c.source.compare(ctx, c.checks); err != nil {
			t.Fatalf("error %v, want that all is the same", err)
		}
		conn := w.unlogged(w.alpha)
		// It reads what is committed, and waits for nobody who has the rows.
		must(t, alter(ctx, conn, "BEGIN"))
		must(t, alter(ctx, conn, "UPDATE keys0 SET v = v + 1"))
		if err := c.source.compare(ctx, c.checks); err != nil {
			t.Errorf("error %v beside an open transaction, want that all is the same", err)
		}
		must(t, alter(ctx, conn, "ROLLBACK"))
		wantDiffer := func(what, damage, undo string) {
			t.Helper()
			must(t, alter(ctx, conn, damage))
			err := c.source.compare(ctx, c.checks)
			if number, _ := database.ErrorNumber(err); number != rowsDifferNumber {
				t.Errorf("%s: error %v, want a difference", what, err)
			}
			must(t, alter(ctx, conn, undo))
		}
		for _, table := range types {
			for i, definition := range table.definitions {
				set := fmt.Sprintf("UPDATE %s SET c%d = %%s WHERE `ke``y` = 0", table.name, i)
				wantDiffer(definition, fmt.Sprintf(set, "NULL"), fmt.Sprintf(set, table.values[i][0]))
			}
		}
		for i, key := range keyTypes {
			set := fmt.Sprintf("UPDATE keys%d SET v = v %%s 1 WHERE v >= 0", i)
			wantDiffer("key "+key.definition, fmt.Sprintf(set, "+"), fmt.Sprintf(set, "-"))
		}
		if err := c.source.compare(ctx, c.checks); err != nil {
			t.Errorf("error %v, want that all is the same again", err)
		}
		return nil
	}))
}

// brought starts a tail, lets it bring what statements write, and returns a
// crossing with the target's word of it.
func (w *world) brought(r *run, statements []string) *crossing {
	w.t.Helper()
	ctx := w.t.Context()
	start, err := r.from.BinlogPosition(ctx)
	must(w.t, err)
	_, err = r.to.DB.ExecContext(ctx, "INSERT INTO drover_tail (move_id, leg, token, position, progress) VALUES (?, ?, ?, ?, '{}')",
		string(r.move.Record.Move), r.move.Leg, r.token.String(), start.String())
	must(w.t, err)
	must(w.t, r.startTail(ctx))
	w.exec(w.alpha, append(append([]string{"BEGIN"}, statements...), "COMMIT")...)
	end, err := r.barrier(ctx)
	must(w.t, err)
	must(w.t, r.tail.reach(ctx, end))
	c := &crossing{}
	c.source, err = openSession(ctx, r.from)
	must(w.t, err)
	c.target, err = openSession(ctx, r.to)
	must(w.t, err)
	all, err := r.targetsWord(ctx, c)
	if err != nil || !all || len(c.position) == 0 {
		w.t.Fatalf("the target's word: %v at %v, error %v", all, c.position, err)
	}
	return c
}

// sameAsOutside compares the word of a script with the checksums of a
// verification, table by table.
func (w *world) sameAsOutside(r *run, c *crossing) {
	w.t.Helper()
	touched, _ := r.tail.touchedKeys()
	known := map[string]bool{}
	for _, check := range c.checks {
		known[check.want] = true
	}
	for table, keys := range touched {
		where, args := r.comparer(r.tail.touchedKeys).whereKeys(table, keys)
		s, err := checksum(w.t.Context(), r.from, table, where, args)
		must(w.t, err)
		if want := fmt.Sprint(s.rows, " ", s.xor, " ", s.total); !known[want] {
			w.t.Errorf("%s: %s by the verification is no word of the target", table.Name, want)
		}
	}
}

func TestTooManyChangedRowsAreComparedAtBothEndsAndNotByTheCommitPoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	user := userIn(7, 1)
	w.newLedger(user)
	var points crash.Points
	must(t, points.ArmFunc("freezing.before_freeze", func() {
		var statements []string
		for n := range readBackKeys + 1 {
			statements = append(statements, fmt.Sprintf("INSERT INTO request (user_id, id) VALUES ('%s', %d)", user, n))
		}
		w.exec(w.alpha, append(append([]string{"BEGIN"}, statements...), "COMMIT")...)
	}))
	e := w.engine(&points)
	m, err := e.Start(ctx, Plan{Buckets: Buckets{7}, Target: "gamma", Who: "test"})
	must(t, err)
	must(t, e.Run(ctx, m))
	if n := w.count(w.gamma, "SELECT COUNT(*) FROM request WHERE user_id = ?", user); n != readBackKeys+1 {
		t.Errorf("%d rows at the target, want %d", n, readBackKeys+1)
	}
	w.agree()
}
