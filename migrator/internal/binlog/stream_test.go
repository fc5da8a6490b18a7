package binlog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"drover/migrator/internal/database"
	"drover/tools/testservers"
)

const stepsTable = "CREATE TABLE steps (id INT PRIMARY KEY, day DATE, n BIGINT UNSIGNED, note VARCHAR(300))"

func newSteps(t testing.TB) (*world, *database.Table) {
	w := newWorld(t)
	w.exec(stepsTable)
	return w, w.describe("steps", "id")
}

func TestChangesOfATableThatNobodyCanFollowStopTheStream(t *testing.T) {
	t.Parallel()
	for name, statements := range map[string][]string{
		"ALTER":             {"ALTER TABLE steps ADD COLUMN a INT FIRST", "INSERT INTO steps VALUES (1, 2, NULL, NULL, NULL)"},
		"ALTER elsewhere":   {"USE mysql", "ALTER TABLE DATABASE.steps /* a */ COMMENT 'x'"},
		"executable":        {"/*!50000 ALTER TABLE steps COMMENT 'x' */"},
		"SET STATEMENT":     {"SET STATEMENT lock_wait_timeout=5 FOR ALTER TABLE steps COMMENT 'x'"},
		"TRUNCATE":          {"TRUNCATE steps"},
		"DROP":              {"DROP TABLE IF EXISTS nothing, steps"},
		"RENAME":            {"CREATE TABLE new LIKE steps", "RENAME TABLE steps TO old, new TO steps"},
		"CREATE OR REPLACE": {"CREATE OR REPLACE TABLE steps SELECT 1 AS id"},
		"DROP DATABASE":     {"DROP DATABASE DATABASE"},
		"UPDATE":            {"SET SESSION binlog_format='STATEMENT'", "UPDATE steps SET n = n + 1"},
		"INSERT SELECT":     {"SET SESSION binlog_format='STATEMENT'", "INSERT INTO steps SELECT id + 10, day, n, note FROM steps"},
		"MIXED":             {"SET SESSION binlog_format='MIXED'", "DELETE FROM steps WHERE id = 1"},
		"through a view":    {"CREATE VIEW v AS SELECT * FROM steps", "SET SESSION binlog_format='MIXED'", "DELETE FROM v WHERE id = 1"},
		"MINIMAL":           {"SET SESSION binlog_row_image='MINIMAL'", "UPDATE steps SET n = 5 WHERE id = 1"},
		"NOBLOB":            {"ALTER TABLE other ADD COLUMN b BLOB", "SET SESSION binlog_row_image='NOBLOB'", "UPDATE other SET id = 2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, steps := newSteps(t)
			w.exec("CREATE TABLE other (id INT PRIMARY KEY)", "INSERT INTO other VALUES (1)", "INSERT INTO steps VALUES (1, '2026-01-01', 1, 'x')")
			tables := []*database.Table{steps}
			if name == "NOBLOB" {
				w.exec(statements[0])
				statements, tables = statements[1:], []*database.Table{w.describe("other", "id")}
			}
			from := w.end()
			for i, s := range statements {
				statements[i] = strings.ReplaceAll(s, "DATABASE.", w.server.Database+".")
				statements[i] = strings.ReplaceAll(statements[i], "DROP DATABASE DATABASE", "DROP DATABASE "+w.server.Database)
			}
			w.exec(statements...)
			if changes, err := w.changes(from, tables...); !errors.Is(err, ErrUnreadable) {
				t.Errorf("%d changes, %v: want ErrUnreadable", len(changes), err)
			}
		})
	}
}

func TestAnXATransactionStopsTheStream(t *testing.T) { // not in parallel: it stops every stream of the server
	w, steps := newSteps(t)
	from := w.end()
	w.exec("XA START 'x'", "INSERT INTO steps VALUES (9, NULL, 1, '')", "XA END 'x'", "XA PREPARE 'x'", "XA COMMIT 'x'")
	if changes, err := w.changes(from, steps); !errors.Is(err, ErrUnreadable) {
		t.Errorf("%d changes, %v: want ErrUnreadable", len(changes), err)
	}
}

