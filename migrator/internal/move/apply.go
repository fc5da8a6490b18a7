package move

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

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

const (
	// statementRows and statementBytes bound one statement. MariaDB's default
	// max_allowed_packet is 16 MiB; one row alone may be larger than
	// statementBytes.
	statementRows  = 500
	statementBytes = 1 << 20
	// deleteRows bounds the keys of one DELETE, which the server turns into a
	// list of ranges.
	deleteRows = 200
)

// ErrReplaced says that a newer run of the move writes these rows now.
var ErrReplaced = errors.New("another run of this move is writing")

// batch is what a transaction at the target will do: the last word on each
// row, since each row's last event wins.
type batch struct {
	tables []*tableBatch
	byName map[string]*tableBatch
	rows   int
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

func newBatch() *batch { return &batch{byName: map[string]*tableBatch{}} }

// add takes in one row change, as far as it concerns the buckets.
func (b *batch) add(c binlog.Change, mine func(binlog.Row) bool, touched func(*database.Table, binlog.Row)) {
	note := func(row binlog.Row, image binlog.Row) {
		key := keyOf(c.Table, row)
		b.of(c.Table).rows[keyText(key)] = change{key: key, row: image}
		b.rows++
		touched(c.Table, key)
	}
	// An update that changes the key, or takes the row to another bucket,
	// leaves nothing at the old place.
	if c.Before != nil && mine(c.Before) {
		note(c.Before, nil)
	}
	if c.After != nil && mine(c.After) {
		note(c.After, c.After)
	}
}

func (b *batch) of(t *database.Table) *tableBatch {
	tb, ok := b.byName[t.Name]
	if !ok {
		tb = &tableBatch{table: t, rows: map[string]change{}}
		b.byName[t.Name] = tb
		b.tables = append(b.tables, tb)
	}
	return tb
}

// keyOf returns the values of the primary key.
func keyOf(t *database.Table, row binlog.Row) binlog.Row {
	key := make(binlog.Row, len(t.Primary))
	for i, column := range t.Primary {
		key[i] = row[column]
	}
	return key
}

// keyText is a key as a map's key. Keys that a collation holds equal are
// different here: that is no harm, deletions are executed before insertions.
func keyText(key binlog.Row) string {
	var b strings.Builder
	for _, v := range key {
		var text []byte
		switch v := v.(type) {
		case []byte:
			text = v
		default:
			text = fmt.Append(nil, v)
		}
		fmt.Fprintf(&b, "%d:%s", len(text), text)
	}
	return b.String()
}

// write executes the batch in tx, all deletions of a table before its
// replacements.
func (b *batch) write(ctx context.Context, tx *sql.Tx) error {
	for _, tb := range b.tables {
		var deleted []binlog.Row
		var replaced []binlog.Row
		for _, c := range tb.rows {
			if c.row == nil {
				deleted = append(deleted, c.key)
			} else {
				replaced = append(replaced, c.row)
			}
		}
		if err := deleteRowsOf(ctx, tx, tb.table, deleted); err != nil {
			return err
		}
		if err := replaceRows(ctx, tx, tb.table, replaced); err != nil {
			return err
		}
	}
	return nil
}

func deleteRowsOf(ctx context.Context, tx *sql.Tx, t *database.Table, keys []binlog.Row) error {
	for len(keys) != 0 {
		n := min(len(keys), deleteRows)
		where, args := whereKeys(t, keys[:n])
		if _, err := tx.ExecContext(ctx, "DELETE FROM "+fence.Quote(t.Name)+" WHERE "+where, args...); err != nil {
			return fmt.Errorf("delete from %s: %w", t.Name, err)
		}
		keys = keys[n:]
	}
	return nil
}

// whereKeys is a condition that is true for the rows with these keys.
func whereKeys(t *database.Table, keys []binlog.Row) (where string, args []any) {
	var b strings.Builder
	for i, key := range keys {
		if i != 0 {
			b.WriteString(" OR ")
		}
		b.WriteByte('(')
		for j, column := range t.Primary {
			if j != 0 {
				b.WriteString(" AND ")
			}
			c := t.Columns[column]
			b.WriteString(fence.Quote(c.Name) + " = " + c.Param())
			args = append(args, key[j])
		}
		b.WriteByte(')')
	}
	return b.String(), args
}

func replaceRows(ctx context.Context, tx *sql.Tx, t *database.Table, rows []binlog.Row) error {
	written := t.Written()
	names := make([]string, len(written))
	for i, column := range written {
		names[i] = fence.Quote(t.Columns[column].Name)
	}
	head := "REPLACE INTO " + fence.Quote(t.Name) + " (" + strings.Join(names, ",") + ") VALUES "
	values := "(?" + strings.Repeat(",?", len(written)-1) + ")"
	for len(rows) != 0 {
		var sqlText strings.Builder
		sqlText.WriteString(head)
		var args []any
		size, n := 0, 0
		for n < len(rows) && n < statementRows && (n == 0 || size < statementBytes) {
			if n != 0 {
				sqlText.WriteByte(',')
			}
			sqlText.WriteString(values)
			for _, column := range written {
				v := rows[n][column]
				if text, ok := v.([]byte); ok {
					size += len(text)
				}
				size += 8
				args = append(args, v)
			}
			n++
		}
		if _, err := tx.ExecContext(ctx, sqlText.String(), args...); err != nil {
			return fmt.Errorf("write rows of %s: %w", t.Name, err)
		}
		rows = rows[n:]
	}
	return nil
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
	member := make(map[bucketmap.BucketID]struct{}, len(buckets))
	for _, b := range buckets {
		member[b] = struct{}{}
	}
	columns := map[*database.Table]int{}
	for _, t := range tables {
		columns[t] = t.Index(t.Column())
	}
	return func(t *database.Table, row binlog.Row) bool {
		b, ok := bucketOf(t, row[columns[t]])
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
		return bucketmap.Bucket(fmt.Append(nil, v), t.Buckets), true
	}
}
