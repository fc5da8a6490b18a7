package move

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"drover/bucketmap"
	"drover/migrator/internal/binlog"
	"drover/migrator/internal/database"
	"drover/migrator/internal/journal"
	"drover/shardlib/fence"
)

// Outcome is what a comparison of the two ends of a move came to.
type Outcome string

// The outcomes.
const (
	Equal   Outcome = "equal"
	Differs Outcome = "differs"
	// Unsure is when some rows never stood still, or the move went on meanwhile.
	Unsure Outcome = "unsure"
)

// Comparison is the two ends of a move, compared.
type Comparison struct {
	Move    bucketmap.MoveID `json:"move"`
	State   State            `json:"state"`
	Buckets Buckets          `json:"buckets"`
	// Home is the shard where the buckets are active, and so the one that is
	// right; Other is kept up to date by the tail.
	Home    bucketmap.ShardName `json:"home"`
	Other   bucketmap.ShardName `json:"other"`
	Outcome Outcome             `json:"outcome"`
	Why     string              `json:"why,omitempty"` // of Unsure
	Rows    int64               `json:"rows"`          // at the home
	// Differ names the rows that differ, DifferKept at most; More says that
	// there may be others, which were not looked for.
	Differ []Difference `json:"differ"`
	More   bool         `json:"more,omitempty"`
	Unsure []Difference `json:"unsure,omitempty"`
	Took   float64      `json:"took_seconds"`

	rows map[*database.Table][]differing
}

// Difference is one row that differs, as seen from its home.
type Difference struct {
	Table string `json:"table"`
	Key   string `json:"key"`
	Kind  Kind   `json:"kind,omitempty"`
}

const (
	// DifferKept bounds the rows that a comparison names, and so what one repair
	// changes: 10,000 keys of 100 bytes are 1 MB.
	DifferKept = 10_000
	// watchedMax bounds the wait for a tail that another process runs;
	// watchedEvery is how often its saved position is read. A tail that has
	// nothing to apply saves its position with the first transaction after
	// idleSave: watchedProd makes one.
	watchedMax   = 30 * time.Second
	watchedEvery = 50 * time.Millisecond
	watchedProd  = idleSave + 200*time.Millisecond
)

var (
	// ErrNothingToCompare says that the move has no two ends with the same rows
	// at this moment.
	ErrNothingToCompare = errors.New("the two ends cannot be compared now")
	// ErrBehind says that the tail of another process did not catch up in time.
	ErrBehind = errors.New("the tail is behind")

	errEnough = errors.New("enough rows differ")
)

// Verify compares the two ends of a move that is being tailed or soaks, at any
// time. It changes no row. buckets may be some of the move's; nil is all.
//
// When no other process runs the move, Verify takes it over and runs its tail,
// so that the far end is up to date; otherwise it watches the other's tail.
func (e *Engine) Verify(ctx context.Context, m *Move, buckets Buckets) (*Comparison, error) {
	home, err := e.Servers.Primary(ctx, m.Record.Home)
	if err != nil {
		return nil, err
	}
	holder, err := journal.Open(home).Holder(ctx, m.Record.Move)
	if err != nil {
		return nil, err
	}
	if holder == nil {
		c, err := e.verifyOwn(ctx, m, func(r *run) (*Comparison, error) { return r.compareMove(ctx, buckets, r.caughtUp) })
		if !errors.Is(err, journal.ErrLocked) {
			return c, err
		}
	}
	return e.verifyWatching(ctx, m, buckets)
}

// verifyWatching compares beside a live migrator, whose tail it watches.
func (e *Engine) verifyWatching(ctx context.Context, m *Move, buckets Buckets) (*Comparison, error) {
	r, err := e.watcher(ctx, m)
	if err != nil {
		return nil, err
	}
	before := m.Leg
	c, err := r.compareMove(ctx, buckets, r.watched)
	if err != nil {
		return nil, err
	}
	now, err := e.Find(ctx, m.Record.Home, m.Record.Move)
	if err != nil {
		return nil, err
	}
	if c.Outcome != Equal && (now.Leg != before || compared(now.State()) != compared(c.State)) {
		c.Outcome, c.Why = Unsure, fmt.Sprintf("the move went on to %s meanwhile; verify again", now.State())
	}
	return c, nil
}

