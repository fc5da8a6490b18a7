package move

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"drover/migrator/internal/crash"
	"drover/shardlib/fence"
	"drover/tools/testservers"
)

// typeColumns are column types with values at their edges. A value is SQL.
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

func TestEveryColumnTypeComesOverByCopyAndByTail(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	var columns, names []string
	for i, c := range typeColumns {
		names = append(names, fmt.Sprintf("c%d", i))
		columns = append(columns, fmt.Sprintf("c%d %s", i, c.definition))
	}
	create := "CREATE TABLE types (user_id VARCHAR(64) NOT NULL, n INT NOT NULL, " + strings.Join(columns, ", ") +
		", twice INT AS (n * 2) VIRTUAL, PRIMARY KEY (user_id, n))"
	for _, m := range []*testservers.MariaDB{w.alpha, w.gamma} {
		w.exec(m, create)
	}
	w.tables = append(w.tables[:len(w.tables):len(w.tables)], fence.Sharded{Name: "types", UserColumn: "user_id"})
	user := userIn(7, 1)
	insert := func(n int) {
		var values []string
		for _, c := range typeColumns {
			values = append(values, c.values[n%3])
		}
		w.exec(w.alpha, fmt.Sprintf("REPLACE INTO types (user_id, n, %s) VALUES ('%s', %d, %s)",
			strings.Join(names, ","), user, n, strings.Join(values, ",")))
	}
	for n := range 3 {
		insert(n)
	}
	var points crash.Points
	must(t, points.ArmFunc("verifying.after_journal", func() {
		for n := 3; n < 9; n++ {
			insert(n)
		}
	}))
	e := w.engine(&points)
	m, err := e.Start(ctx, Plan{Buckets: Buckets{7}, Target: "gamma", Who: "test"})
	must(t, err)
	must(t, e.Run(ctx, m))
	for i, c := range typeColumns {
		query := fmt.Sprintf("SELECT GROUP_CONCAT(COALESCE(HEX(CAST(c%d AS CHAR)), 'NULL'), '/', COALESCE(HEX(c%d), 'NULL'), '/', COALESCE(CAST(c%d AS DOUBLE), 'NULL') ORDER BY n) FROM types", i, i, i)
		if here, there := w.text(w.alpha, query), w.text(w.gamma, query); here != there || here == "" {
			t.Errorf("%s:\n%.300s at the source\n%.300s at the target", c.definition, here, there)
		}
	}
	if n := w.count(w.gamma, "SELECT COUNT(*) FROM types WHERE twice = 2 * n"); n != 9 {
		t.Errorf("%d rows at the target with the generated column right, want 9", n)
	}
}

// exec runs a statement as the migrator's account, with no strictness about
// dates.
func (w *world) exec(m *testservers.MariaDB, statement string) {
	w.t.Helper()
	db, err := m.Open(testservers.AccountDrover, w.database)
	must(w.t, err)
	defer db.Close()
	conn, err := db.Conn(context.WithoutCancel(w.t.Context()))
	must(w.t, err)
	defer conn.Close()
	for _, s := range []string{"SET NAMES utf8mb4", "SET time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,ALLOW_INVALID_DATES'", statement} {
		_, err := conn.ExecContext(w.t.Context(), s)
		must(w.t, err)
	}
}

// text reads one value.
func (w *world) text(m *testservers.MariaDB, query string) string {
	w.t.Helper()
	db, err := m.Open(testservers.AccountDrover, w.database)
	must(w.t, err)
	defer db.Close()
	var s string
	must(w.t, db.QueryRowContext(w.t.Context(), query).Scan(&s))
	return s
}
