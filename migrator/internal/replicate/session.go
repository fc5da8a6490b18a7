package replicate

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"sync"
	"time"

	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

// endMax bounds what is done after an interrupt: killing what is left, and
// starting a replica that stands still.
const endMax = 10 * time.Second

// session is one connection with settings of its own, which the pool never
// sees again.
type session struct {
	server *database.Server
	conn   *sql.Conn
	id     int64
	once   sync.Once
}

func openSession(ctx context.Context, server *database.Server, statements ...string) (*session, error) {
	wrap := func(err error) error { return fmt.Errorf("%s: open a session: %w", server.Name(), err) }
	conn, err := server.DB.Conn(ctx)
	if err != nil {
		return nil, wrap(err)
	}
	s := &session{server: server, conn: conn}
	if err := conn.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&s.id); err != nil {
		s.close()
		return nil, wrap(err)
	}
	if err := s.exec(ctx, statements...); err != nil {
		s.close()
		return nil, wrap(err)
	}
	return s, nil
}

// openQuiet opens a session whose writes are not in the server's binlog.
func openQuiet(ctx context.Context, server *database.Server) (*session, error) {
	return openSession(ctx, server, "SET SESSION sql_log_bin=0", "SET SESSION check_constraint_checks=0",
		"SET SESSION max_statement_time=0")
}

func (s *session) exec(ctx context.Context, statements ...string) error {
	for _, statement := range statements {
		if _, err := s.conn.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%.100s: %w", statement, err)
		}
	}
	return nil
}

// close ends the connection.
func (s *session) close() {
	s.once.Do(func() {
		_ = s.conn.Raw(func(any) error { return driver.ErrBadConn })
		_ = s.conn.Close()
	})
}

// kill ends the connection and what the server still does for it: a server
// notices late that nobody reads.
func (s *session) kill(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endMax)
	defer cancel()
	_ = s.server.Kill(ctx, s.id) // a server that is gone has nothing under way
	s.close()
}

// lines runs a query and returns each row by column, in bytes.
func lines(ctx context.Context, q querier, query string, args ...any) ([]map[string]string, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("%.100s: %w", query, err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	values, targets := make([]sql.NullString, len(names)), make([]any, len(names))
	for i := range values {
		targets[i] = &values[i]
	}
	var all []map[string]string
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return nil, err
		}
		line := make(map[string]string, len(names))
		for i, name := range names {
			line[name] = values[i].String
		}
		all = append(all, line)
	}
	return all, rows.Err()
}

// words runs a query and returns its only column.
func words(ctx context.Context, q querier, query string, args ...any) ([]string, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("%.100s: %w", query, err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var word sql.NullString
		if err := rows.Scan(&word); err != nil {
			return nil, err
		}
		all = append(all, word.String)
	}
	return all, rows.Err()
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// lockName is that of the lock which a run has on the replica for as long as
// it lives. lockSeconds is long enough for a server to notice that the process
// which had it is dead.
const (
	lockName    = "drover.replicate"
	lockSeconds = 3
)

// lock makes sure that one process alone makes this replica.
func lock(ctx context.Context, server *database.Server) (*session, error) {
	s, err := openSession(ctx, server)
	if err != nil {
		return nil, err
	}
	var got, holder sql.NullInt64
	err = s.conn.QueryRowContext(ctx, "SELECT GET_LOCK(?, ?), IS_USED_LOCK(?)", lockName, lockSeconds, lockName).Scan(&got, &holder)
	if err == nil && got.Int64 != 1 {
		err = fmt.Errorf("%w: connection %d of %s has it; wait for it, or end that process", ErrBusy, holder.Int64, server.Name())
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// full is a table's name in SQL.
func full(schema, table string) string { return fence.Quote(schema) + "." + fence.Quote(table) }

// errNo says whether err is one of the server's numbers.
func errNo(err error, numbers ...uint16) bool {
	number, ok := database.ErrorNumber(err)
	for _, n := range numbers {
		if ok && n == number {
			return true
		}
	}
	return false
}
