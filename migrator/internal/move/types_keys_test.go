package move

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"drover/migrator/internal/crash"
	"drover/migrator/internal/database"
	"drover/shardlib/fence"
	"drover/tools/testservers"
)

// keyTypes are types of a primary key's column, each with values whose order is
// easily taken for another.
var keyTypes = []struct {
	definition string
	values     []string
}{
	{"INT", []string{"-2", "-10", "0", "9", "10"}},
	{"BIGINT UNSIGNED", []string{"18446744073709551615", "9223372036854775808", "2", "10"}},
	{"INT(5) ZEROFILL", []string{"1", "100000", "42"}},
	{"DECIMAL(20,6)", []string{"-1.5", "-0.000001", "0", "9.5", "10", "99999999999999.999999"}},
	{"DATE", []string{"'0000-00-00'", "'2024-02-29'", "'9999-12-31'"}},
	{"DATETIME(6)", []string{"'0000-00-00'", "'2024-01-01 00:00:00.000001'", "'2024-01-01'", "'2024-01-01 00:00:00.1'"}},
	{"TIMESTAMP(3)", []string{"'2024-10-27 01:30:00.001'", "'2024-10-27 01:30:00'", "'2038-01-01'"}},
	{"TIME(6)", []string{"'-00:00:00.000001'", "'-30:00:00'", "'30:00:00'", "'00:00:00'", "'9:00:00.5'"}},
	{"YEAR", []string{"0000", "1901", "2155", "2000"}},
	{"BIT(10)", []string{"b'0'", "b'1'", "b'1000000000'", "b'11111111'"}},
	{"ENUM('z','a','','m','0','1')", []string{"'z'", "'a'", "''", "'m'", "'0'", "'1'"}},
	{"ENUM('é','a','z') CHARACTER SET ucs2", []string{"'z'", "'a'", "'é'"}},
	{"BINARY(4)", []string{"X'00'", "X'0001'", "X'FF'", "X'FF000001'", "X'2020'"}},
	{"VARBINARY(8)", []string{"X''", "X'00'", "X'0000'", "X'FF'", "X'2700'"}},
	{"CHAR(5) COLLATE utf8mb4_bin", []string{"'a'", "'B'", "'b'", "''", "'ä'"}},
	{"VARCHAR(10) COLLATE utf8mb4_general_ci", []string{"'a'", "'B'", "'_'", "'z'", "'\\''"}},
	{"VARCHAR(10) CHARACTER SET utf16 COLLATE utf16_bin", []string{"'a'", "'😀'", "'\uFF5E'", "'€'"}},
	{"VARCHAR(10) COLLATE utf8mb4_nopad_bin", []string{"'a'", "'a '", "'a  '"}},
	{"UUID", []string{"'01234567-89ab-1def-8123-456789abcdef'", "'f1234567-89ab-1def-8123-056789abcdef'", "'01890a5d-ac96-774b-bcce-b302099a8057'",
		"'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'", "'c9a64bfe-6d57-4f3b-9c4b-4a3cf0a6ae00'"}},
	{"INET6", []string{"'::'", "'::1'", "'2001:db8::'", "'::ffff:1.2.3.4'", "'ff00::'"}},
	{"INET4", []string{"'0.0.0.0'", "'9.0.0.0'", "'10.0.0.0'", "'255.255.255.255'"}},
}

