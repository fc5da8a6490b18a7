package move

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"drover/internal/pause"
	"drover/migrator/internal/binlog"
	"drover/migrator/internal/database"
	"drover/migrator/internal/machine"
)

const (
	// A chunk of the comparison has verifyFirst rows at first, and then what
	// takes verifyTime, between verifyLeast and verifyMost. Its rows' keys are
	// in memory when it differs: 20,000 × (key + 200 bytes) is a few MB an end.
	verifyFirst = 2000
	verifyLeast = 100
	verifyMost  = 20_000
	verifyTime  = 200 * time.Millisecond
	// verifyStatement bounds one statement of the comparison. What takes longer
	// is done again in smaller chunks.
	verifyStatement = 10 * time.Second
	// verifyRounds bounds how often rows that differ are looked at again once
	// the tail has caught up with them; verifyPause grows with each.
	verifyRounds = 6
	verifyPause  = 10 * time.Millisecond
	// quietRounds is how many of the last rounds must have found a row unchanged
	// at its home, and different at the other end.
	quietRounds = 2
	// keysStatement bounds the keys of one comparison by key.
	keysStatement = 200
	// differMax bounds the rows that are compared one by one: a chunk, and what
	// was written to it since it was measured.
	differMax = 1_000_000
)

// errTooMany bounds what is compared in memory.
var errTooMany = errors.New("more rows than are compared one by one")

func verifyBound() string { return database.WithinMillis(int(verifyStatement.Milliseconds())) }

// comparer compares the rows of buckets at two ends: home, where they are
// active, and other, which is kept up to date by a tail. Its memory is bounded
// by a chunk, whatever the size of the buckets.
type comparer struct {
	home, other *database.Server
	buckets     Buckets
	// caughtUp waits until everything that was committed at home before the call
	// is applied at the other end.
	caughtUp func(context.Context) error
	// dirty says which keys are looked at another time anyway; nil for none.
	dirty func(*database.Table) map[string]bool
	// found takes the rows that differ, a chunk at a time.
	found func(*database.Table, verdict) error
	// chunk is called after each chunk.
	chunk func(ctx context.Context, rows int64) error
}

// verdict is what became of rows that differed at first.
type verdict struct {
	differ []differing
	// unsure are the keys of rows that changed at home each time that they were
	// looked at.
	unsure []binlog.Row
}

// differing is a row that differs.
type differing struct {
	key  binlog.Row
	kind Kind
}

// Kind is how a row at the other end differs from the row at its home.
type Kind string

// The kinds.
const (
	Missing   Kind = "missing"   // it is not there
	Extra     Kind = "extra"     // it is there alone
	Different Kind = "different" // a value differs, or its bucket does
)

// table compares one table, chunk by chunk in the order of its key.
func (c *comparer) table(ctx context.Context, t *database.Table) error {
	size := verifyFirst
	for _, p := range sectionsOf(t, c.buckets) {
		var after *place
		for {
			began := time.Now()
			end, rows, err := c.compareChunk(ctx, p, after, size)
			if database.TimedOut(err) && size > verifyLeast {
				size = max(verifyLeast, size/2)
				continue
			}
			if err != nil {
				return err
			}
			size = resize(size, time.Since(began), verifyTime, verifyLeast, verifyMost)
			if err := c.chunk(ctx, rows); err != nil {
				return err
			}
			if end == nil {
				break
			}
			after = end
		}
	}
	return nil
}

// compareChunk compares at most size rows after a place, and returns where they
// end.
func (c *comparer) compareChunk(ctx context.Context, p section, after *place, size int) (end *place, rows int64, err error) {
	if end, err = p.chunkEnd(ctx, c.home, c.other, after, size); err != nil {
		return nil, 0, err
	}
	where, args := p.condition(after, end, false)
	var here, there sum
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) { here, err = checksum(groupCtx, c.home, p.table, where, args); return err })
	group.Go(func() (err error) { there, err = checksum(groupCtx, c.other, p.table, where, args); return err })
	if err := group.Wait(); err != nil {
		return nil, 0, err
	}
	if here == there {
		return end, here.rows, nil
	}
	before, after2, err := c.both(ctx, p.table, where, args)
	if err != nil {
		return nil, 0, err
	}
	return end, here.rows, c.settle(ctx, p.table, keysOf(unequal(before, after2)))
}

// both reads the rows' hashes at both ends.
func (c *comparer) both(ctx context.Context, t *database.Table, where string, args []any) (here, there map[string]keyHash, err error) {
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) { here, err = hashes(groupCtx, c.home, t, where, args); return err })
	group.Go(func() (err error) { there, err = hashes(groupCtx, c.other, t, where, args); return err })
	return here, there, group.Wait()
}

