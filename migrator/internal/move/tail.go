package move

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"drover/bucketmap"
	"drover/migrator/internal/binlog"
	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

const (
	// applyRows and applyBytes are how much is gathered into one transaction at
	// the target while more is waiting: enough to spread the cost of a commit
	// and to overwrite a busy row once, few enough for a tenth of a second. A
	// transaction of the source that is larger is written in several. Three
	// batches are in memory at once: gathered, handed over, written.
	applyRows  = 5000
	applyBytes = 8 << 20
	// applyTransactions ends a batch of transactions that have little or
	// nothing for the buckets, so that the position does not stand still.
	applyTransactions = 4096
	// transactionsAhead bounds the transactions read and not yet applied.
	transactionsAhead = 256
	// touchedMax bounds the keys remembered for the last comparison, which is
	// made while the buckets are frozen. 10,000 keys of 100 bytes are 1 MB.
	touchedMax = 10_000
	// idleSave is how often the position is saved while nothing concerns the
	// buckets, so that a restart has little to read again.
	idleSave = 1 * time.Second
	// commitRetryMax is how long a target that cannot be reached is tried.
	commitRetryMax = 30 * time.Second
)

// tail applies the row changes of the leg's start to its end, from the saved
// position on, until it is stopped.
type tail struct {
	move     bucketmap.MoveID
	leg      int
	token    fence.Token
	from, to *database.Server
	tables   []*database.Table

	buckets Buckets
	mine    func(*database.Table, binlog.Row) bool
	cancel  context.CancelFunc
	ended   chan struct{}
	near    time.Duration // how near to the source's end is near enough, see nearEnough
	// transactionMax is Limits.TransactionMax.
	transactionMax int
	ahead          time.Duration // of the source's clock before ours, see clockOf

	// Of the goroutine that applies.
	session *session // nil until it is needed
	saved   string   // the position that the target has

	mu struct {
		sync.Mutex
		applied database.Position
		changed chan struct{} // closed and replaced when applied moves
		err     error         // set when the tail has ended
		touched map[*database.Table]map[string]binlog.Row
		count   int // of touched; over touchedMax they are not kept
		rows    int64
		busy    bool      // a batch is being written
		armed   bool      // see arm
		read    *readBack // with the last batch while armed; nil for none
		held    bool      // batches wait until want is in them
		want    database.Position
		// gathering and writing are when the oldest transaction was logged of which
		// changes are gathered, and written; zero for none.
		gathering, writing time.Time
	}
}

// startTail starts the tail of the leg, from the position at the leg's end.
func (r *run) startTail(ctx context.Context) error {
	var rows int64
	if r.tail != nil {
		if !r.tail.over() {
			return nil
		}
		rows = r.tail.appliedRows() // it counts on
		r.stopTail()
	}
	var text, progress string
	err := r.to.DB.QueryRowContext(ctx, "SELECT position, progress FROM drover_tail WHERE move_id = ? AND leg = ?",
		string(r.move.Record.Move), r.move.Leg).Scan(&text, &progress)
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("%s has no position of the tail of leg %d", r.to.Name(), r.move.Leg)
	}
	if err != nil {
		return fmt.Errorf("read the tail's position on %s: %w", r.to.Name(), err)
	}
	from, err := database.ParsePosition(text)
	if err != nil {
		return err
	}
	r.noteCopied(progress)
	near, err := r.nearEnough(ctx)
	if err != nil {
		return err
	}
	ahead, err := clockOf(ctx, r.from)
	if err != nil {
		return err
	}
	tailCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	t := &tail{move: r.move.Record.Move, leg: r.move.Leg, token: r.token, from: r.from, to: r.to,
		tables: slices.Clone(r.tables), buckets: r.move.Buckets, mine: inBuckets(r.move.Buckets, r.tables), cancel: cancel, ended: make(chan struct{}),
		near: near, saved: text, transactionMax: r.Limits.TransactionMax, ahead: ahead}
	t.mu.applied, t.mu.rows = from, rows
	t.mu.changed = make(chan struct{})
	t.mu.touched = map[*database.Table]map[string]binlog.Row{}
	r.tail = t
	go func() {
		defer close(t.ended)
		err := t.follow(tailCtx, from)
		t.mu.Lock()
		t.mu.err = err
		close(t.mu.changed)
		t.mu.changed = make(chan struct{})
		t.mu.Unlock()
	}()
	return nil
}

// over says whether the tail has ended by itself.
func (t *tail) over() bool {
	select {
	case <-t.ended:
		return true
	default:
		return false
	}
}

// stopTail ends the tail and waits for it.
func (r *run) stopTail() {
	if r.tail == nil {
		return
	}
	r.tail.cancel()
	<-r.tail.ended
	r.tail = nil
}

// follow reads, gathers and writes, each in a goroutine of its own, until ctx
// ends or something fails.
func (t *tail) follow(ctx context.Context, from database.Position) error {
	group, ctx := errgroup.WithContext(ctx)
	transactions := make(chan binlog.Transaction, transactionsAhead)
	gathered := make(chan gathering)
	group.Go(func() error {
		// Of other buckets' rows nothing is kept: a transaction of any size that
		// concerns them costs the time to read it, and no memory.
		return binlog.NewStream(t.from, t.tables, from).Keep(inBucket(t.buckets)).Bound(t.transactionMax).Run(ctx, transactions)
	})
	group.Go(func() error {
		g := gatherer{tail: t, position: from.Clone(), next: newBatch(), out: gathered}
		return g.run(ctx, transactions)
	})
	group.Go(func() error { return t.apply(ctx, gathered) })
	return group.Wait()
}

// gathering is a batch and the position that the target has once it is written.
type gathering struct {
	*batch
	position database.Position
	oldest   time.Time // when the first of its transactions was logged
}

