package move

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"

	"drover/bucketmap"
	"drover/migrator/internal/binlog"
	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

// tailTable has, on the server that rows are applied to, how far a leg has
// come: the tail's position and the copy's cursor. Each is saved in the
// transaction that writes the rows, under the token of the run.
const tailTable = `CREATE TABLE IF NOT EXISTS drover_tail (
  move_id  VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  leg      INT UNSIGNED NOT NULL,
  token    VARCHAR(80) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  position VARCHAR(4000) CHARACTER SET ascii NOT NULL,
  progress LONGTEXT CHARACTER SET utf8mb4 NOT NULL,
  PRIMARY KEY (move_id, leg)
) ENGINE=InnoDB COMMENT='drover tail, schema 1'`

// CreateTables makes the table that this package keeps on each shard.
func CreateTables(ctx context.Context, q fence.Querier) error {
	if _, err := q.ExecContext(ctx, tailTable); err != nil {
		return fmt.Errorf("move: create tables: %w", err)
	}
	return nil
}

// ErrReplaced says that a newer run of the move writes these rows now.
var ErrReplaced = errors.New("another run of this move is writing")

// batch is what a transaction at the target will do: the last word on each
// row, since each row's last event wins.
type batch struct {
	tables  []*tableBatch
	byTable map[*database.Table]*tableBatch
	rows    int // changes of rows taken in
	bytes   int // of their images
	whole   int // transactions whose end is in it
	key     []byte
}

type tableBatch struct {
	table *database.Table
	rows  map[string]change
}

// change is the last word on one row; a nil row is a deletion.
type change struct {
	key binlog.Row // the primary key's values
	row binlog.Row
}

func newBatch() *batch { return &batch{byTable: map[*database.Table]*tableBatch{}} }

// add takes in one row change, as far as it concerns the buckets.
func (b *batch) add(c binlog.Change, mine func(*database.Table, binlog.Row) bool) {
	after := c.After != nil && mine(c.Table, c.After)
	// An update that changes the key, or takes the row to another bucket,
	// leaves nothing at the old place.
	stays := after && c.Before != nil && sameKey(c.Table, c.Before, c.After)
	if c.Before != nil && !stays && mine(c.Table, c.Before) {
		b.note(c.Table, c.Before, nil)
	}
	if after {
		b.note(c.Table, c.After, c.After)
	}
}

func sameKey(t *database.Table, a, b binlog.Row) bool {
	for _, column := range t.Primary {
		if !sameValue(a[column], b[column]) {
			return false
		}
	}
	return true
}

// note makes image the last word on the row that has the key of row.
func (b *batch) note(t *database.Table, row, image binlog.Row) {
	tb, ok := b.byTable[t]
	if !ok {
		tb = &tableBatch{table: t, rows: map[string]change{}}
		b.byTable[t] = tb
		b.tables = append(b.tables, tb)
	}
	key := keyOf(t, row)
	b.key = appendKey(b.key[:0], key)
	tb.rows[string(b.key)] = change{key: key, row: image}
	b.rows++
	for _, v := range image {
		if text, ok := v.([]byte); ok {
			b.bytes += len(text)
		}
	}
}

// empty says whether there is nothing to write.
func (b *batch) empty() bool { return len(b.tables) == 0 }

// keyOf returns the values of the primary key.
func keyOf(t *database.Table, row binlog.Row) binlog.Row {
	key := make(binlog.Row, len(t.Primary))
	for i, column := range t.Primary {
		key[i] = row[column]
	}
	return key
}

// appendKey writes each value with its length, so that no two keys read alike.
// A number is its text: keys come as text from a SELECT, as numbers from a row
// event.
func appendKey(dst []byte, key binlog.Row) []byte {
	var number [32]byte
	for _, v := range key {
		text, ok := v.([]byte)
		if !ok && v != nil {
			text = appendText(number[:0], v)
		}
		dst = strconv.AppendInt(dst, int64(len(text)), 10)
		dst = append(append(dst, ':'), text...)
	}
	return dst
}

// own asserts, and locks until the transaction ends, that this run still
// writes the leg, and saves what changed of position and progress. Both may be
// empty to leave them.
func own(ctx context.Context, tx *sql.Tx, move bucketmap.MoveID, leg int, token fence.Token, position, progress string) error {
	res, err := tx.ExecContext(ctx, "UPDATE drover_tail SET position = IF(? = '', position, ?), progress = IF(? = '', progress, ?) "+
		"WHERE move_id = ? AND leg = ? AND token = ?",
		position, position, progress, progress, string(move), leg, token.String())
	if err != nil {
		return fmt.Errorf("save the position: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil {
		return fmt.Errorf("save the position: %w", err)
	} else if n != 1 {
		return ErrReplaced
	}
	return nil
}

// inBuckets gives a test of whether a row belongs to the move.
func inBuckets(buckets Buckets, tables []*database.Table) func(*database.Table, binlog.Row) bool {
	mine := inBucket(buckets)
	columns := map[*database.Table]int{}
	for _, t := range tables {
		columns[t] = t.Index(t.Column())
	}
	return func(t *database.Table, row binlog.Row) bool { return mine(t, row[columns[t]]) }
}

// inBucket gives a test of whether a row belongs to the move, by the value of
// the deciding column.
func inBucket(buckets Buckets) func(t *database.Table, deciding any) bool {
	member := make(map[bucketmap.BucketID]struct{}, len(buckets))
	for _, b := range buckets {
		member[b] = struct{}{}
	}
	return func(t *database.Table, deciding any) bool {
		b, ok := bucketOf(t, deciding)
		if !ok {
			return false
		}
		_, mine := member[b]
		return mine
	}
}

// bucketOf reads the bucket of a row from the value of the deciding column. A
// NULL has no bucket.
func bucketOf(t *database.Table, v any) (bucketmap.BucketID, bool) {
	if v == nil {
		return 0, false
	}
	if t.BucketColumn != "" {
		switch v := v.(type) {
		case int64:
			return bucketmap.BucketID(v), v >= 0 && v < int64(t.Buckets)
		case uint64:
			return bucketmap.BucketID(v), v < uint64(t.Buckets)
		}
		return 0, false
	}
	switch v := v.(type) {
	case []byte:
		return bucketmap.Bucket(v, t.Buckets), true
	default:
		// CRC32 of a number is that of its text.
		return bucketmap.Bucket(appendText(nil, v), t.Buckets), true
	}
}
