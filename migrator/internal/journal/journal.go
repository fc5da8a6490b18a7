// Package journal remembers what a move or a promotion was about to do.
//
// The journal lives in the database of the shard that a move starts from,
// beside the fence: who can reach the data can reach the journal, from any
// machine, and a machine that is lost takes no journal with it.
//
// A migrator must, in this order: (1) Lock the move; (2) Begin it, or TakeOver
// from an earlier run; (3) Write each state before it acts in it. A run that
// was replaced gets ErrReplaced at its next Write and must stop.
//
// The journal says where a move is; of which side of the commit point it is on
// the fence's row in the source decides, not the journal.
package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"drover/bucketmap"
	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

// Kind says which state machine a record belongs to.
type Kind string

// The kinds.
const (
	KindMove      Kind = "move"
	KindPromotion Kind = "promotion"
)

var (
	// ErrReplaced says that a newer run has the move.
	ErrReplaced = errors.New("another migrator has taken this move over")
	// ErrLocked says that a live migrator has the move.
	ErrLocked = errors.New("another migrator is running this move")
	// ErrNoMove says that the journal does not know the id.
	ErrNoMove = errors.New("no such move")
)

// Record is the newest word on one move.
type Record struct {
	Move bucketmap.MoveID
	Kind Kind
	// State is a word of the kind's state machine.
	State string
	// Open is false once nothing is left to do.
	Open bool
	// Run counts the migrators that have had this move.
	Run      uint32
	Detail   json.RawMessage // what the kind's package keeps of the move
	Who, Why string
	Created  time.Time
	Updated  time.Time
	// Since is when the move came into its state, and Running whether a live
	// migrator had it when the record was read.
	Since   time.Time
	Running bool
	// Home is the shard whose database has the record.
	Home bucketmap.ShardName
}

// Token is what the fence's rows carry while this run has the move.
func (r *Record) Token() fence.Token { return fence.Token{Move: r.Move, Run: r.Run} }

// Entry is one line of a move's history.
type Entry struct {
	At    time.Time `json:"at"`
	Run   uint32    `json:"run"`
	State string    `json:"state"`
	Host  string    `json:"host"`
	Note  string    `json:"note,omitempty"`
}

// noteMax is the longest note in bytes that the table holds.
const noteMax = 1000

var tables = []string{
	`CREATE TABLE IF NOT EXISTS drover_move (
  id      VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  kind    VARCHAR(12) CHARACTER SET ascii NOT NULL,
  state   VARCHAR(16) CHARACTER SET ascii NOT NULL,
  open    BOOLEAN NOT NULL,
  run     INT UNSIGNED NOT NULL,
  detail  LONGTEXT CHARACTER SET utf8mb4 NOT NULL,
  who     VARCHAR(255) CHARACTER SET utf8mb4 NOT NULL,
  why     VARCHAR(1000) CHARACTER SET utf8mb4 NOT NULL,
  created DATETIME(6) NOT NULL,
  updated DATETIME(6) NOT NULL,
  KEY (open)
) ENGINE=InnoDB COMMENT='drover journal, schema 1'`,
	`CREATE TABLE IF NOT EXISTS drover_journal (
  id      BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  move_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  at      DATETIME(6) NOT NULL,
  run     INT UNSIGNED NOT NULL,
  state   VARCHAR(16) CHARACTER SET ascii NOT NULL,
  host    VARCHAR(255) CHARACTER SET utf8mb4 NOT NULL,
  note    VARCHAR(1000) CHARACTER SET utf8mb4 NOT NULL,
  KEY (move_id, id)
) ENGINE=InnoDB COMMENT='drover journal, schema 1'`,
}

// Create makes the journal's tables where they are not there yet.
func Create(ctx context.Context, q fence.Querier) error {
	for _, statement := range tables {
		if _, err := q.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("journal: create tables: %w", err)
		}
	}
	return nil
}

// Journal is the journal in one shard's database.
type Journal struct {
	server *database.Server
	host   string
}

