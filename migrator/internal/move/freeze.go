package move

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"drover/migrator/internal/database"
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
	budget, cancel := context.WithTimeout(ctx, r.Limits.Freeze)
	defer cancel()

	c.began = time.Now()
	frozen, err := r.freeze(ctx, c)
	if err != nil {
		if database.TimedOut(err) {
			return r.stepBack(ctx, "an open transaction has the buckets' rows")
		}
		return "", err
	}
	c.lap("freeze")
	err = r.tail.reach(budget, frozen)
	c.lap("catch up")
	if err == nil {
		var position database.Position
		var all bool
		position, all, err = r.verifyLast(budget)
		c.lap("verify")
		if err == nil && !all {
			return r.thaw(ctx, tooManyTouched)
		}
		if err == nil {
			err = r.commitPoint(ctx, c, position)
			c.lap("commit")
		}
	}
	if err != nil && budget.Err() != nil && ctx.Err() == nil && !errors.Is(err, database.ErrOutcomeUnknown) {
		return r.thaw(ctx, fmt.Sprintf("not done within %s", r.Limits.Freeze))
	}
	if err != nil {
		return "", err // what became of the commit, the source's row says: see settle
	}
	return r.finish(ctx, c)
}

// freeze changes active to frozen and returns the position of that change.
//
// It waits for open transactions that have written to the buckets, and while it
// waits new writers queue behind it. So the first try does not wait at all, and
// the second no longer than Limits.FreezeLock.
func (r *run) freeze(ctx context.Context, c *crossing) (database.Position, error) {
	r.crash("before_freeze", Freezing)
	own, err := c.source.runAtOnce(ctx, transitionScript(r.move.Buckets, fence.Active, fence.Frozen, r.token))
	if err != nil && database.TimedOut(err) {
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
