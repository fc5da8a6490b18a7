package move

import (
	"context"
	"fmt"

	"drover/bucketmap"
	"drover/migrator/internal/database"
	"drover/migrator/internal/journal"
	"drover/shardlib/fence"
)

// Find reads the newest record of a move. It changes nothing.
func (e *Engine) Find(ctx context.Context, home bucketmap.ShardName, id bucketmap.MoveID) (*Move, error) {
	server, err := e.Servers.Primary(ctx, home)
	if err != nil {
		return nil, err
	}
	record, err := journal.Open(server).Get(ctx, id)
	if err != nil {
		return nil, err
	}
	return load(record)
}

// Load reads a move from a record.
func Load(r *journal.Record) (*Move, error) { return load(r) }

// Resume takes over a move whose migrator is gone, and goes on to its rest.
func (e *Engine) Resume(ctx context.Context, m *Move) error {
	return e.takeOver(ctx, m, func(r *run) error {
		if m.State() == Done && !m.Purged {
			return r.purge(ctx)
		}
		return r.drive(ctx)
	})
}

// Abort gives a move up if its commit point is not passed. An aborted return
// leaves the move soaking.
func (e *Engine) Abort(ctx context.Context, m *Move, why string) error {
	return e.takeOver(ctx, m, func(r *run) error {
		if !abortable(m.State()) {
			return r.failed(fmt.Errorf("%w: past the commit point nothing can be aborted", ErrState), "use migrator bucket return to go back")
		}
		if err := r.enter(ctx, Aborting, why); err != nil {
			return err
		}
		return r.drive(ctx)
	})
}

// takeOver is locked for a new run of the move: journal first, then both ends'
// fence rows and tails, so that whatever the run before does from here on fails.
//
// The source comes first, and a freeze that was under way is ended before the
// target is asked for anything: a run before that stands still may have an open
// transaction there, which the server ends in its time (see database.Open), and
// meanwhile users must be able to write.
func (e *Engine) takeOver(ctx context.Context, m *Move, f func(*run) error) error {
	return e.locked(ctx, m, func(r *run) error {
		e.Crash.At("resume.before_takeover")
		record, err := r.journal.TakeOver(ctx, m.Record.Move)
		if err != nil {
			return r.failed(err, "")
		}
		fresh, err := load(record)
		if err != nil {
			return r.failed(err, "")
		}
		*m = *fresh
		r.token = m.Record.Token()
		if err := r.setLeg(ctx); err != nil {
			return r.failed(err, "")
		}
		if err := r.takeOverEnd(ctx, r.from); err != nil {
			return r.failed(err, "")
		}
		if err := r.settle(ctx); err != nil {
			return r.failed(err, "")
		}
		if err := r.takeOverEnd(ctx, r.to); err != nil {
			return r.failed(err, "")
		}
		e.Crash.At("resume.after_takeover")
		return f(r)
	})
}

// takeOverEnd puts this run's token on what the move has on one server.
func (r *run) takeOverEnd(ctx context.Context, server *database.Server) error {
	return r.patiently(ctx, func() error {
		if _, err := fence.TakeOver(ctx, server.DB, r.move.Buckets, r.token); err != nil {
			return fmt.Errorf("on %s: %w", server.Name(), err)
		}
		if _, err := server.DB.ExecContext(ctx, "UPDATE drover_tail SET token = ? WHERE move_id = ?",
			r.token.String(), string(r.move.Record.Move)); err != nil {
			return fmt.Errorf("take over the tail on %s: %w", server.Name(), err)
		}
		return nil
	})
}

// settle brings journal and fence into agreement: it ends a freeze that was
// under way, or finds that the commit point was passed.
func (r *run) settle(ctx context.Context) error {
	switch r.move.State() {
	case Holding, Freezing:
	case Planned, Copying, Tailing, Verifying, Switching, Publishing, Soaking, Returning, Done, Aborting, Aborted:
		return nil
	}
	rows, err := fence.Rows(ctx, r.from.DB, r.move.Buckets)
	if err != nil {
		return err
	}
	count := map[fence.State]int{}
	for _, row := range rows {
		if row.Token == r.token {
			count[row.State]++
		}
	}
	switch n := len(r.move.Buckets); {
	case count[fence.Moved] == n:
		if r.move.State() == Holding { // cannot be: the freeze is journaled first
			return fmt.Errorf("%s has moved rows in state holding: %w", r.from.Name(), fence.ErrLostRow)
		}
		return r.enter(ctx, Switching, "the commit point was passed")
	case count[fence.Frozen] != 0 && count[fence.Frozen]+count[fence.Active] == n:
		if err := r.setRows(ctx, r.from, fence.Frozen, fence.Active, r.token); err != nil {
			return err
		}
	case count[fence.Active] == n:
	default:
		return fmt.Errorf("%s: of %d buckets %v have this move's token: %w", r.from.Name(), n, count, fence.ErrLostRow)
	}
	if err := r.Map.Release(ctx, r.move.Record.Move); err != nil {
		return err
	}
	return r.enter(ctx, Tailing, "stepped back")
}
