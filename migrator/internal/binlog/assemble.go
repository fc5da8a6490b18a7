package binlog

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/replication"

	"drover/internal/config"
	"drover/migrator/internal/database"
)

// assembler puts the events of one transaction together. There is one for each
// connection: what is cut off by a lost connection is forgotten, and read again
// from the beginning of its transaction.
type assembler struct {
	stream     *Stream
	current    Transaction
	size       int  // bytes that current takes
	open       bool // between a GTID and the end of its transaction
	standalone bool // the transaction is one statement, with no COMMIT
	known      bool // it was passed on before: it is read, and dropped
	// newest is the last transaction of each domain on this connection.
	newest database.Position
}

// Flags of a GTID event that go-mysql has no names for: from MariaDB's
// sql/log_event.h, Gtid_log_event.
const (
	flagPreparedXA  = 64
	flagCompletedXA = 128
)

// add takes the next event and says whether it ended a transaction.
func (a *assembler) add(event *replication.BinlogEvent) (done bool, err error) {
	switch e := event.Event.(type) {
	case *replication.MariadbGTIDEvent:
		return false, a.begin(e, time.Unix(int64(event.Header.Timestamp), 0))
	case *replication.XIDEvent:
		return a.end(), nil
	case *replication.QueryEvent:
		return a.query(e)
	case *replication.RowsEvent:
		return false, a.rows(event.Header.EventType, e)
	case *replication.TableMapEvent, *replication.MariadbAnnotateRowsEvent, *replication.MariadbGTIDListEvent,
		*replication.MariadbBinlogCheckPointEvent, *replication.FormatDescriptionEvent, *replication.RotateEvent,
		*replication.HeartbeatEvent, *replication.PreviousGTIDsEvent, *replication.RowsQueryEvent, *replication.IntVarEvent:
		return false, nil
	}
	if slices.Contains(harmless, event.Header.EventType) || event.Header.Flags&replication.LOG_EVENT_IGNORABLE_F != 0 {
		return false, nil
	}
	return false, fmt.Errorf("%w: an event %s (%d), which this program does not read; abort the move and begin it again past it",
		ErrUnreadable, event.Header.EventType, byte(event.Header.EventType))
}

// harmless are events with no rows that go-mysql does not decode. What comes
// before a statement (RAND, USER_VAR) is judged with the statement.
var harmless = []replication.EventType{
	replication.STOP_EVENT, replication.RAND_EVENT, replication.USER_VAR_EVENT, replication.MARIADB_START_ENCRYPTION_EVENT,
	replication.HEARTBEAT_EVENT,
}

// begin starts a transaction. One that has not ended was not committed: its
// server died within it.
func (a *assembler) begin(e *replication.MariadbGTIDEvent, at time.Time) error {
	if e.Flags&(flagPreparedXA|flagCompletedXA) != 0 {
		return fmt.Errorf("%w: an XA transaction (%s): move the bucket while none is used", ErrUnreadable, e.GTID.String())
	}
	id := database.GTID{Domain: e.GTID.DomainID, Server: e.GTID.ServerID, Sequence: e.GTID.SequenceNumber}
	if last, ok := a.newest[id.Domain]; ok && id.Sequence <= last.Sequence {
		return fmt.Errorf("%w: transaction %s comes after %s of the same domain: set gtid_strict_mode=ON and begin the move again",
			ErrUnreadable, id, last)
	}
	if a.newest == nil {
		a.newest = database.Position{}
	}
	a.newest[id.Domain] = id
	passed, ok := a.stream.position[id.Domain]
	a.known = ok && id.Sequence <= passed.Sequence
	a.current, a.size = Transaction{GTID: id, At: at}, 0
	a.open, a.standalone = true, e.IsStandalone()
	return nil
}

// end says whether a transaction that is to be passed on is complete.
func (a *assembler) end() bool {
	done := a.open && !a.known
	a.open = false
	return done
}

