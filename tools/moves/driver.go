package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"drover/bucketmap"
	"drover/internal/pause"
	"drover/tools/internal/book"
	"drover/tools/moves/internal/field"
)

const (
	// triesMax × triesPause is how long a move may be in the way of its own end:
	// a command that fails is followed by a resume, as an operator would.
	triesMax   = 20
	triesPause = 250 * time.Millisecond
	// watchEvery is between two attempts of a watcher at one end. × 16 clients it
	// makes 800 refused transactions in a second: at 1 ms they were most of what
	// the servers did, and the moves and their stalls were the watchers' work.
	watchEvery = 20 * time.Millisecond
	// watchedMax is how many buckets of a group are watched: 2 ends × 4 groups
	// × 2 make 16 clients.
	watchedMax = 2
	// soakFor is how long some soaks last once the reverse tail has begun: time to
	// apply what was written meanwhile, and no more, for there are many.
	soakFor = 100 * time.Millisecond
	// sabotageMax bounds a command of a run with a sabotage.
	sabotageMax = 10 * time.Second
	// logEvery is how many moves there are for a line of progress.
	logEvery = 50
)

// driver moves groups of buckets until there were enough moves.
type driver struct {
	*field.Field
	options
	commands *timed
	log      func(string, ...any)

	begun, ended, givenUp atomic.Int64

	measured struct {
		sync.Mutex
		changes map[book.Change]int // buckets of the move, by a change that a client dwelt on
	}
}

// done is how many moves there were.
func (d *driver) done() int { return int(d.ended.Load()) }

// run moves with several hands, each with buckets of its own.
func (d *driver) run(ctx context.Context) error {
	// One that fails does not interrupt the others: a move that is broken off
	// would be one more finding, and not the mover's.
	var hands errgroup.Group
	for hand := range d.at {
		hands.Go(func() error {
			random := rand.New(rand.NewPCG(d.seed, 1<<32+uint64(hand)))
			var own []bucketmap.BucketID
			for b := hand; b < int(d.buckets); b += d.at {
				own = append(own, bucketmap.BucketID(b))
			}
			for d.more(ctx) {
				if err := d.round(ctx, random, own); err != nil {
					d.begun.Store(int64(d.moves)) // no more
					return err
				}
			}
			return nil
		})
	}
	return hands.Wait()
}

// more takes one of the moves that are left.
func (d *driver) more(ctx context.Context) bool {
	if ctx.Err() != nil || d.lasting > 0 && d.Book.Now() > d.lasting {
		return false
	}
	return d.begun.Add(1) <= int64(d.moves)
}

// round is a move, its returns, and its end.
func (d *driver) round(ctx context.Context, random *rand.Rand, own []bucketmap.BucketID) error {
	first := own[random.IntN(len(own))]
	from, err := d.Home(ctx, first)
	if err != nil {
		return err
	}
	group := []bucketmap.BucketID{first}
	for _, i := range random.Perm(len(own))[:min(len(own), random.IntN(d.group))] {
		if home, err := d.Home(ctx, own[i]); err != nil {
			return err
		} else if home == from && own[i] != first {
			group = append(group, own[i])
		}
	}
	if d.sabotage != field.NoFreeze {
		unwatch := d.Watch(ctx, watchEvery, group[:min(len(group), watchedMax)]...)
		defer unwatch()
	}
	to := field.Gamma
	if from == to {
		to = field.Alpha
	}
	if ok, err := d.step(ctx, group, to, "bucket", "move", list(group), "--to", string(to)); err != nil || !ok {
		return err
	}
	for there := to; random.IntN(2) == 0 && d.more(ctx); {
		if random.IntN(2) == 0 {
			if err := d.commands.Migrator(ctx, "bucket", "soak", fmt.Sprint(first), "--for", soakFor.String()); err != nil {
				d.log("%v", err)
			}
		}
		there = d.Other(d.End(there)).Shard
		ok, err := d.step(ctx, group, there, "bucket", "return", fmt.Sprint(first))
		if err != nil {
			return err
		}
		if !ok {
			there = d.Other(d.End(there)).Shard
		}
	}
	return d.finish(ctx, first)
}