func TestTheStreamGoesOnPastWhatIsNotItsOwn(t *testing.T) {
	t.Parallel()
	w, steps := newSteps(t)
	from := w.end()
	elsewhere := w.server.Database + "x"
	w.exec("CREATE DATABASE "+elsewhere, "CREATE TABLE "+elsewhere+".steps (id INT PRIMARY KEY, a TEXT COMPRESSED)",
		"ALTER TABLE "+elsewhere+".steps ADD b INT", "INSERT INTO "+elsewhere+".steps VALUES (1, REPEAT('a', 1000), 1)",
		"SET SESSION binlog_format='STATEMENT'", "UPDATE "+elsewhere+".steps SET b = 2",
		"SET SESSION binlog_format='ROW'", "FLUSH BINARY LOGS",
		"CREATE TABLE IF NOT EXISTS steps (id INT)", "CREATE TRIGGER steps BEFORE INSERT ON steps FOR EACH ROW SET @a = 'steps'",
		"SET SESSION gtid_domain_id = 7", "INSERT INTO steps VALUES (1, '2026-01-01', 18446744073709551615, 'x')",
		"SET SESSION gtid_domain_id = 0, gtid_seq_no = 1000000", "INSERT INTO steps VALUES (2, NULL, 1, 'x')", "DROP DATABASE "+elsewhere)
	changes, err := w.changes(from, steps)
	must(t, err)
	if len(changes) != 2 || printed(changes[0].After[2]) != printed([]byte("18446744073709551615")) || printed(changes[1].After[0]) != printed([]byte("2")) {
		t.Errorf("changes %+v", changes)
	}
}

func TestCompressedEventsAreRead(t *testing.T) {
	fleet, err := server.Fleet()
	must(t, err)
	m, err := fleet.MariaDB(t.Context(), "compressed", testservers.MariaDBOptions{Config: map[string]string{
		"log_bin_compress": "1", "log_bin_compress_min_len": "10", "binlog_row_metadata": "NO_LOG", "lower_case_table_names": "1"}})
	must(t, err)
	must(t, m.Exec(t.Context(), "CREATE DATABASE compressed CHARACTER SET utf8mb4"))
	w := newWorldIn(t, m, "compressed")
	w.exec(stepsTable)
	steps := w.describe("Steps", "id") // as a configuration may have it
	from := w.end()
	long := strings.Repeat("x", 300)
	w.exec("INSERT INTO STEPS VALUES (1, '2026-01-01', 18446744073709551615, '"+long+"')", "UPDATE steps SET n = 2", "DELETE FROM steps")
	changes, err := w.changes(from, steps)
	must(t, err)
	if len(changes) != 3 || fmt.Sprint(changes[0].After[2]) != "18446744073709551615" || string(changes[1].Before[3].([]byte)) != long || changes[2].After != nil {
		t.Errorf("changes %+v", changes)
	}
	w.exec("ALTER TABLE steps COMMENT '" + long + "'")
	if _, err := w.changes(from, steps); !errors.Is(err, ErrUnreadable) {
		t.Errorf("a compressed ALTER: %v, want ErrUnreadable", err)
	}
}

func TestATransactionCutByALostConnectionComesOnceAndWhole(t *testing.T) {
	t.Parallel()
	w, steps := newSteps(t)
	w.exec("INSERT INTO steps VALUES (0, NULL, 1, '')")
	from := w.end()
	const rows = 100_000 // in more events than are read ahead
	w.exec("INSERT INTO steps SELECT seq, '2026-01-01', seq, REPEAT('x', 200) FROM seq_1_to_"+fmt.Sprint(rows), "UPDATE steps SET n = 7 WHERE id = 1")
	s, cuts := NewStream(w.server, []*database.Table{steps}, from), 0
	// Keep is asked in the middle of the transaction: the place to cut it.
	s.Keep(func(_ *database.Table, id any) bool {
		if n, ok := id.(int64); ok && n == rows/3 && cuts < 2 {
			cuts++
			w.killDump()
		}
		return true
	})
	var transactions []int
	must(t, w.read(s, func(tx Transaction) {
		if len(tx.Changes) != 0 {
			transactions = append(transactions, len(tx.Changes))
		}
	}))
	if cuts != 2 || len(transactions) != 2 || transactions[0] != rows || transactions[1] != 1 {
		t.Errorf("%d cuts, transactions of %v changes: want 2, of %d and 1", cuts, transactions, rows)
	}
}

