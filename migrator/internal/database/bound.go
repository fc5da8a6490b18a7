package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"
)

// ErrBound says that a statement was ended because its time was over. Nothing
// was changed by it.
var ErrBound = errors.New("ended for want of time")

const (
	erQueryInterrupted = 1317 // by KILL QUERY
	erConnectionKilled = 1927 // by KILL; MariaDB's
	erServerShutdown   = 1053
)

// endMax bounds the KILL of a statement; a server that does not answer for so
// long has lost the session's connection too.
const endMax = 5 * time.Second

// EndAfter runs f, which executes one statement, and no COMMIT, in the session.
// On MySQL it has the server end that statement after bound, 0 for no bound: it
// bounds no statement but SELECT, and a wait for a lock in whole seconds. On
// MariaDB SessionBounds or WithinMillis do, and f is all that is run.
//
// Whether it came in time or not, no KILL is under way when EndAfter returns, so
// none meets the session's next statement; one that arrives while the session
// does nothing has no effect. When ctx ends, f returns and its statement would go
// on: it is ended at once.
//
// A process that stands still ends nothing: what bounds the statement then are
// the session's own waits, SessionBounds.
func (s *Server) EndAfter(ctx context.Context, session interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}, bound time.Duration, f func() error) error {
	d, err := s.Dialect(ctx)
	if err != nil {
		return err
	}
	if bound == 0 || !d.MySQL() {
		return f()
	}
	var id int64
	if err := session.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&id); err != nil {
		return fmt.Errorf("database %s: the session's id: %w", s.Name(), err)
	}
	ended := make(chan error, 1)
	end := func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endMax)
		defer cancel()
		_, err := s.DB.ExecContext(ending, fmt.Sprintf("KILL QUERY %d", id))
		ended <- err
	}
	timer := time.AfterFunc(bound, end)
	err = f()
	if timer.Stop() {
		if err == nil || ctx.Err() == nil {
			return err
		}
		end()
	}
	failure := <-ended
	if number, ok := ErrorNumber(failure); ok && number == erNoSuchThread {
		failure = nil
	}
	if failure != nil { // it may land later: the session must not be used again
		return errors.Join(fmt.Errorf("database %s: end a statement after %s: %w", s.Name(), bound, failure), err)
	}
	if number, ok := ErrorNumber(err); ok && number == erQueryInterrupted {
		return fmt.Errorf("%w (%s): %w", ErrBound, bound, err)
	}
	return err
}

// Drop ends a connection whose bounds must not stay in a session of the pool.
func Drop(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = conn.Close()
}
