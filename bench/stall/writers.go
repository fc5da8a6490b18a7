package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"drover/bench/internal/pace"
	"drover/bucketmap"
	"drover/shardlib"
)

// nobody is the focus while no bucket moves.
const nobody = -1

// user is the one user of a bucket.
type user struct {
	id     bucketmap.UserID
	acked  atomic.Uint64 // the highest request acknowledged; one writer writes them in order
	inUse  sync.Mutex
	last   map[bucketmap.ShardName]time.Time // of the acknowledgements at each shard
	shard  bucketmap.ShardName
	stall  time.Duration // at the last change of shard
	change int           // of shard
}

// crowd writes and checks.
type crowd struct {
	libs    map[bucketmap.Datacenter]*shardlib.Library
	users   []*user // by bucket
	focus   atomic.Int64
	stale   atomic.Int64
	reads   atomic.Int64
	writes  atomic.Int64
	refused atomic.Int64
}

func newCrowd(libs map[bucketmap.Datacenter]*shardlib.Library, buckets uint32) *crowd {
	c := &crowd{libs: libs, users: make([]*user, buckets)}
	c.focus.Store(nobody)
	for n, left := 0, int(buckets); left > 0; n++ {
		id := bucketmap.UserID(fmt.Sprintf("u%d", n))
		if b := bucketmap.Bucket([]byte(id), buckets); c.users[b] == nil {
			c.users[b] = &user{id: id, last: map[bucketmap.ShardName]time.Time{}}
			left--
		}
	}
	return c
}

// library is the one in the datacenter to which the edge would send the user.
func (c *crowd) library(u *user) (*shardlib.Library, error) {
	home, err := c.libs[legacy].Home(u.id)
	if err != nil {
		return nil, err
	}
	return c.libs[home.Datacenter], nil
}

// writer writes to its buckets in turn, at the pace, or to the one that moves
// without a pause.
func (c *crowd) writer(ctx context.Context, pacer *pace.Pacer, n, writers int) error {
	for turn := 0; ctx.Err() == nil; turn++ {
		b := (n + turn*writers) % len(c.users)
		if focus := int(c.focus.Load()); focus != nobody && focus%writers == n {
			b = focus
		} else if _, due := pacer.Wait(ctx); !due {
			return nil
		}
		if err := c.write(context.WithoutCancel(ctx), c.users[b]); err != nil {
			return fmt.Errorf("writer %d: %w", n, err)
		}
	}
	return nil
}

// write adds one request, and again until it is acknowledged.
func (c *crowd) write(ctx context.Context, u *user) error {
	id := u.acked.Load() + 1
	for {
		lib, err := c.library(u)
		if err != nil {
			return err
		}
		var shard bucketmap.ShardName
		err = lib.Update(ctx, u.id, func(ctx context.Context, tx *shardlib.Tx) error {
			shard = tx.Home().Shard
			if _, err := tx.ExecContext(ctx, "INSERT INTO request (user_id, id) VALUES (?, ?)", u.id, id); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, "INSERT INTO steps (user_id, steps) VALUES (?, 1) ON DUPLICATE KEY UPDATE steps = steps + 1", u.id)
			return err
		})
		switch {
		case err == nil:
			c.writes.Add(1)
			u.acknowledged(id, shard, time.Now())
			return nil
		case errors.Is(err, shardlib.ErrNotHome), errors.Is(err, shardlib.ErrConflict):
			c.refused.Add(1)
			if refused, ok := errors.AsType[*shardlib.NotHomeError](err); ok {
				c.awaitMap(ctx, refused.MapVersion+1)
			}
		default:
			return err
		}
	}
}

// awaitMap is what the edge does with a refused request: it waits for the next
// map, and sends the request where that says. An application that went on by
// itself would write across the network.
func (c *crowd) awaitMap(ctx context.Context, version bucketmap.Version) {
	ctx, cancel := context.WithTimeout(ctx, refusedWait)
	defer cancel()
	for _, lib := range c.libs {
		_ = lib.AtLeast(ctx, version) // a map that does not come is asked for by the next try
	}
}

func (u *user) acknowledged(id uint64, shard bucketmap.ShardName, at time.Time) {
	u.inUse.Lock()
	defer u.inUse.Unlock()
	if u.shard != shard {
		if u.shard != "" {
			u.stall = at.Sub(u.last[u.shard])
			u.change++
		}
		u.shard = shard
	}
	u.last[shard] = at
	u.acked.Store(id)
}

// changes is how often the user's writes have changed shard, and the last stall.
func (u *user) changes() (int, time.Duration) {
	u.inUse.Lock()
	defer u.inUse.Unlock()
	return u.change, u.stall
}

// checkEvery is between two looks of the checker: often enough to look within
// every stall, and little beside what the writers do.
const checkEvery = 5 * time.Millisecond

// checker reads back what the moved bucket's user wrote.
func (c *crowd) checker(ctx context.Context) error {
	ticks := time.NewTicker(checkEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
		}
		if focus := c.focus.Load(); focus != nobody {
			if err := c.readBack(context.WithoutCancel(ctx), c.users[focus]); err != nil {
				return fmt.Errorf("checker: %w", err)
			}
		}
	}
}

func (c *crowd) readBack(ctx context.Context, u *user) error {
	want := u.acked.Load()
	lib, err := c.library(u)
	if err != nil {
		return err
	}
	var have uint64
	err = lib.View(ctx, u.id, func(ctx context.Context, tx *shardlib.Tx) error {
		return tx.QueryRowContext(ctx, "SELECT COALESCE(MAX(id), 0) FROM request WHERE user_id = ?", u.id).Scan(&have)
	})
	switch {
	case errors.Is(err, shardlib.ErrNotHome), errors.Is(err, shardlib.ErrConflict):
		return nil
	case err != nil:
		return err
	}
	c.reads.Add(1)
	if have < want {
		c.stale.Add(1)
	}
	return nil
}

// audit compares what was acknowledged with the rows at each user's home.
func (c *crowd) audit(ctx context.Context) (lost, doubled uint64, err error) {
	for _, u := range c.users {
		lib, err := c.library(u)
		if err != nil {
			return 0, 0, err
		}
		var rows, steps uint64
		if err := lib.View(ctx, u.id, func(ctx context.Context, tx *shardlib.Tx) error {
			return tx.QueryRowContext(ctx, "SELECT (SELECT COUNT(*) FROM request WHERE user_id = ? AND id <= ?), (SELECT COALESCE(SUM(steps), 0) FROM steps WHERE user_id = ?)",
				u.id, u.acked.Load(), u.id).Scan(&rows, &steps)
		}); err != nil {
			return 0, 0, err
		}
		less, more := difference(u.acked.Load(), rows, steps)
		lost, doubled = lost+less, doubled+more
	}
	return lost, doubled, nil
}
