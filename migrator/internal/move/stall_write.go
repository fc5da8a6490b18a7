package move

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cenkalti/backoff/v5"

	"drover/migrator/internal/binlog"
	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

// A small batch is one round trip: a script with the token's and the position's
// compare-and-swap, the rows, and the commit. Before a freeze the tail is armed:
// then the same answer has the target's checksums of the keys that changed, and
// its position, so that the comparison under the freeze asks the source alone.
//
// A script that was sent may be carried out late, see stall_session.go. One that
// comes after its successor finds another position, and changes nothing.

const (
	// smallRows and smallBytes are what goes into a script: 500 rows of 500
	// bytes. With every byte escaped that is 512 KiB, below the least
	// max_allowed_packet that is usual, 1 MiB. More pays for its round trips.
	smallRows  = 500
	smallBytes = 256 << 10
	// readBackKeys and readBackBytes bound what is read back with a batch, and
	// so what the commit point's script compares: 1,000 rows by key are a few
	// milliseconds, and what a user's 5,000 writes a second leave in 200 ms. The
	// bytes are those of the text: 1,000 keys of 100 bytes and the hashes of 20
	// tables of 50 columns are less than all of them.
	readBackKeys  = 1000
	readBackBytes = 256 << 10
)

// readBack is what the target has of the keys that changed since verifyAhead.
type readBack struct {
	keys     int
	checks   []check           // a table each
	position database.Position // the end of the target's binlog
}

// check is the checksum of some rows of one table: the expression that computes
// it at either end, and what it is at the target.
type check struct{ expr, want string }

// commit writes the batch and the position after it in one transaction. It
// tries again for a while after a deadlock, a lock that was not to be had, and
// a lost connection; even when that was at COMMIT, for the rows are whole
// images and writing the same batch twice leaves what writing it once does.
//
// While the tail is armed, a batch without rows is not worth a round trip: who
// starts again reads a little twice.
func (t *tail) commit(ctx context.Context, b *batch, position database.Position) error {
	if b.empty() && t.isArmed() {
		return nil
	}
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := t.write(ctx, b, position)
		if err != nil && !database.TimedOut(err) && !database.ConnectionLost(err) && !errors.Is(err, database.ErrOutcomeUnknown) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithMaxElapsedTime(commitRetryMax))
	return err
}

// write writes a batch and the position after it in one transaction: as a
// script, or in several round trips when it is large or has rows in its way.
func (t *tail) write(ctx context.Context, b *batch, position database.Position) error {
	if b.rows <= smallRows && b.bytes <= smallBytes {
		err := t.writeScript(ctx, b, position)
		if err == nil {
			t.saved = position.String()
			return nil
		}
		number, ok := database.ErrorNumber(err)
		if !ok || number != erDuplicate && number != erOutOfRange {
			return err
		}
		// Nothing was changed, and writer knows what to do with what is in the way.
	}
	t.forgetReadBack()
	err := database.InTx(ctx, t.to.DB, func(tx *sql.Tx) error {
		if err := own(ctx, tx, t.move, t.leg, t.token, position.String(), ""); err != nil {
			return err
		}
		w := writer{tx: tx, buckets: t.buckets}
		return w.write(ctx, b)
	})
	if err == nil {
		t.saved = position.String()
	}
	return err
}

// writeScript writes a batch in one round trip. Only the goroutine that applies
// uses the session.
func (t *tail) writeScript(ctx context.Context, b *batch, after database.Position) error {
	if t.session == nil {
		s, err := openSession(ctx, t.to)
		if err != nil {
			return err
		}
		t.session = s
	}
	text := []byte(scriptHead)
	text = t.appendOwn(text, after.String())
	for _, tb := range b.tables {
		text = appendTable(text, tb, t.buckets)
	}
	text = append(text, "COMMIT;\n"...)
	var read *readBack
	if t.isArmed() {
		read = t.readBack()
	}
	var columns string
	var answers []any
	position := ""
	if read != nil {
		columns, answers = read.columns(&position)
	} else {
		t.forgetReadBack()
		columns, answers = "1", []any{new(int)}
	}
	err := t.session.ask(ctx, "", string(text), columns, answers...)
	switch {
	case errors.Is(err, database.ErrOutcomeUnknown):
		t.session.close()
		t.session = nil
		return err
	case errors.Is(err, fence.ErrLostRow):
		return fmt.Errorf("%w: %w", ErrReplaced, err)
	case err != nil || read == nil:
		return err
	}
	if read.position, err = database.ParsePosition(position); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.read = read
	return nil
}

