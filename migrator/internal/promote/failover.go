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
	"drover/migrator/internal/machine"
	"drover/shardlib/fence"
)

// A failover makes the replica of a primary that is lost the primary. Nothing
// but an operator begins one, and what it may lose is said before. In order: (1)
// what the replica received is applied, and its replication stopped; (2) the
// promotion is in the new primary's journal, in state switching; (3) the
// replication is forgotten; (4) the shard's row becomes active for the new
// primary, two epochs up; from here on it is a promotion like any other that has
// not reversed yet.
//
// Killed up to (1) it is begun again by the same command, from (2) on it is
// resumed. There is no abort: the replica is the only one that can serve.
//
// The old primary's own row stays active, for its own server_id and in the old
// epoch: it cannot be reached. By a map from before the failover applications
// would write to it when it comes back, by the new one none does. It must come
// back read-only, or not at all, until Resume has made it so.

// ErrNotLost is returned for a failover from a primary that can be reached, or
// that the replica still receives from.
var ErrNotLost = errors.New("the primary is not lost")

// PromoteLost promotes the replica of a lost primary, and returns when it serves:
// the promotion is reversing until the old primary is back, or Finish gives it up
// for good. A caller must have called InspectLost, shown the loss, and have the
// operator's word.
func (e *Engine) PromoteLost(ctx context.Context, plan Plan) (*Promotion, error) {
	x, err := e.find(ctx, plan)
	if err != nil {
		return nil, err
	}
	if reachable(ctx, x.from) == nil {
		return nil, fmt.Errorf("%w: %s answers", ErrNotLost, x.from.Name())
	}
	if _, err := e.accepts(ctx, x.to); err != nil {
		return nil, err
	}
	row, err := shardRow(ctx, x.to)
	if err != nil {
		return nil, err
	}
	if row.State != fence.Active && row.State != fence.Frozen || row.Epoch != x.shard.Epoch {
		return nil, fmt.Errorf("%w: its row of the shard is %s, epoch %d", ErrTarget, row.State, row.Epoch)
	}
	id, err := machine.NewID("p")
	if err != nil {
		return nil, err
	}
	p := &Promotion{
		Record: &journal.Record{Move: id, Kind: journal.KindPromotion, State: string(Switching), Who: plan.Who, Why: plan.Why},
		Detail: Detail{Shard: plan.Shard, Source: x.shard.Datacenter, Target: plan.Target, Epoch: row.Epoch, Lost: true,
			Row: oldRow{State: row.State, Token: row.Token.String()}},
	}
	p.Record.Run = 1 // as Begin gives it
	err = e.locked(ctx, p, func(r *run) error {
		r.passed = true
		if err := r.detachLost(ctx); err != nil {
			return r.failed(err, "nothing has changed for the users; run the same command again")
		}
		err := r.drive(ctx)
		if p.State() == Reversing && reachable(ctx, r.from) != nil {
			return ctx.Err() // it serves: the rest is for when the old primary is back
		}
		return err
	})
	return p, err
}

// detachLost lets the replica apply what it has received, ends its replication
// and begins the journal.
func (r *run) detachLost(ctx context.Context) error {
	if err := r.hooks(ctx, BeforeCommit); err != nil {
		return err
	}
	upstreams, err := r.to.Upstreams(ctx)
	if err != nil {
		return err
	}
	for _, u := range upstreams { // none, for one that was made no replica by hand
		if u.Receives {
			return fmt.Errorf("%w: %s still receives from it", ErrNotLost, r.to.Name())
		}
		if err := r.applyReceived(ctx, u); err != nil {
			return err
		}
		r.crash("before_stop", Switching)
		if err := r.do(ctx, r.to, commandStop(r.dialect, u.Connection)); err != nil {
			return err
		}
		r.crash("after_stop", Switching)
		r.promotion.Link = u.Link
		r.promotion.Link.Host, r.promotion.Link.Port = "", 0
	}
	if err := r.doAll(ctx, r.to, commandsLenient(r.dialect)); err != nil {
		return err
	}
	applied, err := r.to.Replicated(ctx)
	if err != nil {
		return err
	}
	r.promotion.Frozen = applied.String()
	if r.promotion.Record.Detail, err = json.Marshal(r.promotion.Detail); err != nil {
		return err
	}
	r.crash("before_begin", Switching)
	r.tell(r.to.Name(), textJournal(Switching))
	if err := journal.Open(r.to).Begin(ctx, r.promotion.Record); err != nil {
		return err
	}
	r.token = r.promotion.Record.Token()
	r.crash("after_begin", Switching)
	r.report(Event{Move: r.promotion.Record.Move, State: Switching, Entered: true, Note: "the old primary is given up"})
	return nil
}

