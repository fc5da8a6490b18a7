package move

import (
	"context"
	"maps"
	"slices"

	"drover/migrator/internal/binlog"
	"drover/migrator/internal/database"
)

// drainAt is how many changed keys make the comparison stop and look at them
// before it goes on: well under touchedMax, so that what the tail applies
// meanwhile fits too.
const drainAt = 2000

// verifying compares checksums computed by the servers while writes go on,
// chunk by chunk.
//
// The tail remembers every key that it applies from here on. Those are compared
// once more when the tail has caught up with them, and what changes after that,
// under the freeze. A key that differs, is not among them, and stands still at
// the source, is an error that no waiting mends.
func (r *run) verifying(ctx context.Context) (State, error) {
	if err := r.startTail(ctx); err != nil {
		return "", err
	}
	// After a step back, the keys touched since are known still, and enough.
	if _, all := r.tail.touchedKeys(); all && r.verified == r.tail {
		return Holding, nil
	}
	r.verified = nil
	r.tail.forgetTouched()
	c := r.comparer(r.tail.touchedKeys)
	c.chunk = func(ctx context.Context, rows int64) error {
		r.report(Event{Move: r.move.Record.Move, State: Verifying, Rows: rows})
		return r.drain(ctx, drainAt)
	}
	for _, t := range r.tables {
		if err := c.table(ctx, t); err != nil {
			return "", err
		}
		r.report(Event{Move: r.move.Record.Move, State: Verifying, Note: t.Name})
	}
	if _, all := r.tail.touchedKeys(); !all {
		return r.stepBack(ctx, "too many rows changed during the verification")
	}
	r.verified = r.tail
	return Holding, nil
}

// drain compares the keys that changed, if they are more than enough, and keeps
// only those in mind that change from now on.
func (r *run) drain(ctx context.Context, enough int) error {
	touched, all := r.tail.touchedKeys()
	if !all || countKeys(touched) <= enough {
		return nil // too many: the verification is done again, see holding
	}
	taken, all := r.tail.takeTouched()
	if !all {
		return nil
	}
	// The tail may remember a key before its change is to be seen at either end.
	if err := r.caughtUp(ctx); err != nil {
		return err
	}
	c := r.comparer(r.tail.touchedKeys)
	for t, byText := range taken {
		if err := c.again(ctx, t, slices.Collect(maps.Values(byText))); err != nil {
			return err
		}
	}
	return nil
}

// comparer compares the leg's ends. Rows that differ in earnest are an error.
func (r *run) comparer(touched func() (map[*database.Table][]binlog.Row, bool)) *comparer {
	return &comparer{home: r.from, other: r.to, buckets: r.move.Buckets,
		caughtUp: r.caughtUp,
		dirty: func(t *database.Table) map[string]bool {
			keys, _ := touched()
			dirty := make(map[string]bool, len(keys[t]))
			for _, key := range keys[t] {
				dirty[plainKey(key)] = true
			}
			return dirty
		},
		// What is unsure has changed since, so the tail has it among the dirty.
		found: func(t *database.Table, v verdict) error { return rowsDiffer(t, v.differ) },
		chunk: func(context.Context, int64) error { return nil },
	}
}

// caughtUp waits until everything that is committed at the source now, and
// visible there, is applied at the target.
func (r *run) caughtUp(ctx context.Context) error {
	end, err := r.barrier(ctx)
	if err != nil {
		return err
	}
	return r.tailReach(ctx, end)
}

func countKeys(keys map[*database.Table][]binlog.Row) int {
	n := 0
	for _, k := range keys {
		n += len(k)
	}
	return n
}

// again compares the rows with these keys, and settles those that differ.
func (c *comparer) again(ctx context.Context, t *database.Table, keys []binlog.Row) error {
	for group := range slices.Chunk(keys, keysStatement) {
		where, args := c.whereKeys(t, group)
		here, there, err := c.both(ctx, t, where, args)
		if err != nil {
			return err
		}
		if err := c.settle(ctx, t, keysOf(unequal(here, there))); err != nil {
			return err
		}
	}
	return nil
}

// compareKeys returns those of the keys whose rows differ between the leg's ends
// at this moment.
func (r *run) compareKeys(ctx context.Context, t *database.Table, keys []binlog.Row) ([]binlog.Row, error) {
	c := r.comparer(r.tail.touchedKeys)
	var differ []binlog.Row
	for group := range slices.Chunk(keys, keysStatement) {
		where, args := c.whereKeys(t, group)
		here, there, err := c.both(ctx, t, where, args)
		if err != nil {
			return nil, err
		}
		differ = append(differ, keysOf(unequal(here, there))...)
	}
	return differ, nil
}

// without removes the keys that will be compared another time anyway.
func without(keys []binlog.Row, touched []binlog.Row) []binlog.Row {
	skip := make(map[string]bool, len(touched))
	for _, key := range touched {
		skip[plainKey(key)] = true
	}
	return slices.DeleteFunc(keys, func(key binlog.Row) bool { return skip[plainKey(key)] })
}

// differError names a few of the keys whose rows differ.
func differError(t *database.Table, keys []binlog.Row) error {
	rows := make([]differing, len(keys))
	for i, key := range keys {
		rows[i] = differing{key, Different}
	}
	return rowsDiffer(t, rows)
}
