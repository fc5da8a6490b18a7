package move

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"drover/migrator/internal/binlog"
	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

// How rows are written at the target, and why none is lost there.
//
// Three things may be in the way of a row that comes: its own older image; a
// row of the same move that has, or had, its value of a unique key; and a row
// of somebody who lives at the target. The first two make way, the third must
// not, ever. REPLACE deletes all three in silence. So rows are written by
// INSERT ... ON DUPLICATE KEY UPDATE of every column, with a guard that is
// evaluated for the row in the way: unless that is in one of the move's
// buckets, the statement fails (ErrCollides). It is the server that compares,
// under the row's lock, so nothing can come in between.
//
// A row of the move that makes way is not lost. Of a batch, deletions come
// first, and the images left are those of one moment at the source, where the
// unique keys held: no two of them are in each other's way. A row outside the
// batch that is in the way has the image of a later moment, which the copy
// read: it came to its value by a row event that is still to be applied, as
// that event is after the batch, and the event has its whole image.
//
// Where a row has two in its way, its own older image and another, the server
// refuses with a duplicate key. Then all of the batch's rows are deleted
// first; and where that is not enough, what still has one of their unique
// values. The conditions of both name the move's buckets again.

const (
	// statementRows and statementBytes bound one statement. MariaDB's default
	// max_allowed_packet is 16 MiB; one row alone may be larger than
	// statementBytes.
	statementRows  = 1000
	statementBytes = 1 << 20
	// deleteRows bounds the keys of one DELETE, which the server turns into a
	// list of ranges.
	deleteRows = 200
)

// ErrCollides is returned when a row that comes over has a unique value that a
// row outside the move has at the target. That row was left as it is.
var ErrCollides = errors.New("a row at the target, of a bucket that is not moved, has the same unique key")

// The server's error numbers that writing reckons with.
const (
	erDuplicate  = 1062
	erOutOfRange = 1690 // what the guard provokes
)

// writer writes rows of some buckets in a transaction at the target.
type writer struct {
	tx      *sql.Tx
	buckets Buckets
	text    []byte // of the statement; kept for the next
}

// write executes the batch, all deletions of a table before its insertions.
func (w *writer) write(ctx context.Context, b *batch) error {
	for _, tb := range b.tables {
		var deleted, rows []binlog.Row
		// By key: neighbours in a page of the index, and always the same order
		// of locks.
		for _, key := range slices.Sorted(maps.Keys(tb.rows)) {
			if c := tb.rows[key]; c.row == nil {
				deleted = append(deleted, c.key)
			} else {
				rows = append(rows, c.row)
			}
		}
		if err := w.delete(ctx, tb.table, tb.table.Primary, deleted); err != nil {
			return err
		}
		if err := w.put(ctx, tb.table, rows); err != nil {
			return err
		}
	}
	return nil
}

// put writes whole rows, whatever of the move's buckets is in their way.
func (w *writer) put(ctx context.Context, t *database.Table, rows []binlog.Row) error {
	err := w.insert(ctx, t, rows)
	if !duplicate(err) {
		return err
	}
	keys := make([]binlog.Row, len(rows))
	for i, row := range rows {
		keys[i] = keyOf(t, row)
	}
	if err := w.delete(ctx, t, t.Primary, keys); err != nil {
		return err
	}
	if err = w.insert(ctx, t, rows); !duplicate(err) {
		return err
	}
	// The rows that were written before the failure are deleted with the rest.
	if err := w.delete(ctx, t, t.Primary, keys); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(t.Uniques)) {
		if err := w.deleteSame(ctx, t, t.Uniques[name], rows); err != nil {
			return err
		}
	}
	if err = w.insert(ctx, t, rows); duplicate(err) {
		return fmt.Errorf("table %s: %w: %w", t.Name, ErrCollides, err)
	}
	return err
}

func duplicate(err error) bool {
	number, ok := database.ErrorNumber(err)
	return ok && number == erDuplicate
}

// delete removes those rows of the move's buckets that have the values in the
// columns.
func (w *writer) delete(ctx context.Context, t *database.Table, columns []int, tuples []binlog.Row) error {
	for chunk := range slices.Chunk(tuples, deleteRows) {
		w.text = append(w.text[:0], "DELETE FROM "+fence.Quote(t.Name)+" WHERE ("...)
		w.text = appendMatch(w.text, t, columns, chunk)
		// The sum keeps the server from going by the bucket's index, which has
		// every row of the move.
		w.text = append(w.text, ") AND "+bucketsExpr("("+t.Expr("", t.Buckets)+"+0)", w.buckets)...)
		if _, err := w.tx.ExecContext(ctx, string(w.text)); err != nil {
			return fmt.Errorf("delete from %s: %w", t.Name, err)
		}
	}
	return nil
}

