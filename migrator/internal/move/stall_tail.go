package move

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"drover/migrator/internal/database"
)

// Before a freeze the tail is armed: what it writes is read back in the same
// round trip, and from then on it holds its batches back until the freeze is in
// one. A batch that is under way when the freeze comes would make the users wait
// for two round trips to the target instead of one.

// pings is how often a round trip is measured; the shortest counts.
const pings = 3

// nearEnough is how long the tail may need to the source's end before the
// proxies are asked to hold: Limits.CatchUp; the way of the last event here, which
// is within a round trip to the source; and two round trips to the target, for
// the batch under way and the one that has the last event.
func (r *run) nearEnough(ctx context.Context) (time.Duration, error) {
	var source, target time.Duration
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) { source, err = roundTrip(groupCtx, r.from); return err })
	group.Go(func() (err error) { target, err = roundTrip(groupCtx, r.to); return err })
	err := group.Wait()
	return r.Limits.CatchUp + source + 2*target, err
}

// roundTrip measures a round trip to a server.
func roundTrip(ctx context.Context, server *database.Server) (time.Duration, error) {
	wrap := func(err error) error { return fmt.Errorf("measure the round trip to %s: %w", server.Name(), err) }
	conn, err := server.DB.Conn(ctx)
	if err != nil {
		return 0, wrap(err)
	}
	defer conn.Close()
	shortest := time.Duration(0)
	for i := range pings {
		began := time.Now()
		if err := conn.PingContext(ctx); err != nil {
			return 0, wrap(err)
		}
		if took := time.Since(began); i == 0 || took < shortest {
			shortest = took
		}
	}
	return shortest, nil
}

// arm makes the tail read back what it writes, waits for the batch under way,
// and holds the next ones back until letGo. disarm ends both, whatever happened.
func (t *tail) arm(ctx context.Context) error {
	t.mu.Lock()
	t.mu.armed, t.mu.read, t.mu.held, t.mu.want = true, nil, true, nil
	t.notify()
	t.mu.Unlock()
	// Longer it need not be waited for: then the freeze is slower, not wrong.
	waiting, cancel := context.WithTimeout(ctx, t.near)
	defer cancel()
	for {
		t.mu.Lock()
		busy, changed, err := t.mu.busy, t.mu.changed, t.mu.err
		t.mu.Unlock()
		switch {
		case err != nil:
			return fmt.Errorf("the tail has ended: %w", err)
		case !busy:
			return nil
		}
		select {
		case <-changed:
		case <-waiting.Done():
			return ctx.Err()
		}
	}
}

// letGo lets the batch go that has this position in it, and those after it. What
// was read back before is forgotten: the target must answer once more.
func (t *tail) letGo(want database.Position) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.want, t.mu.read = want, nil
	t.notify()
}

func (t *tail) disarm() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.armed, t.mu.held, t.mu.want = false, false, nil
	t.notify()
}

// notify wakes up whoever waits for a change; the lock is the caller's.
func (t *tail) notify() {
	close(t.mu.changed)
	t.mu.changed = make(chan struct{})
}

func (t *tail) setBusy(busy bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.busy = busy
}

// holdsBack says whether a batch with this position must wait, and gives the
// channel that is closed when that may have changed.
func (t *tail) holdsBack(position database.Position) (bool, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mu.held && (t.mu.want == nil || !position.Reached(t.mu.want)), t.mu.changed
}

// readBackNow is what was read back, if it has all that changed.
func (t *tail) readBackNow() *readBack {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.read == nil || t.mu.read.keys != t.mu.count {
		return nil
	}
	return t.mu.read
}
