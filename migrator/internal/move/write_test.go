package move

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"drover/migrator/internal/binlog"
	"drover/migrator/internal/crash"
	"drover/migrator/internal/database"
	"drover/shardlib/fence"
	"drover/tools/testservers"
)

// made makes a table at both ends and returns its description and the target.
func (w *world) made(sharded fence.Sharded, create string) (*database.Table, *database.Server) {
	w.t.Helper()
	for _, m := range []*testservers.MariaDB{w.alpha, w.gamma} {
		w.exec(m, create)
	}
	target, err := w.shards.Primary(w.t.Context(), "gamma")
	must(w.t, err)
	t, err := target.Describe(w.t.Context(), sharded, worldBuckets)
	must(w.t, err)
	return t, target
}

// writing runs f with a writer of the buckets, in a transaction.
func writing(ctx context.Context, target *database.Server, buckets Buckets, f func(*writer) error) error {
	return database.InTx(ctx, target.DB, func(tx *sql.Tx) error { return f(&writer{tx: tx, buckets: buckets}) })
}

// model is a table with two unique keys, as its source has it.
type model struct {
	rows   map[int64]binlog.Row
	random *rand.Rand
	table  *database.Table
}

func (m *model) taken(column int, v any, by int64) bool {
	for id, row := range m.rows {
		if id != by && v != nil && row[column] == v {
			return true
		}
	}
	return false
}

// change makes one row change that keeps both keys unique.
func (m *model) change() (binlog.Change, bool) {
	id := m.random.Int64N(6)
	old, there := m.rows[id]
	value := func() any {
		if m.random.IntN(6) == 0 {
			return nil
		}
		return m.random.Int64N(8)
	}
	row := binlog.Row{int64(7), id, value(), value(), []byte(fmt.Sprint("n", m.random.IntN(1000)))}
	switch {
	case there && m.random.IntN(4) == 0:
		delete(m.rows, id)
		return binlog.Change{Table: m.table, Before: old}, true
	case m.taken(2, row[2], id) || m.taken(3, row[3], id):
		return binlog.Change{}, false
	case there && m.random.IntN(5) == 0: // the key changes
		to := id + 1
		if _, ok := m.rows[to]; ok {
			return binlog.Change{}, false
		}
		delete(m.rows, id)
		row[1] = to
		m.rows[to] = row
		return binlog.Change{Table: m.table, Before: old, After: row}, true
	}
	m.rows[id] = row
	return binlog.Change{Table: m.table, Before: old, After: row}, true
}

// text is the whole table, for comparison.
func (m *model) text() string {
	lines := []string{}
	for _, id := range slices.Sorted(maps.Keys(m.rows)) {
		r := m.rows[id]
		lines = append(lines, strings.ReplaceAll(fmt.Sprintf("%v,%v,%v,%s", r[1], r[2], r[3], r[4]), "<nil>", "NULL"))
	}
	return strings.Join(lines, " ")
}

func TestUniqueValuesThatWanderBetweenRowsAllArrive(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	table, target := w.made(fence.Sharded{Name: "wander", BucketColumn: "bucket"}, `CREATE TABLE wander (bucket INT NOT NULL, id INT NOT NULL PRIMARY KEY,
		a INT, b INT, note VARCHAR(10), UNIQUE (a), UNIQUE (b), KEY (bucket))`)
	mine := inBuckets(Buckets{7}, []*database.Table{table})
	for seed := range uint64(30) {
		m := &model{rows: map[int64]binlog.Row{}, random: rand.New(rand.NewPCG(seed, 1)), table: table}
		var changes []binlog.Change
		history := []map[int64]binlog.Row{{}}
		for len(changes) < 60 {
			if c, ok := m.change(); ok {
				changes = append(changes, c)
				history = append(history, maps.Clone(m.rows))
			}
		}
		w.exec(w.gamma, "TRUNCATE TABLE wander")
		// The copy read each row at a moment of its own, later ones later.
		at := 0
		for id := range int64(8) {
			at += m.random.IntN(min(12, len(history)-at))
			if row, ok := history[at][id]; ok {
				must(t, writing(ctx, target, Buckets{7}, func(x *writer) error { return x.put(ctx, table, []binlog.Row{row}) }))
			}
		}
		for rest := changes; len(rest) != 0; {
			n := min(len(rest), 1+m.random.IntN(12))
			b := newBatch()
			for _, c := range rest[:n] {
				b.add(c, mine)
			}
			must(t, writing(ctx, target, Buckets{7}, func(x *writer) error { return x.write(ctx, b) }))
			rest = rest[n:]
		}
		got := w.text(w.gamma, "SELECT COALESCE(GROUP_CONCAT(CONCAT(id, ',', COALESCE(a, 'NULL'), ',', COALESCE(b, 'NULL'), ',', note) ORDER BY id SEPARATOR ' '), '') FROM wander")
		if want := m.text(); got != want {
			t.Fatalf("seed %d:\n%s at the target, want\n%s", seed, got, want)
		}
	}
}

