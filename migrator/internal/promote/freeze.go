package promote

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"drover/internal/pause"
	"drover/migrator/internal/database"
	"drover/migrator/internal/journal"
	"drover/shardlib/fence"
)

// freezing makes the shard frozen and the old primary read-only, waits until
// the replica has applied all that was committed, and passes the commit point.
// All of it within Limits.Freeze, or all of it is undone and the promotion
// steps back.
//
// Which transactions are open is not asked: information_schema.innodb_trx is as
// much as 0.1 s old when it is asked twice, and may leave out one that has begun.
// The row's lock alone decides, which every transaction of the fence has; what
// the fence does not know, read_only and the binlog's end after it decide.
//
// The freeze waits for open transactions that have written on the shard, and
// while it waits new writers queue behind it: hence Limits.FreezeLock, and
// freezeKnocks. Beside it the new map is staged.
func (r *run) freezing(ctx context.Context) (State, error) {
	budget, cancel := context.WithTimeout(ctx, r.Limits.Freeze)
	defer cancel()
	if err := r.freeze(budget); err != nil {
		if database.TimedOut(err) {
			return r.stepBack(ctx, setback{SetbackTransaction, inTheWay(err)})
		}
		return "", err // whether it is frozen, its row says: see settle
	}
	back, err := r.drain(budget)
	if err == nil && back == (setback{}) {
		back, err = r.awaitStaged(budget)
	}
	if err == nil && back == (setback{}) {
		if err = r.commitPoint(budget); err == nil {
			return Switching, nil
		}
	}
	if err != nil {
		if budget.Err() == nil || errors.Is(err, ErrHook) || ctx.Err() != nil || errors.Is(err, database.ErrOutcomeUnknown) {
			return "", err
		}
		back = setback{SetbackBudget, fmt.Sprintf("not done within %s", r.Limits.Freeze)}
	}
	// Not by the context of the run, which may end now: nobody can write.
	thawing, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	for {
		err := r.thaw(thawing)
		if err == nil {
			return r.stepBack(ctx, back)
		}
		// One statement that a busy server was too slow for is no other failure.
		if !database.TimedOut(err) || pause.For(thawing, settlePause) != nil {
			return "", err // settle tries again
		}
	}
}

// freezeKnocks is how often the freeze queues for the shard's row before the
// hold is given up. Between two of them, Limits.FreezeLock, whoever queued
// behind it goes on: with the defaults 3 × 15 ms of waiting in 75 ms. What was
// under way when the hold came mostly ends within that, and a hold that is given
// up costs its users more: its end, a pause and another hold. So a hold that
// follows one that was given up queues for longer, as patiently does: to 3 × 60
// ms in 210 ms, with the fourth.
const freezeKnocks = 3

// freeze changes the shard's row from active to frozen. From here on the fence
// refuses, and no transaction that it let pass is open.
func (r *run) freeze(ctx context.Context) (err error) {
	r.crash("before_freeze", Freezing)
	queue := r.Limits.FreezeLock * time.Duration(min(queueMax, 1+r.tries))
	for knock := 1; ; knock++ {
		r.promotion.FrozenAt = time.Now().UTC() // from here on writers may queue
		err = r.tryDecide(ctx, r.from, func(tx *sql.Tx) error {
			return r.change(ctx, r.from, tx, queue, changeFreeze(r.token))
		})
		if knock == freezeKnocks || !database.TimedOut(err) || errors.Is(err, database.ErrOutcomeUnknown) ||
			pause.For(ctx, r.Limits.FreezeLock) != nil {
			break
		}
	}
	if err = r.explained(ctx, r.from, err); err != nil {
		return fmt.Errorf("freeze on %s: %w", r.from.Name(), err)
	}
	r.crash("after_freeze", Freezing)
	return nil
}

// drain makes the old primary read-only and waits until the replica has
// everything. back is not zero when the promotion must step back.
func (r *run) drain(ctx context.Context) (back setback, err error) {
	r.crash("before_read_only", Freezing)
	if err := r.makeReadOnly(ctx, r.from); errors.Is(err, database.ErrBusy) {
		return setback{SetbackStatement, "a statement that the fence does not know would not end: " + err.Error()}, nil
	} else if err != nil {
		return back, err
	}
	r.crash("after_read_only", Freezing)
	if readOnly, err := r.from.ReadOnly(ctx); err != nil {
		return back, err
	} else if !readOnly {
		return setback{SetbackWritable, "somebody made the old primary writable"}, nil
	}
	end, err := r.from.Committed(ctx)
	if err != nil {
		return back, err
	}
	deadline, _ := ctx.Deadline()
	applied, err := r.to.Await(ctx, end, time.Until(deadline)*9/10) // the rest is for the commit point
	if err != nil {
		return back, err
	}
	if !applied {
		return setback{SetbackReplica, fmt.Sprintf("the replica has not applied %s in time", end)}, nil
	}
	r.crash("after_applied", Freezing)
	row, err := shardRow(ctx, r.to)
	if err != nil {
		return back, err
	}
	if row.State != fence.Frozen || row.Token != r.token {
		return back, fmt.Errorf("%w: %s has applied %s, but its row of the shard is %s with move_id %q",
			ErrReplica, r.to.Name(), end, row.State, row.Token)
	}
	if again, err := r.from.Committed(ctx); err != nil {
		return back, err
	} else if !end.Reached(again) {
		return setback{SetbackStrayWrite, "somebody writes on the old primary though it is read-only: an account with READ_ONLY ADMIN"}, nil
	}
	// After that look: the note of a hook in the journal is a write, too.
	if err := r.hooks(ctx, BeforeCommit); err != nil {
		return back, err
	}
	// Again: one that was restarted since the freeze takes writes.
	if readOnly, err := r.from.ReadOnly(ctx); err != nil {
		return back, err
	} else if !readOnly {
		return setback{SetbackWritable, "the old primary is not read-only any more: it was restarted, or somebody made it writable"}, nil
	}
	r.promotion.Frozen = end.String()
	return back, nil
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
	r.crash("before_commit", Freezing)
	// If the KILL of one that was given up fails, the lock that it holds makes
	// whoever reads the row wait.
	err = r.decide(ctx, r.from, func(tx *sql.Tx) error {
		if err := r.change(ctx, r.from, tx, 0, changeCommit(r.token)); err != nil {
			return err
		}
		r.tell(r.from.Name(), textJournal(Switching)+" (in the transaction of the commit point)")
		return journal.Open(r.from).WriteIn(ctx, tx, &record, "")
	})
	if err != nil {
		return fmt.Errorf("commit point on %s: %w", r.from.Name(), err)
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
	if err := r.makeWritable(ctx, r.from); err != nil {
		return err
	}
	r.crash("between_thaw", Freezing)
	err = r.decide(ctx, r.from, func(tx *sql.Tx) error {
		return r.change(ctx, r.from, tx, 0, changeThaw(r.token))
	})
	if err != nil {
		return fmt.Errorf("make the shard active again on %s: %w", r.from.Name(), err)
	}
	r.crash("after_thaw", Freezing)
	r.stallEnded(StallSteppedBack)
	return nil
}