// Open returns the journal of a shard, given its primary.
func Open(server *database.Server) *Journal {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return &Journal{server: server, host: fmt.Sprintf("%s/%d", host, os.Getpid())}
}

// Begin writes the first record of a move.
func (j *Journal) Begin(ctx context.Context, r *Record) error {
	r.Home, r.Run, r.Open = j.server.Shard, 1, true
	r.Created = time.Now().UTC()
	r.Updated = r.Created
	err := database.InTx(ctx, j.server.DB, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "INSERT INTO drover_move (id, kind, state, open, run, detail, who, why, created, updated) "+
			"VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			string(r.Move), string(r.Kind), r.State, r.Open, r.Run, string(r.Detail), r.Who, r.Why,
			r.Created, r.Updated); err != nil {
			return err
		}
		return j.entry(ctx, tx, r, "")
	})
	if err != nil {
		return fmt.Errorf("journal of %s: begin %s: %w", j.server.Name(), r.Move, err)
	}
	return nil
}

// Write makes r the newest word on its move, if r's run still has it.
func (j *Journal) Write(ctx context.Context, r *Record, note string) error {
	err := database.InTx(ctx, j.server.DB, func(tx *sql.Tx) error { return j.WriteIn(ctx, tx, r, note) })
	if err != nil {
		return fmt.Errorf("journal of %s: %s: %s: %w", j.server.Name(), r.Move, r.State, err)
	}
	return nil
}

// WriteIn is Write within a transaction on the journal's server.
func (j *Journal) WriteIn(ctx context.Context, tx *sql.Tx, r *Record, note string) error {
	r.Updated = time.Now().UTC()
	res, err := tx.ExecContext(ctx, "UPDATE drover_move SET state = ?, open = ?, detail = ?, updated = ? WHERE id = ? AND run = ?",
		r.State, r.Open, string(r.Detail), r.Updated, string(r.Move), r.Run)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil {
		return err
	} else if n != 1 {
		return ErrReplaced
	}
	return j.entry(ctx, tx, r, note)
}

func (j *Journal) entry(ctx context.Context, tx *sql.Tx, r *Record, note string) error {
	if len(note) > noteMax {
		note = strings.ToValidUTF8(note[:noteMax], "")
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO drover_journal (move_id, at, run, state, host, note) VALUES (?, ?, ?, ?, ?, ?)",
		string(r.Move), r.Updated, r.Run, r.State, j.host, note)
	return err
}

// Remark adds a note to the history of a move without changing the move, if r's
// run still has it.
func (j *Journal) Remark(ctx context.Context, r *Record, note string) error {
	if len(note) > noteMax {
		note = strings.ToValidUTF8(note[:noteMax], "")
	}
	if _, err := j.server.DB.ExecContext(ctx, "INSERT INTO drover_journal (move_id, at, run, state, host, note) "+
		"SELECT id, ?, run, state, ?, ? FROM drover_move WHERE id = ? AND run = ?",
		time.Now().UTC(), j.host, note, string(r.Move), r.Run); err != nil {
		return fmt.Errorf("journal of %s: remark on %s: %w", j.server.Name(), r.Move, err)
	}
	return nil
}

// TakeOver gives the move to a new run and returns its record.
func (j *Journal) TakeOver(ctx context.Context, move bucketmap.MoveID) (*Record, error) {
	var r *Record
	err := database.InTx(ctx, j.server.DB, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, "UPDATE drover_move SET run = run + 1 WHERE id = ?", string(move))
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return err
		}
		records, err := j.query(ctx, tx, "WHERE id = ?", string(move))
		if err != nil {
			return err
		}
		if len(records) == 0 {
			return ErrNoMove
		}
		if n != 1 { // two runs would have one token
			return fence.ErrUnfinished
		}
		r = records[0]
		r.Updated = time.Now().UTC()
		return j.entry(ctx, tx, r, "taken over")
	})
	if err != nil {
		return nil, fmt.Errorf("journal of %s: take over %s: %w", j.server.Name(), move, err)
	}
	return r, nil
}

