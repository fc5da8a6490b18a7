package move

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"drover/migrator/internal/database"
	"drover/migrator/internal/machine"
	"drover/shardlib/fence"
)

// freezing makes the buckets frozen at the source, waits until the tail has
// applied the freeze, compares what changed since the last comparison, and
// passes the commit point. All of it within Limits.Freeze, or the buckets are
// made active again and the move steps back. Past the commit point it goes on
// to the publication: see finish.
func (r *run) freezing(ctx context.Context) (State, error) {
	if err := r.startTail(ctx); err != nil {
		return "", err
	}
	if why, err := r.blocked(ctx); err != nil {
		return "", err
	} else if why != "" {
		return r.closed(ctx, why)
	}
	c, err := r.prepare(ctx)
	if err != nil {
		return "", err
	}
	defer c.close()
	why, frozen, err := r.cross(ctx, c)
	switch {
	case err != nil:
		return "", err // what became of the commit, the source's row says: see settle
	case frozen:
		return r.thaw(ctx, why)
	case why != "":
		return r.stepBack(ctx, why)
	}
	return r.finish(ctx, c)
}

// cross goes from active rows to the commit point. Where it does not get there,
// why says so, and frozen that the rows are to be made active again.
func (r *run) cross(ctx context.Context, c *crossing) (why string, frozen bool, err error) {
	tail := r.tail
	defer tail.disarm()
	if err := tail.arm(ctx); err != nil {
		return "", false, err
	}
	budget, cancel := context.WithTimeout(ctx, r.Limits.Freeze)
	defer cancel()
	at, err := r.freeze(ctx, c)
	if err != nil {
		if database.TimedOut(err) {
			return "an open transaction has the buckets' rows", false, nil
		}
		return "", false, err
	}
	c.lap("freeze")
	tail.letGo(at)
	all, err := r.catchUp(budget, c, at)
	if err == nil && !all {
		return tooManyTouched, true, nil
	}
	if err == nil {
		err = r.commitPoint(ctx, c, c.position)
		c.lap("commit")
	}
	if err != nil && budget.Err() != nil && ctx.Err() == nil && !errors.Is(err, database.ErrOutcomeUnknown) {
		return fmt.Sprintf("not done within %s", r.Limits.Freeze), true, nil
	}
	return "", false, err
}

// catchUp waits until the tail has applied the freeze, and compares what changed
// since the last comparison. all is false when that is too much.
func (r *run) catchUp(ctx context.Context, c *crossing, frozen database.Position) (all bool, err error) {
	err = r.tail.reach(ctx, frozen)
	c.lap("catch up")
	if err != nil {
		return false, err
	}
	all, err = r.verifyLast(ctx, c)
	c.lap("verify")
	return all, err
}

// freezeKnocks is how often the freeze waits for the rows before the hold is
// given up, and between two of them users write for as long as they waited. With
// the defaults that is 3 × 15 ms of waiting and 2 × 15 ms between.
const freezeKnocks = 3

// freeze changes active to frozen and returns the position of that change.
//
// It waits for open transactions that have written to the buckets, and while it
// waits new writers queue behind it. So the first try does not wait at all, and
// the others no longer than Limits.FreezeLock each.
func (r *run) freeze(ctx context.Context, c *crossing) (database.Position, error) {
	r.crash("before_freeze", Freezing)
	c.began = time.Now()
	own, err := c.source.runAtOnce(ctx, transitionScript(r.move.Buckets, fence.Active, fence.Frozen, r.token))
	for i := range freezeKnocks {
		if err == nil || !database.TimedOut(err) {
			break
		}
		if i != 0 {
			if err := machine.Pause(ctx, r.Limits.FreezeLock); err != nil {
				return nil, err
			}
		}
		c.began = time.Now()
		own, err = r.freezeWithin(ctx, c.source)
	}
	if err != nil {
		return nil, fmt.Errorf("freeze on %s: %w", r.from.Name(), err)
	}
	r.crash("after_freeze", Freezing)
	position := database.Position{}
	position.Advance(own)
	return position, nil
}

// freezeWithin is the freeze that waits for the rows, for Limits.FreezeLock at
// most. That bound is on one statement, so it cannot be in a script, and must
// not be on the commit.
func (r *run) freezeWithin(ctx context.Context, s *session) (database.GTID, error) {
	// Not interrupted: what was sent is answered within the bound.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), scriptMax)
	defer cancel()
	tx, err := s.conn.BeginTx(ctx, nil)
	if err != nil {
		return database.GTID{}, fmt.Errorf("begin: %w", err)
	}
	// After the commit below it finds nothing to roll back.
	defer func() { _ = tx.Rollback() }()
	if err := fence.TransitionWithin(ctx, tx, r.lockBound(), fence.Change{
		Buckets: r.move.Buckets, From: fence.Active, FromToken: r.token, To: fence.Frozen, ToToken: r.token}); err != nil {
		return database.GTID{}, err
	}
	return s.sendOn(ctx, tx, "COMMIT;\n", nil)
}

// thaw makes frozen buckets active again and steps back.
func (r *run) thaw(ctx context.Context, why string) (State, error) {
	r.crash("before_thaw", Freezing)
	err := database.InTx(ctx, r.from.DB, func(tx *sql.Tx) error {
		return fence.Transition(ctx, tx, fence.Change{
			Buckets: r.move.Buckets, From: fence.Frozen, FromToken: r.token, To: fence.Active, ToToken: r.token})
	})
	if err != nil {
		return "", fmt.Errorf("make the buckets active again on %s: %w", r.from.Name(), err)
	}
	r.crash("after_thaw", Freezing)
	return r.stepBack(ctx, why)
}
