package pairs

import (
	"database/sql"
	"errors"
	"testing"

	"drover/tools/testservers"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// lent runs a test's body with a pair, which is given back.
func lent(t *testing.T, l *Lender, name string, body func(t *testing.T, p *Pair)) (p *Pair) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		p = l.Take(t)
		body(t, p)
	})
	return p
}

func scan(t *testing.T, m *testservers.MariaDB, query string) (v string) {
	t.Helper()
	db, err := m.Open(testservers.AccountRoot, "")
	must(t, err)
	defer db.Close()
	must(t, db.QueryRowContext(t.Context(), query).Scan(&v))
	return v
}

func TestAPairIsLentAgainAsNewUnlessATestLeftSomethingBehind(t *testing.T) {
	var l Lender
	defer func() { must(t, l.Close()) }()
	replicates := func(t *testing.T, p *Pair) {
		must(t, p.A.Exec(t.Context(), "CREATE DATABASE app", "CREATE TABLE app.t (a INT PRIMARY KEY)", "INSERT INTO app.t VALUES (1)"))
		must(t, p.B.ReplicateFrom(t.Context(), p.A))
	}
	var left *sql.DB
	first := lent(t, &l, "the first", replicates)
	second := lent(t, &l, "the second", func(t *testing.T, p *Pair) {
		for _, m := range []*testservers.MariaDB{p.A, p.B} {
			if s := scan(t, m, "SELECT CONCAT(@@gtid_binlog_state, @@gtid_slave_pos, @@read_only, (SELECT COUNT(*) FROM information_schema.SCHEMATA))"); s != "OFF4" {
				t.Errorf("%s is not as new: %s", m.Name(), s)
			}
		}
		replicates(t, p)
		var err error
		left, err = p.A.Open(testservers.AccountApp, "")
		must(t, err)
		// Somebody who does not leave has a lock on the table.
		tx, err := left.BeginTx(t.Context(), nil)
		must(t, err)
		_, err = tx.ExecContext(t.Context(), "UPDATE app.t SET a = 2")
		must(t, err)
	})
	if first != second {
		t.Fatal("the pair was not lent again")
	}
	must(t, left.Close())
	third := lent(t, &l, "the third", func(t *testing.T, p *Pair) {
		for _, c := range []struct{ spoil, mend string }{
			{"SET GLOBAL binlog_format = 'MIXED'", "SET GLOBAL binlog_format = 'ROW'"},
			{"CREATE USER job@'%'", "DROP USER job@'%'"},
			{"GRANT SUPER ON *.* TO app@'%'", "REVOKE SUPER ON *.* FROM app@'%'"},
			{"CREATE ROLE clerk", "DROP ROLE clerk"},
		} {
			must(t, p.B.Exec(t.Context(), c.spoil))
			if err := p.renew(t.Context()); !errors.Is(err, errDiffers) {
				t.Errorf("%s: %v", c.spoil, err)
			}
			must(t, p.B.Exec(t.Context(), c.mend))
		}
		must(t, p.renew(t.Context()))
		must(t, p.B.Kill())
	})
	if third != first {
		t.Fatal("a table that somebody had locked kept the pair from being lent again")
	}
	if fourth := lent(t, &l, "the fourth", func(*testing.T, *Pair) {}); fourth == first {
		t.Error("a pair of which one server is down was lent again")
	}
	if db, err := first.A.Open(testservers.AccountRoot, ""); err != nil || db.PingContext(t.Context()) == nil {
		t.Errorf("its other server was not ended: %v", err)
	}
}
