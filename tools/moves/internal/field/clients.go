package field

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"drover/bucketmap"
	"drover/internal/pause"
	"drover/shardlib"
	"drover/tools/internal/book"
)

const (
	// refusedPause is between a refusal and the next request: short, or it would
	// be part of what is measured as a stall.
	refusedPause = time.Millisecond
	// readEvery is how many writes there are for a read.
	readEvery = 4
)

// Crowd is who writes.
type Crowd struct {
	Writers int
	Seed    uint64
	Buckets []bucketmap.BucketID // empty: all of them
	SQL     bool                 // nobody uses the library
	Pause   time.Duration        // of a client between two requests
}

// Start starts clients. Every third is fenced by triggers, the others by the
// library, in turn in both datacenters.
func (f *Field) Start(ctx context.Context, c Crowd) {
	ctx = f.started(ctx)
	users := []string{}
	for b, all := range f.users {
		if len(c.Buckets) == 0 || slices.Contains(c.Buckets, bucketmap.BucketID(b)) {
			users = append(users, all[:len(all)-1]...) // the last is the watchers'
		}
	}
	for i := range c.Writers {
		dc := []bucketmap.Datacenter{legacy, cloud}[i%2]
		random := rand.New(rand.NewPCG(c.Seed, uint64(i)))
		name := fmt.Sprintf("library client %d in %s", i, dc)
		write := f.writeByLibrary
		if i%3 == 2 || c.SQL {
			name, write = fmt.Sprintf("sql client %d in %s", i, dc), f.writeBySQL
		}
		f.clients.Go(func() {
			for turn := 0; ctx.Err() == nil; turn++ {
				user := users[random.IntN(len(users))]
				if turn%(readEvery+1) == readEvery {
					f.read(ctx, name, dc, user)
				} else if write(ctx, name, dc, user) != nil {
					_ = pause.For(ctx, refusedPause) // the loop sees the end
				}
				_ = pause.For(ctx, c.Pause)
			}
		})
	}
}

// dwellPause is between two requests of a client that dwells on a bucket: a
// stall is measured to within it and a write's own time.
const dwellPause = time.Millisecond

// Dwell writes to one bucket through the library, in the old datacenter, with
// hardly a pause, until the returned function is called. What such a client
// waits for is the mover's doing and not its own.
func (f *Field) Dwell(ctx context.Context, bucket bucketmap.BucketID) (end func()) {
	ctx, cancel := context.WithCancel(f.started(ctx))
	done := make(chan struct{})
	users := f.users[bucket]
	f.clients.Go(func() {
		defer close(done)
		for turn := 0; ctx.Err() == nil; turn++ {
			_ = f.writeByLibrary(ctx, "dwelling client", legacy, users[turn%(len(users)-1)]) // it is in the book
			_ = pause.For(ctx, dwellPause)
		}
	})
	return func() {
		cancel()
		<-done
	}
}

// Epoch is the newest one of a bucket by the map.
func (f *Field) Epoch(ctx context.Context, bucket bucketmap.BucketID) (bucketmap.Epoch, error) {
	snap, err := f.store.Load(ctx)
	if err != nil {
		return 0, err
	}
	return snap.Epoch(bucket), nil
}

// Watch writes to the buckets at both ends, whatever map and fence say, until
// the returned function is called: the two must never both succeed.
func (f *Field) Watch(ctx context.Context, every time.Duration, buckets ...bucketmap.BucketID) (end func()) {
	ctx, cancel := context.WithCancel(f.started(ctx))
	done := make(chan struct{}, 2*len(buckets))
	for _, b := range buckets {
		user := f.users[b][len(f.users[b])-1]
		for _, e := range f.Ends() {
			f.clients.Go(func() {
				defer func() { done <- struct{}{} }()
				for ctx.Err() == nil {
					_ = f.writeAt(ctx, "watcher of "+string(e.Shard), e, e.DC, user) // it is in the book
					_ = pause.For(ctx, every)
				}
			})
		}
	}
	return func() {
		cancel()
		for range cap(done) {
			<-done
		}
	}
}

// started is the context of the clients; Stop ends it.
func (f *Field) started(ctx context.Context) context.Context {
	f.failure.Lock()
	defer f.failure.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	before := f.stop
	f.stop = func() {
		cancel()
		if before != nil {
			before()
		}
	}
	return ctx
}

// Stop stops the clients and waits for them. The error is a client's that met
// what no client should.
func (f *Field) Stop() error {
	f.failure.Lock()
	stop := f.stop
	f.stop = nil
	f.failure.Unlock()
	if stop != nil {
		stop()
	}
	f.clients.Wait()
	return f.failure.err
}

func (f *Field) fail(err error) {
	f.failure.Lock()
	defer f.failure.Unlock()
	f.failure.err = errors.Join(f.failure.err, err)
	if f.stop != nil {
		f.stop()
	}
}