func TestRowsThatSwapAUniqueValueWhileTheTailRunsBothArrive(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	w.made(fence.Sharded{Name: "mail", UserColumn: "user_id"}, `CREATE TABLE mail (user_id VARBINARY(64) NOT NULL, n INT NOT NULL,
		address VARCHAR(50) CHARACTER SET utf8mb4, PRIMARY KEY (user_id, n), UNIQUE (user_id, address))`)
	w.tables = append(w.tables[:len(w.tables):len(w.tables)], fence.Sharded{Name: "mail", UserColumn: "user_id"})
	user := userIn(7, 1)
	set := func(n int, address string) string {
		return fmt.Sprintf("UPDATE mail SET address = %s WHERE user_id = '%s' AND n = %d", address, user, n)
	}
	for n := range 6 {
		w.exec(w.alpha, fmt.Sprintf("INSERT INTO mail VALUES ('%s', %d, 'a%d')", user, n, n))
	}
	var points crash.Points
	must(t, points.ArmFunc("verifying.after_journal", func() {
		// In one transaction, then in several, then a ring of three.
		w.exec(w.alpha, "BEGIN NOT ATOMIC START TRANSACTION; "+set(0, "NULL")+"; "+set(1, "'a0'")+"; "+set(0, "'a1'")+"; COMMIT; END")
		for _, s := range []string{set(2, "'free'"), set(3, "'a2'"), set(2, "'a3'")} {
			w.exec(w.alpha, s)
		}
		for _, s := range []string{set(3, "'x'"), set(4, "'a2'"), set(5, "'a4'"), set(3, "'a5'")} {
			w.exec(w.alpha, s)
		}
	}))
	m, err := w.engine(&points).Start(ctx, Plan{Buckets: Buckets{7}, Target: "gamma", Who: "test"})
	must(t, err)
	must(t, w.engine(&points).Run(ctx, m))
	const query = "SELECT GROUP_CONCAT(CONCAT(n, '=', address) ORDER BY n) FROM mail"
	here, there := w.text(w.alpha, query), w.text(w.gamma, query)
	if want := "0=a1,1=a0,2=a3,3=a5,4=a2,5=a4"; here != want || there != want {
		t.Errorf("%s at the source, %s at the target, want %s", here, there, want)
	}
}

func TestARowOfAnotherBucketIsNeverOverwrittenOrDeleted(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"INT", "INT UNSIGNED", "TINYINT UNSIGNED", "BIGINT", "BIGINT UNSIGNED", "DECIMAL(10,0)"} {
		t.Run(kind, func(t *testing.T) { neverOverwritten(t, kind) })
	}
}

func neverOverwritten(t *testing.T, kind string) {
	w := newWorld(t)
	ctx := t.Context()
	table, target := w.made(fence.Sharded{Name: "taken", BucketColumn: "bucket"}, `CREATE TABLE taken (bucket `+kind+`, id INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
		a INT, UNIQUE (a), KEY (bucket))`)
	const query = "SELECT GROUP_CONCAT(CONCAT(COALESCE(bucket, 'NULL'), ',', id, ',', a) ORDER BY id SEPARATOR ' ') FROM taken"
	const before = "8,1,10 NULL,2,20"
	w.exec(w.gamma, "INSERT INTO taken VALUES (8, 1, 10), (NULL, 2, 20)")
	for name, row := range map[string]binlog.Row{
		"the key of another bucket's":          {int64(7), int64(1), int64(99)},
		"the key of a row with no bucket":      {int64(7), int64(2), int64(99)},
		"the value of another bucket's":        {int64(7), int64(9), int64(10)},
		"the value of a row with no bucket":    {int64(7), int64(9), int64(20)},
		"key and value, each of another's row": {int64(7), int64(1), int64(20)},
	} {
		err := writing(ctx, target, Buckets{7}, func(x *writer) error { return x.put(ctx, table, []binlog.Row{row}) })
		if !errors.Is(err, ErrCollides) {
			t.Errorf("%s: %v, want ErrCollides", name, err)
		}
		if got := w.text(w.gamma, query); got != before {
			t.Errorf("%s: the target has %s, want %s", name, got, before)
		}
	}
	b := newBatch()
	for id := range int64(3) {
		b.add(binlog.Change{Table: table, Before: binlog.Row{int64(7), id, int64(5)}}, func(*database.Table, binlog.Row) bool { return true })
	}
	must(t, writing(ctx, target, Buckets{7}, func(x *writer) error { return x.write(ctx, b) }))
	if got := w.text(w.gamma, query); got != before {
		t.Errorf("after deletions of keys that others have: %s, want %s", got, before)
	}
}