func TestRowsWithKeysOfEveryTypeComeOverByCopyAndByTail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	user := userIn(7, 1)
	w.tables = w.tables[:len(w.tables):len(w.tables)]
	var create []string
	first, more := []string{"BEGIN"}, []string{"BEGIN"}
	for i, c := range keyTypes {
		name := fmt.Sprintf("keys%d", i)
		w.tables = append(w.tables, fence.Sharded{Name: name, UserColumn: "user_id"})
		create = append(create, fmt.Sprintf("CREATE TABLE %s (user_id VARCHAR(64) COLLATE utf8mb4_bin, `k?` %s NOT NULL, v INT, PRIMARY KEY (`k?`, user_id))", name, c.definition))
		for n, v := range c.values {
			first = append(first, fmt.Sprintf("INSERT INTO %s VALUES ('%s', %s, %d)", name, user, v, n))
		}
		last := len(c.values) - 1
		more = append(more, fmt.Sprintf("UPDATE %s SET v = v + 100", name), fmt.Sprintf("DELETE FROM %s WHERE v = 100", name),
			fmt.Sprintf("DELETE FROM %s WHERE v = %d", name, 100+last), fmt.Sprintf("INSERT INTO %s VALUES ('%s', %s, 1000)", name, user, c.values[last]))
	}
	w.exec(w.alpha, create...)
	w.exec(w.gamma, create...)
	w.exec(w.alpha, append(first, "COMMIT")...)
	var points crash.Points
	must(t, points.ArmFunc("verifying.after_journal", func() { w.exec(w.alpha, append(more, "COMMIT")...) }))
	for _, table := range w.tables[len(worldTables):] {
		w.walk(table)
	}
	e := w.engine(&points)
	m, err := e.Start(t.Context(), Plan{Buckets: Buckets{7}, Target: "gamma", Who: "test"})
	must(t, err)
	must(t, e.Run(t.Context(), m))
	for i, c := range keyTypes {
		name := fmt.Sprintf("keys%d", i)
		w.sameText("SELECT GROUP_CONCAT(HEX(CAST(`k?` AS CHAR)), '/', v ORDER BY v) FROM "+name, c.definition)
		w.sameChecksum(name)
		if n := w.count(w.gamma, "SELECT COUNT(*) FROM "+name); n != len(c.values)-1 {
			t.Errorf("%s: %d rows at the target, want %d", c.definition, n, len(c.values)-1)
		}
	}
}

// walk goes through a table from key to key, as the copy does with chunks of
// one row, and finds each row once.
func (w *world) walk(sharded fence.Sharded) {
	w.t.Helper()
	server, err := w.shards.Primary(w.t.Context(), "alpha")
	must(w.t, err)
	table, err := server.Describe(w.t.Context(), sharded, worldBuckets)
	must(w.t, err)
	c := table.Columns[table.Index("k?")]
	if !c.Comparable() {
		w.t.Errorf("%s: not comparable", c.Type)
	}
	where, args, seen := "", []any(nil), 0
	var before []byte
	for ; ; seen++ {
		var key []byte
		err := server.DB.QueryRowContext(w.t.Context(), "SELECT "+c.Read()+" FROM "+table.Name+where+" ORDER BY `k?` LIMIT 1", args...).Scan(&key)
		if errors.Is(err, sql.ErrNoRows) {
			break
		}
		must(w.t, err)
		if bytes.Equal(key, before) && seen != 0 {
			w.t.Fatalf("%s: no way on from %q", c.Type, key)
		}
		var same int
		must(w.t, server.DB.QueryRowContext(w.t.Context(), "SELECT COUNT(*) FROM "+table.Name+" WHERE `k?` = "+c.Param(), key).Scan(&same))
		if same != 1 {
			w.t.Errorf("%s: %d rows have the key %q, want 1", c.Type, same, key)
		}
		where, args, before = " WHERE `k?` > "+c.Param(), []any{key}, key
	}
	if n := w.count(w.alpha, "SELECT COUNT(*) FROM "+table.Name); n != seen {
		w.t.Errorf("%s: %d of %d rows found from key to key", c.Type, seen, n)
	}
}

func TestTheErrorValueOfAnENUMStopsTheMoveWithAWord(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]bool{"copied": false, "tailed": true} {
		w := newWorld(t)
		w.tables = append(w.tables[:len(w.tables):len(w.tables)], fence.Sharded{Name: "odd", UserColumn: "user_id"})
		for _, m := range []*testservers.MariaDB{w.alpha, w.gamma} {
			w.exec(m, "CREATE TABLE odd (user_id VARCHAR(64) PRIMARY KEY, e ENUM('a',''))")
		}
		var points crash.Points
		insert := func() {
			w.exec(w.alpha, "SET sql_mode = ''", "INSERT INTO odd VALUES ('"+userIn(7, 1)+"', 'nothing of the kind')")
		}
		if late {
			must(t, points.ArmFunc("verifying.after_journal", insert))
		} else {
			insert()
		}
		e := w.engine(&points)
		m, err := e.Start(t.Context(), Plan{Buckets: Buckets{7}, Target: "gamma", Who: "test"})
		must(t, err)
		if err := e.Run(t.Context(), m); err == nil {
			t.Errorf("%s: the move goes on to %s", name, m.State())
		} else if number, _ := database.ErrorNumber(err); !late && number != 1265 {
			t.Errorf("%s: %v, want error 1265", name, err)
		}
	}
}
