package move

// The write stall: from a user's last acknowledged write at the source to the
// first one at the target. Its parts, in order, and what each costs in round
// trips (s: to the source, t: to the target) and commits that reach the disk:
//
//	freeze     s + commit       one script: lock, change, commit, its position
//	catch up   t + commit       one script: the tail's last rows, read back, and the
//	                            position; nothing when the tail has no rows
//	verify     nothing          t when the tail had no rows: the target's checksums;
//	                            max(s, t) when too much changed for the next
//	commit     s + commit       one script: the same rows' checksums at the source,
//	                            the change, and the reverse tail's position
//	activate   t + commit       one script
//	publish    the store's      the map, staged before; proxies and applications
//	                            wake up
//
// A migrator is near one of the two, so that is two long round trips and some
// five commits, from wherever it stands.
//
// What need not be in it is not: connections are there and their ids are known
// before the freeze, and so are the epochs; the new map is staged; what changed
// since the verification was compared before the hold, but for the last rows; the
// journal is written beside the activation, since the commit point itself says
// that the move is switching; the tail has no batch under way when the freeze
// comes (stall_tail.go); its connection is closed after the map is published.
//
// Rejected: passing the commit point without a word of the target since the
// freeze, when the tail had nothing to write. Where the target has died, the
// users would have no home until it is back; so they have one after one local
// write. Rejected too: publishing beside the activation. An application that saw the new
// map first would be refused by the target, and no newer map would come to wake
// it up.

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/errgroup"

	"drover/bucketmap"
	"drover/migrator/internal/database"
	"drover/migrator/internal/publish"
	"drover/shardlib/fence"
)

// finishMax bounds what is done past the commit point although the run was
// interrupted: until the map is published the users wait.
const finishMax = 30 * time.Second

// crossing is one try to take the buckets over: what is prepared for it, and
// how long its parts took.
type crossing struct {
	source, target *session
	home           *publish.PreparedHome
	// position is of the target, after what the tail has written there: the
	// reverse tail begins there.
	position database.Position
	// checks are what the target has of the last rows, for the commit point to
	// compare with.
	checks []check
	began  time.Time
	parts  []part
}

type part struct {
	name string
	took time.Duration
}

// prepare opens what the stall needs at both ends, and stages the map that ends
// it. The hold is in force, so that no version need come between.
func (r *run) prepare(ctx context.Context) (*crossing, error) {
	c := &crossing{}
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) { c.source, err = openSession(groupCtx, r.from); return err })
	group.Go(func() (err error) {
		if c.target, err = openSession(groupCtx, r.to); err != nil {
			return err
		}
		rows, err := fence.Rows(groupCtx, c.target.conn, r.move.Buckets)
		if err != nil {
			return err
		}
		c.home, err = r.Map.PrepareHome(groupCtx, r.move.Record.Move, r.newHome(rows))
		return err
	})
	if err := group.Wait(); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *crossing) close() {
	for _, s := range []*session{c.source, c.target} {
		if s != nil {
			s.close()
		}
	}
	c.home.Discard() // what was not published
}

// lap ends a part.
func (c *crossing) lap(name string) {
	took := time.Since(c.began)
	for _, p := range c.parts {
		took -= p.took
	}
	c.parts = append(c.parts, part{name, took})
}

// String gives the parts: "write stall 21.3 ms: freeze 3.1 ms, …".
func (c *crossing) String() string {
	texts := make([]string, len(c.parts))
	for i, p := range c.parts {
		texts[i] = p.name + " " + millis(p.took)
	}
	return "write stall " + millis(c.took()) + ": " + strings.Join(texts, ", ")
}

func millis(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

// finish does what is left past the commit point: the target's rows become
// active, the map is published, and the journal follows. An interrupt waits
// until the users can write again.
func (r *run) finish(ctx context.Context, c *crossing) (State, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishMax)
	defer cancel()
	id := r.move.Record.Move // the journal's goroutine replaces the record
	// No new transaction of the tail begins at the target after this; it has
	// applied the freeze, so there is nothing left for it. Its connection takes
	// longer to close than the users should wait.
	r.tail.cancel()
	// Publishing must not be journaled before the rows are active.
	activated := make(chan bool, 1)
	var journal errgroup.Group
	journal.Go(func() error {
		if err := r.enter(ctx, Switching, ""); err != nil || !<-activated {
			return err
		}
		return r.enter(ctx, Publishing, "")
	})
	err := r.activate(ctx, c)
	c.lap("activate")
	activated <- err == nil
	if err == nil {
		r.crash("before_map", Publishing)
		_, err = c.home.Publish(ctx)
		r.crash("after_map", Publishing)
		c.lap("publish")
	}
	if err := errors.Join(err, journal.Wait()); err != nil {
		return "", err
	}
	r.stopTail()
	r.move.Stall = c.took() // journaled with the next state
	r.report(Event{Move: id, State: Publishing, Note: c.String(), Stall: r.move.Stall})
	return Soaking, nil
}

// activate makes the buckets active at the target: at once by the session that
// was prepared. If that fails for want of a connection or a lock, what became of
// it is read and it is done again, for as long as finishMax: the buckets have no
// writable home until it is done.
func (r *run) activate(ctx context.Context, c *crossing) error {
	r.crash("before_activate", Switching)
	_, err := c.target.run(ctx, transitionScript(r.move.Buckets, fence.Incoming, fence.Active, r.token))
	if err != nil {
		_, err = backoff.Retry(ctx, func() (struct{}, error) {
			err := r.activateOnce(ctx)
			if err != nil && !database.TimedOut(err) && !database.ConnectionLost(err) && !errors.Is(err, database.ErrOutcomeUnknown) {
				err = backoff.Permanent(err)
			}
			return struct{}{}, err
		}, backoff.WithMaxElapsedTime(finishMax))
	}
	if err != nil {
		return fmt.Errorf("activate on %s: %w", r.to.Name(), err)
	}
	r.crash("after_activate", Switching)
	return nil
}

// newHome edits the map: the buckets are at the target, with the epochs of its
// rows.
func (r *run) newHome(rows []fence.Row) func(*bucketmap.Draft) error {
	return func(d *bucketmap.Draft) error {
		for _, run := range r.move.Buckets.ranges() {
			if err := d.SetHome(run[0], run[1], r.move.To()); err != nil {
				return err
			}
		}
		if d.Epochs == nil {
			d.Epochs = map[bucketmap.BucketID]bucketmap.Epoch{}
		}
		for _, row := range rows {
			d.Epochs[bucketmap.BucketID(row.Bucket)] = row.Epoch
		}
		return nil
	}
}

// publishHome makes the new home known, where it was not staged.
func (r *run) publishHome(ctx context.Context, id bucketmap.MoveID, rows []fence.Row) error {
	r.crash("before_map", Publishing)
	_, err := r.Map.Home(ctx, id, r.newHome(rows))
	r.crash("after_map", Publishing)
	return err
}
