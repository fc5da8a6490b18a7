package move

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"

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

// removeRows deletes, in small transactions, the rows of those buckets whose
// fence row on a server is in a state and this run's; each transaction asserts
// that it still is.
func (r *run) removeRows(ctx context.Context, server *database.Server, state fence.State, during State) error {
	const chunk = 1000 // rows a transaction: a few milliseconds, and little lag for replicas
	// Buckets that were let go already have nothing left here.
	buckets, err := r.ours(ctx, server, state)
	if err != nil || len(buckets) == 0 {
		return err
	}
	for _, t := range r.tables {
		for _, segment := range segments(t, buckets) {
			for {
				var n int64
				r.crash("before_remove", during)
				err := database.InTx(ctx, server.DB, func(tx *sql.Tx) error {
					if err := r.assertRows(ctx, tx, buckets, state); err != nil {
						return err
					}
					res, err := tx.ExecContext(ctx, "DELETE FROM "+fence.Quote(t.Name)+" WHERE "+segment+" LIMIT "+strconv.Itoa(chunk))
					if err != nil {
						return err
					}
					n, err = res.RowsAffected()
					return err
				})
				if err != nil {
					return fmt.Errorf("remove rows of %s from %s: %w", t.Name, server.Name(), err)
				}
				r.crash("after_remove", during)
				r.report(Event{Move: r.move.Record.Move, State: during, Rows: n})
				if n < chunk {
					break
				}
			}
		}
	}
	return nil
}

// assertRows locks the buckets' rows and checks that none can be live here.
func (r *run) assertRows(ctx context.Context, tx *sql.Tx, buckets []bucketmap.BucketID, state fence.State) error {
	var n int
	err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM (SELECT state, move_id FROM "+fence.Table+" FORCE INDEX (PRIMARY) WHERE bucket IN ("+
		bucketList(buckets)+") LOCK IN SHARE MODE) AS f WHERE state <> ? OR move_id <> ?",
		string(state), r.token.String()).Scan(&n)
	if err != nil {
		return err
	}
	if n != 0 {
		return fmt.Errorf("%d buckets are not %s with move_id %s: %w", n, state, r.token, fence.ErrLostRow)
	}
	return nil
}
