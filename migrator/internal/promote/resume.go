package promote

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"drover/internal/pause"
	"drover/migrator/internal/database"
	"drover/migrator/internal/journal"
	"drover/shardlib/fence"
)

// Resume takes over a promotion whose migrator is gone, and goes on to its
// rest.
func (e *Engine) Resume(ctx context.Context, p *Promotion) error {
	return e.takeOver(ctx, p, func(r *run) error { return r.drive(ctx) })
}

// side says where a promotion is seen from the databases, whatever a journal
// says.
type side string

const (
	before   side = "before"   // the commit point: the old primary is the primary
	after    side = "after"    // the commit point; the new primary is not active
	switched side = "switched" // the new primary is active
)

// where finds out the side. The old primary's row decides; when it cannot be
// read, a copy of the commit point, or what came after it, on the new primary
// does. Nothing else is good enough: an old primary that comes back with its
// row active would be a second one.
func (r *run) where(ctx context.Context) (side, error) {
	ours := func(row fence.Row) bool { return row.Token.Move == r.promotion.Record.Move }
	newRow, newErr := shardRow(ctx, r.to)
	if newErr == nil {
		id, err := r.to.ServerID(ctx)
		if err != nil {
			return "", err
		}
		if r.isSwitched(newRow, id) {
			return switched, nil
		}
	}
	if r.promotion.Lost { // the old primary was given up: its word counts no more
		r.passed = newErr == nil
		return after, newErr
	}
	oldRow, oldErr := lockedShardRow(ctx, r.from)
	var id uint32
	if oldErr == nil {
		id, oldErr = r.from.ServerID(ctx)
	}
	switch {
	case oldErr == nil && oldRow.State == fence.Moved && ours(oldRow):
		r.passed = true
	case oldErr == nil && oldRow.ServerID == id && oldRow.Epoch == r.promotion.Epoch &&
		(oldRow.State == fence.Frozen && ours(oldRow) || oldRow.State == fence.Active):
		return before, nil
	case newErr == nil && newRow.State == fence.Moved && ours(newRow):
		r.passed = true
	default:
		return "", errors.Join(fmt.Errorf("%w: the old primary must be reached, or a new one that has the commit point", ErrUndecided),
			oldErr, newErr)
	}
	if newErr != nil {
		return "", errors.Join(errors.New("the commit point is passed, and the new primary cannot be reached"), newErr)
	}
	return after, nil
}

// takeOver is locked for a new run of the promotion: the journal first, then
// the shard's row, on the server that is to be trusted, so that whatever the
// run before does from here on fails. A freeze that was under way is undone.
func (e *Engine) takeOver(ctx context.Context, p *Promotion, f func(*run) error) error {
	return e.locked(ctx, p, func(r *run) error {
		e.Crash.At("resume.before_takeover")
		where, err := r.where(ctx)
		if err != nil {
			return r.failed(err, "")
		}
		server := r.from
		if where != before {
			server = r.to
		}
		if where == after {
			if err := r.loadPassed(ctx); err != nil {
				return r.failed(err, "")
			}
			// The new primary's journal can be written only once the server is
			// no replica any more.
			if err := r.detach(ctx); err != nil {
				return r.failed(err, "")
			}
		}
		// One that was restarted may have come back read-only for all.
		if err := r.doAll(ctx, server, commandsLenient(r.dialect)); err != nil {
			return r.failed(err, "")
		}
		if err := r.takeJournal(ctx, server, where); err != nil {
			return r.failed(err, "")
		}
		if err := r.takeRow(ctx, server); err != nil {
			return r.failed(err, "")
		}
		e.Crash.At("resume.after_takeover")
		if where == switched {
			if err := r.keepWritable(ctx); err != nil {
				return r.failed(err, "")
			}
		}
		if where == before {
			if err := r.settle(ctx); err != nil {
				return r.failed(err, "")
			}
		}
		return f(r)
	})
}

// keepWritable makes the new primary, whose row is active, writable again: it may
// have been restarted since it was made so, and start read-only by its
// configuration.
func (r *run) keepWritable(ctx context.Context) error {
	readOnly, err := r.to.ReadOnly(ctx)
	if err != nil || !readOnly {
		return err
	}
	return r.makeWritable(ctx, r.to)
}

