package promotions

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"drover/shardlib/fence"
)

// lasts is how long an adversary goes on: long enough for several tries of the
// freeze, and as long as people's mistakes last where the test may take its time.
func lasts(long time.Duration) time.Duration {
	if shared.soak {
		return long
	}
	return 1500 * time.Millisecond
}

func adversaries() []faultCase {
	cases := slices.Concat(transactions(), strangers(), replicas(), hookCases(), []faultCase{diskFull()})
	for i := range cases {
		cases[i].title = adversariesTitle
	}
	return cases
}

// refused runs a promotion that must be refused before anything is changed.
func (x *trial) refused(check string) {
	x.t.Helper()
	x.promote("")
	if err := x.ended(); err == nil || !strings.Contains(x.child.Output(), check) || x.w.newest().open {
		x.t.Errorf("it was not refused for %s: %v", check, err)
	}
	x.row.said = lineWith(x.child.Output(), check)
	x.row.outcome = "refused"
}

// lineWith is the line of an output that names a check.
func lineWith(output, check string) string {
	for line := range strings.Lines(output) {
		if strings.Contains(line, check) {
			return lastWords(line)
		}
	}
	return lastWords(output)
}

// exec executes statements as root on a server.
func (x *trial) exec(s *side, statements ...string) {
	x.t.Helper()
	must(x.t, s.server.Exec(context.Background(), statements...)) // a clean-up, too
}

// held runs statements on a connection of its own, which keeps what they lock
// until the returned function is called.
func (x *trial) held(db *sql.DB, statements ...string) (free func()) {
	x.t.Helper()
	conn, err := db.Conn(x.t.Context())
	must(x.t, err)
	for _, s := range statements {
		_, err := conn.ExecContext(x.t.Context(), s)
		must(x.t, err)
	}
	return func() {
		x.t.Helper()
		_, err := conn.ExecContext(context.Background(), "COMMIT")
		must(x.t, err)
		_, err = conn.ExecContext(context.Background(), "UNLOCK TABLES")
		must(x.t, err)
		_ = conn.Close()
	}
}

// beside runs a promotion while something is the matter, ends that after a
// while, and waits for the promotion.
func (x *trial) beside(point string, after time.Duration, begin func() (end func())) {
	x.t.Helper()
	x.promote(point)
	if point != "" {
		if err := x.child.Reach(patience); err != nil {
			x.t.Fatal(err)
		}
		x.struck = x.c.book.Now()
	}
	end := begin()
	x.child.Continue()
	select {
	case <-x.child.Ended():
	case <-time.After(after):
	}
	end()
	_ = x.ended() // whatever it is
}

// transactions keep the freeze from coming about.
func transactions() []faultCase {
	return []faultCase{
		{name: "a transaction that has written stays open (60 s)", run: func(x *trial) {
			tx, err := x.from.app.BeginTx(x.t.Context(), nil)
			must(x.t, err)
			_, err = fence.CheckWrite(x.t.Context(), tx, 5)
			must(x.t, err)
			_, err = tx.ExecContext(x.t.Context(), "INSERT INTO stranger VALUES (?)", x.c.run)
			must(x.t, err)
			x.beside("", lasts(time.Minute), func() func() { return func() { must(x.t, tx.Commit()) } })
			count, err := value(x.t.Context(), x.to.root, fmt.Sprintf("SELECT COUNT(*) FROM app.stranger WHERE a = %d", x.c.run))
			must(x.t, err)
			if count != "1" {
				x.t.Error("what the open transaction wrote is lost")
			}
		}},
		{name: "a long statement that the triggers have let pass", run: func(x *trial) {
			x.statement(fmt.Sprintf("INSERT INTO entry VALUES (3, 'stranger', %d), (3, 'stranger', %d + SLEEP(%.1f))",
				2*x.c.run, 2*x.c.run+1, lasts(8*time.Second).Seconds()))
		}},
		{name: "a long statement that the fence does not know", run: func(x *trial) {
			x.statement(fmt.Sprintf("INSERT INTO stranger VALUES (SLEEP(%.1f))", lasts(8*time.Second).Seconds()))
		}},
		{name: "`FLUSH TABLES WITH READ LOCK` before the freeze", run: func(x *trial) {
			x.beside("freezing.before_freeze", lasts(8*time.Second), func() func() { return x.held(x.from.root, "FLUSH TABLES WITH READ LOCK") })
		}},
		{name: "`FLUSH TABLES WITH READ LOCK` within the freeze", run: func(x *trial) {
			x.beside("freezing.after_freeze", lasts(8*time.Second), func() func() { return x.held(x.from.root, "FLUSH TABLES WITH READ LOCK") })
		}},
		{name: "`FLUSH TABLES WITH READ LOCK` just before the commit point", run: func(x *trial) {
			x.beside("freezing.before_commit", lasts(8*time.Second), func() func() { return x.held(x.from.root, "FLUSH TABLES WITH READ LOCK") })
		}},
		{name: "`FLUSH TABLES WITH READ LOCK` on the new primary before it is active", run: func(x *trial) {
			x.beside("switching.before_activate", lasts(8*time.Second), func() func() { return x.held(x.to.root, "FLUSH TABLES WITH READ LOCK") })
		}},
	}
}

// statement runs a promotion beside a statement of the application.
func (x *trial) statement(text string) {
	x.t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := x.from.app.ExecContext(context.Background(), text)
		done <- err
	}()
	x.w.until("the statement runs", func() error {
		n, err := value(x.t.Context(), x.from.root, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE = 'User sleep'")
		if err == nil && n == "0" {
			err = fmt.Errorf("it does not")
		}
		return err
	})
	x.promote("")
	_ = x.ended() // whatever it is
	must(x.t, <-done)
}

// strangers write in spite of read_only.
func strangers() []faultCase {
	once := func(s func(x *trial) *side) func(x *trial) func() {
		return func(x *trial) func() { x.exec(s(x), "INSERT INTO app.stranger VALUES (7)"); return func() {} }
	}
	from := func(x *trial) *side { return x.from }
	return []faultCase{
		{name: "an account with `READ_ONLY ADMIN` that nobody vouched for", run: func(x *trial) {
			x.exec(x.from, "CREATE USER adversary", "GRANT READ_ONLY ADMIN ON *.* TO adversary")
			x.w.caughtUp(x.from, x.to)
			x.refused("'adversary'@'%' has READ_ONLY ADMIN")
			x.exec(x.from, "DROP USER adversary")
		}},
		{name: "an administrator writes within the freeze", run: func(x *trial) {
			x.beside("freezing.after_applied", 0, func() func() { return once(from)(x) })
		}},
		{name: "an administrator writes past the commit point", run: func(x *trial) {
			x.beside("switching.before_stop", 0, func() func() { return once(from)(x) })
		}},
		{name: "an administrator writes on the old primary once it is none", slow: true, run: func(x *trial) {
			x.beside("publishing.before_map", 0, func() func() { return once(from)(x) })
		}},
	}
}
