package move

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"drover/bucketmap"
	"drover/migrator/internal/database"
	"drover/migrator/internal/machine"
	"drover/migrator/internal/throttle"
	"drover/shardlib/fence"
)

// What the copy reads, and why it converges.
//
// Before anything is read, the source's position is noted by a barrier: every
// transaction up to it is visible to every later SELECT. The chunks are then
// read at moments of their own, each as the server's rows are then, and the tail
// applies all row events since the position. A row that has no event since then
// was read as it is, whenever that was; every other row ends as its last event
// left it, in the chunk or not. So the copy needs no snapshot: one would make
// it read all rows as of the position, but the tail would have exactly the same
// events to apply, while the source kept old versions of every row for as long
// as the copy takes. A global lock to note the position is not needed either.
//
// The cursor is saved in the transaction that writes the chunk, under the run's
// token (copier.go). What has been read and not written is read again by the
// next run.

// copying claims the buckets at both ends, notes the position and copies all
// rows. It may be entered again after a death at any place in it.
func (r *run) copying(ctx context.Context) (State, error) {
	if err := r.claim(ctx); err != nil {
		return "", err
	}
	at, err := r.resumeCopy(ctx)
	if err != nil {
		return "", err
	}
	if at == nil {
		if at, err = r.beginCopy(ctx); err != nil {
			return "", err
		}
	}
	err = r.throttled(ctx, func(t *throttle.Throttle) error { return r.copyFrom(ctx, t, *at) })
	if err != nil {
		return "", err
	}
	return Tailing, nil
}

// claim puts this run's token on the buckets' rows at the source, where they
// must be active, so that no other move can take them.
func (r *run) claim(ctx context.Context) error {
	r.crash("before_claim", Copying)
	rows, err := fence.Rows(ctx, r.from.DB, r.move.Buckets)
	if err != nil {
		return err
	}
	var free []bucketmap.BucketID
	for _, row := range rows {
		switch {
		case row.State != fence.Active || row.Token != r.token && row.Token.Move != "":
			return fmt.Errorf("bucket %d is %s on %s, with move_id %q: %w: is it in another move?",
				row.Bucket, row.State, r.from.Name(), row.Token, fence.ErrLostRow)
		case row.Token.Move == "":
			free = append(free, bucketmap.BucketID(row.Bucket))
		}
	}
	if len(rows) != len(r.move.Buckets) {
		return fmt.Errorf("%d of %d buckets have a fence row on %s: %w; run migrator init", len(rows), len(r.move.Buckets), r.from.Name(), fence.ErrLostRow)
	}
	err = r.inGroups(ctx, r.from, free, func(ctx context.Context, tx *sql.Tx, group []bucketmap.BucketID) error {
		if err := fence.WantShardFree(ctx, tx); err != nil {
			return err
		}
		return fence.TransitionWithin(ctx, tx, r.lockBound(), fence.Change{
			Buckets: group, From: fence.Active, To: fence.Active, ToToken: r.token})
	})
	r.crash("after_claim", Copying)
	return err
}

// lockGroup is how many buckets' rows are changed at once where it need not be
// all of them: the more rows, the rarer the moment in which no writer has one.
const lockGroup = 16

// inGroups changes rows of buckets, a group in a transaction, waiting for
// writers' locks no longer than a freeze may, and again until it succeeds.
func (r *run) inGroups(ctx context.Context, server *database.Server, buckets []bucketmap.BucketID,
	change func(context.Context, *sql.Tx, []bucketmap.BucketID) error) error {
	for group := range slices.Chunk(buckets, lockGroup) {
		if err := r.patiently(ctx, func() error {
			return database.InTx(ctx, server.DB, func(tx *sql.Tx) error { return change(ctx, tx, group) })
		}); err != nil {
			return err
		}
	}
	return nil
}

// lockBound is the prefix for statements that may wait for writers' locks.
func (r *run) lockBound() string {
	return database.WithinMillis(int(r.Limits.FreezeLock.Milliseconds()))
}

// patiently repeats what failed for want of a lock, and says that it waits.
func (r *run) patiently(ctx context.Context, f func() error) error {
	return r.patientlyTelling(ctx, r.report, f)
}

func (r *run) patientlyTelling(ctx context.Context, tell func(Event), f func() error) error {
	return machine.Patiently(ctx, r.Limits.Backoff, r.Limits.BackoffMax, database.TimedOut, func(try int) {
		tell(Event{Move: r.move.Record.Move, State: r.move.State(),
			Note: fmt.Sprintf("waiting, try %d: an open transaction has the buckets' rows", try)})
	}, f)
}

// resumeCopy returns the cursor of a copy that was begun, nil when none was.
func (r *run) resumeCopy(ctx context.Context) (*cursor, error) {
	var progress string
	err := r.to.DB.QueryRowContext(ctx, "SELECT progress FROM drover_tail WHERE move_id = ? AND leg = ?",
		string(r.move.Record.Move), r.move.Leg).Scan(&progress)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the copy's progress on %s: %w", r.to.Name(), err)
	}
	at := &cursor{}
	if err := json.Unmarshal([]byte(progress), at); err != nil {
		return nil, fmt.Errorf("the copy's progress on %s: %w", r.to.Name(), err)
	}
	return at, nil
}

// beginCopy notes the source's position, and writes the incoming rows and the
// tail's start at the target.
func (r *run) beginCopy(ctx context.Context) (*cursor, error) {
	position, err := r.barrier(ctx)
	if err != nil {
		return nil, err
	}
	at := &cursor{}
	progress, err := json.Marshal(at)
	if err != nil {
		return nil, err
	}
	r.crash("before_incoming", Copying)
	err = database.InTx(ctx, r.to.DB, func(tx *sql.Tx) error {
		if err := r.writeIncoming(ctx, tx); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO drover_tail (move_id, leg, token, position, progress) VALUES (?, ?, ?, ?, ?)",
			string(r.move.Record.Move), r.move.Leg, r.token.String(), position.String(), string(progress))
		return err
	})
	r.crash("after_incoming", Copying)
	if err != nil {
		return nil, fmt.Errorf("write incoming rows on %s: %w", r.to.Name(), err)
	}
	return at, nil
}

// writeIncoming makes the buckets' rows at the target incoming, with the epoch
// that they will have there. A bucket that lived there before has a row that
// is moved; any other state means that somebody else has it.
func (r *run) writeIncoming(ctx context.Context, tx *sql.Tx) error {
	if err := fence.WantShardFree(ctx, tx); err != nil {
		return err
	}
	there, err := fence.Rows(ctx, tx, r.move.Buckets)
	if err != nil {
		return err
	}
	for _, row := range there {
		if row.State != fence.Moved || row.Token.Move != "" && row.Token.Move != r.move.Record.Move {
			return fmt.Errorf("bucket %d is %s there, with move_id %q: %w", row.Bucket, row.State, row.Token, fence.ErrLostRow)
		}
	}
	here, err := fence.Rows(ctx, r.from.DB, r.move.Buckets)
	if err != nil {
		return err
	}
	for len(here) != 0 {
		n := min(len(here), statementRows)
		var values []string
		for _, row := range here[:n] {
			values = append(values, fmt.Sprintf("(%d,'%s',%d,'%s')", row.Bucket, fence.Incoming, row.Epoch+1, r.token))
		}
		if _, err := tx.ExecContext(ctx, "REPLACE INTO "+fence.Table+" (bucket, state, epoch, move_id) VALUES "+strings.Join(values, ",")); err != nil {
			return err
		}
		here = here[n:]
	}
	return nil
}
