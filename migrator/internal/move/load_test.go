package move

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"drover/migrator/internal/database"
	"drover/shardlib/fence"
	"drover/tools/testservers"
)

// FuzzChunkText wants that what is written as a field is read back as it was,
// and that nothing is read that would not be written so.
func FuzzChunkText(f *testing.F) {
	for _, seed := range []string{"", "\\", "\\N", "N", "a\tb\nc\\", "\x00\x1a\r\n", "\\t", "NULL", "ü\xff", "\\\\N"} {
		f.Add([]byte(seed), []byte(seed))
	}
	table := &database.Table{Columns: []database.Column{{Name: "a"}, {Name: "b"}, {Name: "c"}}}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		if a == nil {
			a = []byte{}
		}
		if b == nil {
			b = []byte{}
		}
		text := append(appendField(nil, a), fieldEnd)
		text = append(appendField(text, nil), fieldEnd)
		text = append(appendField(text, b), rowEnd)
		rows, err := rowsOf(table, append(text, text...))
		if err != nil || len(rows) != 2 {
			t.Fatalf("%q: %d rows, %v", text, len(rows), err)
		}
		for _, row := range rows {
			if !bytes.Equal(row[0].([]byte), a) || row[1] != nil || !bytes.Equal(row[2].([]byte), b) {
				t.Fatalf("%q read back as %q", text, row)
			}
		}
		if value, err := parseField(a); err == nil && value != nil && !bytes.Equal(appendField(nil, value), a) {
			t.Fatalf("%q is read as %q, which is written otherwise", a, value)
		}
	})
}

// loading loads a text in a transaction of its own.
func loading(ctx context.Context, l *loader, target *database.Server, t *database.Table, text []byte, rows int) error {
	return database.InTx(ctx, target.DB, func(tx *sql.Tx) error { return l.load(ctx, tx, t, text, rows) })
}

func TestWhateverBytesAreLoadedArriveEqual(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	table, target := w.made(fence.Sharded{Name: "bytes", UserColumn: "v"}, `CREATE TABLE bytes (id INT NOT NULL PRIMARY KEY, b BLOB, v VARBINARY(200), f BINARY(5), l VARCHAR(100) CHARACTER SET latin1)`)
	l, err := newLoader(ctx, target, "drover-test-"+w.database)
	must(t, err)
	defer l.close()
	random := rand.New(rand.NewPCG(7, 7))
	const alphabet = "\\\t\nNnt0'\"\x00\x1a\r ab\xff\xc3\xa9,"
	value := func(most int) []byte {
		if random.IntN(10) == 0 {
			return nil
		}
		v := make([]byte, random.IntN(most+1))
		for i := range v {
			v[i] = alphabet[random.IntN(len(alphabet))]
			if random.IntN(8) == 0 {
				v[i] = byte(random.IntN(256))
			}
		}
		return v
	}
	const rows = 3000
	want := make([][4][]byte, rows)
	var text []byte
	for i := range want {
		want[i] = [4][]byte{value(60), value(20), value(5), value(10)}
		text = fmt.Append(text, i)
		for _, v := range want[i] {
			text = appendField(append(text, fieldEnd), v)
		}
		text = append(text, rowEnd)
		if want[i][2] != nil {
			want[i][2] = append(want[i][2], make([]byte, 5-len(want[i][2]))...)
		}
	}
	must(t, loading(ctx, l, target, table, text, rows))
	got, err := target.DB.QueryContext(ctx, "SELECT id, b, v, f, l FROM bytes ORDER BY id")
	must(t, err)
	defer got.Close()
	n := 0
	for got.Next() {
		var id int
		var v [4][]byte
		must(t, got.Scan(&id, &v[0], &v[1], &v[2], &v[3]))
		for i := range v {
			if !bytes.Equal(v[i], want[id][i]) || (v[i] == nil) != (want[id][i] == nil) {
				t.Fatalf("row %d, value %d: %q (nil: %t), want %q", id, i, v[i], v[i] == nil, want[id][i])
			}
		}
		n++
	}
	must(t, got.Err())
	if n != rows {
		t.Errorf("%d rows, want %d", n, rows)
	}
}