// appendOwn is own as a statement of a script. The position before is asserted
// too; it may be the new one already when the batch is written again.
func (t *tail) appendOwn(dst []byte, position string) []byte {
	for _, part := range []struct{ sql, value string }{
		{"UPDATE drover_tail SET position = ", position},
		{" WHERE move_id = ", string(t.move)},
		{fmt.Sprintf(" AND leg = %d AND token = ", t.leg), t.token.String()},
		{" AND position IN (", t.saved},
		{",", position},
	} {
		dst = appendQuoted(append(dst, part.sql...), []byte(part.value))
	}
	return fmt.Appendf(dst, ");\nIF ROW_COUNT() <> 1 THEN SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = %d, "+
		"MESSAGE_TEXT = 'another run of this move is writing, or the position is not the one before'; END IF;\n", lostRowNumber)
}

// appendTable is what writer does with a table's rows as long as nothing is in
// their way: deletions first, then insertions, both by key.
func appendTable(dst []byte, tb *tableBatch, buckets Buckets) []byte {
	t := tb.table
	var deleted, rows []binlog.Row
	for _, key := range slices.Sorted(maps.Keys(tb.rows)) {
		if c := tb.rows[key]; c.row == nil {
			deleted = append(deleted, c.key)
		} else {
			rows = append(rows, c.row)
		}
	}
	for chunk := range slices.Chunk(deleted, deleteRows) {
		dst = append(dst, "DELETE FROM "+fence.Quote(t.Name)+" WHERE ("...)
		dst = appendMatch(dst, t, t.Primary, chunk)
		dst = append(dst, ") AND "+bucketsExpr("("+t.Expr("", t.Buckets)+"+0)", buckets)+";\n"...)
	}
	if len(rows) == 0 {
		return dst
	}
	written := t.Written()
	dst = append(dst, insertHead(t, written)...)
	for i, row := range rows {
		if i != 0 {
			dst = append(dst, ',')
		}
		dst = appendTuple(dst, row, written)
	}
	return append(dst, insertTail(t, written, buckets)+";\n"...)
}

// readBack is what is to be asked of the keys that changed since verifyAhead;
// nil when they are too many for one question.
func (t *tail) readBack() *readBack {
	if t.touchedCount() > readBackKeys {
		return nil
	}
	touched, _ := t.touchedKeys()
	read := &readBack{keys: countKeys(touched)}
	bytes := 0
	for table, keys := range touched {
		if len(keys) == 0 {
			continue
		}
		expr := checkExpr(table, keys, t.buckets)
		if bytes += len(expr); bytes > readBackBytes {
			return nil
		}
		read.checks = append(read.checks, check{expr: expr})
	}
	return read
}

// columns ask for the end of the binlog and the checksums, and where the answers
// go.
func (read *readBack) columns(position *string) (columns string, answers []any) {
	columns, answers = "@@global.gtid_binlog_pos", []any{position}
	for i := range read.checks {
		columns += ",\n" + read.checks[i].expr
		answers = append(answers, &read.checks[i].want)
	}
	return columns, answers
}

// checkExpr is what checksum asks for, as one value: the number of rows, the XOR
// and the sum, which have no space in them. It finds the rows by their keys, at
// either end, whatever the server takes the table to be like.
func checkExpr(table *database.Table, keys []binlog.Row, buckets Buckets) string {
	text := []byte("(SELECT CONCAT_WS(' ', COUNT(*), COALESCE(BIT_XOR(CAST(CONV(LEFT(h,16),16,10) AS UNSIGNED)),0), " +
		"COALESCE(SUM(CAST(CONV(RIGHT(h,16),16,10) AS UNSIGNED)),0)) FROM (SELECT " + rowHash(table) + " AS h FROM " + fence.Quote(table.Name) +
		" FORCE INDEX (PRIMARY) WHERE (")
	text = appendMatch(text, table, table.Primary, keys)
	return string(append(text, ") AND "+table.Expr("", table.Buckets)+" IN ("+bucketList(buckets)+") LIMIT 18446744073709551615) AS hashes)"...))
}

func (t *tail) forgetReadBack() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.read = nil
}

func (t *tail) isArmed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mu.armed
}
