package move

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

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
	// readBackKeys bounds the keys that are read back with a batch.
	readBackKeys = keysStatement
)

// readBack is what the target has of the keys that changed since verifyAhead.
type readBack struct {
	keys     map[*database.Table][]binlog.Row
	sums     map[*database.Table]sum
	position database.Position // the end of the target's binlog
}

// commit writes the batch and the position after it in one transaction. It
// tries again for a while after a deadlock, a lock that was not to be had, and
// a lost connection; even when that was at COMMIT, for the rows are whole
// images and writing the same batch twice leaves what writing it once does.
func (t *tail) commit(ctx context.Context, b *batch, position database.Position) error {
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
func (t *tail) writeScript(ctx context.Context, b *batch, position database.Position) error {
	if t.session == nil {
		s, err := openSession(ctx, t.to)
		if err != nil {
			return err
		}
		t.session = s
	}
	text := []byte(scriptHead)
	text = t.appendOwn(text, position.String())
	for _, tb := range b.tables {
		text = appendTable(text, tb, t.buckets)
	}
	text = append(text, "COMMIT;\n"...)
	read, tables, columns := t.readBackColumns()
	answers := make([]string, 1+len(tables))
	scan := make([]any, len(answers))
	for i := range answers {
		scan[i] = &answers[i]
	}
	err := t.session.ask(ctx, t.session.conn, string(text), nil, "@@global.gtid_binlog_pos"+columns, scan...)
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
	return t.keepReadBack(read, tables, answers)
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

// readBackColumns are the columns that ask for the checksums of what changed, a
// table each; read is nil when nothing is to be read back.
func (t *tail) readBackColumns() (read *readBack, tables []*database.Table, columns string) {
	t.mu.Lock()
	armed, count := t.mu.armed, t.mu.count
	t.mu.Unlock()
	if !armed || count > readBackKeys {
		t.forgetReadBack()
		return nil, nil, ""
	}
	keys, _ := t.touchedKeys()
	read = &readBack{keys: keys, sums: map[*database.Table]sum{}}
	var text strings.Builder
	for table, keys := range keys {
		if len(keys) == 0 {
			continue
		}
		tables = append(tables, table)
		// What checksum asks for, as one value: the three have no space in them.
		text.WriteString(",\n(SELECT CONCAT_WS(' ', COUNT(*), COALESCE(BIT_XOR(CAST(CONV(LEFT(h,16),16,10) AS UNSIGNED)),0), " +
			"COALESCE(SUM(CAST(CONV(RIGHT(h,16),16,10) AS UNSIGNED)),0)) FROM (SELECT " + rowHash(table) + " AS h FROM " + fence.Quote(table.Name) + " WHERE (")
		text.Write(appendMatch(nil, table, table.Primary, keys))
		text.WriteString(") AND " + table.Expr("", table.Buckets) + " IN (" + bucketList(t.buckets) + ") LIMIT 18446744073709551615) AS hashes)")
	}
	return read, tables, text.String()
}

func (t *tail) keepReadBack(read *readBack, tables []*database.Table, answers []string) (err error) {
	if read.position, err = database.ParsePosition(answers[0]); err != nil {
		return err
	}
	for i, table := range tables {
		var s sum
		if _, err := fmt.Sscan(answers[i+1], &s.rows, &s.xor, &s.total); err != nil {
			return fmt.Errorf("checksum of %s on %s: %q: %w", table.Name, t.to.Name(), answers[i+1], err)
		}
		read.sums[table] = s
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.read = read
	return nil
}

func (t *tail) forgetReadBack() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.read = nil
}
