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
		{database.Column{DataType: "bit", Type: "bit(64)"}, int64(-1), uint64(18446744073709551615)},
		{database.Column{DataType: "float", Type: "float"}, float32(0.1), float64(float32(0.1))},
		{database.Column{DataType: "binary", Type: "binary(4)", Octets: 4}, "\x00\xff", []byte{0, 0xff, 0, 0}},
		{database.Column{DataType: "varbinary", Type: "varbinary(4)"}, "\x00\xff", []byte{0, 0xff}},
		{database.Column{DataType: "varchar", Type: "varchar(4)", Charset: "latin1"}, "\xe9", []byte{0xe9}},
		{database.Column{DataType: "int", Type: "int(11)"}, nil, nil},
	} {
		got, err := convert(c.column, c.in)
		if err != nil {
			t.Errorf("%s %v: %v", c.column.Type, c.in, err)
			continue
		}
		a, isBytes := got.([]byte)
		b, wantBytes := c.want.([]byte)
		if isBytes != wantBytes || isBytes && !bytes.Equal(a, b) || !isBytes && got != c.want {
			t.Errorf("%s %v: %v (%T), want %v (%T)", c.column.Type, c.in, got, got, c.want, c.want)
		}
	}
	if _, err := convert(database.Column{}, struct{}{}); err == nil {
		t.Error("a value of an unknown type is taken")
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
		"ALTER":         {gtid(standalone), query("ALTER TABLE `steps` ADD COLUMN a INT")},
		"TRUNCATE":      {gtid(standalone), query("truncate table app.steps")},
		"DROP":          {gtid(standalone), query("DROP TABLE IF EXISTS `other`,`steps` /* generated */")},
		"RENAME":        {gtid(standalone), query("RENAME TABLE steps TO old")},
		"statement DML": {gtid(0), query("UPDATE steps SET n = n + 1")},
		"XA prepared":   {gtid(flagPreparedXA)},
		"XA completed":  {gtid(flagCompletedXA)},
	} {
		if _, err := assemble(t, events...); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%s: %v, want ErrUnreadable", name, err)
		}
	}
}

func TestRowsWithAnotherShapeStopTheStream(t *testing.T) {
	a := &assembler{stream: NewStream(&database.Server{Database: "app"}, []*database.Table{
		table(database.Column{Name: "user_id", DataType: "varchar"}, database.Column{Name: "n", DataType: "int"})}, nil)}
	of := func(schema string, columns uint64) *replication.RowsEvent {
		return &replication.RowsEvent{ColumnCount: columns, Rows: [][]any{{"u", int32(1)}},
			Table: &replication.TableMapEvent{Schema: []byte(schema), Table: []byte("steps")}}
	}
	if err := a.rows(replication.WRITE_ROWS_EVENTv1, of("app", 3)); !errors.Is(err, ErrUnreadable) {
		t.Errorf("a row of three columns: %v, want ErrUnreadable", err)
	}
	if err := a.rows(replication.WRITE_ROWS_EVENTv1, of("other", 3)); err != nil || len(a.current.Changes) != 0 {
		t.Errorf("a row of another database: %v, %d changes", err, len(a.current.Changes))
	}
	partial := of("app", 2)
	partial.SkippedColumns = [][]int{{1}}
	if err := a.rows(replication.WRITE_ROWS_EVENTv1, partial); !errors.Is(err, ErrUnreadable) {
		t.Errorf("a partial row: %v, want ErrUnreadable", err)
	}
	if err := a.rows(replication.MARIADB_DELETE_ROWS_COMPRESSED_EVENT_V1, of("app", 2)); err != nil ||
		len(a.current.Changes) != 1 || a.current.Changes[0].After != nil {
		t.Errorf("a compressed delete: %v, %+v", err, a.current.Changes)
	}
}
