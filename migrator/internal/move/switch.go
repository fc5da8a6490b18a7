package move

import (
	"context"
	"database/sql"
	"fmt"

	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

// commitPoint changes frozen to moved at the source. Before it the move can be
// given up, after it only finished.
//
// In the same transaction it writes from where the reverse tail will read: the
// target's position now, before anybody else may write the buckets there.
func (r *run) commitPoint(ctx context.Context, c *crossing, target database.Position) error {
	r.crash("before_commit", Freezing)
	commit := transitionScript(r.move.Buckets, fence.Frozen, fence.Moved, r.token)
	commit.add("REPLACE INTO drover_tail (move_id, leg, token, position, progress) VALUES (?, ?, ?, ?, '{}')",
		string(r.move.Record.Move), r.move.Leg+1, r.token.String(), target.String())
	_, err := c.source.run(ctx, commit)
	r.crash("after_commit", Freezing)
	if err != nil {
		return fmt.Errorf("commit point on %s: %w", r.from.Name(), err)
	}
	return nil
}

// switching makes the buckets active at the target, for a move that was
// interrupted past the commit point. It may be entered again.
func (r *run) switching(ctx context.Context) (State, error) {
	r.stopTail() // it has applied the freeze, so there is nothing left for it
	r.crash("before_activate", Switching)
	if err := r.activateOnce(ctx); err != nil {
		return "", fmt.Errorf("activate on %s: %w", r.to.Name(), err)
	}
	r.crash("after_activate", Switching)
	return Publishing, nil
}

// activateOnce makes the target's rows active if they are not.
func (r *run) activateOnce(ctx context.Context) error {
	rows, err := fence.Rows(ctx, r.to.DB, r.move.Buckets)
	if err != nil {
		return err
	}
	active := 0
	for _, row := range rows {
		if row.State == fence.Active && row.Token == r.token {
			active++
		}
	}
	if active == len(r.move.Buckets) {
		return nil
	}
	return database.InTx(ctx, r.to.DB, func(tx *sql.Tx) error {
		return fence.Transition(ctx, tx, fence.Change{
			Buckets: r.move.Buckets, From: fence.Incoming, FromToken: r.token, To: fence.Active, ToToken: r.token})
	})
}
