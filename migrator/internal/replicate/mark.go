package replicate

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

// markSchema is the database that the mark is in. It is beside the shard's own
// databases, so that it is there before them and is not compared.
const markSchema = "drover_replicating"

const markTable = markSchema + ".mark"

// mark says what was made on a replica that is not done yet.
type mark struct {
	Shard     string
	Token     string // of the run that has it
	State     State
	PrimaryID uint32
	Schemas   []string // made here, or about to be
	Start     Start
}

// readMark returns nil where there is none.
func readMark(ctx context.Context, q rowQuerier, server *database.Server) (*mark, error) {
	m := &mark{}
	var position, schemas string
	err := q.QueryRowContext(ctx, "SELECT shard, token, state, primary_id, made, position, history FROM "+markTable+" WHERE id = 1").
		Scan(&m.Shard, &m.Token, &m.State, &m.PrimaryID, &schemas, &position, &m.Start.History)
	if errors.Is(err, sql.ErrNoRows) || errNo(err, erNoTable, erNoDatabase) {
		return nil, nil
	}
	wrap := func(err error) error { return fmt.Errorf("%s: read %s: %w", server.Name(), markTable, err) }
	if err != nil {
		return nil, wrap(err)
	}
	if err := json.Unmarshal([]byte(schemas), &m.Schemas); err != nil {
		return nil, wrap(err)
	}
	if m.Start.Position, err = database.ParsePosition(position); err != nil {
		return nil, wrap(err)
	}
	return m, nil
}

type rowQuerier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// The server's error numbers for what is not there.
const (
	erNoDatabase = 1049
	erNoTable    = 1146
)

// takeMark makes this run the one that has the mark, and begins one where there
// is none.
func (r *run) takeMark(ctx context.Context, state State, primary uint32) error {
	return r.quietly(ctx, func(s *session) error {
		r.crash("before_mark", state)
		if err := s.exec(ctx, "CREATE DATABASE IF NOT EXISTS "+markSchema,
			"CREATE TABLE IF NOT EXISTS "+markTable+` (id TINYINT PRIMARY KEY, shard VARBINARY(255) NOT NULL, token VARCHAR(64) NOT NULL,
			state VARCHAR(16) NOT NULL, primary_id INT UNSIGNED NOT NULL, made LONGTEXT NOT NULL, position TEXT NOT NULL, history TEXT NOT NULL) ENGINE=InnoDB`); err != nil {
			return err
		}
		_, err := s.conn.ExecContext(ctx, "INSERT INTO "+markTable+" VALUES (1, ?, ?, ?, ?, '[]', '', '') ON DUPLICATE KEY UPDATE token = VALUES(token)",
			string(r.To.Shard), string(r.id), string(state), primary)
		if err != nil {
			return err
		}
		r.crash("after_mark", state)
		r.mark, err = readMark(ctx, s.conn, r.to)
		return err
	})
}

// saveMark writes the mark, if this run still has it.
func (r *run) saveMark(ctx context.Context, change func(*mark)) error {
	next := *r.mark
	change(&next)
	schemas, err := json.Marshal(next.Schemas)
	if err != nil {
		return err
	}
	err = r.quietly(ctx, func(s *session) error {
		return database.InTx(ctx, s.conn, func(tx *sql.Tx) error {
			if err := own(ctx, tx, string(r.id), "FOR UPDATE"); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, "UPDATE "+markTable+" SET state = ?, made = ?, position = ?, history = ? WHERE id = 1",
				string(next.State), string(schemas), next.Start.Position.String(), next.Start.History)
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("%s: write %s: %w", r.to.Name(), markTable, err)
	}
	*r.mark = next
	return nil
}

// own makes sure, until the transaction ends, that the run has the mark.
func own(ctx context.Context, tx *sql.Tx, token, locking string) error {
	var have string
	err := tx.QueryRowContext(ctx, "SELECT token FROM "+markTable+" WHERE id = 1 "+locking).Scan(&have)
	if errors.Is(err, sql.ErrNoRows) || err == nil && have != token || errNo(err, erNoTable, erNoDatabase) {
		return ErrReplaced
	}
	return err
}

// dropMark is the last thing that is done.
func (r *run) dropMark(ctx context.Context) error {
	r.crash("before_unmark", Proving)
	err := r.quietly(ctx, func(s *session) error { return s.exec(ctx, "DROP DATABASE IF EXISTS "+markSchema) })
	r.crash("after_unmark", Proving)
	return err
}

// empty removes what an earlier run made: the databases that the mark names,
// and the replication that it began.
func (r *run) empty(ctx context.Context) error {
	upstreams, err := r.to.Upstreams(ctx)
	if err != nil {
		return err
	}
	r.crash("before_empty", Copying)
	for _, u := range upstreams {
		if err := r.to.StopReplica(ctx, u.Connection); err != nil {
			return err
		}
		if err := r.to.ForgetUpstream(ctx, u.Connection); err != nil {
			return err
		}
	}
	err = r.quietly(ctx, func(s *session) error {
		for _, schema := range r.mark.Schemas {
			if err := s.exec(ctx, "DROP DATABASE IF EXISTS "+fence.Quote(schema)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: empty it: %w", r.to.Name(), err)
	}
	r.crash("after_empty", Copying)
	return r.saveMark(ctx, func(m *mark) { m.State, m.Schemas, m.Start = Copying, nil, Start{} })
}

// quietly runs f with a session whose writes are not in the replica's binlog.
func (r *run) quietly(ctx context.Context, f func(*session) error) error {
	s, err := openQuiet(ctx, r.to)
	if err != nil {
		return err
	}
	defer s.close()
	return f(s)
}

// systemSchemas are the server's own databases.
var systemSchemas = []string{"mysql", "information_schema", "performance_schema", "sys", markSchema}

// userSchemas lists a server's databases but its own.
func userSchemas(ctx context.Context, q querier) ([]string, error) {
	all, err := words(ctx, q, "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA ORDER BY SCHEMA_NAME")
	return slices.DeleteFunc(all, func(name string) bool { return slices.Contains(systemSchemas, name) }), err
}

// foreign lists the databases with something in them that no mark names.
func foreign(ctx context.Context, server *database.Server, m *mark) ([]string, error) {
	all, err := userSchemas(ctx, server.DB)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, schema := range all {
		if m != nil && slices.Contains(m.Schemas, schema) {
			continue
		}
		var n int
		err := server.DB.QueryRowContext(ctx, "SELECT (SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = ?) + "+
			"(SELECT COUNT(*) FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = ?) + (SELECT COUNT(*) FROM information_schema.EVENTS WHERE EVENT_SCHEMA = ?)",
			schema, schema, schema).Scan(&n)
		if err != nil {
			return nil, fmt.Errorf("%s: what is in %s: %w", server.Name(), schema, err)
		}
		if n != 0 {
			found = append(found, schema)
		}
	}
	return found, nil
}
