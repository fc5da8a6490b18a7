package binlog

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/go-mysql-org/go-mysql/replication"
	"golang.org/x/sync/semaphore"
)

// decoder decodes the row events of one connection, on the goroutine that reads
// it: those of the chosen tables alone, and not far ahead of who takes them.
type decoder struct {
	stream *Stream
	ahead  *semaphore.Weighted
	// weights are those of the decoded events that were not taken yet, in order:
	// the ones waiting, the one in hand, and the one being decoded.
	weights chan int64
	failed  atomic.Pointer[error]
}

func newDecoder(s *Stream) *decoder {
	return &decoder{stream: s, ahead: semaphore.NewWeighted(bytesAhead),
		weights: make(chan int64, eventsAhead+2)}
}

// decode is go-mysql's hook, which is given no context. What it returns is text
// alone to go-mysql, so the error is kept.
func (d *decoder) decode(ctx context.Context, e *replication.RowsEvent, data []byte) error {
	rows, err := e.DecodeHeader(data)
	if err != nil {
		return err
	}
	table := d.stream.table(e.Table)
	if table == nil || !table.hasShape(e.Table) { // the assembler says what is wrong with the shape
		return nil
	}
	weight := int64(min(len(data), bytesAhead))
	if err := d.ahead.Acquire(ctx, weight); err != nil {
		return err
	}
	d.weights <- weight
	// The description says which numbers are unsigned; go-mysql would find it
	// out anew for each row.
	e.Table.SignednessBitmap = nil
	if err := e.DecodeData(rows, data); err != nil {
		err = fmt.Errorf("%w: table %s: a row event cannot be decoded: %s", ErrUnreadable, table.Name, first(err.Error()))
		d.failed.Store(&err)
		return err
	}
	return nil
}

// taken gives back the room of an event.
func (d *decoder) taken(event *replication.BinlogEvent) {
	if e, ok := event.Event.(*replication.RowsEvent); ok && e.Rows != nil { // it was decoded
		d.ahead.Release(<-d.weights)
	}
}

// failure is what could not be decoded, nil if all could.
func (d *decoder) failure() error {
	if err := d.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// first is the first words of an error, which may hold the whole event.
func first(text string) string {
	const most = 200
	text, _, _ = strings.Cut(text, ", data ")
	return strings.ToValidUTF8(text[:min(len(text), most)], "")
}