// Get returns the record of one move.
func (j *Journal) Get(ctx context.Context, move bucketmap.MoveID) (*Record, error) {
	records, err := j.query(ctx, j.server.DB, "WHERE id = ?", string(move))
	if err == nil && len(records) == 0 {
		err = ErrNoMove
	}
	if err != nil {
		return nil, fmt.Errorf("journal of %s: %s: %w", j.server.Name(), move, err)
	}
	return records[0], nil
}

// List returns the records, the oldest first; with open, only those that are
// not over.
func (j *Journal) List(ctx context.Context, open bool) ([]*Record, error) {
	where := ""
	if open {
		where = "WHERE open"
	}
	return j.list(ctx, j.server.DB, where)
}

// ListIn is List, of all records, within a transaction on the journal's server.
func (j *Journal) ListIn(ctx context.Context, q fence.Querier) ([]*Record, error) {
	return j.list(ctx, q, "")
}

func (j *Journal) list(ctx context.Context, q fence.Querier, where string) ([]*Record, error) {
	records, err := j.query(ctx, q, where+" ORDER BY created, id")
	if err != nil {
		return nil, fmt.Errorf("journal of %s: list: %w", j.server.Name(), err)
	}
	return records, nil
}

// since is the time of the first entry after the last one of another state.
const since = "COALESCE((SELECT MIN(e.at) FROM drover_journal AS e WHERE e.move_id = m.id AND e.id > " +
	"COALESCE((SELECT MAX(o.id) FROM drover_journal AS o WHERE o.move_id = m.id AND o.state <> m.state), 0)), m.updated)"

func (j *Journal) query(ctx context.Context, q fence.Querier, where string, args ...any) ([]*Record, error) {
	rows, err := q.QueryContext(ctx, "SELECT id, kind, state, open, run, detail, who, why, created, updated, "+since+
		", IS_USED_LOCK(CONCAT('"+lockPrefix+"', id)) IS NOT NULL FROM drover_move AS m "+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var records []*Record
	for rows.Next() {
		r := &Record{Home: j.server.Shard}
		var detail []byte
		var created, updated, since string
		if err := rows.Scan(&r.Move, &r.Kind, &r.State, &r.Open, &r.Run, &detail, &r.Who, &r.Why, &created, &updated, &since, &r.Running); err != nil {
			return nil, err
		}
		r.Detail = detail
		for text, at := range map[string]*time.Time{created: &r.Created, updated: &r.Updated, since: &r.Since} {
			if *at, err = time.Parse(timestamp, text); err != nil {
				return nil, err
			}
		}
		records = append(records, r)
	}
	return records, rows.Err()
}

// timestamp is how the server writes DATETIME(6).
const timestamp = "2006-01-02 15:04:05.999999"

// Entries returns the history of a move, the oldest line first.
func (j *Journal) Entries(ctx context.Context, move bucketmap.MoveID) ([]Entry, error) {
	rows, err := j.server.DB.QueryContext(ctx,
		"SELECT at, run, state, host, note FROM drover_journal WHERE move_id = ? ORDER BY id", string(move))
	if err != nil {
		return nil, fmt.Errorf("journal of %s: entries of %s: %w", j.server.Name(), move, err)
	}
	defer rows.Close()
	var entries []Entry
	for rows.Next() {
		var e Entry
		var at string
		if err := rows.Scan(&at, &e.Run, &e.State, &e.Host, &e.Note); err != nil {
			return nil, fmt.Errorf("journal of %s: entries of %s: %w", j.server.Name(), move, err)
		}
		if e.At, err = time.Parse(timestamp, at); err != nil {
			return nil, fmt.Errorf("journal of %s: entries of %s: %w", j.server.Name(), move, err)
		}
		entries = append(entries, e)
	}
	return entries, rows.Err()
}
