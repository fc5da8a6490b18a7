package doctor

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"drover/bucketmap"
	"drover/migrator/internal/database"
	"drover/migrator/internal/journal"
	"drover/migrator/internal/setup"
	"drover/shardlib/fence"
)

// view is what one look has seen.
type view struct {
	at      time.Time
	snap    *bucketmap.Snapshot
	shards  []*shardView  // the primaries by the map that could be read
	others  []*serverView // the other servers of the list that could be read
	unseen  []Unseen
	records map[bucketmap.MoveID]*journal.Record // of all journals that could be read
}

// serverView is what every server is asked.
type serverView struct {
	server   *database.Server
	id       uint32
	readOnly bool
	replica  bool
	shardRow *row // nil where there is none
	history  database.History
}

// shardView is what a primary is asked besides.
type shardView struct {
	serverView
	comment  string // of the fence's table
	missing  []string
	rows     []row // of buckets, in order
	records  []*journal.Record
	tails    []tailRow
	triggers map[string]int // by table
	stale    []string       // what is wrong with triggers that are there
	orphans  []orphan
}

// row is a row of the fence, with a token that may be anything.
type row struct {
	bucket   int64
	state    fence.State
	epoch    bucketmap.Epoch
	text     string // of the token
	token    fence.Token
	serverID uint32
}

// tailRow is a row of drover_tail.
type tailRow struct {
	move bucketmap.MoveID
	leg  int
}

func (d *Doctor) look(ctx context.Context) (*view, error) {
	snap, err := d.Map.Load(ctx)
	if err != nil {
		return nil, err
	}
	v := &view{at: time.Now().UTC(), snap: snap, records: map[bucketmap.MoveID]*journal.Record{}}
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(serversAtOnce)
	blind := func(shard bucketmap.ShardName, server string, err error) {
		mu.Lock()
		defer mu.Unlock()
		v.unseen = append(v.unseen, Unseen{Shard: shard, Server: server, Reason: err.Error()})
	}
	for _, shard := range snap.Shards() {
		for _, dc := range slices.Sorted(maps.Keys(d.List.Shards[shard.Name])) {
			server, err := d.Servers.In(shard.Name, dc)
			if err != nil {
				blind(shard.Name, "", err)
				continue
			}
			g.Go(func() error {
				seen, other, err := d.read(ctx, server, snap, dc == shard.Datacenter)
				if err != nil {
					blind(shard.Name, server.Name(), err)
					return nil // the others are looked at all the same
				}
				mu.Lock()
				defer mu.Unlock()
				if seen != nil {
					v.shards = append(v.shards, seen)
				} else {
					v.others = append(v.others, other)
				}
				return nil
			})
		}
		if _, listed := d.List.Address(shard.Name, shard.Datacenter); !listed {
			mu.Lock()
			v.unseen = append(v.unseen, Unseen{Shard: shard.Name, Reason: unlisted(shard)})
			mu.Unlock()
		}
	}
	_ = g.Wait() // no function returns an error
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	v.sort()
	for _, s := range v.shards {
		for _, r := range s.records {
			// After a promotion a journal is on both servers, and a primary's is the newest.
			if have, ok := v.records[r.Move]; !ok || r.Updated.After(have.Updated) {
				v.records[r.Move] = r
			}
		}
	}
	return v, nil
}

func unlisted(shard bucketmap.Shard) string {
	return fmt.Sprintf("the shard list has no server of %s in %s, where the map says that it lives", shard.Name, shard.Datacenter)
}

func (v *view) sort() {
	slices.SortFunc(v.shards, func(a, b *shardView) int { return strings.Compare(a.server.Name(), b.server.Name()) })
	slices.SortFunc(v.others, func(a, b *serverView) int { return strings.Compare(a.server.Name(), b.server.Name()) })
	slices.SortFunc(v.unseen, func(a, b Unseen) int {
		return strings.Compare(string(a.Shard)+a.Server+a.Reason, string(b.Shard)+b.Server+b.Reason)
	})
}

// saw says whether two looks saw the same servers.
func (v *view) saw(o *view) bool {
	return slices.EqualFunc(v.unseen, o.unseen, func(a, b Unseen) bool { return a.Shard == b.Shard && a.Server == b.Server })
}

// whole says whether every shard was seen, so that what is nowhere is nowhere.
func (v *view) whole() bool { return len(v.shards) == len(v.snap.Shards()) }

func (v *view) report() *Report {
	r := &Report{Version: v.snap.Version(), Shards: len(v.snap.Shards()), Buckets: v.snap.Buckets(),
		Findings: []*Finding{}, Unseen: append([]Unseen{}, v.unseen...), Running: []Running{}, snap: v.snap}
	for _, id := range slices.Sorted(maps.Keys(v.records)) {
		if m := v.records[id]; m.Running {
			r.Running = append(r.Running, Running{Move: m.Move, Kind: m.Kind, State: m.State, Since: m.Since})
		}
	}
	return r
}

