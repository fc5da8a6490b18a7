package move

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"drover/bucketmap"
	"drover/migrator/internal/binlog"
	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

// ErrInTheWay says that a row which a repair would have to replace belongs to
// somebody else.
var ErrInTheWay = errors.New("a row that is not the move's is in the way")

// Repair compares the two ends and, when confirm has agreed to what it found,
// makes the end that is not the home like the home. It returns the comparison
// after that.
//
// The tail is stopped while rows are written, and goes on from where it was: a
// row is read at its home after that position, so that whatever changed it since
// is applied to it again, in order; as with a copied row, the last event wins.
// Each transaction asserts that the run still has the move and that the buckets
// are not active where it writes.
//
// Repair is refused with journal.ErrLocked while another process runs the move.
func (e *Engine) Repair(ctx context.Context, m *Move, who, why string, confirm func(*Comparison) error) (*Comparison, error) {
	return e.verifyOwn(ctx, m, func(r *run) (*Comparison, error) {
		found, err := r.compareMove(ctx, nil, r.caughtUp)
		if err != nil || found.Outcome != Differs {
			return found, err
		}
		if err := confirm(found); err != nil {
			return found, err
		}
		if err := r.noteRepair(ctx, m, fmt.Sprintf("repair of %d rows on %s by %s: %s", len(found.Differ), r.to.Shard, who, why)); err != nil {
			return nil, err
		}
		if err := r.repair(ctx, found, m.State()); err != nil {
			return nil, err
		}
		if err := r.startTail(ctx); err != nil {
			return nil, err
		}
		after, err := r.compareMove(ctx, nil, r.caughtUp)
		if err != nil {
			return nil, err
		}
		return after, r.noteRepair(ctx, m, fmt.Sprintf("repaired: %d rows differ now", len(after.Differ)))
	})
}

// noteRepair writes a line to the journal; the move stays in its state. The run
// may be set up for the leg back, which the journal does not know.
func (r *run) noteRepair(ctx context.Context, m *Move, note string) error {
	if err := r.journal.Write(ctx, m.Record, note); err != nil {
		return err
	}
	r.report(Event{Move: m.Record.Move, State: m.State(), Note: note})
	return nil
}

// repair deletes every row that differs first, and then writes those that are at
// the home: so that rows which exchanged a unique value are not in one
// another's way.
func (r *run) repair(ctx context.Context, found *Comparison, during State) error {
	r.stopTail()
	// The tail may have applied what is not to be seen at the home yet.
	if _, err := r.barrier(ctx); err != nil {
		return err
	}
	for _, write := range []bool{false, true} {
		for _, t := range r.tables {
			for keys := range slices.Chunk(found.keysToRepair(t, write), keysStatement) {
				r.crash("before_repair", during)
				err := r.patiently(ctx, func() error { return r.repairKeys(ctx, t, keys, write) })
				if err != nil {
					return fmt.Errorf("repair rows of %s on %s: %w", t.Name, r.to.Name(), err)
				}
				r.crash("after_repair", during)
			}
		}
	}
	return nil
}

// repairKeys deletes the rows with these keys at the other end or, with write,
// writes them as they are at the home, in one transaction.
func (r *run) repairKeys(ctx context.Context, t *database.Table, keys []binlog.Row, write bool) error {
	var rows [][]any
	if write {
		var err error
		if rows, err = r.readRows(ctx, t, keys); err != nil || len(rows) == 0 {
			return err
		}
	}
	return database.InTx(ctx, r.to.DB, func(tx *sql.Tx) error {
		if err := own(ctx, tx, r.move.Record.Move, r.move.Leg, r.token, "", ""); err != nil {
			return err
		}
		if err := r.assertAway(ctx, tx, r.move.Buckets); err != nil {
			return err
		}
		if write {
			return insertRows(ctx, tx, t, rows)
		}
		if err := r.wantNobodys(ctx, tx, t, keys); err != nil {
			return err
		}
		_, err := deleteKeys(ctx, tx, t, keys, nil)
		return err
	})
}

