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

// ErrState says that what was asked does not go with the state of the move.
var ErrState = errors.New("the move is in another state")

// soakReport is how often a soak says how far behind the reverse tail is.
const soakReport = 1 * time.Second

// Soak keeps the old home up to date until ctx ends: the reverse tail. It may
// be ended and started again at any time; meanwhile the changes wait in the
// new home's binlog, as long as that server keeps it. Each start takes the move
// over, so that a soak which was thought dead cannot write old rows over new.
//
// It reports once in soakReport: Behind is the lag in transactions, Lag in time.
func (e *Engine) Soak(ctx context.Context, m *Move) error {
	return e.takeOver(ctx, m, func(r *run) error {
		if m.State() != Soaking {
			return r.failed(fmt.Errorf("%w: want soaking", ErrState), "")
		}
		if err := r.reverse(ctx); err != nil {
			return r.failed(err, "")
		}
		// Who looks at a soak alone knows what the change of home cost.
		r.report(Event{Move: r.move.Record.Move, State: Soaking, Stall: m.Stall})
		for ctx.Err() == nil {
			end, err := r.from.BinlogPosition(ctx)
			if err == nil {
				r.report(Event{Move: r.move.Record.Move, State: Soaking, Rows: r.tail.appliedRows(),
					Behind: r.tail.position().Lag(end), Measured: true})
				err = r.tailReach(ctx, end)
			}
			if err == nil {
				err = r.idle(ctx)
			}
			if err != nil && ctx.Err() == nil {
				return r.failed(err, "")
			}
		}
		return nil
	})
}

// idle waits for soakReport, or until the tail or ctx ends.
func (r *run) idle(ctx context.Context) error {
	waiting, cancel := context.WithTimeout(ctx, soakReport)
	defer cancel()
	select {
	case <-waiting.Done():
		return nil
	case <-r.tail.ended:
		r.tail.mu.Lock()
		defer r.tail.mu.Unlock()
		return fmt.Errorf("the reverse tail has ended: %w", r.tail.mu.err)
	}
}

// reverse sets the run up for the leg back without changing the move.
func (r *run) reverse(ctx context.Context) error {
	back := *r.move
	back.Leg++
	r.move = &back
	if err := r.setLeg(ctx); err != nil {
		return err
	}
	return r.startTail(ctx)
}

// Return takes the buckets back to where the last leg came from, with no copy,
// and then soaks the other way round.
//
// Users are held only once the reverse tail has caught up: as long as it lags,
// the move is tailing, and the buckets are written where they are. A lag that
// shows up after that makes the return step back, as it does a move.
func (e *Engine) Return(ctx context.Context, m *Move) error {
	return e.takeOver(ctx, m, func(r *run) error {
		if m.State() != Soaking {
			return r.failed(fmt.Errorf("%w: only what is soaking can return", ErrState), "")
		}
		m.Leg++
		if err := r.enter(ctx, Returning, ""); err != nil {
			m.Leg--
			return err
		}
		if err := r.setLeg(ctx); err != nil {
			return r.failed(err, "")
		}
		return r.drive(ctx)
	})
}

// returning makes the old home's rows incoming again, one epoch above the new
// home's. It may be entered again.
func (r *run) returning(ctx context.Context) (State, error) {
	here, err := fence.Rows(ctx, r.from.DB, r.move.Buckets)
	if err != nil {
		return "", err
	}
	if len(here) != len(r.move.Buckets) {
		return "", fmt.Errorf("%d of %d buckets have a row on %s: %w", len(here), len(r.move.Buckets), r.from.Name(), fence.ErrLostRow)
	}
	r.crash("before_incoming", Returning)
	err = database.InTx(ctx, r.to.DB, func(tx *sql.Tx) error {
		for _, row := range here {
			if row.State != fence.Active || row.Token != r.token {
				return fmt.Errorf("bucket %d is %s with move_id %q on %s: %w", row.Bucket, row.State, row.Token, r.from.Name(), fence.ErrLostRow)
			}
			res, err := tx.ExecContext(ctx, "UPDATE "+fence.Table+" SET state = ?, epoch = ? WHERE bucket = ? AND state IN (?, ?) AND move_id = ?",
				string(fence.Incoming), uint64(row.Epoch+1), row.Bucket, string(fence.Moved), string(fence.Incoming), r.token.String())
			if err != nil {
				return err
			}
			if n, err := res.RowsAffected(); err != nil {
				return err
			} else if n != 1 {
				return fmt.Errorf("bucket %d on %s: %w", row.Bucket, r.to.Name(), fence.ErrLostRow)
			}
		}
		return nil
	})
	r.crash("after_incoming", Returning)
	if err != nil {
		return "", fmt.Errorf("write incoming rows on %s: %w", r.to.Name(), err)
	}
	return Tailing, nil
}
