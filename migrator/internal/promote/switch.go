package promote

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

// switching makes the replica the primary. It may be entered again.
func (r *run) switching(ctx context.Context) (State, error) {
	if err := r.detach(ctx); err != nil {
		return "", err
	}
	// While somebody has a lock on the whole server, by FLUSH TABLES WITH READ
	// LOCK, it is waited for: nobody can write until this is done, so nothing is
	// won by giving up. finishTime bounds it.
	if err := r.patiently(ctx, func(time.Duration) error { return r.activate(ctx) }); err != nil {
		return "", err
	}
	return Publishing, nil
}

// detachTries bounds how often the replica is started again because the old
// primary had more. Past the commit point nobody but an account with READ_ONLY
// ADMIN can write there.
const detachTries = 3

// detach waits until the replica has all that the old primary has, and ends its
// replication for good. Until it has ended nothing may be written there.
func (r *run) detach(ctx context.Context) error {
	if r.promotion.Lost {
		return r.forgetLost(ctx)
	}
	for try := 1; ; try++ {
		upstreams, err := r.to.Upstreams(ctx)
		if err != nil {
			return err
		}
		if len(upstreams) == 0 {
			return r.checkDetached(ctx) // by an earlier run
		}
		if len(upstreams) > 1 {
			return fmt.Errorf("%s follows %d primaries: want one; end the others with RESET SLAVE … ALL", r.to.Name(), len(upstreams))
		}
		if err := r.checkCopy(ctx); err != nil {
			return err
		}
		upstream := upstreams[0]
		if upstream.Failure() != "" {
			// Stopped by an earlier run, or by a failure that is reported below.
			if err := r.do(ctx, r.to, commandStart(r.dialect, upstream.Connection)); err != nil {
				return err
			}
		}
		if err := r.awaitCommitPoint(ctx, upstream); err != nil {
			return err
		}
		r.crash("before_stop", Switching)
		if err := r.do(ctx, r.to, commandStop(r.dialect, upstream.Connection)); err != nil {
			return err
		}
		r.crash("after_stop", Switching)
		more, err := r.hasMore(ctx)
		if err != nil {
			return err
		}
		if more && try < detachTries {
			continue
		}
		if err := r.checkDetached(ctx); err != nil {
			return err
		}
		r.crash("before_reset", Switching)
		if err := r.do(ctx, r.to, commandForget(r.dialect, upstream.Connection)); err != nil {
			return err
		}
		r.crash("after_reset", Switching)
		return nil
	}
}

// checkCopy makes sure that no newer run, and no other promotion, has the
// replica.
func (r *run) checkCopy(ctx context.Context) error {
	row, err := shardRow(ctx, r.to)
	if err != nil {
		return err
	}
	if row.Token.Move != r.token.Move || row.Token.Run > r.token.Run {
		return fmt.Errorf("%s: the shard's row is %s with move_id %q: %w", r.to.Name(), row.State, row.Token, fence.ErrLostRow)
	}
	return nil
}

// oldEnd returns the end of the old primary's binlog. It gives up soon: while
// it waits, nobody can write.
func (r *run) oldEnd(ctx context.Context) (database.Transactions, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Limits.Freeze)
	defer cancel()
	return r.from.Committed(ctx)
}

// awaitCommitPoint waits, at most for Limits.Switch, until the replica has
// applied what the old primary has, or, if that is unreachable, what it had
// sent. Failing that, what was applied before the commit point is enough: it is
// all that users wrote. See checkDetached.
func (r *run) awaitCommitPoint(ctx context.Context, upstream database.Upstream) error {
	end, err := r.oldEnd(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		end = upstream.Received
	}
	applied, err := r.to.Await(ctx, end, r.Limits.Switch)
	if err == nil && !applied {
		r.report(Event{Move: r.promotion.Record.Move, State: Switching,
			Note: fmt.Sprintf("the replica has not applied %s within %s", end, r.Limits.Switch)})
	}
	return err
}