// assertAway locks the buckets' rows at the far end and checks that none is live
// there.
func (r *run) assertAway(ctx context.Context, tx *sql.Tx, buckets Buckets) error {
	var n int
	err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM (SELECT state, move_id FROM "+fence.Table+" FORCE INDEX (PRIMARY) WHERE bucket IN ("+
		bucketList(buckets)+") LOCK IN SHARE MODE) AS f WHERE state IN (?, ?) AND move_id = ?",
		string(fence.Moved), string(fence.Incoming), r.token.String()).Scan(&n)
	if err != nil {
		return err
	}
	if n != len(buckets) {
		return fmt.Errorf("%d of %d buckets are moved or incoming with move_id %s on %s: %w", n, len(buckets), r.token, r.to.Name(), fence.ErrLostRow)
	}
	return nil
}

// wantNobodys refuses keys whose rows at the far end are another bucket's that
// lives there: deleting them would lose somebody's data. A row whose bucket
// column was spoilt, and is in no bucket that lives there, may go.
func (r *run) wantNobodys(ctx context.Context, tx *sql.Tx, t *database.Table, keys []binlog.Row) error {
	others, err := r.otherBuckets(ctx, tx, t, keys)
	if err != nil || len(others) == 0 {
		return err
	}
	theirs, err := tx.QueryContext(ctx, "SELECT bucket, state FROM "+fence.Table+" FORCE INDEX (PRIMARY) WHERE bucket IN ("+
		bucketList(others)+") LOCK IN SHARE MODE")
	if err != nil {
		return err
	}
	defer theirs.Close()
	for theirs.Next() {
		var b int64
		var state fence.State
		if err := theirs.Scan(&b, &state); err != nil {
			return err
		}
		if state != fence.Moved {
			return fmt.Errorf("%w: table %s on %s has a row with the same key in bucket %d, which is %s there: one of the two keys must change, by hand",
				ErrInTheWay, t.Name, r.to.Name(), b, state)
		}
	}
	return theirs.Err()
}

// otherBuckets are those of the rows with these keys that are not the move's. A
// value that is no bucket is in none.
func (r *run) otherBuckets(ctx context.Context, tx *sql.Tx, t *database.Table, keys []binlog.Row) ([]bucketmap.BucketID, error) {
	where, args := atKeys(t, keys)
	rows, err := tx.QueryContext(ctx, "SELECT DISTINCT "+t.Expr("", t.Buckets)+" FROM "+fence.Quote(t.Name)+" WHERE "+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var others []bucketmap.BucketID
	for rows.Next() {
		var b sql.NullInt64
		if err := rows.Scan(&b); err != nil {
			return nil, err
		}
		id := bucketmap.BucketID(b.Int64)
		if b.Valid && b.Int64 >= 0 && b.Int64 < int64(t.Buckets) && !slices.Contains(r.move.Buckets, id) {
			others = append(others, id)
		}
	}
	return others, rows.Err()
}

// readRows reads the rows with these keys at the home, of the move's buckets
// alone, as they are to be written.
func (r *run) readRows(ctx context.Context, t *database.Table, keys []binlog.Row) ([][]any, error) {
	written := t.Written()
	names := make([]string, len(written))
	for i, column := range written {
		names[i] = t.Columns[column].Read()
	}
	where, args := atKeys(t, keys)
	rows, err := r.from.DB.QueryContext(ctx, "SELECT "+strings.Join(names, ",")+" FROM "+fence.Quote(t.Name)+" WHERE "+where+
		" AND "+t.Expr("", t.Buckets)+" IN ("+bucketList(r.move.Buckets)+")", args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all [][]any
	for rows.Next() {
		values := make([]sql.RawBytes, len(names))
		scan := make([]any, len(names))
		for i := range values {
			scan[i] = &values[i]
		}
		if err := rows.Scan(scan...); err != nil {
			return nil, err
		}
		row := make([]any, len(values))
		for i, v := range values {
			if v != nil {
				row[i] = slices.Clone([]byte(v))
			}
		}
		all = append(all, row)
	}
	return all, rows.Err()
}

// insertRows writes rows one by one: they are few, and may be wide. Not REPLACE,
// which would delete whatever other row has a unique value.
func insertRows(ctx context.Context, tx *sql.Tx, t *database.Table, rows [][]any) error {
	written := t.Written()
	names := make([]string, len(written))
	for i, column := range written {
		names[i] = fence.Quote(t.Columns[column].Name)
	}
	insert := "INSERT INTO " + fence.Quote(t.Name) + " (" + strings.Join(names, ",") + ") VALUES (?" + strings.Repeat(",?", len(written)-1) + ")"
	for _, row := range rows {
		if _, err := tx.ExecContext(ctx, insert, row...); err != nil {
			const erDuplicate = 1062
			if number, ok := database.ErrorNumber(err); ok && number == erDuplicate {
				return fmt.Errorf("%w: %w", ErrInTheWay, err)
			}
			return err
		}
	}
	return nil
}
