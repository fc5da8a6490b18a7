package database

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrBound says that a statement was ended because its time was over. Nothing
// was changed by it.
var ErrBound = errors.New("ended for want of time")

// erQueryInterrupted is how a statement ends that KILL QUERY met.
const erQueryInterrupted = 1317

// endMax bounds the KILL of a statement; a server that does not answer for so
// long has lost the session's connection too.
const endMax = 5 * time.Second

// EndAfter runs f, which executes one statement, and no COMMIT, in the session
// with this id, and has the server end that statement after bound: MySQL bounds
// no statement but SELECT, and a wait for a lock in whole seconds. Whether it
// came in time or not, no KILL is under way when EndAfter returns, so none meets
// the session's next statement; one that arrives while the session does nothing
// has no effect.
//
// A process that stands still ends nothing: what bounds the statement then are
// the session's own waits, SessionBounds.
func (s *Server) EndAfter(ctx context.Context, session int64, bound time.Duration, f func() error) error {
	ended := make(chan error, 1)
	timer := time.AfterFunc(bound, func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endMax)
		defer cancel()
		_, err := s.DB.ExecContext(ending, fmt.Sprintf("KILL QUERY %d", session))
		ended <- err
	})
	err := f()
	if timer.Stop() {
		return err
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