func (a *assembler) query(e *replication.QueryEvent) (done bool, err error) {
	switch word := bytes.TrimSpace(e.Query); {
	case bytes.EqualFold(word, []byte("BEGIN")):
		return false, nil
	case bytes.EqualFold(word, []byte("COMMIT")), bytes.EqualFold(word, []byte("ROLLBACK")):
		return a.end(), nil
	}
	if !a.known && newStatement(e, a.stream.server.Database, a.stream.isChosen).changes() {
		return false, fmt.Errorf("%w: a statement may change a sharded table other than by rows: %s; "+
			"abort the move and begin it again after the change is on both shards", ErrUnreadable, shorten(e.Query))
	}
	if a.standalone {
		return a.end(), nil
	}
	return false, nil
}

func shorten(query []byte) string {
	const most = 80
	text := strings.ToValidUTF8(string(query[:min(len(query), most)]), "")
	if len(query) > most {
		return text + "…"
	}
	return text
}

func (a *assembler) rows(kind replication.EventType, e *replication.RowsEvent) error {
	table := a.stream.table(e.Table)
	if table == nil || a.known {
		return nil
	}
	if !a.open {
		return fmt.Errorf("%w: table %s: a row outside of a transaction", ErrUnreadable, table.Name)
	}
	if err := table.shaped(e.Table); err != nil {
		return err
	}
	step := 1 // images a change
	operation := operation(kind)
	switch operation {
	case replication.EnumRowsEventTypeInsert, replication.EnumRowsEventTypeDelete:
	case replication.EnumRowsEventTypeUpdate:
		step = 2
	default:
		return fmt.Errorf("%w: table %s: unknown kind of row event %s", ErrUnreadable, table.Name, kind)
	}
	if len(e.Rows)%step != 0 {
		return fmt.Errorf("%w: table %s: an update of half a row", ErrUnreadable, table.Name)
	}
	for i := 0; i < len(e.Rows); i += step {
		if err := a.change(table, e, operation, e.Rows[i:i+step], i); err != nil {
			return err
		}
	}
	return nil
}

// change takes in one row change, whose images begin at i, if the stream's
// reader wants it.
func (a *assembler) change(table *followed, e *replication.RowsEvent, operation replication.EnumRowsEventType, images [][]any, i int) error {
	wanted := false
	for n, raw := range images {
		if i+n < len(e.SkippedColumns) {
			if err := table.complete(e.SkippedColumns[i+n]); err != nil {
				return err
			}
		}
		kept, err := a.stream.kept(table, raw)
		if err != nil {
			return err
		}
		wanted = wanted || kept
	}
	if !wanted {
		return nil
	}
	rows := make([]Row, len(images))
	for n, raw := range images {
		var err error
		if rows[n], err = table.convert(raw); err != nil {
			return err
		}
	}
	c := Change{Table: table.Table}
	switch operation {
	case replication.EnumRowsEventTypeInsert:
		c.After = rows[0]
	case replication.EnumRowsEventTypeDelete:
		c.Before = rows[0]
	default:
		c.Before, c.After = rows[0], rows[1]
	}
	return a.keep(c)
}

// rowOverhead is what a row takes besides its bytes: its slice, and for each
// value an interface and the slice that it points to.
const (
	rowOverhead   = 64
	valueOverhead = 16 + 24 + 8
)

func (r Row) size() int {
	n := rowOverhead + len(r)*valueOverhead
	for _, v := range r {
		if b, ok := v.([]byte); ok {
			n += len(b)
		}
	}
	return n
}

// keep adds a change to the transaction, which is bounded: it is passed on
// whole or not at all.
func (a *assembler) keep(c Change) error {
	a.size += c.Before.size() + c.After.size()
	if a.size > a.stream.transactionMax {
		return fmt.Errorf("%w: transaction %s changes more than %s of rows of the buckets that are followed, at once in table %s: "+
			"raise move.transaction_max, where there is memory for it, and resume the move; "+
			"or make such changes in smaller transactions, abort the move and begin it again",
			ErrUnreadable, a.current.GTID, config.Bytes(a.stream.transactionMax), c.Table.Name)
	}
	a.current.Changes = append(a.current.Changes, c)
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