var errFull = errors.New("the book is full: fewer moves, or fewer writers")

// writeByLibrary is one write through shardlib. A request is never interrupted:
// its outcome would be unknown.
func (f *Field) writeByLibrary(ctx context.Context, client string, dc bucketmap.Datacenter, user string) error {
	bucket := bucketmap.Bucket([]byte(user), f.Buckets)
	id, ok := f.Book.Begin(book.Write, client, user, bucket)
	if !ok {
		f.fail(errFull)
		return errFull
	}
	var seen book.Seen
	err := f.libraries[dc].Update(context.WithoutCancel(ctx), bucketmap.UserID(user), func(ctx context.Context, tx *shardlib.Tx) error {
		seen = book.Seen{Shard: tx.Home().Shard}
		return f.write(ctx, tx, bucket, user, id, &seen)
	})
	outcome := book.Acknowledged
	switch {
	case errors.Is(err, shardlib.ErrOutcomeUnknown):
		outcome = book.Unknown
	case err != nil:
		outcome = book.Refused
	}
	f.Book.End(id, outcome, seen, err)
	return err
}

// read is one read through shardlib.
func (f *Field) read(ctx context.Context, client string, dc bucketmap.Datacenter, user string) {
	id, ok := f.Book.Begin(book.Read, client, user, bucketmap.Bucket([]byte(user), f.Buckets))
	if !ok {
		f.fail(errFull)
		return
	}
	var seen book.Seen
	err := f.libraries[dc].View(context.WithoutCancel(ctx), bucketmap.UserID(user), func(ctx context.Context, tx *shardlib.Tx) error {
		seen = book.Seen{Shard: tx.Home().Shard}
		return tx.QueryRowContext(ctx, "SELECT value FROM "+f.register+" WHERE user_id = ?", []byte(user)).Scan(&seen.Value)
	})
	if errors.Is(err, sql.ErrNoRows) { // a register that was there at first
		seen.Value, err = 0, nil
	}
	outcome := book.Acknowledged
	if err != nil {
		outcome = book.Refused
	}
	f.Book.End(id, outcome, seen, err)
}

// writeBySQL is one write by an application without the library, at the home
// by its map.
func (f *Field) writeBySQL(ctx context.Context, client string, dc bucketmap.Datacenter, user string) error {
	home, _ := f.libraries[dc].Map().Home(bucketmap.Bucket([]byte(user), f.Buckets))
	return f.writeAt(ctx, client, f.End(home.Name), dc, user)
}

// writeAt is one write at an end, fenced by the triggers alone.
func (f *Field) writeAt(ctx context.Context, client string, e *End, dc bucketmap.Datacenter, user string) error {
	bucket := bucketmap.Bucket([]byte(user), f.Buckets)
	id, ok := f.Book.Begin(book.Write, client, user, bucket)
	if !ok {
		f.fail(errFull)
		return errFull
	}
	seen := book.Seen{Shard: e.Shard}
	outcome := book.Refused
	ctx = context.WithoutCancel(ctx)
	tx, err := e.apps[dc].BeginTx(ctx, nil)
	if err == nil {
		if err = f.write(ctx, tx, bucket, user, id, &seen); err != nil {
			_ = tx.Rollback() // one that does not arrive is rolled back by the server
		} else {
			outcome, err = book.Commit(tx)
		}
	}
	f.Book.End(id, outcome, seen, err)
	return err
}

// execer is what *sql.Tx and *shardlib.Tx have in common.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// write is the statements of one write. The first is one that the triggers
// fence: from there on the fence's row is locked, so the epoch is the one that
// the transaction commits in.
func (f *Field) write(ctx context.Context, tx execer, bucket bucketmap.BucketID, user string, id book.ID, seen *book.Seen) error {
	if f.lax {
		if err := laxCheck(ctx, tx, bucket); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO "+f.entry+" (bucket, user_id, id) VALUES (?, ?, ?)", bucket, []byte(user), uint64(id)); err != nil {
		return err
	}
	if err := tx.QueryRowContext(ctx, "SELECT value FROM "+f.register+" WHERE user_id = ? FOR UPDATE", []byte(user)).Scan(&seen.Value); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	for _, s := range []struct {
		query string
		args  []any
	}{
		{"INSERT INTO " + f.register + " VALUES (?, ?, ?, 1) ON DUPLICATE KEY UPDATE value = VALUES(value), writes = writes + 1", []any{bucket, []byte(user), uint64(id)}},
		{"INSERT INTO " + f.tally + " VALUES (?, 1) ON DUPLICATE KEY UPDATE writes = writes + 1", []any{[]byte(user)}},
	} {
		if _, err := tx.ExecContext(ctx, s.query, s.args...); err != nil {
			return err
		}
	}
	return tx.QueryRowContext(ctx, "SELECT epoch FROM drover_fence WHERE bucket = ?", bucket).Scan(&seen.Epoch)
}
