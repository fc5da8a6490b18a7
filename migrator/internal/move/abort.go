package move

import (
	"context"
	"database/sql"
	"fmt"

	"drover/bucketmap"
	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

// aborting gives the leg up: the buckets stay at its start. What was copied is
// removed and the claim ended; a return that is given up leaves the move
// soaking as before. It may be entered again.
func (r *run) aborting(ctx context.Context) (State, error) {
	r.stopTail()
	r.crash("before_release", Aborting)
	if err := r.Map.Release(ctx, r.move.Record.Move); err != nil {
		return "", err
	}
	r.crash("after_release", Aborting)
	if r.move.Leg > 1 {
		if err := r.setRows(ctx, r.to, fence.Incoming, fence.Moved, r.token); err != nil {
			return "", err
		}
		r.move.Leg--
		return Soaking, nil
	}
	if err := r.removeRows(ctx, r.to, fence.Incoming, Aborting); err != nil {
		return "", err
	}
	r.crash("before_unclaim", Aborting)
	if err := r.setRows(ctx, r.to, fence.Incoming, fence.Moved, fence.Token{}); err != nil {
		return "", err
	}
	if err := r.setRows(ctx, r.from, fence.Active, fence.Active, fence.Token{}); err != nil {
		return "", err
	}
	if err := r.forget(ctx); err != nil {
		return "", err
	}
	r.crash("after_unclaim", Aborting)
	return Aborted, nil
}

// ours returns the buckets whose rows on a server are in a state and this
// run's.
func (r *run) ours(ctx context.Context, server *database.Server, state fence.State) ([]bucketmap.BucketID, error) {
	rows, err := fence.Rows(ctx, server.DB, r.move.Buckets)
	if err != nil {
		return nil, err
	}
	var buckets []bucketmap.BucketID
	for _, row := range rows {
		if row.State == state && row.Token == r.token {
			buckets = append(buckets, bucketmap.BucketID(row.Bucket))
		}
	}
	return buckets, nil
}

// setRows changes those of the move's rows on a server that are in a state and
// this run's. Rows that were changed before are left alone.
func (r *run) setRows(ctx context.Context, server *database.Server, from, to fence.State, token fence.Token) error {
	buckets, err := r.ours(ctx, server, from)
	if err != nil {
		return err
	}
	if err := r.inGroups(ctx, server, buckets, func(ctx context.Context, tx *sql.Tx, group []bucketmap.BucketID) error {
		return fence.TransitionWithin(ctx, tx, r.lockBound(), fence.Change{
			Buckets: group, From: from, FromToken: r.token, To: to, ToToken: token})
	}); err != nil {
		return fmt.Errorf("make the buckets %s on %s: %w", to, server.Name(), err)
	}
	return nil
}
