package shardlib

// A connection that knows how its transaction stands.
//
// Problem: some errors end the whole transaction at the server (a deadlock
// does), and the next statement on that connection would run outside of any
// transaction and without the fence's lock, committed by itself. A caller's
// function that takes such an error lightly and writes on would write past the
// fence. And database/sql does not tell a COMMIT that was never sent from one
// whose answer was lost.
//
// So the driver's connections are wrapped. Invariants:
//
//   - after a statement that ended the transaction, or may have, nothing is sent
//     before ROLLBACK, COMMIT included;
//   - an error of Commit is an *unansweredCommit if, and only if, COMMIT may
//     have reached the server and its answer is not a certain no.
//
// Rejected: watching errors in the methods of Tx. The errors of Rows and Row
// would be missed, unless Tx returned types of its own, which no query builder
// could use.

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/go-sql-driver/mysql"
)

// txState is the first error that ended a transaction, or may have.
type txState struct {
	failure atomic.Pointer[error]
	tell    bool   // COMMIT is to tell its GTID
	told    string // the GTID, after a COMMIT that told it
}

func (s *txState) err() error {
	if p := s.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// txStateKey carries a *txState from Update through database/sql, which shows
// nobody the driver's connection of a transaction, to session.BeginTx.
type txStateKey struct{}

// connector makes sessions.
type connector struct {
	inner driver.Connector
	tells bool // COMMIT may be asked for its GTID
}

func (c connector) Driver() driver.Driver { return c.inner.Driver() }

// setupSession gives every transaction one snapshot, so that what a View reads
// is of the moment of its look at the fence, whatever the server's default is.
// Without autocommit the look at the fence begins a write transaction by
// itself, which spares a round trip; and a statement that came to run outside of
// a transaction would be rolled back, not committed.
var setupSession = []string{
	"SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
	"SET SESSION autocommit = 0",
}

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	inner, err := c.inner.Connect(ctx)
	if err != nil {
		return nil, err
	}
	conn, ok := inner.(fullConn)
	if !ok {
		_ = inner.Close()
		return nil, fmt.Errorf("driver connection %T lacks methods", inner)
	}
	for _, statement := range setupSession {
		if _, err := conn.ExecContext(ctx, statement, nil); err != nil {
			_ = conn.Close()
			return nil, err
		}
	}
	s := &session{fullConn: conn, state: new(txState)}
	if c.tells {
		var server *mysql.MySQLError
		_, err := s.askOne(ctx, "BEGIN NOT ATOMIC SELECT @@last_gtid; END")
		if err != nil && !errors.As(err, &server) { // not a server that does not know it
			_ = conn.Close()
			return nil, err
		}
		s.tells = err == nil
	}
	return s, nil
}

// fullConn is what the driver's connections have, and database/sql looks for.
type fullConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
	driver.NamedValueChecker
}

type session struct {
	fullConn
	state *txState // of the transaction under way, or the last one
	tells bool     // the server knows commitTelling
}

// see remembers an error that ends the transaction.
func (s *session) see(err error) error {
	//nolint:errorlint // database/sql asks for these very values: a wrapped io.EOF is a connection that broke
	if err == nil || err == io.EOF || err == driver.ErrSkip {
		return err
	}
	var server *mysql.MySQLError
	if errors.As(err, &server) && serverOutcome(server) == rolledBack {
		return err // a statement failed, and the transaction goes on
	}
	s.state.failure.CompareAndSwap(nil, &err)
	return err
}

func (s *session) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	state, ok := ctx.Value(txStateKey{}).(*txState)
	if !ok {
		state = new(txState)
	}
	var inner driver.Tx = rollback{s.fullConn}
	if opts.ReadOnly {
		var err error
		if inner, err = s.fullConn.BeginTx(ctx, opts); err != nil {
			return nil, err
		}
	}
	s.state = state
	return &transaction{session: s, ctx: ctx, inner: inner}, nil
}

func (s *session) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if err := s.state.err(); err != nil {
		return nil, err
	}
	res, err := s.fullConn.ExecContext(ctx, query, args)
	return res, s.see(err)
}

func (s *session) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if err := s.state.err(); err != nil {
		return nil, err
	}
	rows, err := s.fullConn.QueryContext(ctx, query, args)
	if err != nil {
		return nil, s.see(err)
	}
	return s.watchRows(rows)
}

func (s *session) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	if err := s.state.err(); err != nil {
		return nil, err
	}
	inner, err := s.fullConn.PrepareContext(ctx, query)
	if err != nil {
		return nil, s.see(err)
	}
	stmt, ok := inner.(fullStmt)
	if !ok {
		_ = inner.Close()
		return nil, fmt.Errorf("driver statement %T lacks methods", inner)
	}
	return &statement{fullStmt: stmt, session: s}, nil
}