// The bucket that the server computes is unsigned.
func TestARowOfAnotherUserIsNeverOverwritten(t *testing.T) {
	t.Parallel()
	mine, theirs := userIn(7, 1), userIn(8, 1)
	for name, c := range map[string]struct {
		sharded fence.Sharded
		bucket  string
		row     binlog.Row
	}{
		"generated, stored": {fence.Sharded{Name: "taken", BucketColumn: "bucket"}, "bucket INT UNSIGNED AS (CRC32(user_id) % 64) STORED, ",
			binlog.Row{uint64(7), []byte(mine), int64(9), int64(10)}},
		"generated, virtual": {fence.Sharded{Name: "taken", BucketColumn: "bucket"}, "bucket INT UNSIGNED AS (CRC32(user_id) % 64) VIRTUAL, ",
			binlog.Row{uint64(7), []byte(mine), int64(9), int64(10)}},
		"of the user alone": {fence.Sharded{Name: "taken", UserColumn: "user_id"}, "", binlog.Row{[]byte(mine), int64(9), int64(10)}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			table, target := w.made(c.sharded, "CREATE TABLE taken ("+c.bucket+"user_id VARBINARY(64) NOT NULL, id INT NOT NULL PRIMARY KEY, a INT, UNIQUE (a))")
			w.exec(w.gamma, "INSERT INTO taken (user_id, id, a) VALUES ('"+theirs+"', 1, 10)")
			err := writing(t.Context(), target, Buckets{7}, func(x *writer) error { return x.put(t.Context(), table, []binlog.Row{c.row}) })
			if !errors.Is(err, ErrCollides) {
				t.Errorf("%v, want ErrCollides", err)
			}
			if n := w.count(w.gamma, "SELECT COUNT(*) FROM taken WHERE user_id = ? AND id = 1 AND a = 10", theirs); n != 1 {
				t.Error("the other user's row is not as it was")
			}
		})
	}
}

func TestACopyThatMeetsARowOfAnotherBucketStopsAndLeavesIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	w.made(fence.Sharded{Name: "taken", BucketColumn: "bucket"}, `CREATE TABLE taken (bucket INT NOT NULL, id INT NOT NULL PRIMARY KEY, a INT, KEY (bucket))`)
	w.tables = append(w.tables[:len(w.tables):len(w.tables)], fence.Sharded{Name: "taken", BucketColumn: "bucket"})
	w.exec(w.alpha, "INSERT INTO taken VALUES (7, 1, 10), (7, 2, 20)")
	w.exec(w.gamma, "INSERT INTO taken VALUES (8, 2, 99)")
	e := w.engine(nil)
	m, err := e.Start(ctx, Plan{Buckets: Buckets{7}, Target: "gamma", Who: "test"})
	must(t, err)
	if err := e.Run(ctx, m); !errors.Is(err, ErrCollides) {
		t.Fatalf("%v, want ErrCollides", err)
	}
	if n := w.count(w.gamma, "SELECT COUNT(*) FROM taken WHERE bucket = 8 AND a = 99"); n != 1 {
		t.Error("the row that was at the target is gone")
	}
	must(t, e.Abort(ctx, m, "test"))
	if n := w.count(w.gamma, "SELECT COUNT(*) FROM taken"); n != 1 {
		t.Errorf("%d rows are left at the target, want the one that was there", n)
	}
}
