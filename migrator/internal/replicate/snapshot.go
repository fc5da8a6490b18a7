package replicate

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"drover/internal/pause"
	"drover/migrator/internal/database"
)

// Several sessions have one snapshot without a lock on the primary: MariaDB
// tells of each consistent snapshot at which file and offset of the binlog it
// is, and two at the same place see the same rows, for a row changes only with
// a transaction in the binlog. So the sessions are opened at the same time, and
// again until they agree; of the last try the largest party that agrees is
// taken, which is one session at least. A primary with so many commits that two
// never agree is copied by one session rather than stopped by a lock.
//
// Not in the binlog, and so at no position: tables of other engines, which the
// preflight refuses, and what somebody writes with sql_log_bin = 0, which no
// replica ever gets.

const (
	// snapshotTries × 5 ms is a quarter of a second.
	snapshotTries = 50
	snapshotPause = 5 * time.Millisecond
	// snapshotIdle bounds how long a snapshot outlives a process whose link was
	// cut, and with it how long the throttle may keep a copy waiting.
	snapshotIdle = 30 * time.Minute
)

// snapshot is a party of sessions that see the same rows.
type snapshot struct {
	sessions []*session
	position database.Position
}

func (s *snapshot) close() {
	for _, each := range s.sessions {
		each.close()
	}
}

// kill ends the sessions and what they have under way.
func (s *snapshot) kill(ctx context.Context) {
	for _, each := range s.sessions {
		each.kill(ctx)
	}
}

// killStatements ends what the sessions have under way while others use them: a
// connection with open rows would be waited for.
func (s *snapshot) killStatements(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endMax)
	defer cancel()
	for _, each := range s.sessions {
		_ = each.server.Kill(ctx, each.id) // a server that is gone has nothing under way
	}
}

// openSnapshot opens up to n sessions at one place.
func (r *run) openSnapshot(ctx context.Context, n int) (_ *snapshot, err error) {
	s := &snapshot{}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	for range n {
		one, err := openSession(ctx, r.from, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
			"SET SESSION max_statement_time=0", "SET SESSION lock_wait_timeout=5",
			fmt.Sprintf("SET SESSION idle_transaction_timeout=%d", int(snapshotIdle.Seconds())),
			fmt.Sprintf("SET SESSION net_write_timeout=%d", int(snapshotIdle.Seconds())))
		if err != nil {
			return nil, err
		}
		s.sessions = append(s.sessions, one)
	}
	places := make([]string, n)
	for try := 0; ; try++ {
		var group errgroup.Group
		for i, one := range s.sessions {
			group.Go(func() (err error) { places[i], err = begin(ctx, one); return err })
		}
		if err := group.Wait(); err != nil {
			return nil, fmt.Errorf("%s: open a snapshot: %w", r.from.Name(), err)
		}
		place, size := largest(places)
		if size < n && try < snapshotTries {
			if err := pause.For(ctx, snapshotPause); err != nil {
				return nil, err
			}
			continue
		}
		var party []*session
		for i, one := range s.sessions {
			if places[i] == place {
				party = append(party, one)
			} else {
				one.close()
			}
		}
		s.sessions = party
		s.position, err = r.positionOf(ctx, place)
		return s, err
	}
}

// begin opens a snapshot in a session and returns its place, FILE:OFFSET.
func begin(ctx context.Context, s *session) (string, error) {
	dialect := database.MariaDB()
	if err := s.exec(ctx, "ROLLBACK", dialect.Snapshot[0]); err != nil {
		return "", err
	}
	status, err := lines(ctx, s.conn, dialect.Snapshot[1])
	if err != nil {
		return "", err
	}
	var file, offset string
	for _, line := range status {
		switch strings.ToLower(line["Variable_name"]) {
		case "binlog_snapshot_file":
			file = line["Value"]
		case "binlog_snapshot_position":
			offset = line["Value"]
		}
	}
	if file == "" || offset == "" {
		return "", fmt.Errorf("the server tells no position of a snapshot: set log_bin in its configuration")
	}
	// Whoever goes back to here gives up the locks on tables' definitions, and
	// keeps the snapshot.
	return file + ":" + offset, s.exec(ctx, "SAVEPOINT "+savepoint)
}

const savepoint = "drover"

// letGo gives up the locks on definitions of the tables that were read.
func (s *session) letGo(ctx context.Context) error {
	return s.exec(ctx, "ROLLBACK TO SAVEPOINT "+savepoint)
}

// largest returns the word that is there most often, and how often.
func largest(all []string) (most string, n int) {
	count := map[string]int{}
	for _, word := range all {
		count[word]++
		if count[word] > n {
			most, n = word, count[word]
		}
	}
	return most, n
}

// positionOf turns a place into a position.
func (r *run) positionOf(ctx context.Context, place string) (database.Position, error) {
	file, offset, _ := strings.Cut(place, ":")
	var text sql.NullString
	if err := r.from.DB.QueryRowContext(ctx, database.MariaDB().SnapshotPosition, file, offset).Scan(&text); err != nil {
		return nil, fmt.Errorf("%s: position of the snapshot at %s: %w", r.from.Name(), place, err)
	}
	if !text.Valid {
		return nil, fmt.Errorf("%s: %w: %s is not there any more", r.from.Name(), ErrPurged, file)
	}
	return database.ParsePosition(text.String)
}

// historyAt is the primary's history at a position: what it was before, and
// the position itself. Of each domain the last id is that of the position.
func historyAt(before database.History, at database.Position) string {
	var ids []string
	for key, sequence := range before {
		if g, ok := at[key[0]]; ok && (g.Server == key[1] || sequence > g.Sequence) {
			continue
		}
		ids = append(ids, database.GTID{Domain: key[0], Server: key[1], Sequence: sequence}.String())
	}
	for _, g := range at {
		ids = append(ids, g.String())
	}
	return strings.Join(ids, ",")
}
