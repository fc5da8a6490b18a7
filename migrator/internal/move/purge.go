package move

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"drover/bucketmap"
	"drover/internal/pause"
	"drover/migrator/internal/binlog"
	"drover/migrator/internal/database"
	"drover/migrator/internal/throttle"
	"drover/shardlib/fence"
)

const (
	// A transaction of the purge removes removeFirst rows at first, and then what
	// takes Limits.ChunkTime, between removeLeast and removeMost: a few
	// milliseconds of locks, and little lag for replicas.
	removeFirst = 500
	removeLeast = 50
	removeMost  = 5000
	// removeStatement bounds one statement of the purge.
	removeStatement = 10 * time.Second
	// removeRest bounds the pause after each transaction, which is as long as the
	// transaction took: so the purge has half of one connection's time at most.
	removeRest = 500 * time.Millisecond
)

// pacer says when the next rows may be written.
type pacer interface {
	Wait(ctx context.Context, rows int) error
}

// removal deletes the rows of buckets from a server where they are not live.
type removal struct {
	*run
	server  *database.Server
	buckets []bucketmap.BucketID
	state   fence.State // of the buckets' rows there
	during  State
	pace    pacer
	rows    int64 // deleted so far
	last    int64 // deleted by the last transaction
	size    int   // of the next transaction
}

// removeRows deletes, in small transactions, the rows of those buckets whose
// fence row on a server is in a state and this run's; each transaction locks
// those rows and asserts that they still are. It may be interrupted and begun
// again at any place.
func (r *run) removeRows(ctx context.Context, server *database.Server, state fence.State, during State) error {
	// Buckets that were let go already have nothing left here.
	buckets, err := r.ours(ctx, server, state)
	if err != nil || len(buckets) == 0 {
		return err
	}
	d := &removal{run: r, server: server, buckets: buckets, state: state, during: during, size: removeFirst}
	return r.throttled(ctx, func(t *throttle.Throttle) error {
		d.pace = t
		for _, t := range r.tables {
			for _, p := range sectionsOf(t, buckets) {
				if err := d.section(ctx, p); err != nil {
					return fmt.Errorf("remove rows of %s from %s: %w", t.Name, server.Name(), err)
				}
			}
		}
		return nil
	})
}

// section removes the rows of one section of a table, in the order of its key. It
// reads keys without a lock and deletes by them: a DELETE that may choose its
// own way can choose to look at every row, and would wait for the locks of users
// who live here, and they for its own.
func (d *removal) section(ctx context.Context, p section) error {
	var after *place
	for {
		end, err := p.nth(ctx, d.server, after, nil, d.size)
		if err != nil {
			return err
		}
		where, args := p.condition(after, end, false)
		keys, err := keysWhere(ctx, d.server, p.table, where, args)
		if err != nil {
			return err
		}
		for chunk := range slices.Chunk(keys, removeMost) {
			if err := d.chunk(ctx, p.table, chunk); err != nil {
				return err
			}
		}
		if end == nil {
			return nil
		}
		after = end
	}
}

