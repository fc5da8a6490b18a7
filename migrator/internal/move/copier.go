package move

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"drover/migrator/internal/database"
	"drover/migrator/internal/machine"
	"drover/migrator/internal/throttle"
)

// How chunks are written side by side, and why it is as if they were not.
//
// The source's rows are read by one reader, chunk after chunk. Each of several
// loaders has a chunk, and sends its rows in a transaction of its own. Then it
// waits for its turn: the transactions commit in the order in which the chunks
// were read, each with the cursor behind its chunk. So what is committed is at
// every moment what one loader alone would have committed: all chunks up to the
// cursor, and nothing behind it.
//
// A chunk may want what one before it has locked, and the other way round: a
// unique value that went from one row to another between two reads is in both.
// A server sees no deadlock where one of the two waits for its turn. So a turn
// is waited for no longer than turnMax with a transaction open. Who had none by
// then, or met anything but success before it, rolls back, waits with nothing
// open, and writes its chunk when all before it is committed, and nothing of
// what is behind it can be in its way for longer than turnMax.
//
// The cursor's row is locked last, not first: it is one row for all loaders. A
// run that was replaced may so send rows, and never commit them.

const (
	// turnMax is much less than database.Open lets a transaction stand still
	// (5 s), and many times what two chunks that began together differ by.
	turnMax = 2 * time.Second
	// CopyParallelMax leaves half of a server's connections (database.Open: 8)
	// to everything else.
	CopyParallelMax = 4
	// spareChunks are in memory besides those of the loaders: one being read, one
	// that waits, one in the throttle.
	spareChunks = 3
)

// errTurn says that the turn did not come within turnMax.
var errTurn = errors.New("the chunks before this one are not written yet")

// copier copies what is behind a cursor. Its methods are called by several
// goroutines.
type copier struct {
	*run
	pace  *throttle.Throttle
	want  time.Duration // that a chunk takes
	size  atomic.Int64  // of the next chunk, in rows
	idle  chan *loader
	texts chan []byte // of chunks that are written, to be used again

	reporting sync.Mutex // one at a time

	mu struct {
		sync.Mutex
		turn int           // the number of the chunk that may commit
		next chan struct{} // closed and replaced when turn moves
	}
}

// copyFrom reads chunks and writes them, the next while those before it are on
// their way.
func (r *run) copyFrom(ctx context.Context, pace *throttle.Throttle, at cursor) error {
	name, err := machine.NewID("copy")
	if err != nil {
		return err
	}
	loaders := min(max(1, r.Limits.CopyParallel), CopyParallelMax)
	c := newCopier(r, pace, loaders)
	told := pace.Report
	pace.Report = func(reason string) { c.alone(func() { told(reason) }) }
	for i := range loaders {
		l, err := newLoader(ctx, r.to, fmt.Sprintf("%s-%d", name, i))
		if err != nil {
			return err
		}
		defer l.close()
		c.idle <- l
	}
	group, ctx := errgroup.WithContext(ctx)
	chunks := make(chan *chunk, 1)
	group.Go(func() error {
		defer close(chunks)
		return c.readChunks(ctx, at, chunks)
	})
	group.Go(func() error { return c.handOut(ctx, group, chunks) })
	return group.Wait()
}

func newCopier(r *run, pace *throttle.Throttle, loaders int) *copier {
	// Side by side a chunk takes the longer, for the servers have as much to do.
	c := &copier{run: r, pace: pace, want: r.Limits.ChunkTime * time.Duration(loaders),
		idle: make(chan *loader, loaders), texts: make(chan []byte, loaders+spareChunks)}
	c.size.Store(chunkFirst)
	c.mu.next = make(chan struct{})
	return c
}

// alone keeps others from reporting meanwhile.
func (c *copier) alone(report func()) {
	c.reporting.Lock()
	defer c.reporting.Unlock()
	report()
}