// unequal returns the rows that are not the same in both.
func unequal(here, there map[string]keyHash) []differing {
	var rows []differing
	for text, h := range here {
		switch o, ok := there[text]; {
		case !ok:
			rows = append(rows, differing{h.key, Missing})
		case o.hash != h.hash:
			rows = append(rows, differing{h.key, Different})
		}
	}
	for text, o := range there {
		if _, ok := here[text]; !ok {
			rows = append(rows, differing{o.key, Extra})
		}
	}
	return rows
}

func keysOf(rows []differing) []binlog.Row {
	keys := make([]binlog.Row, len(rows))
	for i, r := range rows {
		keys[i] = r.key
	}
	return keys
}

// settle looks at rows again that differed, for they may just be on their way,
// and reports those that differ in earnest.
//
// A row differs in earnest when it was the same at home before and after it was
// read at the other end, and the other end had caught up with the first of the
// three. One that never stands still is for the dirty keys, or unsure.
func (c *comparer) settle(ctx context.Context, t *database.Table, keys []binlog.Row) error {
	for group := range slices.Chunk(keys, keysStatement) {
		v, err := c.settleKeys(ctx, t, group)
		if err != nil {
			return err
		}
		if len(v.differ) == 0 && len(v.unsure) == 0 {
			continue
		}
		if err := c.found(t, v); err != nil {
			return err
		}
	}
	return nil
}

func (c *comparer) settleKeys(ctx context.Context, t *database.Table, keys []binlog.Row) (verdict, error) {
	quiet := map[string]int{} // rounds in a row in which a row differed while it was still
	asked := make(map[string]bool, len(keys))
	for _, key := range keys {
		asked[plainKey(key)] = true
	}
	var v verdict
	for round := range verifyRounds {
		if round != 0 {
			if err := pause.For(ctx, machine.Backoff(round, verifyPause, verifyTime)); err != nil {
				return v, err
			}
		}
		where, args := c.whereKeys(t, keys)
		before, err := hashes(ctx, c.home, t, where, args)
		if err != nil {
			return v, err
		}
		if err := c.caughtUp(ctx); err != nil {
			return v, err
		}
		there, err := hashes(ctx, c.other, t, where, args)
		if err != nil {
			return v, err
		}
		here, err := hashes(ctx, c.home, t, where, args)
		if err != nil {
			return v, err
		}
		v = verdict{}
		var dirty map[string]bool
		if c.dirty != nil {
			dirty = c.dirty(t)
		}
		for _, row := range unequal(here, there) {
			text := plainKey(row.key)
			// A key that a collation holds equal to one of these is its own group's.
			if dirty[text] || !asked[text] {
				continue
			}
			if before[text].hash == here[text].hash {
				quiet[text]++
			} else {
				quiet[text] = 0
			}
			if quiet[text] >= quietRounds {
				v.differ = append(v.differ, row)
			} else {
				v.unsure = append(v.unsure, row.key)
			}
		}
		keys = append(keysOf(v.differ), v.unsure...)
		if len(keys) == 0 || len(v.unsure) == 0 {
			return v, nil
		}
	}
	return v, nil
}

// whereKeys chooses the rows with these keys that are the buckets' own: a row
// that has gone to another bucket is that bucket's.
func (c *comparer) whereKeys(t *database.Table, keys []binlog.Row) (string, []any) {
	where, args := atKeys(t, keys)
	return where + " AND " + t.Expr("", t.Buckets) + " IN (" + bucketList(c.buckets) + ")", args
}

// rowsDiffer names a few of the rows that differ.
func rowsDiffer(t *database.Table, rows []differing) error {
	if len(rows) == 0 {
		return nil
	}
	const shown = 5
	text := ""
	for i, row := range rows[:min(len(rows), shown)] {
		if i != 0 {
			text += "; "
		}
		text += fmt.Sprintf("%s (%s)", keyWords(t, row.key), row.kind)
	}
	return fmt.Errorf("%w: table %s, %d row(s), such as %s", ErrDiffers, t.Name, len(rows), text)
}

// keyWords is a key for people: day="2026-01-01" user_id="ann".
func keyWords(t *database.Table, key binlog.Row) string {
	text := ""
	for i, v := range key {
		if i != 0 {
			text += " "
		}
		text += fmt.Sprintf("%s=%q", t.Columns[t.Primary[i]].Name, plainValue(v))
	}
	return text
}
