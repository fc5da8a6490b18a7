package move

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"drover/migrator/internal/crash"
	"drover/migrator/internal/edgevalues"
	"drover/shardlib/fence"
	"drover/tools/testservers"
)

// typeColumns are a few column types that go into one table, with values at their
// edges. A value is SQL.
var typeColumns = []struct {
	definition string
	values     [3]string
}{
	{"TINYINT", [3]string{"-128", "127", "NULL"}},
	{"TINYINT UNSIGNED", [3]string{"0", "255", "200"}},
	{"SMALLINT UNSIGNED", [3]string{"65535", "32768", "NULL"}},
	{"MEDIUMINT", [3]string{"-8388608", "8388607", "-1"}},
	{"MEDIUMINT UNSIGNED", [3]string{"16777215", "8388608", "0"}},
	{"INT", [3]string{"-2147483648", "2147483647", "0"}},
	{"INT UNSIGNED", [3]string{"4294967295", "2147483648", "NULL"}},
	{"BIGINT", [3]string{"-9223372036854775808", "9223372036854775807", "0"}},
	{"BIGINT UNSIGNED", [3]string{"18446744073709551615", "9223372036854775808", "NULL"}},
	{"DECIMAL(65,30)", [3]string{"-99999999999999999999999999999999999.999999999999999999999999999999", "0.000000000000000000000000000001", "NULL"}},
	{"DECIMAL(10,2) UNSIGNED", [3]string{"99999999.99", "0", "0.01"}},
	{"FLOAT", [3]string{"0.1", "-3.40282346e38", "1.17549435e-38"}},
	{"DOUBLE", [3]string{"0.1", "1.7976931348623157e308", "2.2250738585072014e-308"}},
	{"BIT(1)", [3]string{"b'0'", "b'1'", "NULL"}},
	{"BIT(64)", [3]string{"b'1111111111111111111111111111111111111111111111111111111111111111'", "b'0'", "b'1'"}},
	{"CHAR(10)", [3]string{"''", "'  ab'", "'ünï'"}},
	{"VARCHAR(100) CHARACTER SET utf8mb4", [3]string{"'😀\\'\"\\\\ \\0 x'", "'trailing  '", "NULL"}},
	{"VARCHAR(100) CHARACTER SET latin1", [3]string{"'\u00e9\u00fc'", "''", "NULL"}},
	{"VARCHAR(100) CHARACTER SET ucs2", [3]string{"'\u20ac'", "'a'", "NULL"}},
	{"BINARY(8)", [3]string{"X'00FF000000000000'", "X'0000000000000000'", "X'FFFFFFFFFFFFFFFF'"}},
	{"VARBINARY(16)", [3]string{"X'00FF00'", "X''", "NULL"}},
	{"BLOB", [3]string{"X'0001FEFF'", "X''", "REPEAT(X'00', 70000 % 65535)"}},
	{"MEDIUMTEXT CHARACTER SET utf8mb4", [3]string{"REPEAT('😀', 30000)", "''", "NULL"}},
	{"ENUM('a','b','','ü')", [3]string{"'ü'", "''", "'a'"}},
	{"SET('a','b','c')", [3]string{"'a,c'", "''", "NULL"}},
	{"DATE", [3]string{"'0000-00-00'", "'9999-12-31'", "'2024-00-15'"}},
	{"TIME(6)", [3]string{"'-838:59:59.999999'", "'838:59:59.000001'", "'00:00:00'"}},
	{"TIME", [3]string{"'-00:00:01'", "'12:00:00'", "NULL"}},
	{"DATETIME(6)", [3]string{"'1000-01-01 00:00:00.000001'", "'9999-12-31 23:59:59.999999'", "'0000-00-00 00:00:00'"}},
	{"DATETIME", [3]string{"'2024-02-29 23:59:59'", "NULL", "'2024-02-29 00:00:00'"}},
	{"TIMESTAMP(3) NULL", [3]string{"'1970-01-02 00:00:01.999'", "'2038-01-18 03:14:07.001'", "NULL"}},
	{"YEAR", [3]string{"1901", "2155", "0000"}},
	{"JSON", [3]string{`'{"a": [1, 2.50, "ü"]}'`, "'null'", "NULL"}},
}

// typesATable is how many columns a table of this test has: of wide ones no
// more fit into a row.
const typesATable = 12

// lenient are the settings of a session that may write every value.
const lenient = "SET NAMES utf8mb4, time_zone = '+05:45', sql_mode = 'STRICT_ALL_TABLES,ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO'"

// typeTable is a table with columns of the types from first on.
type typeTable struct {
	name        string
	definitions []string
	values      [][]string
	virtual     bool // it has a VIRTUAL column, too
}

func typeTables() []*typeTable {
	var all []*typeTable
	for i, c := range edgevalues.All() {
		if i%typesATable == 0 {
			all = append(all, &typeTable{name: fmt.Sprintf("types%d", len(all)), virtual: len(all) == 0})
		}
		t := all[len(all)-1]
		t.definitions = append(t.definitions, c.Definition)
		t.values = append(t.values, append(append([]string(nil), c.Values...), "NULL"))
	}
	return all
}

func (t *typeTable) create() string {
	columns := make([]string, len(t.definitions))
	for i, d := range t.definitions {
		columns[i] = fmt.Sprintf("c%d %s NULL", i, d)
	}
	// The odd names, the hidden column and the computed ones are of every table.
	virtual := ""
	if t.virtual {
		virtual = "twice INT AS (`ke``y` * 2) VIRTUAL, "
	}
	return "CREATE TABLE " + t.name + " (" + virtual + "user_id VARCHAR(64) NOT NULL, `ke``y` INT NOT NULL, " +
		strings.Join(columns, ", ") + ", `größe?` VARCHAR(20) DEFAULT (CONCAT('d', 1)), hidden INT INVISIBLE DEFAULT 7, " +
		"half DOUBLE AS (`ke``y` / 2) STORED, PRIMARY KEY (user_id, `ke``y`))"
}

