package promote

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

// ErrServerLocked says that somebody holds a lock on a whole server, or on the
// fence's table, for which every write waits: FLUSH TABLES WITH READ LOCK of a
// backup, BACKUP STAGE, LOCK TABLES, ALTER TABLE. The remedy is with it.
var ErrServerLocked = errors.New("somebody has a lock on the whole server")

const (
	// explainMax bounds finding out who has a lock; the error is there without it.
	explainMax = time.Second
	// holdersMax bounds how many connections are named.
	holdersMax = 5
)

// holder is a connection that has such a lock, or may have it.
type holder struct {
	id                  int64
	user, host, command string
	seconds             int64 // since its last statement began or ended
	what                string
	certain             bool
}

func (h holder) String() string {
	text := fmt.Sprintf("connection %d of %s@%s, %s for %d s", h.id, h.user, h.host, strings.ToLower(h.command), h.seconds)
	if h.what != "" {
		text += ", " + h.what
	}
	return text
}

// explained says who is in the way of a statement that waited for a lock in vain,
// where it was no row lock. What err says still holds; other errors are returned
// as they are.
func (r *run) explained(ctx context.Context, server *database.Server, err error) error {
	if !database.TimedOut(err) {
		return err
	}
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), explainMax)
	defer cancel()
	if locked, failure := serverLocked(asking, server, r.dialect); failure != nil || !locked {
		return err
	}
	held, failure := serverLockHolders(asking, server, r.dialect)
	if failure != nil || len(held) == 0 {
		return fmt.Errorf("%w: %s: who, its process list does not show; end the backup, or LOCK TABLES, that is under way there: %w",
			ErrServerLocked, server.Name(), err)
	}
	names, kills := make([]string, len(held)), make([]string, len(held))
	for n, h := range held {
		names[n], kills[n] = h.String(), fmt.Sprintf("KILL %d", h.id)
	}
	who := "it is " + strings.Join(names, "; ")
	if !held[0].certain {
		who = "it may be " + strings.Join(names, "; or ")
	}
	return fmt.Errorf("%w: %s: %s; wait until it ends, or end it there: %s; and make backups on a replica that is not being promoted, or without a lock: %w",
		ErrServerLocked, server.Name(), who, strings.Join(kills, ", or "), err)
}

// serverLocked tries it where it costs nothing: no row has this bucket. A row
// that somebody else has is not in its way.
func serverLocked(ctx context.Context, server *database.Server, d database.Dialect) (bool, error) {
	conn, err := server.DB.Conn(ctx)
	if err != nil {
		return false, err
	}
	defer database.Drop(conn)
	if _, err := conn.ExecContext(ctx, d.SessionBounds(lockWaitSeconds, probeBound.Seconds())); err != nil {
		return false, err
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback() }() // it has changed nothing
	err = server.EndAfter(ctx, tx, probeBound, func() error {
		_, err := tx.ExecContext(ctx, "DELETE FROM "+fence.Table+" WHERE bucket = ?", fence.ShardRow-1)
		return err
	})
	if database.TimedOut(err) {
		return true, nil
	}
	return false, err
}

// probeBound is longer than a statement takes that nothing is in the way of, on a
// machine that is slow, too, and short beside explainMax.
const probeBound = 200 * time.Millisecond

// inTheWay says in words why a lock was waited for in vain.
func inTheWay(err error) string {
	if errors.Is(err, ErrServerLocked) {
		return err.Error()
	}
	return "an open transaction writes on the shard"
}

// serverLockHolders asks who has the lock: the server's list of locks where it
// keeps one, else its process list, for those who can have taken it.
func serverLockHolders(ctx context.Context, server *database.Server, d database.Dialect) ([]holder, error) {
	certain := []string{lockHoldersSchema}
	if !d.MySQL() {
		certain = append(certain, lockHoldersPlugin)
	}
	for _, query := range certain {
		held, err := holders(ctx, server, query, fence.Table)
		if err != nil || len(held) == 0 {
			continue // it keeps no such list, or not now
		}
		for n := range held {
			held[n].certain = true
		}
		return held, nil
	}
	return holders(ctx, server, lockHoldersGuess, server.Account.User)
}

