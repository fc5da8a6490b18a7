package move

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"drover/migrator/internal/binlog"
	"drover/migrator/internal/database"
)

// The tail's lag in seconds is the age of the oldest transaction that was read
// and is not written yet: now, less the time that the source's log gives it. It
// is right from the first transaction on, however long the tail was not there,
// and to a second, as the log is. While everything is written it is 0; while the
// first transaction is still on its way, it is since when that was known.

// clockOf returns by how much a server's clock is ahead of this machine's, to
// half a round trip.
func clockOf(ctx context.Context, server *database.Server) (time.Duration, error) {
	var micros int64
	began := time.Now()
	if err := server.DB.QueryRowContext(ctx, "SELECT CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED)").Scan(&micros); err != nil {
		return 0, fmt.Errorf("read the clock of %s: %w", server.Name(), err)
	}
	here := began.Add(time.Since(began) / 2)
	return time.UnixMicro(micros).Sub(here), nil
}

// has notes that the next batch has changes of a transaction, or its end.
func (g *gatherer) has(tx binlog.Transaction) {
	if !g.oldest.IsZero() {
		return
	}
	g.oldest = tx.At
	g.tail.mu.Lock()
	defer g.tail.mu.Unlock()
	g.tail.mu.gathering = tx.At
}

// handedOver begins a new batch.
func (g *gatherer) handedOver() {
	g.next, g.moved, g.oldest = newBatch(), false, time.Time{}
	g.tail.mu.Lock()
	defer g.tail.mu.Unlock()
	g.tail.mu.gathering = time.Time{}
}

// setWriting notes the batch that is being written; the zero time ends it.
func (t *tail) setWriting(oldest time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.writing = oldest
}

// lag is how far behind the tail is in time.
func (t *tail) lag() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	oldest := t.mu.writing
	if oldest.IsZero() {
		oldest = t.mu.gathering
	}
	if oldest.IsZero() {
		return 0
	}
	return max(0, time.Now().Add(t.ahead).Sub(oldest))
}

// report tells how the run is getting on, and its tail.
func (r *run) report(ev Event) {
	if t := r.tail; t != nil {
		ev.Applied, ev.Lag = t.appliedRows(), max(ev.Lag, t.lag())
	}
	r.Engine.report(ev)
}

// took is how long the parts of a crossing took together.
func (c *crossing) took() (sum time.Duration) {
	for _, p := range c.parts {
		sum += p.took
	}
	return sum
}

// noteCopied keeps what the copy's cursor says, which goes when the move is
// finished; the journal has it from the next state on.
func (r *run) noteCopied(progress string) {
	var at cursor
	if r.move.Leg == 1 && r.move.Copied == nil && json.Unmarshal([]byte(progress), &at) == nil {
		r.move.Copied = &at.Rows
	}
}