func (t *typeTable) insert(user string, n int) string {
	values := make([]string, len(t.values))
	for i, v := range t.values {
		values[i] = v[n%len(v)]
	}
	names := make([]string, len(values))
	for i := range names {
		names[i] = fmt.Sprintf("c%d", i)
	}
	return fmt.Sprintf("INSERT INTO %s (user_id, `ke``y`, %s) VALUES ('%s', %d, %s)", t.name, strings.Join(names, ","), user, n, strings.Join(values, ","))
}

func TestEveryColumnTypeComesOverByCopyAndByTail(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	// The servers' own time zones have no say.
	zones := map[*testservers.MariaDB]string{w.alpha: "+09:00", w.gamma: "-03:00"}
	for m, zone := range zones {
		must(t, m.Exec(ctx, "SET GLOBAL time_zone = '"+zone+"'"))
		t.Cleanup(func() { must(t, m.Exec(context.WithoutCancel(ctx), "SET GLOBAL time_zone = 'SYSTEM'")) })
	}
	tables, user := typeTables(), userIn(7, 1)
	w.tables = w.tables[:len(w.tables):len(w.tables)]
	create, first, more := []string{}, []string{"BEGIN"}, []string{"BEGIN"}
	const copied, tailed = 6, 14
	for _, table := range tables {
		w.tables = append(w.tables, fence.Sharded{Name: table.name, UserColumn: "user_id"})
		create = append(create, table.create())
		for n := range copied {
			first = append(first, table.insert(user, n))
		}
		for n := copied; n < tailed; n++ {
			more = append(more, table.insert(user, n))
		}
		// A key that changes, rows that go and come back, and a row that changes.
		more = append(more, "UPDATE "+table.name+" SET `ke``y` = -`ke``y` WHERE `ke``y` IN (2, 9)",
			"DELETE FROM "+table.name+" WHERE `ke``y` IN (0, 3, 11)", table.insert(user, 3),
			"UPDATE "+table.name+" SET hidden = NULL, `größe?` = '' WHERE `ke``y` = 4")
	}
	w.exec(w.alpha, create...)
	w.exec(w.gamma, create...)
	w.exec(w.alpha, append(first, "COMMIT")...)
	var points crash.Points
	must(t, points.ArmFunc("verifying.after_journal", func() { w.exec(w.alpha, append(more, "COMMIT")...) }))
	e := w.engine(&points)
	m, err := e.Start(ctx, Plan{Buckets: Buckets{7}, Target: "gamma", Who: "test"})
	must(t, err)
	must(t, e.Run(ctx, m))
	for _, table := range tables {
		for i, definition := range table.definitions {
			// By the servers, and by nothing of the mover's: every value's bytes.
			w.sameText(fmt.Sprintf("SELECT GROUP_CONCAT(COALESCE(HEX(CONCAT(c%d)), 'NULL') ORDER BY `ke``y`) FROM %s", i, table.name), definition)
		}
		w.sameText("SELECT GROUP_CONCAT(half, COALESCE(`größe?`, 'N'), COALESCE(hidden, 'N') ORDER BY `ke``y`) FROM "+table.name, "other columns")
		if !table.virtual { // of whose values the server makes a checksum without computing them
			w.sameChecksum(table.name)
		}
		if n := w.count(w.gamma, "SELECT COUNT(*) FROM "+table.name+" WHERE half = `ke``y` / 2"); n != tailed-2 {
			t.Errorf("%s: %d rows at the target, want %d", table.name, n, tailed-2)
		}
	}
}

// sameText compares what a query gives at both ends.
func (w *world) sameText(query, what string) {
	w.t.Helper()
	query = "SET STATEMENT time_zone = '+00:00', group_concat_max_len = 100000000 FOR " + query
	if here, there := w.text(w.alpha, query), w.text(w.gamma, query); here != there || here == "" {
		w.t.Errorf("%s:\n%.300s at the source\n%.300s at the target", what, here, there)
	}
}

func (w *world) sameChecksum(table string) {
	w.t.Helper()
	sum := func(m *testservers.MariaDB) (sum int64) {
		var name string
		must(w.t, w.looks[m].QueryRowContext(w.t.Context(), "CHECKSUM TABLE "+table).Scan(&name, &sum))
		return sum
	}
	if here, there := sum(w.alpha), sum(w.gamma); here != there || here == 0 {
		w.t.Errorf("CHECKSUM TABLE %s: %d at the source, %d at the target", table, here, there)
	}
}

// exec runs statements on one connection as the migrator's account, with no
// strictness about dates.
func (w *world) exec(m *testservers.MariaDB, statements ...string) {
	w.t.Helper()
	db, err := m.Open(testservers.AccountDrover, w.database)
	must(w.t, err)
	defer db.Close()
	conn, err := db.Conn(context.WithoutCancel(w.t.Context()))
	must(w.t, err)
	defer conn.Close()
	for _, s := range append([]string{lenient}, statements...) {
		if _, err := conn.ExecContext(w.t.Context(), s); err != nil {
			w.t.Fatalf("%.300s: %v", s, err)
		}
	}
}

// text reads one value.
func (w *world) text(m *testservers.MariaDB, query string) string {
	w.t.Helper()
	var s string
	must(w.t, w.looks[m].QueryRowContext(w.t.Context(), query).Scan(&s))
	return s
}