// deleteSame removes what has the same values of a unique key as one of the
// rows. A NULL is in nobody's way.
func (w *writer) deleteSame(ctx context.Context, t *database.Table, names []string, rows []binlog.Row) error {
	columns := make([]int, len(names))
	for i, name := range names {
		columns[i] = t.Index(name)
		if columns[i] < 0 || t.Columns[columns[i]].Generated {
			return nil // its values are not in the rows: the insertion will say what is in its way
		}
	}
	var tuples []binlog.Row
rows:
	for _, row := range rows {
		tuple := make(binlog.Row, len(columns))
		for i, c := range columns {
			if tuple[i] = row[c]; tuple[i] == nil {
				continue rows
			}
		}
		tuples = append(tuples, tuple)
	}
	slices.SortFunc(tuples, func(a, b binlog.Row) int { return bytes.Compare(appendKey(nil, a), appendKey(nil, b)) })
	return w.delete(ctx, t, columns, tuples)
}

// insert writes rows, a statement for as many as fit.
func (w *writer) insert(ctx context.Context, t *database.Table, rows []binlog.Row) error {
	written := t.Written()
	head, tail := insertHead(t, written), insertTail(t, written, w.buckets)
	for len(rows) != 0 {
		w.text = append(w.text[:0], head...)
		n := 0
		for n < len(rows) && n < statementRows && (n == 0 || len(w.text) < statementBytes) {
			if n != 0 {
				w.text = append(w.text, ',')
			}
			w.text = appendTuple(w.text, rows[n], written)
			n++
		}
		w.text = append(w.text, tail...)
		if _, err := w.tx.ExecContext(ctx, string(w.text)); err != nil {
			if number, ok := database.ErrorNumber(err); ok && number == erOutOfRange {
				err = fmt.Errorf("%w: %w", ErrCollides, err)
			}
			return fmt.Errorf("write rows of %s: %w", t.Name, err)
		}
		rows = rows[n:]
	}
	return nil
}

func insertHead(t *database.Table, written []int) string {
	return "INSERT INTO " + fence.Quote(t.Name) + " (" + columnList(t, written) + ") VALUES "
}

// insertTail is the clause that overwrites the row in the way, and the guard
// before it. The first column of the primary key has it: assignments are made
// in order, so that the guard still sees the row as it is. What is not the
// move's makes 2^64 of the right side, which no integer of the server's can be:
// hence the cast, without which an unsigned bucket makes a DECIMAL of it. A NULL
// bucket is not the move's.
func insertTail(t *database.Table, written []int, buckets Buckets) string {
	first := fence.Quote(t.Columns[t.Primary[0]].Name)
	guard := mineExpr(t, buckets) + " OR CAST(COALESCE(" + t.Expr("", t.Buckets) + ",0) AS UNSIGNED)*0+18446744073709551615+1"
	assignments := []string{first + "=IF(" + guard + ",VALUES(" + first + "),VALUES(" + first + "))"}
	for _, column := range written {
		if column == t.Primary[0] {
			continue
		}
		name := fence.Quote(t.Columns[column].Name)
		assignments = append(assignments, name+"=VALUES("+name+")")
	}
	return " ON DUPLICATE KEY UPDATE " + strings.Join(assignments, ",")
}

func columnList(t *database.Table, columns []int) string {
	names := make([]string, len(columns))
	for i, column := range columns {
		names[i] = fence.Quote(t.Columns[column].Name)
	}
	return strings.Join(names, ",")
}

// mineExpr is the condition that a row is in one of the buckets.
func mineExpr(t *database.Table, buckets Buckets) string {
	return bucketsExpr(t.Expr("", t.Buckets), buckets)
}

// bucketsExpr is the condition that an expression is one of the buckets: runs
// of them as ranges, all others in one list.
func bucketsExpr(expr string, buckets Buckets) string {
	var single Buckets
	var ors []string
	for _, run := range buckets.ranges() {
		if run[0] == run[1] {
			single = append(single, run[0])
			continue
		}
		ors = append(ors, fmt.Sprintf("%s BETWEEN %d AND %d", expr, run[0], run[1]))
	}
	if len(single) != 0 {
		ors = append(ors, expr+" IN ("+bucketList(single)+")")
	}
	return "(" + strings.Join(ors, " OR ") + ")"
}