// step is one change of home; false says that it was given up. What counts is
// where the map says that the bucket is.
func (d *driver) step(ctx context.Context, group []bucketmap.BucketID, to bucketmap.ShardName, args ...string) (bool, error) {
	bucket := group[0]
	run := d.commands.Migrator
	if d.sabotage == field.None {
		leave := d.Dwell(ctx, bucket)
		defer leave()
	}
	if d.sabotage != field.None { // a mover whose rules are broken may wait for long
		bounded, cancel := context.WithTimeout(ctx, sabotageMax)
		defer cancel()
		run = func(_ context.Context, args ...string) error { return d.commands.Migrator(bounded, args...) }
	}
	if d.sabotage == field.NoFreeze {
		run = func(ctx context.Context, args ...string) error { return d.writeWhileFrozen(ctx, bucket, args...) }
	}
	err := run(ctx, args...)
	for range triesMax {
		if err == nil || ctx.Err() != nil || noOpen(err) {
			break
		}
		d.log("%v", err)
		if d.sabotage != field.None {
			return false, err // nobody mends what was broken on purpose
		}
		if err := pause.For(ctx, triesPause); err != nil {
			return false, err
		}
		err = d.commands.Migrator(ctx, "resume", fmt.Sprint(bucket))
	}
	if err != nil && !noOpen(err) {
		return false, fmt.Errorf("bucket %d is stuck: %w", bucket, err)
	}
	home, err := d.Home(ctx, bucket)
	if err != nil {
		return false, err
	}
	if home != to {
		d.givenUp.Add(1)
		return false, nil
	}
	if err := d.note(ctx, group); err != nil {
		return false, err
	}
	if n := d.ended.Add(1); n%logEvery == 0 {
		d.log("%d moves, %d writes acknowledged", n, d.Book.Writes())
	}
	return true, nil
}

// note remembers a change of home that a client dwelt on.
func (d *driver) note(ctx context.Context, group []bucketmap.BucketID) error {
	epoch, err := d.Epoch(ctx, group[0])
	if err != nil {
		return err
	}
	d.measured.Lock()
	defer d.measured.Unlock()
	if d.measured.changes == nil {
		d.measured.changes = map[book.Change]int{}
	}
	d.measured.changes[book.Change{Bucket: group[0], Epoch: epoch}] = len(group)
	return nil
}

// stalls gives those of the changes of home that a client dwelt on, the shortest
// first: of single buckets, and of groups.
func (d *driver) stalls() (singles, groups []time.Duration) {
	all := d.Book.Stalls()
	d.measured.Lock()
	defer d.measured.Unlock()
	for change, buckets := range d.measured.changes {
		stall, ok := all[change]
		switch {
		case !ok: // nobody wrote on one side of it
		case buckets == 1:
			singles = append(singles, stall)
		default:
			groups = append(groups, stall)
		}
	}
	slices.Sort(singles)
	slices.Sort(groups)
	return singles, groups
}

// finish ends a move, and tries again where it is refused for now.
func (d *driver) finish(ctx context.Context, bucket bucketmap.BucketID) (err error) {
	for range triesMax {
		err = d.commands.Migrator(ctx, "bucket", "finish", fmt.Sprint(bucket))
		if noOpen(err) {
			err = nil
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
		d.log("%v", err)
		if err := pause.For(ctx, triesPause); err != nil {
			return err
		}
		if resumed := d.commands.Migrator(ctx, "resume", fmt.Sprint(bucket)); resumed == nil {
			continue
		}
	}
	return fmt.Errorf("the move of bucket %d cannot be finished: %w", bucket, err)
}

// noOpen says whether a command failed because there is nothing left to do.
func noOpen(err error) bool { return err != nil && strings.Contains(err.Error(), "no open move") }

func list(buckets []bucketmap.BucketID) string {
	var words []string
	for _, b := range buckets {
		words = append(words, fmt.Sprint(b))
	}
	return strings.Join(words, ",")
}
