package binlog

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"github.com/go-mysql-org/go-mysql/replication"

	"drover/migrator/internal/database"
)

// assembler puts the events of one transaction together.
type assembler struct {
	stream     *Stream
	current    Transaction
	open       bool // between a GTID and the end of its transaction
	standalone bool // the transaction is one statement, with no COMMIT
}

// Flags of a GTID event that go-mysql has no names for: from MariaDB's
// sql/log_event.h, Gtid_log_event.
const (
	flagPreparedXA  = 64
	flagCompletedXA = 128
)

// add takes the next event and says whether it ended the transaction.
func (a *assembler) add(event *replication.BinlogEvent) (done bool, err error) {
	switch e := event.Event.(type) {
	case *replication.MariadbGTIDEvent:
		if e.Flags&(flagPreparedXA|flagCompletedXA) != 0 {
			return false, fmt.Errorf("%w: an XA transaction (%s): move the bucket while none is used", ErrUnreadable, e.GTID.String())
		}
		a.current = Transaction{GTID: database.GTID{
			Domain: e.GTID.DomainID, Server: e.GTID.ServerID, Sequence: e.GTID.SequenceNumber}}
		a.open, a.standalone = true, e.IsStandalone()
	case *replication.XIDEvent:
		return a.end(), nil
	case *replication.QueryEvent:
		return a.query(e)
	case *replication.RowsEvent:
		return false, a.rows(event.Header.EventType, e)
	}
	return false, nil
}

func (a *assembler) end() bool {
	done := a.open
	a.open = false
	return done
}

// harmless are statements on a sharded table that leave its rows and their
// shape alone.
var harmless = regexp.MustCompile(`(?is)^\s*(CREATE(\s+OR\s+REPLACE)?(\s+DEFINER\s*=\s*\S+)?\s+TRIGGER|DROP\s+TRIGGER|ANALYZE|OPTIMIZE|CHECK|GRANT|REVOKE|FLUSH)\b`)

func (a *assembler) query(e *replication.QueryEvent) (done bool, err error) {
	switch word := strings.ToUpper(string(bytes.TrimSpace(e.Query))); {
	case word == "BEGIN", strings.HasPrefix(word, "SAVEPOINT"), strings.HasPrefix(word, "ROLLBACK TO"):
		return false, nil
	case word == "COMMIT", word == "ROLLBACK":
		return a.end(), nil
	}
	for name := range a.stream.tables {
		if mentions(e.Query, name) && !harmless.Match(e.Query) {
			return false, fmt.Errorf("%w: a statement changes table %s other than by rows: %s; "+
				"abort the move and begin it again after the change is on both shards", ErrUnreadable, name, shorten(e.Query))
		}
	}
	if a.standalone {
		return a.end(), nil
	}
	return false, nil
}

// mentions says whether the name stands in the statement as a word.
func mentions(query []byte, name string) bool {
	q, n := bytes.ToLower(query), []byte(strings.ToLower(name))
	for {
		i := bytes.Index(q, n)
		if i < 0 {
			return false
		}
		after := i + len(n)
		if (i == 0 || !wordByte(q[i-1])) && (after == len(q) || !wordByte(q[after])) {
			return true
		}
		q = q[after:]
	}
}

func wordByte(b byte) bool {
	return b == '_' || b == '$' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 0x80
}

func shorten(query []byte) string {
	const most = 80
	if len(query) > most {
		return string(query[:most]) + "…"
	}
	return string(query)
}

func (a *assembler) rows(kind replication.EventType, e *replication.RowsEvent) error {
	if string(e.Table.Schema) != a.stream.server.Database {
		return nil
	}
	name := string(e.Table.Table)
	table, ok := a.stream.tables[name]
	if !ok {
		return nil
	}
	if int(e.ColumnCount) != len(table.Columns) {
		return fmt.Errorf("%w: table %s has %d columns in the binlog and %d now: it was altered; "+
			"abort the move and begin it again", ErrUnreadable, name, e.ColumnCount, len(table.Columns))
	}
	values := make([]Row, len(e.Rows))
	for i, raw := range e.Rows {
		if i < len(e.SkippedColumns) && len(e.SkippedColumns[i]) != 0 {
			return fmt.Errorf("%w: table %s: a row without all its columns: set binlog_row_image=FULL", ErrUnreadable, name)
		}
		row, err := convertRow(table, raw)
		if err != nil {
			return err
		}
		values[i] = row
	}
	switch operation(kind) {
	case replication.EnumRowsEventTypeInsert:
		for _, after := range values {
			a.current.Changes = append(a.current.Changes, Change{Table: table, After: after})
		}
	case replication.EnumRowsEventTypeUpdate:
		for i := 0; i+1 < len(values); i += 2 {
			a.current.Changes = append(a.current.Changes, Change{Table: table, Before: values[i], After: values[i+1]})
		}
	case replication.EnumRowsEventTypeDelete:
		for _, before := range values {
			a.current.Changes = append(a.current.Changes, Change{Table: table, Before: before})
		}
	case replication.EnumRowsEventTypeUnknown:
		return fmt.Errorf("%w: table %s: unknown kind of row event %s", ErrUnreadable, name, kind)
	}
	return nil
}

// operation also knows MariaDB's compressed events, which go-mysql's own
// method does not in every version.
func operation(kind replication.EventType) replication.EnumRowsEventType {
	switch kind {
	case replication.WRITE_ROWS_EVENTv0, replication.WRITE_ROWS_EVENTv1, replication.WRITE_ROWS_EVENTv2,
		replication.MARIADB_WRITE_ROWS_COMPRESSED_EVENT_V1:
		return replication.EnumRowsEventTypeInsert
	case replication.UPDATE_ROWS_EVENTv0, replication.UPDATE_ROWS_EVENTv1, replication.UPDATE_ROWS_EVENTv2,
		replication.MARIADB_UPDATE_ROWS_COMPRESSED_EVENT_V1:
		return replication.EnumRowsEventTypeUpdate
	case replication.DELETE_ROWS_EVENTv0, replication.DELETE_ROWS_EVENTv1, replication.DELETE_ROWS_EVENTv2,
		replication.MARIADB_DELETE_ROWS_COMPRESSED_EVENT_V1:
		return replication.EnumRowsEventTypeDelete
	default:
		return replication.EnumRowsEventTypeUnknown
	}
}