// closeOthers ends the promotions that the lost primary had open, and their
// holds: none of them can be gone on with. It may be called again.
func (r *run) closeOthers(ctx context.Context) error {
	j := journal.Open(r.to)
	open, err := j.List(ctx, true)
	if err != nil {
		return err
	}
	for _, o := range open {
		if o.Kind != journal.KindPromotion || o.Move == r.promotion.Record.Move {
			continue
		}
		if err := r.Map.Release(ctx, o.Move); err != nil {
			return err
		}
		record, err := j.TakeOver(ctx, o.Move)
		if err != nil {
			return err
		}
		record.State, record.Open = string(Aborted), false
		if err := j.Write(ctx, record, "the primary was lost: "+string(r.promotion.Record.Move)+" took its place"); err != nil {
			return err
		}
	}
	return nil
}

// forgetLost ends the replication from the lost primary for good, and what that
// had under way.
func (r *run) forgetLost(ctx context.Context) error {
	upstreams, err := r.to.Upstreams(ctx)
	if err != nil {
		return err
	}
	for _, u := range upstreams {
		if u.Receives || u.Applies {
			if err := r.do(ctx, r.to, commandStop(r.dialect, u.Connection)); err != nil {
				return err
			}
		}
		r.crash("before_reset", Switching)
		if err := r.do(ctx, r.to, commandForget(r.dialect, u.Connection)); err != nil {
			return err
		}
		r.crash("after_reset", Switching)
	}
	return r.closeOthers(ctx)
}

// applyReceived waits until the replica has applied what it has received. How
// long that takes is its lag; it ends when nothing is applied for Limits.Reverse.
func (r *run) applyReceived(ctx context.Context, u database.Upstream) error {
	last, since := uint64(0), time.Now()
	for {
		done, err := r.to.Await(ctx, u.Received, catchUpReport)
		if err != nil || done {
			return err
		}
		applied, err := r.to.Replicated(ctx)
		if err != nil {
			return err
		}
		lag := applied.Lag(u.Received)
		if lag != last {
			last, since = lag, time.Now()
		}
		if time.Since(since) > r.Limits.Reverse {
			return fmt.Errorf("%w: %s has received %s and applies no more after %s", ErrReplica, r.to.Name(), u.Received, applied)
		}
		r.report(Event{Move: r.promotion.Record.Move, State: Switching, Behind: lag})
	}
}

// activateLost makes the row, which is still the lost primary's, the new one's.
func (r *run) activateLost(ctx context.Context, id uint32) error {
	token, err := fence.ParseToken(r.promotion.Row.Token)
	if err != nil {
		return err
	}
	change := fence.Change{From: r.promotion.Row.State, FromToken: token, To: fence.Active, ToToken: r.token,
		EpochUp: lostEpochs, ServerID: id}
	err = r.decide(ctx, r.to, func(tx *sql.Tx) error { return r.change(ctx, r.to, tx, 0, change) })
	if err != nil {
		return fmt.Errorf("activate on %s: %w", r.to.Name(), err)
	}
	return nil
}
