package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/go-sql-driver/mysql"
)

// ErrorNumber returns the server's error number in err.
func ErrorNumber(err error) (number uint16, ok bool) {
	var server *mysql.MySQLError
	if errors.As(err, &server) {
		return server.Number, true
	}
	return 0, false
}

// ConnectionLost says whether err means that the connection, not the
// statement, failed.
func ConnectionLost(err error) bool {
	var network net.Error
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn) ||
		errors.Is(err, sql.ErrConnDone) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network)
}

// Interrupted says whether err is the server's word that it ended a statement:
// KILL, the end of its time, or the server's own end. A COMMIT that is ended so
// may have committed.
func Interrupted(err error) bool {
	switch number, _ := ErrorNumber(err); number {
	case erQueryInterrupted, erStatementTimeout, erConnectionKilled, erServerShutdown:
		return true
	default:
		return false
	}
}

// ErrOutcomeUnknown is returned when the connection was lost at COMMIT, or the
// server ended that: the transaction may have been committed or not. What to do
// next must be read from the database.
var ErrOutcomeUnknown = errors.New("the outcome of the commit is unknown")

// InTx runs f in a transaction of its own connection. An error of f rolls it
// back.
func InTx(ctx context.Context, db interface {
	BeginTx(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, error)
}, f func(tx *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if err := f(tx); err != nil {
		_ = tx.Rollback() // the connection is dropped if this fails: rolled back as well
		return err
	}
	if err := tx.Commit(); err != nil {
		if _, ok := ErrorNumber(err); ok && !Interrupted(err) {
			return fmt.Errorf("commit: %w", err)
		}
		return fmt.Errorf("commit: %w: %w", ErrOutcomeUnknown, err)
	}
	return nil
}
