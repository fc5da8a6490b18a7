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
		if notFree(err) {
			return "an open transaction has the buckets' rows", false, nil
		}
		return "", false, err
	}
	c.lap("freeze")
	tail.letGo(at)
	all, err := r.compareAndCommit(budget, c, at)
	if err == nil && !all {
		return tooManyTouched, true, nil
	}
	if err != nil && budget.Err() != nil && ctx.Err() == nil && !errors.Is(err, database.ErrOutcomeUnknown) {
		return fmt.Sprintf("not done within %s", r.Limits.Freeze), true, nil
	}
	return "", false, err
}

// compareAndCommit waits until the tail has applied the freeze, and passes the
// commit point if the rows that changed since the last comparison are equal. all
// is false when they are too many.
//
// Where the commit point says that rows differ they are looked at one by one,
// which names them. Should it find them equal, they are.
func (r *run) compareAndCommit(ctx context.Context, c *crossing, frozen database.Position) (all bool, err error) {
	err = r.tail.reach(ctx, frozen)
	c.lap("catch up")
	if err != nil {
		return false, err
	}
	if all, err = r.targetsWord(ctx, c); err == nil && !all {
		all, err = r.verifyLast(ctx, c)
	}
	c.lap("verify")
	if err != nil || !all {
		return all, err
	}
	if err = r.commitPoint(ctx, c); errors.Is(err, errRowsDiffer) {
		if all, err = r.verifyLast(ctx, c); err == nil && all {
			err = r.commitPoint(ctx, c)
		}
	}
	c.lap("commit")
	return all, err
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
