package promote

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"drover/internal/pause"
	"drover/migrator/internal/database"
)

// Nothing may land late: a statement that was given up, and is executed after
// the run has read how things are, would undo what was decided then. So the
// statements that decide run on a connection whose id is known; when the answer
// does not come the connection is killed and seen gone. A process that was
// killed leaves no id; what it may have sent about read_only is found by the
// lock that every such connection holds.

// readOnlyLock is held by the connection that changes read_only. It ends with
// the connection.
const readOnlyLock = "drover_read_only"

// lockWaitSeconds bounds waits for metadata locks, FLUSH TABLES WITH READ LOCK
// and the like, and for rows; 1 s is the least that the server knows.
const lockWaitSeconds = 1

// gonePoll is how often a killed connection is looked for.
const gonePoll = 5 * time.Millisecond

// commandBounds bounds what a connection may wait for; statement 0 leaves the
// time of statements alone: a COMMIT that is timed out may have committed.
func commandBounds(d database.Dialect, statement time.Duration) command {
	if statement != 0 {
		statement = max(statement, time.Millisecond)
	}
	return command{text: d.SessionBounds(lockWaitSeconds, statement.Seconds())}
}

// onBounded calls f with a connection of its own, and kills that if f fails
// without the server's word: then nothing that was sent on it can be executed
// any more.
func (r *run) onBounded(ctx context.Context, server *database.Server, statement time.Duration, f func(*sql.Conn) error) error {
	conn, err := server.DB.Conn(ctx)
	if err != nil {
		return err
	}
	defer database.Drop(conn)
	var id int64
	if err := conn.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&id); err != nil {
		return err
	}
	if err = r.doOn(ctx, server, conn, commandBounds(r.dialect, statement)); err == nil {
		err = f(conn)
	}
	if err == nil {
		return nil
	}
	if _, answered := database.ErrorNumber(err); answered && !errors.Is(err, database.ErrOutcomeUnknown) {
		return err
	}
	killing, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	return errors.Join(err, endConnection(killing, server, id))
}

// endConnection kills a connection and waits until it is gone.
func endConnection(ctx context.Context, server *database.Server, id int64) error {
	for {
		if err := server.Kill(ctx, id); err != nil {
			return fmt.Errorf("%s: end connection %d: %w", server.Name(), id, err)
		}
		var left int
		if err := server.DB.QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = ?", id).Scan(&left); err != nil {
			return fmt.Errorf("%s: end connection %d: %w", server.Name(), id, err)
		}
		if left == 0 {
			return nil
		}
		if err := pause.For(ctx, gonePoll); err != nil {
			return fmt.Errorf("%s: connection %d was killed and is still there: %w", server.Name(), id, err)
		}
	}
}

// decide runs a transaction of which nothing lands late, and says who was in its
// way.
func (r *run) decide(ctx context.Context, server *database.Server, f func(tx *sql.Tx) error) error {
	return r.explained(ctx, server, r.tryDecide(ctx, server, f))
}

// tryDecide is decide for who will try again at once: to find out who is in the
// way takes longer.
func (r *run) tryDecide(ctx context.Context, server *database.Server, f func(tx *sql.Tx) error) error {
	return r.onBounded(ctx, server, 0, func(conn *sql.Conn) error { return database.InTx(ctx, conn, f) })
}

// makeReadOnly makes a server read-only, or returns database.ErrBusy. The
// statement waits for the statements and commits under way, and everybody else
// waits behind it: hence Limits.ReadOnly.
func (r *run) makeReadOnly(ctx context.Context, server *database.Server) error {
	err := r.setReadOnly(ctx, server, true)
	if database.TimedOut(err) {
		return fmt.Errorf("%s: make it read-only: %w: %w", server.Name(), database.ErrBusy, err)
	}
	return err
}

// makeWritable makes a server take writes of everybody, also if a makeReadOnly
// is still under way, or was left behind by a process that died.
func (r *run) makeWritable(ctx context.Context, server *database.Server) error {
	if err := r.setReadOnly(ctx, server, false); err != nil {
		return err
	}
	readOnly, err := server.ReadOnly(ctx)
	if err != nil {
		return err
	}
	if readOnly {
		return fmt.Errorf("%s: it was made writable and is read-only: somebody else makes it so", server.Name())
	}
	return nil
}

func (r *run) setReadOnly(ctx context.Context, server *database.Server, on bool) error {
	if err := endReadOnly(ctx, server); err != nil {
		return err
	}
	return r.onBounded(ctx, server, r.Limits.ReadOnly, func(conn *sql.Conn) error {
		var got sql.NullInt64
		if err := conn.QueryRowContext(ctx, "SELECT GET_LOCK(?, 0)", readOnlyLock).Scan(&got); err != nil {
			return err
		}
		if got.Int64 != 1 {
			return fmt.Errorf("%s: another migrator changes read_only: %w", server.Name(), ErrBusy)
		}
		return server.EndAfter(ctx, conn, max(r.Limits.ReadOnly, time.Millisecond), func() error {
			return r.doOn(ctx, server, conn, commandReadOnly(on))
		})
	})
}

// endReadOnly ends the connections that may still change read_only.
func endReadOnly(ctx context.Context, server *database.Server) error {
	for {
		var id sql.NullInt64
		if err := server.DB.QueryRowContext(ctx, "SELECT IS_USED_LOCK(?)", readOnlyLock).Scan(&id); err != nil {
			return fmt.Errorf("%s: look for what changes read_only: %w", server.Name(), err)
		}
		if !id.Valid {
			return nil
		}
		if err := endConnection(ctx, server, id.Int64); err != nil {
			return err
		}
	}
}
