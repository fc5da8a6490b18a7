package binlog

import (
	"bytes"
	"errors"
	"testing"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

func table(columns ...database.Column) *database.Table {
	return &database.Table{Sharded: fence.Sharded{Name: "steps", UserColumn: "user_id"}, Columns: columns}
}

func TestValuesAreMadeWhatTheColumnSays(t *testing.T) {
	members := [][]byte{[]byte("a"), []byte("b"), {}, []byte("\xe9")}
	for _, c := range []struct {
		column database.Column
		in     any
		want   any
	}{
		{database.Column{DataType: "tinyint", Type: "tinyint(3) unsigned"}, int8(-1), int64(255)},
		{database.Column{DataType: "tinyint", Type: "tinyint(4)"}, int8(-1), int64(-1)},
		{database.Column{DataType: "smallint", Type: "smallint(5) unsigned"}, int16(-1), int64(65535)},
		{database.Column{DataType: "mediumint", Type: "mediumint(8) unsigned"}, int32(-1), int64(16777215)},
		{database.Column{DataType: "int", Type: "int(10) unsigned"}, int32(-1), int64(4294967295)},
		{database.Column{DataType: "bigint", Type: "bigint(20) unsigned"}, int64(-1), uint64(18446744073709551615)},
		{database.Column{DataType: "bit", Type: "bit(64)"}, int64(-1), "\xff\xff\xff\xff\xff\xff\xff\xff"},
		{database.Column{DataType: "bit", Type: "bit(12)"}, int64(0xA0B), "\x0a\x0b"},
		{database.Column{DataType: "year", Type: "year(4)"}, 0, "0000"},
		{database.Column{DataType: "float", Type: "float"}, float32(0.1), "0.10000000149011612"},
		{database.Column{DataType: "double", Type: "double"}, 5e-324, "5e-324"},
		{database.Column{DataType: "time", Type: "time(3)"}, "-00:00:01", "-00:00:01.000"},
		{database.Column{DataType: "time", Type: "time"}, "12:00:00", "12:00:00"},
		{database.Column{DataType: "binary", Type: "binary(4)", Octets: 4}, "\x00\xff", "\x00\xff\x00\x00"},
		{database.Column{DataType: "varbinary", Type: "varbinary(4)"}, "\x00\xff", "\x00\xff"},
		{database.Column{DataType: "varchar", Type: "varchar(4)", Charset: "latin1"}, "\xe9", "\xe9"},
		{database.Column{DataType: "enum", Members: members}, int64(4), "\xe9"},
		{database.Column{DataType: "enum", Members: members}, int64(3), ""},
		{database.Column{DataType: "set", Members: members, Charset: "latin1"}, int64(0b1011), "a,b,\xe9"},
		{database.Column{DataType: "set", Members: members[:2], Charset: "latin1"}, int64(0), ""},
		{database.Column{DataType: "inet4", Type: "inet4"}, "\x01", "\x01\x00\x00\x00"},
	} {
		got, err := converterOf(c.column)(c.in)
		if err != nil {
			t.Errorf("%s %v: %v", c.column.Type, c.in, err)
			continue
		}
		if b, ok := got.([]byte); ok {
			got = string(b)
		}
		if got != c.want {
			t.Errorf("%s %v: %v (%T), want %v (%T)", c.column.Type, c.in, got, got, c.want, c.want)
		}
	}
}

func TestValuesThatNoColumnHoldsAreRefused(t *testing.T) {
	members := [][]byte{[]byte("a"), []byte("b")}
	for _, c := range []struct {
		column database.Column
		in     any
	}{
		{database.Column{DataType: "enum", Members: members}, int64(0)},
		{database.Column{DataType: "enum", Members: members}, int64(3)},
		{database.Column{DataType: "set", Members: members}, int64(4)},
		{database.Column{DataType: "binary", Type: "binary(1)", Octets: 1}, "ab"},
		{database.Column{DataType: "int", Type: "int(11)"}, "1"},
		{database.Column{DataType: "int", Type: "int(10) unsigned"}, 1.5},
		{database.Column{DataType: "varchar"}, struct{}{}},
		{database.Column{DataType: "bit", Type: "bit(1)"}, "x"},
		{database.Column{DataType: "year"}, "x"},
		{database.Column{DataType: "set"}, "x"},
		{database.Column{DataType: "enum"}, "x"},
		{database.Column{DataType: "time"}, 1},
		{database.Column{DataType: "float"}, "x"},
		{database.Column{DataType: "uuid"}, 1},
	} {
		if got, err := converterOf(c.column)(c.in); err == nil {
			t.Errorf("%s %v is taken as %v", c.column.DataType, c.in, got)
		}
	}
}

func assemble(t *testing.T, events ...replication.Event) (transactions int, err error) {
	t.Helper()
	a := &assembler{stream: NewStream(&database.Server{Database: "app"}, []*database.Table{table()}, nil)}
	for _, e := range events {
		done, err := a.add(&replication.BinlogEvent{Header: &replication.EventHeader{}, Event: e})
		if err != nil {
			return transactions, err
		}
		if done {
			transactions++
		}
	}
	return transactions, nil
}

func gtid(flags byte) *replication.MariadbGTIDEvent {
	return &replication.MariadbGTIDEvent{GTID: mysql.MariadbGTID{SequenceNumber: 1}, Flags: flags}
}

func query(text string) *replication.QueryEvent {
	return &replication.QueryEvent{Schema: []byte("app"), Query: []byte(text)}
}

func TestATransactionEndsWithItsCommit(t *testing.T) {
	const standalone = replication.BINLOG_MARIADB_FL_STANDALONE
	for name, c := range map[string]struct {
		events []replication.Event
		want   int
	}{
		"by XID":               {[]replication.Event{gtid(0), &replication.XIDEvent{}}, 1},
		"by COMMIT":            {[]replication.Event{gtid(0), query("COMMIT")}, 1},
		"by ROLLBACK":          {[]replication.Event{gtid(0), query("ROLLBACK")}, 1},
		"standalone":           {[]replication.Event{gtid(standalone), query("CREATE TABLE other (a INT)")}, 1},
		"savepoints":           {[]replication.Event{gtid(0), query("SAVEPOINT `a`"), query("ROLLBACK TO `a`"), &replication.XIDEvent{}}, 1},
		"COMMIT without start": {[]replication.Event{query("COMMIT")}, 0},
		"triggers of a table":  {[]replication.Event{gtid(standalone), query("CREATE OR REPLACE TRIGGER x BEFORE INSERT ON steps FOR EACH ROW SET @a = 1")}, 1},
		"another table's name": {[]replication.Event{gtid(standalone), query("ALTER TABLE footsteps ADD a INT")}, 1},
	} {
		n, err := assemble(t, c.events...)
		if err != nil || n != c.want {
			t.Errorf("%s: %d transactions, %v; want %d", name, n, err, c.want)
		}
	}
}

func TestWhatCannotBeFollowedStopsTheStream(t *testing.T) {
	const standalone = replication.BINLOG_MARIADB_FL_STANDALONE
	for name, events := range map[string][]replication.Event{
		"ALTER":                  {gtid(standalone), query("ALTER TABLE `steps` ADD COLUMN a INT")},
		"statement DML":          {gtid(0), query("UPDATE steps SET n = n + 1")},
		"XA prepared":            {gtid(flagPreparedXA)},
		"XA completed":           {gtid(flagCompletedXA)},
		"out of order":           {gtid(0), &replication.XIDEvent{}, gtid(0)},
		"LOAD DATA":              {gtid(0), &replication.ExecuteLoadQueryEvent{}},
		"an event not known":     {gtid(0), &replication.GenericEvent{}},
		"rows without beginning": {rowsOf("app", 0)},
	} {
		if _, err := assemble(t, events...); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%s: %v, want ErrUnreadable", name, err)
		}
	}
}

