package binlog

import (
	"database/sql"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"drover/migrator/internal/database"
	"drover/migrator/internal/edgevalues"
	"drover/shardlib/fence"
)

// printed is a value as the server would print it.
func printed(v any) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case []byte:
		return hex.EncodeToString(v)
	default:
		return hex.EncodeToString(fmt.Append(nil, v))
	}
}

// rows reads a table as the copy does, in the order of id.
func (w *world) rows(t *database.Table) [][]string {
	w.t.Helper()
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		names[i] = c.Read()
	}
	found, err := w.server.DB.QueryContext(w.t.Context(), "SELECT "+strings.Join(names, ",")+" FROM "+fence.Quote(t.Name)+" ORDER BY id")
	must(w.t, err)
	defer found.Close()
	var all [][]string
	for found.Next() {
		values, scan := make([]sql.RawBytes, len(names)), make([]any, len(names))
		for i := range values {
			scan[i] = &values[i]
		}
		must(w.t, found.Scan(scan...))
		row := make([]string, len(names))
		for i, v := range values {
			if row[i] = "NULL"; v != nil {
				row[i] = hex.EncodeToString(v)
			}
		}
		all = append(all, row)
	}
	must(w.t, found.Err())
	return all
}

const lenient = "SET time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,ALLOW_INVALID_DATES'"

func TestTheTailReadsOfEveryTypeWhatTheCopyReads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	create, insert, change := []string{lenient}, []string{lenient, "BEGIN"}, []string{"BEGIN"}
	for i, c := range edgevalues.All() {
		create = append(create, fmt.Sprintf("CREATE TABLE t%d (id INT PRIMARY KEY, v %s NULL, twice INT AS (id * 2) VIRTUAL)", i, c.Definition))
		for id, v := range append(c.Values, "NULL") {
			insert = append(insert, fmt.Sprintf("INSERT INTO t%d (id, v) VALUES (%d, %s)", i, id, v))
		}
		change = append(change, fmt.Sprintf("UPDATE t%d SET id = id + 100", i), fmt.Sprintf("DELETE FROM t%d", i))
	}
	w.exec(create...)
	from := w.end()
	w.exec(append(insert, "COMMIT")...)
	tables, want := make([]*database.Table, len(edgevalues.All())), map[string][][]string{}
	for i := range edgevalues.All() {
		tables[i] = w.describe(fmt.Sprintf("t%d", i), "id")
		want[tables[i].Name] = w.rows(tables[i])
	}
	w.exec(append(change, "COMMIT")...)
	changes, err := w.changes(from, tables...)
	must(t, err)
	seen := map[string]int{}
	for _, c := range changes {
		seen[c.Table.Name]++
		for _, row := range []Row{c.Before, c.After} {
			if row == nil {
				continue
			}
			id := row[0].(int64) % 100
			if got, want := printed(row[1]), want[c.Table.Name][id][1]; got != want {
				t.Errorf("%s, value %d: the tail reads %.80s, and the copy %.80s", c.Table.Columns[1].Type, id, got, want)
			}
		}
	}
	for _, table := range tables {
		if n := seen[table.Name]; n != 3*len(want[table.Name]) {
			t.Errorf("%s: %d changes of %d rows", table.Columns[1].Type, n, len(want[table.Name]))
		}
	}
}

func TestUUIDsOfEveryVersionAreReadInTheirOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec("CREATE TABLE ids (id INT PRIMARY KEY, v UUID)")
	table := w.describe("ids", "id")
	from := w.end()
	random := rand.New(rand.NewPCG(1, 2))
	statements := []string{"BEGIN"}
	for n := range 16 * 16 * 4 {
		b := make([]byte, 16)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		b[6], b[8] = byte(n%16)<<4|b[6]&15, byte(n/16%16)<<4|b[8]&15
		if n >= 16*16*3 {
			b[6], b[8], b[15], b[0] = b[6]&0xF0, b[8]&0xF0, 0, 0
		}
		// IGNORE: some bits are no UUID, of two ways to store it.
		statements = append(statements, fmt.Sprintf("INSERT IGNORE INTO ids VALUES (%d, '%x')", n, b))
	}
	w.exec(append(statements, "COMMIT")...)
	changes, err := w.changes(from, table)
	must(t, err)
	for i, row := range w.rows(table) {
		if got := printed(changes[i].After[1]); got != row[1] {
			t.Errorf("row %d: the tail reads %s, and the copy %s", i, got, row[1])
		}
	}
}