// loadPassed reads what the commit point journaled on the old primary, if it
// can be reached: the position that the replica had applied.
func (r *run) loadPassed(ctx context.Context) error {
	if r.promotion.Lost {
		return nil
	}
	record, err := journal.Open(r.from).Get(ctx, r.promotion.Record.Move)
	if err != nil {
		return ctx.Err() // the copy on the new primary has it, or nothing goes on
	}
	fresh, err := Load(record)
	if err != nil {
		return err
	}
	*r.promotion, r.token = *fresh, record.Token()
	return nil
}

// takeJournal makes this run the newest in the journal of a server.
func (r *run) takeJournal(ctx context.Context, server *database.Server, where side) error {
	record, err := journal.Open(server).TakeOver(ctx, r.promotion.Record.Move)
	if err != nil {
		return err
	}
	fresh, err := Load(record)
	if err != nil {
		return err
	}
	if fresh.Frozen == "" {
		fresh.Frozen = r.promotion.Frozen // in what did not come over
	}
	*r.promotion = *fresh
	r.token = record.Token()
	if where != before {
		r.passed = true
		if fresh.State() == Freezing { // so the journal of the new primary, when the commit point did not come over
			return r.enter(ctx, Switching, "the commit point was passed")
		}
	}
	return nil
}

// takeRow puts this run's token on the shard's row where an earlier run's is.
// Where there is none, the promotion has not claimed the shard yet.
func (r *run) takeRow(ctx context.Context, server *database.Server) error {
	err := r.patiently(ctx, func(queue time.Duration) error {
		conn, err := server.DB.Conn(ctx)
		if err != nil {
			return err
		}
		defer database.Drop(conn)
		if _, err := conn.ExecContext(ctx, r.dialect.SessionBounds(lockWaitSeconds, queue.Seconds())); err != nil {
			return err
		}
		return server.EndAfter(ctx, conn, queue, func() error {
			_, err := fence.TakeOver(ctx, conn, nil, r.token)
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("on %s: %w", server.Name(), err)
	}
	return nil
}

// settlePause is how long to wait before the old primary is tried again while a
// freeze must be undone.
const settlePause = 50 * time.Millisecond

// settle brings journal and fence into agreement: it undoes a freeze that was
// under way, or finds that the commit point was passed. It goes on trying while
// the old primary cannot be reached, until ctx ends.
func (r *run) settle(ctx context.Context) error {
	began := time.Now()
	for {
		err := r.settleOnce(ctx)
		// Also a lock that somebody has on the whole server, by FLUSH TABLES WITH
		// READ LOCK: the shard shall not stay frozen when it ends.
		lost := database.ConnectionLost(err) && time.Since(began) < settleTime
		if err == nil || !lost && !database.TimedOut(err) {
			return err
		}
		if pause.For(ctx, settlePause) != nil {
			return err
		}
	}
}

func (r *run) settleOnce(ctx context.Context) error {
	switch r.promotion.State() {
	case Holding, Freezing:
	case Planned, Replicating, CatchingUp, Switching, Publishing, Reversing, Done, Aborting, Aborted:
		return nil
	}
	row, err := lockedShardRow(ctx, r.from)
	if err != nil {
		return err
	}
	switch {
	case row.Token != r.token:
		return fmt.Errorf("%s: the shard's row is %s with move_id %q: %w", r.from.Name(), row.State, row.Token, fence.ErrLostRow)
	case row.State == fence.Moved:
		record, err := journal.Open(r.from).Get(ctx, r.promotion.Record.Move)
		if err != nil {
			return err
		}
		fresh, err := Load(record)
		if err != nil {
			return err
		}
		*r.promotion, r.passed = *fresh, true
		r.report(Event{Move: record.Move, State: fresh.State(), Note: "the commit point was passed", Entered: true})
		return nil
	case row.State == fence.Frozen:
		if err := r.thaw(ctx); err != nil {
			return err
		}
	}
	if err := r.Map.Release(ctx, r.promotion.Record.Move); err != nil {
		return err
	}
	return r.enter(ctx, CatchingUp, "stepped back")
}

// lockedShardRow reads the shard's row with a shared lock: a transaction that
// is changing it, of a connection that was lost perhaps, has ended then.
func lockedShardRow(ctx context.Context, server *database.Server) (fence.Row, error) {
	var row fence.Row
	err := database.InTx(ctx, server.DB, func(tx *sql.Tx) error {
		var bucket int64
		if err := tx.QueryRowContext(ctx, "SELECT bucket FROM "+fence.Table+" FORCE INDEX (PRIMARY) WHERE bucket = ? LOCK IN SHARE MODE",
			fence.ShardRow).Scan(&bucket); err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		var err error
		row, err = shardRowBy(ctx, server, tx)
		return err
	})
	return row, err
}