// read asks one server: all of a primary, and of another server what it is.
func (d *Doctor) read(ctx context.Context, server *database.Server, snap *bucketmap.Snapshot, primary bool) (*shardView, *serverView, error) {
	ctx, cancel := context.WithTimeout(ctx, readMax+d.rowsBound())
	defer cancel()
	s := &shardView{serverView: serverView{server: server}}
	if err := s.readServer(ctx); err != nil {
		return nil, nil, err
	}
	tables, err := s.readTables(ctx)
	if err != nil {
		return nil, nil, err
	}
	if !primary {
		if tables[fence.Table] {
			rows, err := readRows(ctx, server.DB, fmt.Sprintf(" WHERE bucket = %d", fence.ShardRow))
			if err != nil {
				return nil, nil, err
			}
			s.takeRows(rows)
		}
		return nil, &s.serverView, nil
	}
	if err := s.readSnapshot(ctx, tables); err != nil {
		return nil, nil, err
	}
	if err := s.readTriggers(ctx, d.Tables, snap.Buckets(), d.Account); err != nil {
		return nil, nil, err
	}
	if d.Rows {
		if s.orphans, err = d.readOrphans(ctx, s, snap); err != nil {
			return nil, nil, err
		}
	}
	return s, nil, nil
}

func (d *Doctor) rowsBound() time.Duration {
	if !d.Rows {
		return 0
	}
	return time.Duration(len(d.Tables)) * rowsMax
}

func (s *serverView) readServer(ctx context.Context) error {
	if err := s.server.DB.QueryRowContext(ctx, "SELECT @@global.server_id").Scan(&s.id); err != nil {
		return err
	}
	var err error
	if s.readOnly, err = s.server.ReadOnly(ctx); err != nil {
		return err
	}
	if s.history, err = s.server.BinlogHistory(ctx); err != nil {
		return err
	}
	rows, err := s.server.DB.QueryContext(ctx, "SHOW ALL SLAVES STATUS")
	if err != nil {
		return fmt.Errorf("ask whether it is a replica: %w", err)
	}
	defer rows.Close()
	s.replica = rows.Next()
	return rows.Err()
}

// readTables finds which of Drover's tables are there.
func (s *shardView) readTables(ctx context.Context) (map[string]bool, error) {
	rows, err := s.server.DB.QueryContext(ctx, "SELECT TABLE_NAME, TABLE_COMMENT FROM information_schema.TABLES "+
		"WHERE TABLE_SCHEMA = ? AND TABLE_NAME LIKE 'drover\\_%'", s.server.Database)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	have := map[string]bool{}
	for rows.Next() {
		var name, comment string
		if err := rows.Scan(&name, &comment); err != nil {
			return nil, err
		}
		have[name] = true
		if name == fence.Table {
			s.comment = comment
		}
	}
	for _, name := range setup.Tables() {
		if !have[name] {
			s.missing = append(s.missing, name)
		}
	}
	return have, rows.Err()
}

// readSnapshot reads fence, journal and tails as they were at one instant.
func (s *shardView) readSnapshot(ctx context.Context, tables map[string]bool) error {
	tx, err := s.server.DB.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if tables[fence.Table] {
		rows, err := readRows(ctx, tx, "")
		if err != nil {
			return err
		}
		s.takeRows(rows)
	}
	if tables["drover_move"] && tables["drover_journal"] {
		if s.records, err = journal.Open(s.server).ListIn(ctx, tx); err != nil {
			return err
		}
	}
	if !tables["drover_tail"] {
		return nil
	}
	rows, err := tx.QueryContext(ctx, "SELECT move_id, leg FROM drover_tail ORDER BY move_id, leg")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var t tailRow
		if err := rows.Scan(&t.move, &t.leg); err != nil {
			return err
		}
		s.tails = append(s.tails, t)
	}
	return rows.Err()
}

// takeRows keeps the row of the shard apart from those of buckets.
func (s *shardView) takeRows(rows []row) {
	for _, r := range rows {
		if r.bucket == fence.ShardRow {
			s.shardRow = &r
			continue
		}
		s.rows = append(s.rows, r)
	}
}

func readRows(ctx context.Context, q fence.Querier, where string) ([]row, error) {
	rows, err := q.QueryContext(ctx, "SELECT bucket, state, epoch, move_id, server_id FROM "+fence.Table+where+" ORDER BY bucket")
	if err != nil {
		return nil, fmt.Errorf("read the fence: %w", err)
	}
	defer rows.Close()
	var all []row
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.bucket, &r.state, &r.epoch, &r.text, &r.serverID); err != nil {
			return nil, fmt.Errorf("read the fence: %w", err)
		}
		if r.token, err = fence.ParseToken(r.text); err != nil {
			r.token = fence.Token{Move: bucketmap.MoveID(r.text)} // of no move; it stays as it is
		}
		all = append(all, r)
	}
	return all, rows.Err()
}