// killDump ends the connections that read this world's binlog.
func (w *world) killDump() {
	w.t.Helper()
	// All worlds are on one server: the others reconnect, too.
	ids, err := w.root.DB.QueryContext(context.WithoutCancel(w.t.Context()), "SELECT ID FROM information_schema.PROCESSLIST WHERE COMMAND = 'Binlog Dump'")
	must(w.t, err)
	defer ids.Close()
	for ids.Next() {
		var id int64
		must(w.t, ids.Scan(&id))
		if _, err := w.root.DB.ExecContext(w.t.Context(), "KILL ?", id); err != nil {
			w.t.Logf("kill %d: %v", id, err) // it has gone
		}
	}
	must(w.t, ids.Err())
}

func TestATransactionTooLargeForMemoryIsRefusedUnlessItsRowsAreNotWanted(t *testing.T) {
	t.Parallel()
	w, steps := newSteps(t)
	from := w.end()
	w.exec("INSERT INTO steps SELECT seq, NULL, seq, REPEAT('x', 200) FROM seq_1_to_5000")
	s := NewStream(w.server, []*database.Table{steps}, from).Bound(1 << 20)
	if err := w.read(s, func(tx Transaction) {
		if len(tx.Changes) != 0 {
			t.Error("a part of it was passed on")
		}
	}); !errors.Is(err, ErrUnreadable) || !strings.Contains(err.Error(), "more than 1MiB") ||
		!strings.Contains(err.Error(), "raise move.transaction_max") {
		t.Errorf("%v, want ErrUnreadable, with the bound and what to do", err)
	}
	s = NewStream(w.server, []*database.Table{steps}, from).Keep(func(_ *database.Table, id any) bool { return id == int64(77) }).Bound(1 << 20)
	var kept []Change
	must(t, w.read(s, func(tx Transaction) { kept = append(kept, tx.Changes...) }))
	if len(kept) != 1 || kept[0].After[0] != int64(77) {
		t.Errorf("kept %+v, want row 77", kept)
	}
}

func TestAValueThatCannotBeReadConcernsNobodyInARowThatIsNotWanted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec("CREATE TABLE mood (id INT PRIMARY KEY, m ENUM('good','bad'))")
	mood := w.describe("mood", "id")
	from := w.end()
	// The error value of an ENUM, which a server that is not strict writes.
	w.exec("SET SESSION sql_mode=''", "INSERT INTO mood VALUES (1, 'good'), (2, 'no such'), (3, 'bad')", "UPDATE mood SET m = 'none' WHERE id = 3",
		"UPDATE mood SET id = 7, m = 'bad' WHERE id = 3")
	var kept []Change
	one := NewStream(w.server, []*database.Table{mood}, from).Keep(func(_ *database.Table, id any) bool { return id == int64(1) })
	must(t, w.read(one, func(tx Transaction) { kept = append(kept, tx.Changes...) }))
	if len(kept) != 1 || string(kept[0].After[1].([]byte)) != "good" {
		t.Errorf("kept %+v, want row 1", kept)
	}
	for _, wanted := range []int64{2, 7} { // 7 comes from a row with the error value
		s := NewStream(w.server, []*database.Table{mood}, from).Keep(func(_ *database.Table, id any) bool { return id == wanted })
		if err := w.read(s, func(Transaction) {}); !errors.Is(err, ErrUnreadable) || !strings.Contains(err.Error(), "error value of an ENUM") {
			t.Errorf("row %d: %v, want ErrUnreadable that names the value", wanted, err)
		}
	}
}
