package promote

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"drover/internal/pause"
	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

// ErrBusy is returned for a shard that a move or another promotion has.
var ErrBusy = errors.New("the shard is busy")

// replicating adopts the replica that the shard has in the target datacenter,
// and puts this run's token on the shard's row, so that no other promotion can
// take it. It may be entered again.
func (r *run) replicating(ctx context.Context) (State, error) {
	if err := r.replicates(ctx); err != nil {
		return "", err
	}
	id, err := r.from.ServerID(ctx)
	if err != nil {
		return "", err
	}
	r.crash("before_claim", Replicating)
	err = r.patiently(ctx, func(queue time.Duration) error {
		row, err := shardRow(ctx, r.from)
		switch {
		case err != nil:
			return err
		case row.State != fence.Active || row.ServerID != id || row.Epoch != r.promotion.Epoch:
			return fmt.Errorf("%s: the shard's row is %s, epoch %d, of server %d; want active, epoch %d, of server %d: %w",
				r.from.Name(), row.State, row.Epoch, row.ServerID, r.promotion.Epoch, id, fence.ErrLostRow)
		case row.Token == r.token:
			return nil
		case row.Token != fence.Token{}:
			return fmt.Errorf("%w: its row is with %s", ErrBusy, row.Token)
		}
		return database.InTx(ctx, r.from.DB, func(tx *sql.Tx) error {
			return r.change(ctx, r.from, tx, queue, changeClaim(r.token))
		})
	})
	if err != nil {
		return "", fmt.Errorf("claim the shard on %s: %w", r.from.Name(), err)
	}
	r.crash("after_claim", Replicating)
	// After the claim, which a move that begins later can see.
	if id, err := movesOn(ctx, r.from); err != nil {
		return "", err
	} else if id != "" {
		return "", fmt.Errorf("%w: move %s has buckets on it", ErrBusy, id)
	}
	return CatchingUp, nil
}

// replicates makes sure that the replica receives and applies. One that applies
// and does not receive may be connecting again, to a primary that was restarted:
// it has Limits.Switch for that.
func (r *run) replicates(ctx context.Context) error {
	for began := time.Now(); ; {
		upstream, err := r.to.OneUpstream(ctx)
		if err != nil {
			return err
		}
		failure := upstream.Failure()
		if failure == "" {
			return nil
		}
		if !upstream.Applies || time.Since(began) > r.Limits.Switch {
			return fmt.Errorf("%w: %s: %s", ErrReplica, r.to.Name(), failure)
		}
		if err := pause.For(ctx, reversePoll); err != nil {
			return err
		}
	}
}

// movesOn returns a move that has buckets on the server, "" when there is none.
func movesOn(ctx context.Context, server *database.Server) (string, error) {
	var token string
	err := server.DB.QueryRowContext(ctx, "SELECT move_id FROM "+fence.Table+" WHERE bucket >= 0 AND move_id <> '' LIMIT 1").Scan(&token)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("%s: look for moves: %w", server.Name(), err)
	}
	parsed, err := fence.ParseToken(token)
	return string(parsed.Move), err
}
