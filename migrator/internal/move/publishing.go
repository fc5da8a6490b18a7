package move

import (
	"context"

	"drover/shardlib/fence"
)

// publishing makes the new home known, for a move that was interrupted before
// it did. The epochs are those of the target's rows.
func (r *run) publishing(ctx context.Context) (State, error) {
	rows, err := fence.Rows(ctx, r.to.DB, r.move.Buckets)
	if err != nil {
		return "", err
	}
	if err := r.publishHome(ctx, r.move.Record.Move, rows); err != nil {
		return "", err
	}
	return Soaking, nil
}
