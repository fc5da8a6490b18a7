package promote

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"drover/migrator/internal/database"
	"drover/migrator/internal/journal"
	"drover/shardlib/fence"
)

// freezing makes the shard frozen and the old primary read-only, waits until
// the replica has applied all that was committed, and passes the commit point.
// All of it within Limits.Freeze, or all of it is undone and the promotion
// steps back.
//
// The freeze waits for open transactions that have written on the shard, and
// while it waits new writers queue behind it: hence Limits.FreezeLock.
func (r *run) freezing(ctx context.Context) (State, error) {
	budget, cancel := context.WithTimeout(ctx, r.Limits.Freeze)
	defer cancel()
	if err := r.freeze(budget); err != nil {
		if database.TimedOut(err) {
			return r.stepBack(ctx, "an open transaction writes on the shard")
		}
		return "", err // whether it is frozen, its row says: see settle
	}
	why, err := r.drain(budget)
	if err == nil && why == "" {
		if err = r.commitPoint(budget); err == nil {
			return Switching, nil
		}
	}
	if err != nil {
		if budget.Err() == nil || ctx.Err() != nil || errors.Is(err, database.ErrOutcomeUnknown) {
			return "", err
		}
		why = fmt.Sprintf("not done within %s", r.Limits.Freeze)
	}
	// Not by the context of the run, which may end now: nobody can write.
	thawing, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	if err := r.thaw(thawing); err != nil {
		return "", err
	}
	return r.stepBack(ctx, why)
}

// freeze changes the shard's row from active to frozen. From here on the fence
// refuses, and no transaction that it let pass is open.
func (r *run) freeze(ctx context.Context) error {
	r.crash("before_freeze", Freezing)
	err := database.InTx(ctx, r.from.DB, func(tx *sql.Tx) error {
		return fence.TransitionWithin(ctx, tx, r.lockBound(), fence.Change{
			From: fence.Active, FromToken: r.token, To: fence.Frozen, ToToken: r.token})
	})
	if err != nil {
		return fmt.Errorf("freeze on %s: %w", r.from.Name(), err)
	}
	r.crash("after_freeze", Freezing)
	return nil
}

// tag marks the statements that make the old primary read-only.
func (r *run) tag() string { return "drover " + string(r.promotion.Record.Move) }

// drain makes the old primary read-only and waits until the replica has
// everything. why is not empty when the promotion must step back.
func (r *run) drain(ctx context.Context) (why string, err error) {
	r.crash("before_read_only", Freezing)
	if err := r.from.MakeReadOnly(ctx, r.tag(), r.Limits.ReadOnly); errors.Is(err, database.ErrBusy) {
		return "a statement that the fence does not know would not end: " + err.Error(), nil
	} else if err != nil {
		return "", err
	}
	r.crash("after_read_only", Freezing)
	if readOnly, err := r.from.ReadOnly(ctx); err != nil {
		return "", err
	} else if !readOnly {
		return "somebody made the old primary writable", nil
	}
	end, err := r.from.BinlogPosition(ctx)
	if err != nil {
		return "", err
	}
	deadline, _ := ctx.Deadline()
	applied, err := r.to.WaitApplied(ctx, end, time.Until(deadline)*9/10) // the rest is for the commit point
	if err != nil {
		return "", err
	}
	if !applied {
		return fmt.Sprintf("the replica has not applied %s in time", end), nil
	}
	r.crash("after_applied", Freezing)
	row, err := shardRow(ctx, r.to)
	if err != nil {
		return "", err
	}
	if row.State != fence.Frozen || row.Token != r.token {
		return "", fmt.Errorf("%w: %s has applied %s, but its row of the shard is %s with move_id %q",
			ErrReplica, r.to.Name(), end, row.State, row.Token)
	}
	if again, err := r.from.BinlogPosition(ctx); err != nil {
		return "", err
	} else if !end.Reached(again) {
		return "somebody writes on the old primary though it is read-only: an account with READ_ONLY ADMIN", nil
	}
	r.promotion.Frozen = end.String()
	return "", nil
}

// commitPoint changes the shard's row from frozen to moved on the old primary,
// and journals switching with it. Before it the promotion can be given up,
// after it only finished.
func (r *run) commitPoint(ctx context.Context) error {
	detail, err := json.Marshal(r.promotion.Detail)
	if err != nil {
		return err
	}
	record := *r.promotion.Record
	record.State, record.Detail = string(Switching), detail
	conn, err := r.from.DB.Conn(ctx)
	if err != nil {
		return fmt.Errorf("commit point on %s: %w", r.from.Name(), err)
	}
	defer conn.Close()
	var id int64
	if err := conn.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&id); err != nil {
		return fmt.Errorf("commit point on %s: %w", r.from.Name(), err)
	}
	r.crash("before_commit", Freezing)
	err = database.InTx(ctx, conn, func(tx *sql.Tx) error {
		if err := fence.Transition(ctx, tx, fence.Change{
			From: fence.Frozen, FromToken: r.token, To: fence.Moved, ToToken: r.token}); err != nil {
			return err
		}
		return journal.Open(r.from).WriteIn(ctx, tx, &record, "")
	})
	if err != nil {
		// A statement that is still on its way must not arrive after the row
		// was read. If the KILL fails, the lock that it holds makes the read wait.
		killing, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
		defer cancel()
		return errors.Join(fmt.Errorf("commit point on %s: %w", r.from.Name(), err), r.from.Kill(killing, id))
	}
	r.passed = true
	*r.promotion.Record = record
	r.crash("after_commit", Freezing)
	r.report(Event{Move: record.Move, State: Switching, Entered: true})
	return nil
}

// thaw undoes a freeze: read_only first, the row last, so that a row that is
// active says that nothing is left to undo. It does nothing to a row that is
// not this run's.
func (r *run) thaw(ctx context.Context) error {
	row, err := shardRow(ctx, r.from)
	if err != nil {
		return err
	}
	if row.State != fence.Frozen || row.Token != r.token {
		return fmt.Errorf("%s: the shard's row is %s with move_id %q: %w", r.from.Name(), row.State, row.Token, fence.ErrLostRow)
	}
	r.crash("before_thaw", Freezing)
	if err := r.from.MakeWritable(ctx, r.tag()); err != nil {
		return err
	}
	r.crash("between_thaw", Freezing)
	err = database.InTx(ctx, r.from.DB, func(tx *sql.Tx) error {
		return fence.Transition(ctx, tx, fence.Change{
			From: fence.Frozen, FromToken: r.token, To: fence.Active, ToToken: r.token})
	})
	if err != nil {
		return fmt.Errorf("make the shard active again on %s: %w", r.from.Name(), err)
	}
	r.crash("after_thaw", Freezing)
	return nil
}