// rollback ends a transaction that its first statement began.
type rollback struct{ conn fullConn }

func (r rollback) Commit() error { return errors.New("COMMIT is sent by transaction") }

func (r rollback) Rollback() error {
	if !r.conn.IsValid() {
		return mysql.ErrInvalidConn
	}
	_, err := r.conn.ExecContext(context.Background(), "ROLLBACK", nil) // bounded by Timeouts.IO
	return err
}

// transaction is a driver.Tx.
type transaction struct {
	session *session
	ctx     context.Context //nolint:containedctx // of BeginTx: database/sql gives Commit none
	inner   driver.Tx
}

// unansweredCommit is the error of a COMMIT that was sent.
type unansweredCommit struct{ err error }

func (e *unansweredCommit) Error() string { return "no answer to COMMIT: " + e.err.Error() }
func (e *unansweredCommit) Unwrap() error { return e.err }

func (t *transaction) Commit() error {
	err := t.session.state.err()
	if err == nil {
		err = t.ctx.Err()
	}
	if err == nil && !t.session.IsValid() {
		err = mysql.ErrInvalidConn
	}
	if err != nil {
		return errors.Join(err, t.inner.Rollback())
	}
	// Not inner.Commit, which would wait for the answer past the end of ctx.
	err = t.session.commit(t.ctx)
	if err == nil {
		return nil
	}
	var server *mysql.MySQLError
	if errors.As(err, &server) {
		// A killed COMMIT may have been carried out; one that lost or that met
		// read_only was not.
		if o := serverOutcome(server); o == notHome || o == conflict {
			return errors.Join(t.session.see(err), t.inner.Rollback())
		}
	}
	return &unansweredCommit{err}
}

// commitTelling is COMMIT with an answer. The driver does not read what a server
// may tell beside the answer to COMMIT itself.
const commitTelling = "BEGIN NOT ATOMIC COMMIT; SELECT @@last_gtid; END"

func (s *session) commit(ctx context.Context) error {
	if !s.tells || !s.state.tell {
		_, err := s.fullConn.ExecContext(ctx, "COMMIT", nil)
		return err
	}
	rows, err := s.fullConn.QueryContext(ctx, commitTelling, nil)
	if err != nil {
		return err
	}
	// It is committed. What fails from here on costs the GTID alone.
	if told, err := only(rows); err == nil {
		s.state.told = told
	}
	return nil
}

// askOne returns the one value of a statement's answer.
func (s *session) askOne(ctx context.Context, query string) (string, error) {
	rows, err := s.fullConn.QueryContext(ctx, query, nil)
	if err != nil {
		return "", err
	}
	return only(rows)
}

func only(rows driver.Rows) (value string, err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	dest := make([]driver.Value, len(rows.Columns()))
	if err := rows.Next(dest); err != nil {
		return "", err
	}
	text, ok := dest[0].([]byte)
	if !ok || len(dest) != 1 {
		return "", fmt.Errorf("%d values, the first a %T: want one text", len(dest), dest[0])
	}
	return string(text), nil
}

func (t *transaction) Rollback() error { return t.inner.Rollback() }

// fullStmt is what the driver's statements have.
type fullStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
	driver.NamedValueChecker
}

type statement struct {
	fullStmt
	session *session
}

func (s *statement) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	if err := s.session.state.err(); err != nil {
		return nil, err
	}
	res, err := s.fullStmt.ExecContext(ctx, args)
	return res, s.session.see(err)
}

func (s *statement) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	if err := s.session.state.err(); err != nil {
		return nil, err
	}
	rows, err := s.fullStmt.QueryContext(ctx, args)
	if err != nil {
		return nil, s.session.see(err)
	}
	return s.session.watchRows(rows)
}

// fullRows is what the driver's rows have.
type fullRows interface {
	driver.RowsNextResultSet
	driver.RowsColumnTypeDatabaseTypeName
	driver.RowsColumnTypeNullable
	driver.RowsColumnTypePrecisionScale
	driver.RowsColumnTypeScanType
}

type rows struct {
	fullRows
	session *session
}

func (s *session) watchRows(inner driver.Rows) (driver.Rows, error) {
	full, ok := inner.(fullRows)
	if !ok {
		_ = inner.Close()
		return nil, fmt.Errorf("driver rows %T lack methods", inner)
	}
	return &rows{fullRows: full, session: s}, nil
}

func (r *rows) Next(dest []driver.Value) error { return r.session.see(r.fullRows.Next(dest)) }