// readChunks reads from the cursor to the end of the last table.
func (c *copier) readChunks(ctx context.Context, at cursor, chunks chan<- *chunk) error {
	var on *route
	for number := 0; at.Table < len(c.tables); number++ {
		t := c.tables[at.Table]
		var err error
		if on == nil || on.table != t {
			if on, err = routeOf(ctx, c.from, t, c.move.Buckets); err != nil {
				return err
			}
		}
		select {
		case on.text = <-c.texts:
		default:
		}
		ch, err := on.read(ctx, c.from, at, int(c.size.Load()))
		if err != nil {
			return fmt.Errorf("read rows of %s from %s: %w", t.Name, c.from.Name(), err)
		}
		ch.number = number
		at = ch.next
		select {
		case chunks <- ch:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// handOut gives each chunk, when the throttle lets it through, to a loader that
// has nothing to do. What the throttle keeps waiting holds nothing at the
// target.
func (c *copier) handOut(ctx context.Context, group *errgroup.Group, chunks <-chan *chunk) error {
	for ch := range chunks {
		var l *loader
		select {
		case l = <-c.idle:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := c.pace.Wait(ctx, ch.rows); err != nil {
			return err
		}
		group.Go(func() error {
			if err := c.write(ctx, l, ch); err != nil {
				return fmt.Errorf("write rows of %s to %s: %w", ch.table.Name, c.to.Name(), err)
			}
			c.idle <- l // has room for every loader
			return nil
		})
	}
	return nil
}

// write writes a chunk and the cursor behind it in one transaction, which is
// the next one to commit after that of the chunk before.
func (c *copier) write(ctx context.Context, l *loader, ch *chunk) error {
	progress, err := json.Marshal(ch.next)
	if err != nil {
		return err
	}
	took, err := c.writeAhead(ctx, l, ch, string(progress))
	switch {
	case err == nil:
	case ctx.Err() != nil, errors.Is(err, ErrReplaced), errors.Is(err, database.ErrOutcomeUnknown):
		return err
	default:
		// What was rolled back is decided when nothing of the copy's is under way
		// before it.
		if err := c.awaitTurn(ctx, ch.number); err != nil {
			return err
		}
		began := time.Now()
		if err := c.writeInTurn(ctx, l, ch, string(progress)); err != nil {
			return err
		}
		took = time.Since(began)
	}
	c.crash("after_chunk", Copying)
	size := int(c.size.Load())
	c.size.Store(int64(nextChunk(size, ch.size, ch.rows, max(ch.read, took), c.want)))
	c.alone(func() { c.report(Event{Move: c.move.Record.Move, State: Copying, Rows: ch.next.Rows}) })
	select {
	case c.texts <- ch.text[:0]:
	default:
	}
	c.endTurn()
	return nil
}

// writeAhead sends the rows before the chunk's turn, and commits in it. It
// returns the time that it took but for the wait.
func (c *copier) writeAhead(ctx context.Context, l *loader, ch *chunk, progress string) (took time.Duration, err error) {
	if ch.rows == 0 || !l.can(ch.table) {
		return 0, errTurn
	}
	began := time.Now()
	err = database.InTx(ctx, c.to.DB, func(tx *sql.Tx) error {
		if err := l.load(ctx, tx, ch.table, ch.text, ch.rows); err != nil {
			return err
		}
		loaded := time.Now()
		waiting, cancel := context.WithTimeoutCause(ctx, turnMax, errTurn)
		defer cancel()
		if err := c.awaitTurn(waiting, ch.number); err != nil {
			return err
		}
		began = began.Add(time.Since(loaded))
		c.crash("before_chunk", Copying)
		return own(ctx, tx, c.move.Record.Move, c.move.Leg, c.token, "", progress)
	})
	return time.Since(began), err
}

// writeInTurn writes a chunk when all before it are committed: by LOAD DATA,
// where the server takes that, else by statements.
func (c *copier) writeInTurn(ctx context.Context, l *loader, ch *chunk, progress string) error {
	c.crash("before_chunk", Copying)
	return c.patientlyTelling(ctx, func(e Event) { c.alone(func() { c.report(e) }) }, func() error {
		if ch.rows != 0 && l.can(ch.table) {
			err := c.inChunk(ctx, progress, func(tx *sql.Tx) error { return l.load(ctx, tx, ch.table, ch.text, ch.rows) })
			if err == nil || !l.otherwise(ch.table, err) {
				return err
			}
		}
		rows, err := rowsOf(ch.table, ch.text)
		if err != nil {
			return err
		}
		return c.inChunk(ctx, progress, func(tx *sql.Tx) error {
			w := writer{tx: tx, buckets: c.move.Buckets}
			return w.put(ctx, ch.table, rows)
		})
	})
}

// inChunk runs write in a transaction that saves the cursor.
func (r *run) inChunk(ctx context.Context, progress string, write func(tx *sql.Tx) error) error {
	return database.InTx(ctx, r.to.DB, func(tx *sql.Tx) error {
		if err := own(ctx, tx, r.move.Record.Move, r.move.Leg, r.token, "", progress); err != nil {
			return err
		}
		return write(tx)
	})
}

// awaitTurn waits until all chunks before a number are committed. It returns
// the cause of ctx's end.
func (c *copier) awaitTurn(ctx context.Context, number int) error {
	for {
		c.mu.Lock()
		turn, next := c.mu.turn, c.mu.next
		c.mu.Unlock()
		if turn == number {
			return nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// endTurn lets the chunk after this one commit.
func (c *copier) endTurn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.turn++
	close(c.mu.next)
	c.mu.next = make(chan struct{})
}