// hasMore says whether the old primary, if it can be reached, has transactions
// that the replica has not applied.
func (r *run) hasMore(ctx context.Context) (bool, error) {
	applied, err := r.to.Replicated(ctx)
	if err != nil {
		return false, err
	}
	end, err := r.oldEnd(ctx)
	if err != nil {
		return false, ctx.Err() // not reached: the row on the replica decides
	}
	return !applied.Reached(end), nil
}

// checkDetached makes sure that the replica has every write of users: by its
// copy of the commit point, or, when this run has read the commit point on the
// old primary, by the position before it.
func (r *run) checkDetached(ctx context.Context) error {
	row, err := shardRow(ctx, r.to)
	if err != nil {
		return err
	}
	id, err := r.to.ServerID(ctx)
	if err != nil {
		return err
	}
	switch {
	case r.isSwitched(row, id):
		return nil
	case row.Token.Move != r.promotion.Record.Move:
	case row.State == fence.Moved:
		return nil
	case row.State == fence.Frozen && r.passed && r.promotion.Frozen != "":
		frozen, err := database.ParseTransactions(r.promotion.Frozen)
		if err != nil {
			return err
		}
		applied, err := r.to.Replicated(ctx)
		if err != nil {
			return err
		}
		if applied.Reached(frozen) {
			r.report(Event{Move: r.promotion.Record.Move, State: Switching,
				Note: "going on without the old primary's last transaction: it will have to be made a replica anew"})
			return nil
		}
	}
	return fmt.Errorf("%w: %s has the shard's row %s with move_id %q, and the commit point has not come over",
		ErrUndecided, r.to.Name(), row.State, row.Token)
}

// isSwitched says whether a row on the new primary is as this promotion makes
// it.
func (r *run) isSwitched(row fence.Row, id uint32) bool {
	return row.State == fence.Active && row.ServerID == id && row.Epoch == r.promotion.Epoch+r.promotion.up()
}

// activate makes the row active for the new primary, and then the server
// writable: a server that takes writes has an active row. It may be called
// again.
func (r *run) activate(ctx context.Context) error {
	row, err := shardRow(ctx, r.to)
	if err != nil {
		return err
	}
	id, err := r.to.ServerID(ctx)
	if err != nil {
		return err
	}
	r.crash("before_activate", Switching)
	if err := r.doAll(ctx, r.to, commandsLenient(r.dialect)); err != nil {
		return err
	}
	switch {
	case r.promotion.Lost && !r.isSwitched(row, id):
		if err := r.activateLost(ctx, id); err != nil {
			return err
		}
	case row.Token != r.token:
		return fmt.Errorf("%s: the shard's row is with move_id %q: %w", r.to.Name(), row.Token, fence.ErrLostRow)
	case !r.isSwitched(row, id):
		if row.State != fence.Moved && row.State != fence.Frozen || row.Epoch != r.promotion.Epoch {
			return fmt.Errorf("%s: the shard's row is %s, epoch %d: %w", r.to.Name(), row.State, row.Epoch, fence.ErrLostRow)
		}
		err := r.decide(ctx, r.to, func(tx *sql.Tx) error {
			return r.change(ctx, r.to, tx, 0, changeActivate(row.State, r.token, id))
		})
		if err != nil {
			return fmt.Errorf("activate on %s: %w", r.to.Name(), err)
		}
	}
	r.crash("after_activate", Switching)
	if err := r.makeWritable(ctx, r.to); err != nil {
		return err
	}
	r.crash("after_writable", Switching)
	return nil
}

// reachable says whether a server answers.
func reachable(ctx context.Context, server *database.Server) error {
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	if err := server.DB.PingContext(ctx); err != nil {
		return errors.Join(fmt.Errorf("%s cannot be reached", server.Name()), err)
	}
	return nil
}

// reachTime is how long a server may take to answer anything at all.
const reachTime = 5 * time.Second
