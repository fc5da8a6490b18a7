package database

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// erNoSuchThread is the answer to a KILL that came too late.
const erNoSuchThread = 1094

// ReadOnly says whether the server refuses writes of accounts without the
// privilege READ_ONLY ADMIN.
func (s *Server) ReadOnly(ctx context.Context) (bool, error) {
	v, err := s.Variable(ctx, "read_only")
	if err != nil {
		return false, err
	}
	return v != "0" && v != "OFF", nil // newer servers have more words for on
}

// setReadOnly begins the statement, so that it can be found and killed.
const setReadOnly = "SET GLOBAL read_only = 1"

// ErrBusy says that the server could not be made read-only in time, for
// statements or commits that went on for longer. It is as it was.
var ErrBusy = errors.New("statements were running for longer than the bound")

// MakeReadOnly makes the server read-only, or returns ErrBusy. The statement
// waits for the statements and commits under way, and everybody else waits
// behind it: it is ended by the server after bound, and killed if the server
// does not end it.
//
// tag marks the statement; MakeWritable with the same tag ends what is left of
// it first.
func (s *Server) MakeReadOnly(ctx context.Context, tag string, bound time.Duration) error {
	wrap := func(err error) error { return fmt.Errorf("database %s: make it read-only: %w", s.Name(), err) }
	conn, err := s.DB.Conn(ctx)
	if err != nil {
		return wrap(err)
	}
	defer Drop(conn)
	d, err := s.Dialect(ctx)
	if err != nil {
		return wrap(err)
	}
	bound = max(bound, time.Millisecond)
	if _, err := conn.ExecContext(ctx, d.SessionBounds(1, bound.Seconds())); err != nil { // the least; whole seconds
		return wrap(err)
	}
	err = s.EndAfter(ctx, conn, bound, func() error {
		_, err := conn.ExecContext(ctx, setReadOnly+" /* "+tag+" */")
		return err
	})
	if err == nil {
		return nil
	}
	if TimedOut(err) {
		return wrap(ErrBusy)
	}
	return wrap(err)
}

// MakeWritable makes the server take writes of everybody. It does so even if a
// MakeReadOnly of the same tag is still under way, or was left behind by a
// process that died.
func (s *Server) MakeWritable(ctx context.Context, tag string) error {
	wrap := func(err error) error { return fmt.Errorf("database %s: make it writable: %w", s.Name(), err) }
	for {
		left, err := s.killTagged(ctx, tag)
		if err != nil {
			return wrap(err)
		}
		if left == 0 {
			break
		}
	}
	if _, err := s.DB.ExecContext(ctx, "SET GLOBAL read_only = 0"); err != nil {
		return wrap(err)
	}
	readOnly, err := s.ReadOnly(ctx)
	if err != nil {
		return wrap(err)
	}
	if readOnly {
		return wrap(errors.New("it is still read-only: somebody else makes it so"))
	}
	return nil
}

// killTagged kills the statements of MakeReadOnly with this tag, and returns
// how many there were.
func (s *Server) killTagged(ctx context.Context, tag string) (int, error) {
	rows, err := s.DB.QueryContext(ctx,
		"SELECT ID FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND INFO LIKE ?",
		setReadOnly+" /* "+tag+" */%")
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return 0, err
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		return 0, err
	}
	for _, id := range ids {
		if err := s.Kill(ctx, id); err != nil {
			return 0, err
		}
	}
	return len(ids), nil
}

// Kill ends a connection, and with it what it has under way. One that has ended
// already is no error.
func (s *Server) Kill(ctx context.Context, id int64) error {
	_, err := s.DB.ExecContext(ctx, fmt.Sprintf("KILL %d", id))
	if number, ok := ErrorNumber(err); ok && number == erNoSuchThread {
		return nil
	}
	return err
}
