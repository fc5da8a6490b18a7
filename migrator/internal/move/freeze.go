package move

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

// freezing makes the buckets frozen at the source, waits until the tail has
// applied the freeze, compares what changed since the verification, and passes
// the commit point. All of it within Limits.Freeze, or the buckets are made
// active again and the move steps back.
//
// The freeze waits for open transactions that have written to the buckets, and
// while it waits new writers queue behind it: hence Limits.FreezeLock.
func (r *run) freezing(ctx context.Context) (State, error) {
	if err := r.startTail(ctx); err != nil {
		return "", err
	}
	budget, cancel := context.WithTimeout(ctx, r.Limits.Freeze)
	defer cancel()

	frozen, err := r.freeze(ctx)
	if err != nil {
		if database.TimedOut(err) {
			return r.stepBack(ctx, "an open transaction has the buckets' rows")
		}
		return "", err
	}
	err = r.tail.reach(budget, frozen)
	if err == nil {
		var ok bool
		if ok, err = r.verifyTouched(budget); err == nil && !ok {
			return r.thaw(ctx, "too many rows changed since the verification")
		}
	}
	if err == nil {
		err = r.commitPoint(ctx)
	}
	if err != nil && budget.Err() != nil && ctx.Err() == nil && !errors.Is(err, database.ErrOutcomeUnknown) {
		return r.thaw(ctx, fmt.Sprintf("not done within %s", r.Limits.Freeze))
	}
	if err != nil {
		return "", err // what became of the commit, the source's row says: see settle
	}
	return Switching, nil
}

// freeze changes active to frozen and returns the position of that change.
func (r *run) freeze(ctx context.Context) (database.Position, error) {
	conn, err := r.from.DB.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("freeze on %s: %w", r.from.Name(), err)
	}
	defer conn.Close()
	r.crash("before_freeze", Freezing)
	err = database.InTx(ctx, conn, func(tx *sql.Tx) error {
		return fence.TransitionWithin(ctx, tx, r.lockBound(), fence.Change{
			Buckets: r.move.Buckets, From: fence.Active, FromToken: r.token, To: fence.Frozen, ToToken: r.token})
	})
	if err != nil {
		return nil, fmt.Errorf("freeze on %s: %w", r.from.Name(), err)
	}
	r.crash("after_freeze", Freezing)
	own, err := database.LastGTID(ctx, conn)
	if err != nil {
		return nil, err
	}
	position := database.Position{}
	position.Advance(own)
	return position, nil
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