// rowsOf is a row event of the table steps with integer columns.
func rowsOf(schema string, columns int) *replication.RowsEvent {
	row := make([]any, columns)
	for i := range row {
		row[i] = int32(1)
	}
	return &replication.RowsEvent{ColumnCount: uint64(columns), Rows: [][]any{row},
		Table: &replication.TableMapEvent{Schema: []byte(schema), Table: []byte("steps"), ColumnCount: uint64(columns),
			ColumnType: bytes.Repeat([]byte{mysql.MYSQL_TYPE_LONG}, columns), ColumnMeta: make([]uint16, columns)}}
}

func TestRowsWithAnotherShapeStopTheStream(t *testing.T) {
	one := func(name string) database.Column {
		return database.Column{Name: name, DataType: "int", Type: "int(11)"}
	}
	a := &assembler{open: true, stream: NewStream(&database.Server{Database: "app"}, []*database.Table{table(one("user_id"), one("n"))}, nil)}
	const insert = replication.WRITE_ROWS_EVENTv1
	stops := func(what string, e *replication.RowsEvent) {
		t.Helper()
		if err := a.rows(insert, e); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%s: %v, want ErrUnreadable", what, err)
		}
	}
	stops("three columns", rowsOf("app", 3))
	partial := rowsOf("app", 2)
	partial.SkippedColumns = [][]int{{1}}
	stops("a partial row", partial)
	typed := rowsOf("app", 2)
	typed.Table.ColumnType[1] = mysql.MYSQL_TYPE_LONGLONG
	stops("another type", typed)
	renamed := rowsOf("app", 2)
	renamed.Table.ColumnName = [][]byte{[]byte("n"), []byte("user_id")}
	stops("columns in another order", renamed)
	if err := a.rows(replication.UPDATE_ROWS_EVENTv1, rowsOf("app", 2)); !errors.Is(err, ErrUnreadable) {
		t.Errorf("an update with one image: %v, want ErrUnreadable", err)
	}
	if err := a.rows(insert, rowsOf("other", 3)); err != nil || len(a.current.Changes) != 0 {
		t.Errorf("a row of another database: %v, %d changes", err, len(a.current.Changes))
	}
	if err := a.rows(replication.MARIADB_DELETE_ROWS_COMPRESSED_EVENT_V1, rowsOf("app", 2)); err != nil ||
		len(a.current.Changes) != 1 || a.current.Changes[0].After != nil {
		t.Errorf("a compressed delete: %v, %+v", err, a.current.Changes)
	}
}

func TestATransactionBeforeThePositionIsDropped(t *testing.T) {
	from := database.Position{0: {Sequence: 5}}
	a := &assembler{stream: NewStream(&database.Server{Database: "app"}, []*database.Table{table()}, from)}
	var passed []uint64
	for _, sequence := range []uint64{4, 5, 6, 9} { // 7 and 8 are a gap
		for _, e := range []replication.Event{&replication.MariadbGTIDEvent{GTID: mysql.MariadbGTID{SequenceNumber: sequence}}, &replication.XIDEvent{}} {
			done, err := a.add(&replication.BinlogEvent{Header: &replication.EventHeader{}, Event: e})
			if err != nil {
				t.Fatal(err)
			}
			if done {
				passed = append(passed, a.current.GTID.Sequence)
			}
		}
	}
	if len(passed) != 2 || passed[0] != 6 || passed[1] != 9 {
		t.Errorf("passed on %v, want 6 and 9", passed)
	}
}