func TestEveryColumnTypeIsLoadedAsItWasRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	var columns, names []string
	for i, c := range typeColumns {
		columns = append(columns, fmt.Sprintf("c%d %s", i, c.definition))
		names = append(names, fmt.Sprintf("c%d", i))
	}
	sharded := fence.Sharded{Name: "loaded", UserColumn: "user_id"}
	create := "CREATE TABLE loaded (user_id VARCHAR(64) NOT NULL, n INT NOT NULL, " + strings.Join(columns, ", ") +
		", twice INT AS (n * 2) STORED, PRIMARY KEY (user_id, n))"
	table, target := w.made(sharded, create)
	if !loadable(table) {
		t.Fatal("a type of the list is not loaded")
	}
	source, err := w.shards.Primary(ctx, "alpha")
	must(t, err)
	for n := range 3 {
		var values []string
		for _, c := range typeColumns {
			values = append(values, c.values[n])
		}
		w.exec(w.alpha, fmt.Sprintf("INSERT INTO loaded (user_id, n, %s) VALUES ('u\\\\', %d, %s)", strings.Join(names, ","), n, strings.Join(values, ",")))
	}
	on, err := routeOf(ctx, source, table, bucketsFrom(0, worldBuckets))
	must(t, err)
	c, err := on.read(ctx, source, cursor{}, 10)
	must(t, err)
	l, err := newLoader(ctx, target, "drover-test-"+w.database)
	must(t, err)
	defer l.close()
	must(t, loading(ctx, l, target, table, c.text, c.rows))
	for i, c := range typeColumns {
		query := fmt.Sprintf("SELECT GROUP_CONCAT(COALESCE(HEX(CAST(c%d AS CHAR)), 'NULL'), '/', COALESCE(HEX(c%d), 'NULL') ORDER BY n) FROM loaded", i, i)
		if here, there := w.text(w.alpha, query), w.text(w.gamma, query); here != there || here == "" {
			t.Errorf("%s:\n%.300s at the source\n%.300s at the target", c.definition, here, there)
		}
	}
}

func TestAChunkThatTheServerWouldChangeIsNotLoaded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	table, target := w.made(fence.Sharded{Name: "narrow", UserColumn: "v"}, `CREATE TABLE narrow (id TINYINT NOT NULL PRIMARY KEY, v VARCHAR(3), d DATE)`)
	l, err := newLoader(ctx, target, "drover-test-"+w.database)
	must(t, err)
	defer l.close()
	w.exec(w.gamma, "INSERT INTO narrow VALUES (1, 'a', NULL)")
	for name, text := range map[string]string{
		"a key that is there": "1\tb\t\\N\n", "a number too large": "300\tb\t\\N\n", "a text too long": "2\tabcd\t\\N\n",
		"no date": "2\tb\tnever\n", "a field too few": "2\tb\n", "a NULL in the key": "\\N\tb\t\\N\n",
	} {
		err := loading(ctx, l, target, table, []byte(text), 1)
		if err == nil || !l.otherwise(table, err) && !errors.Is(err, errNotWhole) {
			t.Errorf("%s: %v, want errNotWhole", name, err)
		}
	}
	if n := w.count(w.gamma, "SELECT COUNT(*) FROM narrow WHERE v = 'a'"); n != 1 {
		t.Error("the row that was there has changed")
	}
}

func TestAMoveToAServerWithoutLoadDataLocalCopiesByStatements(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	must(t, w.gamma.Exec(ctx, "SET GLOBAL local_infile = 0"))
	defer func() { must(t, w.gamma.Exec(context.WithoutCancel(ctx), "SET GLOBAL local_infile = 1")) }()
	l := w.newLedger(userIn(5, 1))
	for id := range uint64(5) {
		must(t, l.write(ctx, l.users[0], id, 0))
	}
	e := w.engine(nil)
	m, err := e.Start(ctx, Plan{Buckets: Buckets{5}, Target: "gamma", Who: "test"})
	must(t, err)
	must(t, e.Run(ctx, m))
	l.check()
	// A server that changes its mind in the middle of a copy.
	on, err := newLoader(ctx, &database.Server{DB: w.openDrover(w.alpha)}, "drover-test-"+w.database)
	must(t, err)
	defer on.close()
	target, err := w.shards.Primary(ctx, "gamma")
	must(t, err)
	table, err := target.Describe(ctx, w.tables[0], worldBuckets)
	must(t, err)
	if err := loading(ctx, on, target, table, []byte("5\tu\t2026-01-01\t1\n"), 1); err == nil || !on.otherwise(table, err) || on.can(table) {
		t.Errorf("%v: want an error after which chunks are written otherwise", err)
	}
}

// openDrover is open for the migrator's account.
func (w *world) openDrover(m *testservers.MariaDB) *sql.DB {
	w.t.Helper()
	db, err := m.Open(testservers.AccountDrover, w.database)
	must(w.t, err)
	w.t.Cleanup(func() { must(w.t, db.Close()) })
	return db
}