// keysWhere reads the keys of the rows that a condition chooses.
func keysWhere(ctx context.Context, server *database.Server, t *database.Table, where string, args []any) ([]binlog.Row, error) {
	names := make([]string, len(t.Primary))
	for i, c := range t.Primary {
		names[i] = t.Columns[c].Read()
	}
	rows, err := server.DB.QueryContext(ctx, "SELECT "+strings.Join(names, ",")+" FROM "+fence.Quote(t.Name)+" WHERE "+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var keys []binlog.Row
	for rows.Next() {
		values := make([][]byte, len(names))
		scan := make([]any, len(names))
		for i := range values {
			scan[i] = &values[i]
		}
		if err := rows.Scan(scan...); err != nil {
			return nil, err
		}
		key := make(binlog.Row, len(values))
		for i, v := range values {
			key[i] = v
		}
		keys = append(keys, key)
	}
	return keys, rows.Err()
}

// chunk is one transaction: it asserts, deletes, and rests.
func (d *removal) chunk(ctx context.Context, t *database.Table, keys []binlog.Row) error {
	if err := d.pace.Wait(ctx, int(d.last)); err != nil {
		return err
	}
	d.crash("before_remove", d.during)
	began := time.Now()
	var n int64
	var deleting time.Duration
	err := d.patiently(ctx, func() error {
		return database.InTx(ctx, d.server.DB, func(tx *sql.Tx) (err error) {
			if err := d.assertRows(ctx, tx, d.buckets, d.state); err != nil {
				return err
			}
			began := time.Now()
			n, err = deleteKeys(ctx, tx, t, keys, d.buckets)
			deleting = time.Since(began)
			return err
		})
	})
	if err != nil {
		return err
	}
	d.crash("after_remove", d.during)
	took := time.Since(began)
	d.last = n
	d.rows += n
	// The way to a distant server and its commit take as long for few rows as for
	// many. A chunk that the section's end made short says nothing of longer ones.
	if size := resize(d.size, deleting, d.Limits.ChunkTime, removeLeast, removeMost); size < d.size || len(keys) >= d.size {
		d.size = size
	}
	d.report(Event{Move: d.move.Record.Move, State: d.during, Rows: d.rows})
	return pause.For(ctx, min(took, removeRest))
}

// deleteKeys deletes the rows with these keys, if they are in one of the
// buckets; nil is any. It finds each by the primary key and locks no other row:
// a plain DELETE with a list of keys may look at every row of a small table, and
// then waits for the locks of users who live there.
func deleteKeys(ctx context.Context, tx *sql.Tx, t *database.Table, keys []binlog.Row, buckets Buckets) (n int64, err error) {
	chosen, on := make([]string, len(t.Primary)), make([]string, len(t.Primary))
	for i, column := range t.Primary {
		c := t.Columns[column]
		chosen[i] = c.Param() + " AS k" + strconv.Itoa(i)
		on[i] = "t." + fence.Quote(c.Name) + " = chosen.k" + strconv.Itoa(i)
	}
	one, where := "SELECT "+strings.Join(chosen, ","), ""
	if buckets != nil {
		where = " WHERE (" + t.Expr("t.", t.Buckets) + "+0) IN (" + bucketList(buckets) + ")"
	}
	for group := range slices.Chunk(keys, keysStatement) {
		var args []any
		for _, key := range group {
			for _, v := range key {
				args = append(args, plainValue(v))
			}
		}
		res, err := tx.ExecContext(ctx, database.WithinMillis(int(removeStatement.Milliseconds()))+"DELETE t FROM ("+
			one+strings.Repeat(" UNION ALL "+one, len(group)-1)+") AS chosen STRAIGHT_JOIN "+fence.Quote(t.Name)+
			" AS t FORCE INDEX (PRIMARY) ON "+strings.Join(on, " AND ")+where, args...)
		if err != nil {
			return 0, err
		}
		deleted, err := res.RowsAffected()
		if err != nil {
			return 0, err
		}
		n += deleted
	}
	return n, nil
}

// assertRows locks the buckets' rows and checks that none can be live here: that
// each is there, in the state, with this run's token.
func (r *run) assertRows(ctx context.Context, tx *sql.Tx, buckets []bucketmap.BucketID, state fence.State) error {
	var n int
	err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM (SELECT state, move_id FROM "+fence.Table+" FORCE INDEX (PRIMARY) WHERE bucket IN ("+
		bucketList(buckets)+") LOCK IN SHARE MODE) AS f WHERE state = ? AND move_id = ?",
		string(state), r.token.String()).Scan(&n)
	if err != nil {
		return err
	}
	if n != len(buckets) {
		return fmt.Errorf("%d of %d buckets are %s with move_id %s: %w", n, len(buckets), state, r.token, fence.ErrLostRow)
	}
	return nil
}
