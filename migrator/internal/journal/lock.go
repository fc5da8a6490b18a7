package journal

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"

	"drover/bucketmap"
)

// lockWaitSeconds is long enough for a server to notice that the process which
// had the lock is dead.
const lockWaitSeconds = 3

// lockPrefix and a move's id are the name of its lock.
const lockPrefix = "drover."

func lockName(move bucketmap.MoveID) string { return lockPrefix + string(move) }

// noteRuns is the note of the entry that Lock makes: this process has the move.
const noteRuns = "runs it"

// Holder is the live process that has a move.
type Holder struct {
	Host string `json:"host"`
	PID  string `json:"pid"`
	// Since is when it took the lock.
	Since time.Time `json:"since"`
	// Client is where its connection comes from, and Connection the server's
	// number of it.
	Client     string `json:"client"`
	Connection int64  `json:"connection"`
}

func (h *Holder) String() string {
	return fmt.Sprintf("%s, pid %s, since %s (connection %d from %s)", h.Host, h.PID, h.Since.Format(time.RFC3339), h.Connection, h.Client)
}

// LockedError says who has a move. It is an ErrLocked.
type LockedError struct {
	Move bucketmap.MoveID
	// Holder is nil when it could not be found out.
	Holder *Holder
}

func (e *LockedError) Error() string {
	by := ""
	if e.Holder != nil {
		by = ": " + e.Holder.String()
	}
	return fmt.Sprintf("%s: %s%s; wait for it, or end it and run migrator move resume %s", e.Move, ErrLocked, by, e.Move)
}

// Is makes every LockedError an ErrLocked.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// Lock makes this process the only one that runs the move, for as long as one
// connection lives: a process that dies frees it. It keeps honest migrators
// apart; against one that wakes up after its connection was given up, the run
// in every compare-and-swap helps. The error is a *LockedError when a live
// migrator has the move.
func (j *Journal) Lock(ctx context.Context, move bucketmap.MoveID) (unlock func(), err error) {
	wrap := func(err error) error {
		return fmt.Errorf("journal of %s: lock %s: %w", j.server.Name(), move, err)
	}
	conn, err := j.server.DB.Conn(ctx)
	if err != nil {
		return nil, wrap(err)
	}
	var got sql.NullInt64
	if err := conn.QueryRowContext(ctx, "SELECT GET_LOCK(?, ?)", lockName(move), lockWaitSeconds).Scan(&got); err != nil {
		_ = conn.Close()
		return nil, wrap(err)
	}
	if got.Int64 != 1 {
		_ = conn.Close()
		holder, _ := j.Holder(ctx, move) // who it is only helps: that it is locked is known
		return nil, fmt.Errorf("journal of %s: %w", j.server.Name(), &LockedError{Move: move, Holder: holder})
	}
	unlock = func() {
		release, cancel := context.WithTimeout(context.WithoutCancel(ctx), lockWaitSeconds*time.Second)
		defer cancel()
		// Best effort: the lock goes with the connection, so the connection goes.
		_, _ = conn.ExecContext(release, "DO RELEASE_LOCK(?)", lockName(move))
		_ = conn.Raw(func(any) error { return driver.ErrBadConn })
		_ = conn.Close()
	}
	// A promotion's lock is taken on replicas too, where nothing may be written.
	if _, err := conn.ExecContext(ctx, "INSERT INTO drover_journal (move_id, at, run, state, host, note) "+
		"SELECT id, ?, run, state, ?, ? FROM drover_move WHERE id = ? AND open AND kind = ? AND NOT @@global.read_only",
		time.Now().UTC(), j.host, noteRuns, string(move), string(KindMove)); err != nil {
		unlock()
		return nil, wrap(err)
	}
	return unlock, nil
}

// Holder returns the process that has a move, nil when none has.
func (j *Journal) Holder(ctx context.Context, move bucketmap.MoveID) (*Holder, error) {
	wrap := func(err error) error {
		return fmt.Errorf("journal of %s: who has %s: %w", j.server.Name(), move, err)
	}
	h := &Holder{Host: "unknown", PID: "unknown"}
	var idle float64 // milliseconds since the lock's connection was last used: to take it
	err := j.server.DB.QueryRowContext(ctx, "SELECT ID, HOST, TIME_MS FROM information_schema.PROCESSLIST WHERE ID = IS_USED_LOCK(?)",
		lockName(move)).Scan(&h.Connection, &h.Client, &idle)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, wrap(err)
	}
	h.Since = time.Now().UTC().Add(-time.Duration(idle * float64(time.Millisecond))).Truncate(time.Second)
	var process, note, at string
	err = j.server.DB.QueryRowContext(ctx, "SELECT host, note, at FROM drover_journal WHERE move_id = ? ORDER BY note = ? DESC, id DESC LIMIT 1",
		string(move), noteRuns).Scan(&process, &note, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return h, nil
	}
	if err != nil {
		return nil, wrap(err)
	}
	if host, pid, ok := strings.Cut(process, "/"); ok {
		h.Host, h.PID = host, pid
	}
	if note == noteRuns {
		if h.Since, err = time.Parse(timestamp, at); err != nil {
			return nil, wrap(err)
		}
	}
	return h, nil
}
