package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"

	"drover/bucketmap"
	"drover/shardlib/fence"
)

// Account is the migrator's own database account, the one that passes the
// trigger fence.
type Account struct {
	User, Password string
}

// Server is one database server of a shard.
type Server struct {
	Shard      bucketmap.ShardName
	Datacenter bucketmap.Datacenter
	Addr       string // host:port
	Database   string
	Account    Account
	DB         *sql.DB

	dialect atomic.Pointer[Dialect] // nil until it is asked for
}

const (
	// connectTimeout bounds a connection attempt.
	connectTimeout = 5 * time.Second
	// connectionsMax: a move needs four at once (copy, tail, fence, checks), and
	// while it copies one for each loader instead, four at most; twice that
	// leaves room for a batch of commands in one process.
	connectionsMax = 8
	// lockWaitSeconds bounds waiting for row locks where no shorter bound is
	// given with the statement.
	lockWaitSeconds = 10
	// idleSeconds bounds how long a process that stands still keeps the locks of
	// an open transaction: the server then rolls it back. No transaction of the
	// migrator waits for anything but the server.
	idleSeconds = 5
	// silentSeconds is the same for a LOAD DATA of which no more rows come.
	silentSeconds = 10
)

// ofFamily are the session's variables that have other names on MySQL, or are
// not there: it bounds no idle transaction. What the server bounds statements
// with is for its users; the migrator's have bounds of their own. Which family the
// server is of is not known before it is connected, and each takes the other's words
// for a comment.
var ofFamily = fmt.Sprintf(" /*M!100500 , tx_isolation = 'READ-COMMITTED', idle_transaction_timeout = %d, max_statement_time = 0 */"+
	" /*!80000 , transaction_isolation = 'READ-COMMITTED', max_execution_time = 0 */", idleSeconds)

// Open prepares connections to a server; it does not connect. The session
// speaks bytes (no conversion between character sets), UTC and strict SQL, so
// that a value arrives as it left, and reads what is committed.
func Open(shard bucketmap.ShardName, dc bucketmap.Datacenter, addr, database string, account Account) (*Server, error) {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.Net, cfg.Addr, cfg.DBName = account.User, account.Password, "tcp", addr, database
	cfg.Timeout = connectTimeout
	cfg.InterpolateParams = true
	cfg.Logger = &mysql.NopLogger{} // what it would say is in the errors
	cfg.ClientFoundRows = true      // "affected" counts what a compare-and-swap matched
	cfg.Params = map[string]string{
		"time_zone":                "'+00:00'",
		"sql_mode":                 "'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION'",
		"foreign_key_checks":       "0",
		"innodb_lock_wait_timeout": strconv.Itoa(lockWaitSeconds),
		"net_read_timeout":         strconv.Itoa(silentSeconds) + ofFamily,
	}
	if err := cfg.Apply(mysql.Charset("binary", "")); err != nil {
		return nil, fmt.Errorf("database %s: %w", addr, err)
	}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, fmt.Errorf("database %s: %w", addr, err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(connectionsMax)
	db.SetMaxIdleConns(connectionsMax)
	return &Server{Shard: shard, Datacenter: dc, Addr: addr, Database: database, Account: account, DB: db}, nil
}

// Close ends the connections.
func (s *Server) Close() error { return s.DB.Close() }

// Name gives the server in words for people: shard@datacenter (address).
func (s *Server) Name() string { return fmt.Sprintf("%s@%s (%s)", s.Shard, s.Datacenter, s.Addr) }

// HostPort splits the address.
func (s *Server) HostPort() (host string, port uint16, err error) {
	host, p, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return "", 0, fmt.Errorf("address %q: want host:port: %w", s.Addr, err)
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("address %q: port: %w", s.Addr, err)
	}
	return host, uint16(n), nil
}

// BinlogPosition returns the position of the end of the server's binlog.
func (s *Server) BinlogPosition(ctx context.Context) (Position, error) {
	return s.position(ctx, MariaDB().Position)
}

// AppliedPosition returns what the server has in all: written itself or
// applied as a replica.
func (s *Server) AppliedPosition(ctx context.Context) (Position, error) {
	return s.position(ctx, MariaDB().Applied)
}

func (s *Server) position(ctx context.Context, variable string) (Position, error) {
	v, err := s.Variable(ctx, variable)
	if err != nil {
		return nil, err
	}
	p, err := ParsePosition(v)
	if err != nil {
		return nil, fmt.Errorf("database %s: @@%s: %w", s.Name(), variable, err)
	}
	return p, nil
}

// Variable returns a global variable of the server.
func (s *Server) Variable(ctx context.Context, name string) (string, error) {
	var v sql.NullString
	if err := s.DB.QueryRowContext(ctx, "SELECT @@global."+name).Scan(&v); err != nil {
		return "", fmt.Errorf("database %s: @@%s: %w", s.Name(), name, err)
	}
	return v.String, nil
}

// LastGTID returns the id of the last transaction that this connection
// committed.
func LastGTID(ctx context.Context, conn *sql.Conn) (GTID, error) {
	var v string
	if err := conn.QueryRowContext(ctx, "SELECT @@last_gtid").Scan(&v); err != nil {
		return GTID{}, fmt.Errorf("database: @@last_gtid: %w", err)
	}
	return ParseGTID(v)
}

// WithinMillis is the prefix that bounds a statement, waiting for locks
// included. MariaDB ends it with error 1969 (ER_STATEMENT_TIMEOUT). MySQL does
// not know it: see EndAfter.
func WithinMillis(ms int) string {
	return fmt.Sprintf("SET STATEMENT max_statement_time=%d.%03d FOR ", ms/1000, ms%1000)
}

// Server error numbers that decide what the migrator does next.
const (
	erLockWaitTimeout  = 1205
	erDeadlock         = 1213
	erStatementTimeout = 1969
)

// TimedOut says whether err is the server's word that a lock was not to be had
// in time, that it chose this transaction to end a deadlock, or that it ended a
// change of the fence: nothing was changed, and trying again later is right.
func TimedOut(err error) bool {
	number, ok := ErrorNumber(err)
	return ok && (number == erLockWaitTimeout || number == erDeadlock || number == erStatementTimeout) || errors.Is(err, ErrBound) || errors.Is(err, fence.ErrUnfinished)
}