// verifyOwn takes the move over, runs the tail and calls f.
func (e *Engine) verifyOwn(ctx context.Context, m *Move, f func(*run) (*Comparison, error)) (c *Comparison, err error) {
	if !wantsTail(m.State()) {
		return nil, nothingToCompare(m)
	}
	err = e.takeOver(ctx, m, func(r *run) error {
		switch m.State() {
		case Soaking:
			err = r.reverse(ctx)
		case Tailing, Verifying:
			err = r.startTail(ctx)
		default:
			err = fmt.Errorf("%w: it is %s and no migrator runs it: migrator resume %s first", ErrNothingToCompare, m.State(), m.Record.Move)
		}
		if err == nil {
			c, err = f(r)
		}
		if err != nil {
			return r.failed(err, "")
		}
		return nil
	})
	return c, err
}

// wantsTail says whether a move in this state has a tail, or should have one.
func wantsTail(s State) bool { return compared(s) != "" }

// compared is which end is the home in a state: "source" or "target" of the leg,
// "" where the ends are not to be compared.
func compared(s State) string {
	switch s {
	case Tailing, Verifying, Holding, Freezing:
		return "source"
	case Soaking:
		return "target"
	case Planned, Copying, Switching, Publishing, Returning, Done, Aborting, Aborted:
	}
	return ""
}

func nothingToCompare(m *Move) error {
	return fmt.Errorf("%w: %s is %s; a move has two ends to compare while it is tailing, verifying, holding, freezing or soaking",
		ErrNothingToCompare, m.Record.Move, m.State())
}

