package move

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"slices"
	"strconv"
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
//
// A script that the server ends, by KILL QUERY or for want of time, may end
// without its handler: within its transaction, which the session's next START
// TRANSACTION would commit, or past its COMMIT.

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
	lostRow       = "SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30422, MESSAGE_TEXT = 'fence rows are not as this change starts from'"
	// rowsDifferNumber is the error by which it says that rows are not what the
	// other end has.
	rowsDifferNumber = 30423
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

// script is the body of a transaction, as text: nothing in it is a placeholder,
// whatever names and values it has.
type script struct{ body []byte }

// add appends a statement.
func (s *script) add(words ...string) {
	for _, w := range words {
		s.body = append(s.body, w...)
	}
	s.body = append(s.body, ";\n"...)
}

// scriptHead begins a script whose error undoes all of it.
const scriptHead = "DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;\nSTART TRANSACTION;\n"

// run carries out a script in one transaction, and returns the id that the
// binlog gave it. The error has the server's number, and nothing was changed;
// or it is fence.ErrLostRow, and nothing was changed; or it is
// database.ErrOutcomeUnknown, and the connection is dead.
func (s *session) run(ctx context.Context, body script) (database.GTID, error) {
	var id string
	if err := s.ask(ctx, "", scriptHead+string(body.body)+"COMMIT;\n", "@@last_gtid", &id); err != nil {
		return database.GTID{}, err
	}
	return database.ParseGTID(id)
}

// ask carries out a text that ends with a commit, and scans the columns that are
// selected after it. The error is as that of run. bound is empty, or bounds the
// time of the whole, see database.WithinMillis; an error for want of time does
// not say then whether the commit was before it. The session is in no transaction
// after it.
func (s *session) ask(ctx context.Context, bound, text, columns string, scan ...any) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	sending, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answer)
	defer cancel()
	err := s.conn.QueryRowContext(sending, bound+"BEGIN NOT ATOMIC\n"+text+"SELECT "+columns+";\nEND").Scan(scan...)
	if err == nil {
		return nil
	}
	number, answered := database.ErrorNumber(err)
	if answered && number == erTimeUp && bound != "" {
		if _, failure := s.conn.ExecContext(sending, "ROLLBACK"); failure == nil {
			return err
		}
	}
	switch {
	case answered && number == lostRowNumber:
		return fmt.Errorf("%w: %w; run migrator status", fence.ErrLostRow, err)
	case answered && !database.Interrupted(err):
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
	var s script
	update, rows := transitionUpdate(buckets, from, to, token)
	s.add(update)
	s.add("IF ROW_COUNT() <> ", strconv.Itoa(rows), " THEN ", lostRow, "; END IF")
	return s
}

// transitionUpdate is the statement of a transition, and how many rows it
// changes.
func transitionUpdate(buckets []bucketmap.BucketID, from, to fence.State, token fence.Token) (update string, rows int) {
	buckets = slices.Compact(slices.Sorted(slices.Values(buckets)))
	return "UPDATE " + fence.Table + " FORCE INDEX (PRIMARY) SET state = " + quoted(to) +
		" WHERE bucket IN (" + bucketList(buckets) + ") AND state = " + quoted(from) + " AND move_id = " + quoted(token.String()), len(buckets)
}

// quoted is a text as a literal.
func quoted[T ~string](text T) string { return string(appendQuoted(nil, []byte(text))) }
