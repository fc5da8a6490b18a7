package move

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"
	"time"

	"drover/bucketmap"
	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

// A session is one connection to one end, opened before the users wait, on
// which a whole transaction is one round trip: a script (MariaDB's BEGIN NOT
// ATOMIC … END), of which all is done or nothing.
//
// A script that was sent goes on at the server when its client is gone, its
// COMMIT included. So a script is never cancelled by a context, and when its
// answer is lost the connection is killed, and seen dead, before anybody looks
// what became of it: a script that commits after that look could freeze a
// bucket that nobody thaws. A process that dies here leaves its successor a new
// token to set first, which the script then does not find.

const (
	// scriptMax bounds the wait for an answer: a commit that waits for a slow
	// disk must not be taken for lost.
	scriptMax = 10 * time.Second
	// endMax bounds the wait for the end of a killed connection, and endPause
	// is the pause between two looks.
	endMax   = 5 * time.Second
	endPause = 5 * time.Millisecond
	// lostRowNumber is the error by which a script says that rows are not as a
	// change starts from.
	lostRowNumber = 30422
)

type session struct {
	server *database.Server
	conn   *sql.Conn
	id     int64
	answer time.Duration // bounds the wait for an answer
}

func openSession(ctx context.Context, server *database.Server) (*session, error) {
	conn, err := server.DB.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", server.Name(), err)
	}
	s := &session{server: server, conn: conn, answer: scriptMax}
	if err := conn.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&s.id); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("connect to %s: %w", server.Name(), err)
	}
	return s, nil
}

// close gives the connection back; whatever it has open is rolled back.
func (s *session) close() { _ = s.conn.Close() }

// script is the body of a transaction and its parameters.
type script struct {
	body string
	args []any
}

// add appends a statement.
func (s *script) add(statement string, args ...any) {
	s.body += statement + ";\n"
	s.args = append(s.args, args...)
}

// scriptHead begins a script whose error undoes all of it.
const scriptHead = "DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;\nSTART TRANSACTION;\n"

// run carries out a script in one transaction, and returns the id that the
// binlog gave it. The error has the server's number, and nothing was changed;
// or it is fence.ErrLostRow, and nothing was changed; or it is
// database.ErrOutcomeUnknown, and the connection is dead.
func (s *session) run(ctx context.Context, body script) (database.GTID, error) {
	return s.send(ctx, scriptHead+body.body+"COMMIT;\n", body.args)
}

// runAtOnce is run for a script that must not wait for a lock: it fails with a
// lock wait timeout instead. (A script may not say NOWAIT.)
func (s *session) runAtOnce(ctx context.Context, body script) (database.GTID, error) {
	const restore = "SET SESSION innodb_lock_wait_timeout = @drover_lock_wait;\n"
	return s.send(ctx, "DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; "+restore+" RESIGNAL; END;\n"+
		"SET @drover_lock_wait = @@innodb_lock_wait_timeout, SESSION innodb_lock_wait_timeout = 0;\n"+
		"START TRANSACTION;\n"+body.body+restore+"COMMIT;\n", body.args)
}

func (s *session) send(ctx context.Context, text string, args []any) (database.GTID, error) {
	return s.sendOn(ctx, s.conn, text, args)
}

// rowQuerier is a connection, or the transaction that has it.
type rowQuerier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// sendOn carries out a text that ends with a commit, and returns its id.
func (s *session) sendOn(ctx context.Context, q rowQuerier, text string, args []any) (database.GTID, error) {
	var id string
	if err := s.ask(ctx, q, text, args, "@@last_gtid", &id); err != nil {
		return database.GTID{}, err
	}
	return database.ParseGTID(id)
}

// ask carries out a text that ends with a commit, and scans the columns that are
// selected after it. The error is as that of run.
func (s *session) ask(ctx context.Context, q rowQuerier, text string, args []any, columns string, scan ...any) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	sending, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answer)
	defer cancel()
	err := q.QueryRowContext(sending, "BEGIN NOT ATOMIC\n"+text+"SELECT "+columns+";\nEND", args...).Scan(scan...)
	if err == nil {
		return nil
	}
	switch number, ok := database.ErrorNumber(err); {
	case ok && number == lostRowNumber:
		return fmt.Errorf("%w: %w; run migrator status", fence.ErrLostRow, err)
	case ok:
		return err
	}
	if endErr := s.end(ctx); endErr != nil {
		err = fmt.Errorf("%w; and %w", err, endErr)
	}
	return fmt.Errorf("%w: %w", database.ErrOutcomeUnknown, err)
}

// end kills the session at the server, and waits until it is gone.
func (s *session) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endMax)
	defer cancel()
	// It fails for a session that has ended already; the look below says so too.
	_, _ = s.server.DB.ExecContext(ctx, "KILL ?", s.id)
	// The pool must not use it again.
	_ = s.conn.Raw(func(any) error { return driver.ErrBadConn })
	ticks := time.NewTicker(endPause)
	defer ticks.Stop()
	for {
		var n int
		err := s.server.DB.QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.processlist WHERE id = ?", s.id).Scan(&n)
		if err == nil && n == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("connection %d of %s may still be at work: %w", s.id, s.server.Name(), ctx.Err())
		case <-ticks.C:
		}
	}
}

// transitionScript is fence.Transition as a script: all rows or none.
func transitionScript(buckets []bucketmap.BucketID, from, to fence.State, token fence.Token) script {
	buckets = slices.Compact(slices.Sorted(slices.Values(buckets)))
	var s script
	s.add("UPDATE "+fence.Table+" FORCE INDEX (PRIMARY) SET state = ? WHERE bucket IN ("+bucketList(buckets)+") AND state = ? AND move_id = ?",
		string(to), string(from), token.String())
	s.add(strings.Join([]string{"IF ROW_COUNT() <> ? THEN SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = ?,",
		"MESSAGE_TEXT = 'fence rows are not as this change starts from'; END IF"}, " "), len(buckets), lostRowNumber)
	return s
}
