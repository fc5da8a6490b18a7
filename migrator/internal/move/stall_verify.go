package move

import (
	"context"
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

// verifyLast compares, under the freeze, what changed since verifyAhead, and
// notes the target's position. It asks the source alone when the tail has read
// back what it wrote. Else, and to name rows that differ, it asks both, all
// tables at once: the target has answered since the freeze in either case.
func (r *run) verifyLast(ctx context.Context, c *crossing) (all bool, err error) {
	if read := r.tail.readBackNow(); read != nil {
		same, err := r.sameAsReadBack(ctx, read)
		if err != nil {
			return false, err
		}
		if same {
			c.position = read.position
			return true, nil
		}
	}
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