// gatherer makes batches of transactions: as large as they grow while the one
// before is written, up to applyRows and applyBytes.
type gatherer struct {
	tail     *tail
	position database.Position // after the last whole transaction
	next     *batch
	moved    bool // position is after what was handed over
	oldest   time.Time
	out      chan<- gathering
}

func (g *gatherer) run(ctx context.Context, transactions <-chan binlog.Transaction) error {
	for {
		var out chan<- gathering
		held, changed := g.tail.holdsBack(g.position)
		if g.moved && !held {
			out = g.out // else nil, to which nothing is sent
			// What waits is taken first: a batch of one would be a commit a row.
			select {
			case tx := <-transactions:
				if err := g.take(ctx, tx); err != nil {
					return err
				}
				continue
			default:
			}
		}
		select {
		case tx := <-transactions:
			if err := g.take(ctx, tx); err != nil {
				return err
			}
		case out <- gathering{g.next, g.position.Clone(), g.oldest}:
			g.handedOver()
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take adds a transaction. A batch that is full is handed over at once, with
// the position of the last whole transaction: who starts again from there
// writes the first part of this one a second time, which changes nothing, as
// each row's last event wins.
func (g *gatherer) take(ctx context.Context, tx binlog.Transaction) error {
	g.has(tx)
	for _, c := range tx.Changes {
		g.next.add(c, g.tail.mine)
		if g.next.full() {
			if err := g.flush(ctx); err != nil {
				return err
			}
			g.has(tx)
		}
	}
	g.position.Advance(tx.GTID)
	g.next.whole++
	g.moved = true
	if g.next.full() {
		return g.flush(ctx)
	}
	return nil
}

func (g *gatherer) flush(ctx context.Context) error {
	select {
	case g.out <- gathering{g.next, g.position.Clone(), g.oldest}:
		g.handedOver()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *batch) full() bool {
	return b.rows >= applyRows || b.bytes >= applyBytes || b.whole >= applyTransactions
}

// apply writes the batches.
func (t *tail) apply(ctx context.Context, gathered <-chan gathering) error {
	saved := time.Now()
	defer func() {
		if t.session != nil {
			t.session.close()
		}
	}()
	for {
		var l gathering
		select {
		case l = <-gathered:
		case <-ctx.Done():
			return ctx.Err()
		}
		t.setBusy(true)
		t.setWriting(l.oldest)
		if !l.empty() || time.Since(saved) > idleSave {
			// Before it can be seen at the target: who compares meanwhile must
			// know that the row is changing.
			t.touch(l.batch)
			if err := t.commit(ctx, l.batch, l.position); err != nil {
				return err
			}
			saved = time.Now()
		}
		t.advance(l.position, int64(l.rows))
	}
}

func (t *tail) position() database.Position {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mu.applied.Clone()
}

func (t *tail) advance(to database.Position, rows int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.applied = to.Clone()
	t.mu.busy, t.mu.writing = false, time.Time{}
	t.mu.rows += rows
	close(t.mu.changed)
	t.mu.changed = make(chan struct{})
}

// applied returns how many row changes were applied so far.
func (t *tail) appliedRows() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mu.rows
}

// reach waits until everything up to a position is applied.
func (t *tail) reach(ctx context.Context, position database.Position) error {
	for {
		t.mu.Lock()
		applied, changed, err := t.mu.applied, t.mu.changed, t.mu.err
		reached := applied.Reached(position)
		t.mu.Unlock()
		if reached {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the tail has ended: %w", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// touch remembers the keys of a batch, for the last comparison.
func (t *tail) touch(b *batch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, tb := range b.tables {
		keys, ok := t.mu.touched[tb.table]
		if !ok {
			keys = map[string]binlog.Row{}
			t.mu.touched[tb.table] = keys
		}
		for text, c := range tb.rows {
			if t.mu.count > touchedMax {
				return
			}
			if _, ok := keys[text]; !ok {
				keys[text] = c.key
				t.mu.count++
			}
		}
	}
}

// forgetTouched starts to remember anew.
func (t *tail) forgetTouched() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.touched = map[*database.Table]map[string]binlog.Row{}
	t.mu.count = 0
}

// touchedKeys returns the keys that changed since forgetTouched. ok is false
// when there were too many to remember.
func (t *tail) touchedKeys() (keys map[*database.Table][]binlog.Row, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	keys = map[*database.Table][]binlog.Row{}
	for table, byText := range t.mu.touched {
		for _, key := range byText {
			keys[table] = append(keys[table], key)
		}
	}
	return keys, t.mu.count <= touchedMax
}

// tailing applies what has happened since the copy began, until the tail is
// near enough to the source's end.
func (r *run) tailing(ctx context.Context) (State, error) {
	if err := r.startTail(ctx); err != nil {
		return "", err
	}
	for {
		end, err := r.from.BinlogPosition(ctx)
		if err != nil {
			return "", err
		}
		began := time.Now()
		if err := r.tailReach(ctx, end); err != nil {
			return "", err
		}
		if time.Since(began) <= r.tail.near {
			return Verifying, nil
		}
	}
}

// tailReach waits for a position and reports how far it is.
func (r *run) tailReach(ctx context.Context, end database.Position) error {
	const reportEvery = 200 * time.Millisecond
	asked := time.Now()
	for {
		waiting, cancel := context.WithTimeout(ctx, reportEvery)
		err := r.tail.reach(waiting, end)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return err
		}
		r.report(Event{Move: r.move.Record.Move, State: r.move.State(), Rows: r.tail.appliedRows(),
			Behind: r.tail.position().Lag(end), Lag: time.Since(asked), Measured: true})
	}
}
