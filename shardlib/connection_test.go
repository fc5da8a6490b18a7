package shardlib

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"testing"

	"github.com/go-sql-driver/mysql"

	"drover/shardlib/fence"
)

// commitConn is a driver's connection that answers COMMIT with an error.
type commitConn struct {
	fullConn
	err       error
	sent      bool
	rollbacks int
}

func (c *commitConn) IsValid() bool { return true }

func (c *commitConn) ExecContext(context.Context, string, []driver.NamedValue) (driver.Result, error) {
	c.sent = true
	return driver.ResultNoRows, c.err
}

func (c *commitConn) Commit() error { panic("COMMIT must be sent with the context") }

func (c *commitConn) Rollback() error {
	c.rollbacks++
	return nil
}

func TestOnlyACertainNoAtCommitIsANo(t *testing.T) {
	server := func(number uint16, message string) error {
		return &mysql.MySQLError{Number: number, Message: message}
	}
	for _, c := range []struct {
		err     error
		unknown bool
		want    outcome
	}{
		{nil, false, committed},
		{server(numberReadOnly, "running with the --read-only option"), false, notHome},
		{server(numberReadOnly, "running with the --secure-file-priv option"), true, ""},
		{server(numberEngineReadOnly, ""), false, notHome},
		{server(fence.RefusedNumber, ""), false, notHome},
		{server(numberDeadlock, ""), false, conflict},
		{server(numberQueryKilled, ""), true, ""},
		{server(numberConnectionKilled, ""), true, ""},
		{server(numberStatementTimeout, ""), true, ""},
		{server(numberShutdown, ""), true, ""},
		{server(1180, "error during COMMIT"), true, ""},
		{io.EOF, true, ""},
		{mysql.ErrInvalidConn, true, ""},
		{driver.ErrBadConn, true, ""},
		{context.DeadlineExceeded, true, ""},
	} {
		conn := &commitConn{err: c.err}
		tx := &transaction{session: &session{fullConn: conn, state: new(txState)}, ctx: t.Context(), inner: conn}
		err := tx.Commit()
		var unanswered *unansweredCommit
		if errors.As(err, &unanswered) != c.unknown || (err == nil) != (c.err == nil) || !conn.sent {
			t.Errorf("%v: got %v", c.err, err)
		}
		if c.unknown || err == nil {
			continue
		}
		if got, _ := (Home{}).classify(err, err); got != c.want || conn.rollbacks != 1 {
			t.Errorf("%v: %s, %d rollbacks", c.err, got, conn.rollbacks)
		}
	}
}

func TestNothingIsSentAfterAFailure(t *testing.T) {
	conn := &commitConn{}
	s := &session{fullConn: conn, state: new(txState)}
	_ = s.see(&mysql.MySQLError{Number: 1062}) // a failed statement alone
	if s.state.err() != nil {
		t.Fatal("a duplicate key ended the transaction")
	}
	_ = s.see(&mysql.MySQLError{Number: numberDeadlock})
	_ = s.see(io.ErrUnexpectedEOF)
	if err := s.state.err(); !errors.As(err, new(*mysql.MySQLError)) {
		t.Fatalf("the first failure was forgotten for %v", err)
	}
	_, exec := s.ExecContext(t.Context(), "INSERT", nil)
	_, query := s.QueryContext(t.Context(), "SELECT", nil)
	_, prepare := s.PrepareContext(t.Context(), "SELECT")
	_, prepared := (&statement{session: s}).ExecContext(t.Context(), nil)
	_, asked := (&statement{session: s}).QueryContext(t.Context(), nil)
	commit := (&transaction{session: s, ctx: t.Context(), inner: conn}).Commit()
	for i, err := range []error{exec, query, prepare, prepared, asked, commit} {
		if !errors.As(err, new(*mysql.MySQLError)) {
			t.Errorf("%d: got %v", i, err)
		}
	}
	if conn.sent || conn.rollbacks != 1 {
		t.Errorf("sent %v, %d rollbacks", conn.sent, conn.rollbacks)
	}
}