const processColumns = "p.ID, p.USER, COALESCE(p.HOST, ''), p.COMMAND, COALESCE(p.TIME, 0), LEFT(COALESCE(p.INFO, ''), 80)"

// lockHoldersSchema is of both families, where the performance schema watches
// metadata locks: MySQL's does by default.
const lockHoldersSchema = "SELECT DISTINCT " + processColumns + " FROM performance_schema.metadata_locks AS l " +
	"JOIN performance_schema.threads AS t ON t.THREAD_ID = l.OWNER_THREAD_ID JOIN information_schema.PROCESSLIST AS p ON p.ID = t.PROCESSLIST_ID " +
	"WHERE l.LOCK_STATUS = 'GRANTED' AND p.ID <> CONNECTION_ID() AND (l.OBJECT_TYPE IN ('GLOBAL', 'BACKUP', 'COMMIT', 'BACKUP LOCK') AND l.LOCK_DURATION = 'EXPLICIT' " +
	"OR l.OBJECT_TYPE = 'TABLE' AND l.OBJECT_NAME = ? AND l.LOCK_TYPE NOT IN ('SHARED_READ', 'SHARED_WRITE'))"

// lockHoldersPlugin is of MariaDB, where the plugin metadata_lock_info is loaded.
const lockHoldersPlugin = "SELECT DISTINCT " + processColumns + " FROM information_schema.METADATA_LOCK_INFO AS l " +
	"JOIN information_schema.PROCESSLIST AS p ON p.ID = l.THREAD_ID " +
	"WHERE p.ID <> CONNECTION_ID() AND (l.LOCK_MODE LIKE 'MDL_BACKUP_FTWRL%' OR l.LOCK_MODE LIKE 'MDL_BACKUP_BLOCK%' OR l.LOCK_MODE = 'MDL_BACKUP_WAIT_COMMIT' " +
	"OR (l.LOCK_MODE LIKE 'MDL_SHARED_NO%' OR l.LOCK_MODE = 'MDL_SHARED_READ_ONLY') AND l.TABLE_NAME = ? OR l.LOCK_MODE = 'MDL_EXCLUSIVE' AND l.TABLE_NAME = ?)"

// lockHoldersGuess: those who say so first, then idle connections of accounts
// other than the migrator's, the longest idle last: who took the lock did so
// since users could write.
const lockHoldersGuess = "SELECT " + processColumns + " FROM information_schema.PROCESSLIST AS p " +
	"WHERE p.ID <> CONNECTION_ID() AND p.USER NOT IN (?, 'system user', 'event_scheduler', 'unauthenticated user') AND p.COMMAND NOT LIKE 'Binlog Dump%' " +
	"AND p.COMMAND <> 'Daemon' AND (p.INFO IS NULL OR p.INFO REGEXP '^[[:space:]]*(flush|backup|lock|alter|create|drop|optimize|truncate)') " +
	"ORDER BY p.INFO IS NULL, p.TIME"

func holders(ctx context.Context, server *database.Server, query string, arg any) ([]holder, error) {
	args := make([]any, strings.Count(query, "?"))
	for n := range args {
		args[n] = arg
	}
	rows, err := server.DB.QueryContext(ctx, fmt.Sprintf("%s LIMIT %d", query, holdersMax), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []holder
	for rows.Next() {
		var h holder
		var what sql.NullString
		if err := rows.Scan(&h.id, &h.user, &h.host, &h.command, &h.seconds, &what); err != nil {
			return nil, err
		}
		h.what = what.String
		all = append(all, h)
	}
	return all, rows.Err()
}
