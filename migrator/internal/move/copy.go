package move

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"drover/bucketmap"
	"drover/migrator/internal/binlog"
	"drover/migrator/internal/database"
	"drover/migrator/internal/machine"
	"drover/shardlib/fence"
)

const (
	// chunkFirst is the first chunk in rows; each later one is sized by the
	// time that the one before it took, between chunkMin and chunkMax.
	chunkFirst = 500
	chunkMin   = 50
	chunkMax   = 10_000
	// chunkBytes ends a chunk of wide rows early: what is read is in memory.
	chunkBytes = 8 << 20
)

// cursor is how far the copy has come, saved with each chunk.
type cursor struct {
	Table   int      `json:"table"`   // index in the configuration's order
	Segment int      `json:"segment"` // index in segments
	After   [][]byte `json:"after"`   // primary key of the last row, as text
	Rows    int64    `json:"rows"`
}

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
	mine := inBuckets(r.move.Buckets, r.tables)
	size := chunkFirst
	for at.Table < len(r.tables) {
		began := time.Now()
		n, err := r.copyChunk(ctx, at, size, mine)
		if err != nil {
			return "", err
		}
		size = nextChunk(size, n, time.Since(began), r.Limits.ChunkTime)
		r.report(Event{Move: r.move.Record.Move, State: Copying, Rows: at.Rows})
	}
	return Tailing, nil
}

// nextChunk halves or doubles the size when a full chunk took much more or
// less than wanted.
func nextChunk(size, copied int, took, want time.Duration) int {
	switch {
	case took > want*3/2:
		return max(chunkMin, size/2)
	case took < want*2/3 && copied >= size:
		return min(chunkMax, size*2)
	default:
		return size
	}
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
	return machine.Patiently(ctx, r.Limits.Backoff, r.Limits.BackoffMax, database.TimedOut, func(try int) {
		r.report(Event{Move: r.move.Record.Move, State: r.move.State(),
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

// segments are the conditions that the copy of a table goes through one after
// the other: a bucket each where an index finds it, else all at once.
func segments(t *database.Table, buckets []bucketmap.BucketID) []string {
	if t.Indexed {
		s := make([]string, len(buckets))
		for i, b := range buckets {
			s[i] = fence.Quote(t.BucketColumn) + " = " + strconv.FormatUint(uint64(b), 10)
		}
		return s
	}
	return []string{t.Expr("", t.Buckets) + " IN (" + bucketList(buckets) + ")"}
}

func bucketList(buckets []bucketmap.BucketID) string {
	words := make([]string, len(buckets))
	for i, b := range buckets {
		words[i] = strconv.FormatUint(uint64(b), 10)
	}
	return strings.Join(words, ",")
}

// copyChunk copies up to size rows from the cursor on, and moves the cursor.
func (r *run) copyChunk(ctx context.Context, at *cursor, size int, mine func(*database.Table, binlog.Row) bool) (int, error) {
	t := r.tables[at.Table]
	parts := segments(t, r.move.Buckets)
	rows, last, err := r.readChunk(ctx, t, parts[at.Segment], at.After, size)
	if err != nil {
		return 0, fmt.Errorf("read rows of %s from %s: %w", t.Name, r.from.Name(), err)
	}
	next := *at
	next.Rows += int64(len(rows))
	next.After = last
	if last == nil { // the segment is through
		next.Segment++
		if next.Segment == len(parts) {
			next.Segment, next.Table = 0, next.Table+1
		}
	}
	progress, err := json.Marshal(next)
	if err != nil {
		return 0, err
	}
	b := newBatch()
	for _, row := range rows {
		b.add(binlog.Change{Table: t, After: row}, func(binlog.Row) bool { return true }, func(*database.Table, binlog.Row) {})
	}
	r.crash("before_chunk", Copying)
	err = r.patiently(ctx, func() error {
		return database.InTx(ctx, r.to.DB, func(tx *sql.Tx) error {
			if err := own(ctx, tx, r.move.Record.Move, r.move.Leg, r.token, "", string(progress)); err != nil {
				return err
			}
			return b.write(ctx, tx)
		})
	})
	if err != nil {
		return 0, fmt.Errorf("write rows of %s to %s: %w", t.Name, r.to.Name(), err)
	}
	r.crash("after_chunk", Copying)
	*at = next
	return len(rows), nil
}

// readChunk reads rows in the order of the primary key, after a key. last is
// the key to go on after, nil when there are no more.
func (r *run) readChunk(ctx context.Context, t *database.Table, segment string, after [][]byte, size int) (all []binlog.Row, last [][]byte, err error) {
	written := t.Written()
	names := make([]string, 0, len(written)+len(t.Primary))
	for _, i := range written {
		names = append(names, t.Columns[i].Read())
	}
	order := make([]string, len(t.Primary))
	for i, c := range t.Primary {
		order[i] = fence.Quote(t.Columns[c].Name)
		names = append(names, t.Columns[c].Read())
	}
	where, args := segment, []any(nil)
	if after != nil {
		var cond string
		cond, args = afterKey(t, after)
		where += " AND (" + cond + ")"
	}
	rows, err := r.from.DB.QueryContext(ctx, "SELECT "+strings.Join(names, ",")+" FROM "+fence.Quote(t.Name)+
		" WHERE "+where+" ORDER BY "+strings.Join(order, ",")+" LIMIT "+strconv.Itoa(size), args...)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	values := make([]sql.RawBytes, len(names))
	scan := make([]any, len(names))
	for i := range values {
		scan[i] = &values[i]
	}
	bytes := 0
	more := false
	for rows.Next() {
		if err := rows.Scan(scan...); err != nil {
			return nil, nil, err
		}
		row := make(binlog.Row, len(t.Columns))
		for i, column := range written {
			if values[i] != nil {
				text := append([]byte{}, values[i]...)
				row[column] = text
				bytes += len(text)
			}
		}
		last = last[:0]
		for i, column := range t.Primary {
			text := append([]byte{}, values[len(written)+i]...)
			last = append(last, text)
			row[column] = text
		}
		all = append(all, row)
		if len(all) == size || bytes >= chunkBytes {
			more = true
			break
		}
	}
	if err := rows.Err(); err != nil {
		return nil, nil, err
	}
	if !more {
		last = nil
	}
	return all, last, nil
}

// afterKey is the condition for keys after one, spelt out because servers find
// no index range in a comparison of rows: a > ? OR (a = ? AND b > ?).
func afterKey(t *database.Table, after [][]byte) (cond string, args []any) {
	var ors []string
	for i := range t.Primary {
		var ands []string
		for j := 0; j <= i; j++ {
			c := t.Columns[t.Primary[j]]
			op := " = "
			if j == i {
				op = " > "
			}
			ands = append(ands, fence.Quote(c.Name)+op+c.Param())
			args = append(args, after[j])
		}
		ors = append(ors, "("+strings.Join(ands, " AND ")+")")
	}
	return strings.Join(ors, " OR "), args
}