// watcher is a run of a move that another process runs: it changes nothing but
// the barrier's row.
func (e *Engine) watcher(ctx context.Context, m *Move) (*run, error) {
	now, err := e.Find(ctx, m.Record.Home, m.Record.Move)
	if err != nil {
		return nil, err
	}
	*m = *now
	if !wantsTail(m.State()) {
		return nil, nothingToCompare(m)
	}
	r := &run{Engine: e, move: m, token: m.Record.Token()}
	if m.State() == Soaking {
		back := *m
		back.Leg++
		r.move = &back
	}
	if err := r.setLeg(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// watched waits until the tail of another process has applied what is committed
// at the home now, by the position that it saves.
func (r *run) watched(ctx context.Context) error {
	end, err := r.barrier(ctx)
	if err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, watchedMax)
	defer cancel()
	ticker, prod := time.NewTicker(watchedEvery), time.NewTicker(watchedProd)
	defer ticker.Stop()
	defer prod.Stop()
	for {
		at, err := r.savedPosition(ctx)
		if err != nil {
			return err
		}
		if at.Reached(end) {
			return nil
		}
		select {
		case <-waiting.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("%w: %d transactions after %s: is the process that runs %s alive?", ErrBehind, at.Lag(end), watchedMax, r.move.Record.Move)
		case <-prod.C:
			if _, err := r.barrier(ctx); err != nil {
				return err
			}
		case <-ticker.C:
		}
	}
}

// savedPosition is how far the leg's tail has come, by its own word.
func (r *run) savedPosition(ctx context.Context) (database.Position, error) {
	var text string
	err := r.to.DB.QueryRowContext(ctx, "SELECT position FROM drover_tail WHERE move_id = ? AND leg = ?",
		string(r.move.Record.Move), r.move.Leg).Scan(&text)
	if err != nil {
		return nil, fmt.Errorf("read the tail's position on %s: %w", r.to.Name(), err)
	}
	return database.ParsePosition(text)
}

// compareMove compares all tables of the leg that the run is on.
func (r *run) compareMove(ctx context.Context, buckets Buckets, caughtUp func(context.Context) error) (*Comparison, error) {
	began := time.Now()
	if buckets == nil {
		buckets = r.move.Buckets
	}
	result := &Comparison{Move: r.move.Record.Move, State: r.move.State(), Buckets: buckets, Home: r.from.Shard, Other: r.to.Shard,
		Outcome: Equal, Differ: []Difference{}, rows: map[*database.Table][]differing{}}
	if err := r.wantEnds(ctx, buckets); err != nil {
		return nil, err
	}
	// One wait at first: what a tail that just began has to bring is no
	// difference.
	if err := caughtUp(ctx); err != nil {
		return nil, err
	}
	c := &comparer{home: r.from, other: r.to, buckets: buckets, caughtUp: caughtUp, found: result.add,
		chunk: func(_ context.Context, rows int64) error {
			result.Rows += rows
			r.report(Event{Move: r.move.Record.Move, State: r.move.State(), Rows: result.Rows})
			return nil
		}}
	for _, t := range r.tables {
		err := c.table(ctx, t)
		if errors.Is(err, errEnough) {
			result.More = true
			break
		}
		if err != nil {
			return nil, err
		}
	}
	switch {
	case len(result.Differ) != 0:
		result.Outcome = Differs
	case len(result.Unsure) != 0:
		result.Outcome, result.Why = Unsure, "some rows changed each time that they were looked at; verify again"
	}
	result.Took = time.Since(began).Seconds()
	return result, nil
}

// add takes a verdict in.
func (c *Comparison) add(t *database.Table, v verdict) error {
	for _, row := range v.differ {
		if len(c.Differ) == DifferKept {
			return errEnough
		}
		c.Differ = append(c.Differ, Difference{Table: t.Name, Key: keyWords(t, row.key), Kind: row.kind})
		c.rows[t] = append(c.rows[t], row)
	}
	for _, key := range v.unsure {
		if len(c.Unsure) < DifferKept {
			c.Unsure = append(c.Unsure, Difference{Table: t.Name, Key: keyWords(t, key)})
		}
	}
	return nil
}

// wantEnds checks what a comparison takes for granted: that the buckets are the
// move's, active or frozen where the run takes them to be at home, and neither
// at the other end; and that the tables are the same.
func (r *run) wantEnds(ctx context.Context, buckets Buckets) error {
	for _, b := range buckets {
		if !slices.Contains(r.move.Buckets, b) {
			return fmt.Errorf("%w: bucket %d is not one of the move's", ErrBuckets, b)
		}
	}
	for _, end := range []struct {
		server *database.Server
		states []fence.State
	}{{r.from, []fence.State{fence.Active, fence.Frozen}}, {r.to, []fence.State{fence.Moved, fence.Incoming}}} {
		rows, err := fence.Rows(ctx, end.server.DB, buckets)
		if err != nil {
			return err
		}
		if len(rows) != len(buckets) {
			return fmt.Errorf("%w: %d of %d buckets have a fence row on %s", ErrNothingToCompare, len(rows), len(buckets), end.server.Name())
		}
		for _, row := range rows {
			if row.Token.Move != r.move.Record.Move || !slices.Contains(end.states, row.State) {
				return fmt.Errorf("%w: bucket %d is %s on %s, with move_id %q", ErrNothingToCompare, row.Bucket, row.State, end.server.Name(), row.Token)
			}
		}
	}
	for _, t := range r.tables {
		there, err := r.to.Describe(ctx, t.Sharded, t.Buckets)
		if err != nil {
			return err
		}
		if diffs := t.Same(there); len(diffs) != 0 {
			return fmt.Errorf("%w: table %s is not the same at both ends: %v", ErrNothingToCompare, t.Name, diffs)
		}
	}
	return nil
}

// Lag is how far a tail is behind.
type Lag struct {
	From         bucketmap.ShardName `json:"from"` // where the changes come from
	To           bucketmap.ShardName `json:"to"`   // where they are applied
	Transactions uint64              `json:"transactions"`
	Reverse      bool                `json:"reverse,omitempty"`
}

// Lag reads how far the tail of a move is behind, by the position that it saved;
// of a soaking move, the reverse tail. It takes no lock and changes nothing.
// Transactions that do not concern the buckets count until the tail has read
// past them. ErrNothingToCompare where the move has no tail.
func (e *Engine) Lag(ctx context.Context, m *Move) (Lag, error) {
	if !wantsTail(m.State()) {
		return Lag{}, nothingToCompare(m)
	}
	leg := m.Detail
	if m.State() == Soaking {
		leg.Leg++
	}
	r := &run{Engine: e, move: &Move{Record: m.Record, Detail: leg}}
	var err error
	if r.from, err = e.Servers.Primary(ctx, leg.From()); err != nil {
		return Lag{}, err
	}
	if r.to, err = e.Servers.Primary(ctx, leg.To()); err != nil {
		return Lag{}, err
	}
	at, err := r.savedPosition(ctx)
	if err != nil {
		return Lag{}, err
	}
	end, err := r.from.BinlogPosition(ctx)
	if err != nil {
		return Lag{}, err
	}
	return Lag{From: leg.From(), To: leg.To(), Transactions: at.Lag(end), Reverse: m.State() == Soaking}, nil
}

// keysToRepair gives the keys of a table's differing rows; with write, of those
// alone that are at the home.
func (c *Comparison) keysToRepair(t *database.Table, write bool) []binlog.Row {
	rows := c.rows[t]
	if write {
		rows = slices.DeleteFunc(slices.Clone(rows), func(d differing) bool { return d.kind == Extra })
	}
	return keysOf(rows)
}
