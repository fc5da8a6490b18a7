package shardlib

// One read of the database for many calls, where memcached cannot share it.
//
// Under a writer's mark, or without a memcached, each call of Cached reads the
// database. For one key that many ask for, this is a stampede. So a process has
// at most two such reads of a key: one under way, and one that waits for it.
// Who comes while one is under way joins the one that waits, never the one under
// way, which may have taken its snapshot before a write that the newcomer knows
// of. So no call reads what is older than its own begin.

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sync/singleflight"
)

// flights are the reads of one process that are under way or wait, by key.
type flights struct {
	group singleflight.Group
	idle  *sync.Cond // no turn is left

	mu struct {
		sync.Mutex
		turns map[string]*turn
	}
}

// turn is the right to read a key, and how many want it.
type turn struct {
	free  chan struct{} // holds one token
	users int
}

// flown is how a read ended.
type flown struct {
	loaded
	err      error
	panicked any // what load panicked with; its caller is to have it
}

func newFlights() *flights {
	f := new(flights)
	f.idle = sync.NewCond(&f.mu)
	f.mu.turns = map[string]*turn{}
	return f
}

// do returns what load read, or what the load of another call read that began
// after this call did. mine says that it was this call's own.
func (f *flights) do(ctx context.Context, key string, load func() (loaded, error)) (result loaded, mine bool, err error) {
	own := new(flown)
	done := f.group.DoChan(key, func() (value any, _ error) {
		value = own // also when load panics
		t := f.want(key)
		defer f.leave(key, t)
		select {
		case <-ctx.Done():
			own.err = context.Cause(ctx)
			return value, nil
		case <-t.free:
		}
		defer func() { t.free <- struct{}{} }()
		defer func() { own.panicked = recover() }()
		own.err = errNotRead // if load panics
		f.group.Forget(key)  // who comes from here on waits for the next
		own.loaded, own.err = load()
		return value, nil
	})
	select {
	case <-ctx.Done():
		return loaded{}, true, context.Cause(ctx)
	case r := <-done:
		ended, ok := r.Val.(*flown)
		if !ok {
			return loaded{}, false, errNotRead
		}
		if ended == own && own.panicked != nil {
			panic(own.panicked)
		}
		return ended.loaded, ended == own, ended.err
	}
}

// errNotRead is what others see of a load that panicked.
var errNotRead = errors.New("the read was not finished")

func (f *flights) want(key string) *turn {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.mu.turns[key]
	if t == nil {
		t = &turn{free: make(chan struct{}, 1)}
		t.free <- struct{}{}
		f.mu.turns[key] = t
	}
	t.users++
	return t
}

func (f *flights) leave(key string, t *turn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t.users--; t.users == 0 {
		delete(f.mu.turns, key)
		if len(f.mu.turns) == 0 {
			f.idle.Broadcast()
		}
	}
}

// wait returns when no read is under way. One whose caller has gone ends soon:
// it has that caller's context.
func (f *flights) wait() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.mu.turns) != 0 {
		f.idle.Wait()
	}
}
