package move

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"drover/migrator/internal/binlog"
	"drover/migrator/internal/database"
)

const (
	// aheadRounds bounds how often what changed meanwhile is compared before
	// the hold: each leaves what changed while it ran.
	aheadRounds = 3
	// aheadLooks bounds how often keys that differ are looked at again.
	aheadLooks = 5
	// aheadKeys is few enough for the comparison under the freeze: one statement
	// a table.
	aheadKeys = 50
	// compareAtOnce bounds the tables compared at once: each has a connection
	// at both ends, and a pool has eight.
	compareAtOnce = 3

	tooManyTouched = "too many rows changed since the verification"
)

// verifyAhead compares, while writes go on, what changed since the
// verification, so that only what changes from here on is left for the freeze.
// all is false when more changed than was remembered.
//
// A key that was compared and equal needs no second look: a change since then
// makes the tail remember it anew.
func (r *run) verifyAhead(ctx context.Context) (all bool, err error) {
	for range aheadRounds {
		keys, ok := r.tail.takeTouched()
		if !ok {
			return false, nil
		}
		for t, byText := range keys {
			if err := r.compareAhead(ctx, t, slices.Collect(maps.Values(byText))); err != nil {
				r.tail.giveBack(keys)
				return false, err
			}
		}
		if len(keys) == 0 || r.tail.touchedCount() <= aheadKeys {
			break
		}
	}
	_, all = r.tail.touchedKeys()
	return all, nil
}

// compareAhead compares keys until they are equal or remembered anew. The rest
// differ for good.
func (r *run) compareAhead(ctx context.Context, t *database.Table, keys []binlog.Row) error {
	for range aheadLooks {
		if len(keys) == 0 {
			return nil
		}
		// What is written up to here is visible at the source and applied at the
		// target; what comes later is remembered.
		end, err := r.barrier(ctx)
		if err != nil {
			return err
		}
		if err := r.tailReach(ctx, end); err != nil {
			return err
		}
		touched, all := r.tail.touchedKeys()
		if !all {
			return nil // verifyAhead sees it too, and the verification is done again
		}
		if keys, err = r.compareKeys(ctx, t, without(keys, touched[t])); err != nil {
			return err
		}
	}
	return differError(t, keys)
}

// targetsWord notes what the target has of the rows that changed since
// verifyAhead, for the commit point to compare, and the target's position: what
// the tail read back with what it wrote, or one question. all is false when they
// are too many for that.
func (r *run) targetsWord(ctx context.Context, c *crossing) (all bool, err error) {
	read := r.tail.readBackNow()
	if read == nil {
		if read = r.tail.readBack(); read == nil {
			return false, nil
		}
		position := ""
		columns, answers := read.columns(&position)
		if err := c.target.conn.QueryRowContext(ctx, verifyBound()+"SELECT "+columns).Scan(answers...); err != nil {
			return false, fmt.Errorf("checksums on %s: %w", r.to.Name(), err)
		}
		if read.position, err = database.ParsePosition(position); err != nil {
			return false, err
		}
	}
	c.checks, c.position = read.checks, read.position
	return true, nil
}

// verifyLast compares, under the freeze, what changed since verifyAhead, and
// notes the target's position. It asks both ends, all tables at once: where
// there is too much for the commit point to compare, and to name rows that
// differ by its word.
func (r *run) verifyLast(ctx context.Context, c *crossing) (all bool, err error) {
	c.checks = nil
	touched, all := r.tail.touchedKeys()
	if !all {
		return false, nil
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(compareAtOnce + 1)
	group.Go(func() (err error) { c.position, err = r.to.BinlogPosition(groupCtx); return err })
	for t, keys := range touched {
		group.Go(func() error {
			differ, err := r.compareKeys(groupCtx, t, keys)
			if err != nil {
				return err
			}
			return differError(t, differ)
		})
	}
	return true, group.Wait()
}

// takeTouched returns what is remembered and begins anew, in one step. When
// there was too much to remember, it forgets nothing.
func (t *tail) takeTouched() (keys map[*database.Table]map[string]binlog.Row, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.count > touchedMax {
		return nil, false
	}
	keys = t.mu.touched
	t.mu.touched = map[*database.Table]map[string]binlog.Row{}
	t.mu.count = 0
	return keys, true
}

// giveBack remembers keys that were taken and not compared.
func (t *tail) giveBack(taken map[*database.Table]map[string]binlog.Row) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for table, keys := range taken {
		if t.mu.touched[table] == nil {
			t.mu.touched[table] = map[string]binlog.Row{}
		}
		maps.Copy(t.mu.touched[table], keys)
	}
	t.mu.count = 0
	for _, keys := range t.mu.touched {
		t.mu.count += len(keys)
	}
}

// touchedCount is how many keys are remembered.
func (t *tail) touchedCount() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mu.count
}
