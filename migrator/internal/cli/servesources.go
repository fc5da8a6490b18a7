package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"drover/bucketmap"
	"drover/migrator/internal/console"
	"drover/migrator/internal/journal"
	"drover/migrator/internal/move"
)

const (
	// consoleLookEvery is between two looks at the journals: 200 shards × 2
	// statements a second.
	consoleLookEvery = time.Second
	// consoleLookMax bounds one look. A shard that has not answered by then is
	// named.
	consoleLookMax = 5 * time.Second
	// consoleMovesMax bounds the moves that are shown, the newest.
	consoleMovesMax = 50
	// consoleVisitsMax bounds a passport that is shown, to its newest visits: a move
	// that steps back all night has thousands. × consoleMovesMax × 1,200 bytes = 3 MB
	// at worst.
	consoleVisitsMax = 50
	// consoleRangesMax bounds the runs of buckets that are marked in the grid for
	// one move: × consoleMovesMax × 16 bytes = 0.8 MB.
	consoleRangesMax = 1000
	// consoleEntriesMax bounds the journal's lines that are shown, the newest.
	consoleEntriesMax = 200
)

// consoleSources are what the page shows: all of it by the shared map, but for
// tracers.
func (a *app) consoleSources(f consoleFlags, shared *sharedMap, dir string) []console.Source {
	view := &app{env: a.env, out: a.out, errOut: a.errOut, configPath: a.configPath, output: a.output,
		cfg: a.cfg, store: shared, shards: a.shards, weights: a.weights}
	orders := &campaignSource{dir: dir}
	return []console.Source{
		fleetSource{view},
		&journalSource{app: view, topic: "moves", look: view.consoleMoves},
		&journalSource{app: view, topic: "journal", look: view.consoleEntries},
		orders,
		&sloSource{app: view, campaign: orders},
		&tracersSource{app: a, on: f.trace, proxies: f.traceProxies},
	}
}

// fleetSource says which proxy runs which map.
type fleetSource struct{ app *app }

func (fleetSource) Topic() string { return "fleet" }

// Watch tells of the fleet beside the newest map.
func (s fleetSource) Watch(ctx context.Context, told func(any)) error {
	var mu sync.Mutex
	w := &fleetWatch{app: s.app}
	tell := func(change func()) {
		mu.Lock()
		defer mu.Unlock()
		change()
		if w.snap != nil && w.heard {
			status := newFleetStatus(w.snap, w.acks)
			status.Error = w.failed
			told(status)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return s.app.store.Watch(ctx, func(snap *bucketmap.Snapshot, err error) { tell(func() { w.take(snap, err) }) })
	})
	g.Go(func() error {
		return s.app.store.WatchAcks(ctx, func(acks []bucketmap.Ack) bool {
			tell(func() { w.acks, w.heard = acks, true })
			return ctx.Err() == nil
		})
	})
	return g.Wait()
}

// journalSource looks at the journals again and again.
type journalSource struct {
	app   *app
	topic string
	look  func(context.Context) (any, error)
}

func (s *journalSource) Topic() string { return s.topic }

func (s *journalSource) Watch(ctx context.Context, told func(any)) error {
	ticker := time.NewTicker(consoleLookEvery)
	defer ticker.Stop()
	for {
		look, cancel := context.WithTimeout(ctx, consoleLookMax)
		value, err := s.look(look)
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		told(value)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// consoleMove is a move under way with its passport, as the console shows it.
type consoleMove struct {
	moveLine
	What string `json:"what"`
	// Ranges are the buckets of a move, first and last of each run, as numbers.
	Ranges   [][2]bucketmap.BucketID `json:"ranges,omitempty"`
	Unmarked int                     `json:"unmarked,omitempty"` // more runs, which are not there
	Passport []visitLine             `json:"passport"`
	Cut      int                     `json:"cut,omitempty"` // older visits that are not shown
	Stall    float64                 `json:"write_stall_seconds,omitempty"`
	Next     []string                `json:"next"`
}

// consoleMoves is what the topic moves carries.
type consoleMoves struct {
	Moves       []consoleMove `json:"moves"`
	More        int           `json:"more,omitempty"` // open, but not shown
	Unreachable []unreachable `json:"unreachable"`
}

func (a *app) consoleMoves(ctx context.Context) (any, error) {
	records, dark, err := a.consoleJournals(ctx)
	if err != nil {
		return nil, err
	}
	shown := consoleMoves{Moves: []consoleMove{}, Unreachable: dark}
	if over := len(records) - consoleMovesMax; over > 0 {
		records, shown.More = records[over:], over
	}
	for _, r := range slices.Backward(records) { // the newest first
		m, err := a.consoleMove(ctx, r)
		if err != nil {
			shown.Unreachable = append(shown.Unreachable, unreachable{r.Home, err.Error()})
		}
		shown.Moves = append(shown.Moves, m)
	}
	return shown, nil
}

// consoleJournals reads what is open. The context's end is the end of the look,
// and the shards that were not read by then are dark.
func (a *app) consoleJournals(ctx context.Context) ([]*journal.Record, []unreachable, error) {
	records, dark, err := a.journals(ctx, true)
	if err != nil && (len(dark) == 0 || !errors.Is(err, context.DeadlineExceeded)) {
		return nil, nil, err
	}
	return records, append([]unreachable{}, dark...), nil
}

// consoleMove reads a passport. Without it the move is shown all the same.
func (a *app) consoleMove(ctx context.Context, r *journal.Record) (consoleMove, error) {
	line := lineOf(r)
	shown := consoleMove{moveLine: line, What: line.what(), Passport: []visitLine{}, Next: nextOf(r)}
	if m, err := move.Load(r); err == nil {
		shown.Stall = m.Stall.Seconds()
		shown.Ranges = rangesOf(m.Buckets)
		if over := len(shown.Ranges) - consoleRangesMax; over > 0 {
			shown.Ranges, shown.Unmarked = shown.Ranges[:consoleRangesMax], over
		}
	}
	// The ranges say it shorter, and this is sent each time a move changes.
	shown.Buckets = nil
	snap, err := a.store.Load(ctx)
	if err != nil {
		return shown, err
	}
	home, ok := snap.Shard(r.Home)
	if !ok {
		return shown, fmt.Errorf("the map has no shard %q", r.Home)
	}
	server, err := a.shards.In(home.Name, home.Datacenter)
	if err != nil {
		return shown, err
	}
	entries, err := journal.Open(server).Entries(ctx, r.Move)
	if err != nil {
		return shown, err
	}
	visits := journal.Passport(entries, r.Open, r.Updated)
	if over := len(visits) - consoleVisitsMax; over > 0 {
		visits, shown.Cut = visits[over:], over
	}
	for _, v := range visits {
		shown.Passport = append(shown.Passport, visitLine{v, v.Took.Seconds()})
	}
	return shown, nil
}

func rangesOf(buckets move.Buckets) [][2]bucketmap.BucketID {
	var ranges [][2]bucketmap.BucketID
	for _, b := range buckets {
		if n := len(ranges); n != 0 && ranges[n-1][1]+1 == b {
			ranges[n-1][1] = b
			continue
		}
		ranges = append(ranges, [2]bucketmap.BucketID{b, b})
	}
	return ranges
}

// consoleEntry is one line of a journal, as the console shows it.
type consoleEntry struct {
	journal.Entry
	Move    bucketmap.MoveID    `json:"move"`
	Journal bucketmap.ShardName `json:"journal"`
}

// consoleLines is what the topic journal carries.
type consoleLines struct {
	Entries     []consoleEntry `json:"entries"` // the newest first
	Unreachable []unreachable  `json:"unreachable"`
}

// consoleEntries reads the newest lines of all journals side by side.
func (a *app) consoleEntries(ctx context.Context) (any, error) {
	snap, err := a.store.Load(ctx)
	if err != nil {
		return nil, err
	}
	shown := consoleLines{Entries: []consoleEntry{}, Unreachable: []unreachable{}}
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(serversAtOnce)
	for _, shard := range snap.Shards() {
		g.Go(func() error {
			entries, err := a.newestEntries(ctx, shard)
			mu.Lock()
			defer mu.Unlock()
			shown.Entries = append(shown.Entries, entries...)
			if err != nil {
				shown.Unreachable = append(shown.Unreachable, unreachable{shard.Name, err.Error()})
			}
			return nil // the others are read all the same
		})
	}
	_ = g.Wait() // no error: each is shown
	slices.SortFunc(shown.Entries, func(x, y consoleEntry) int { return y.At.Compare(x.At) })
	slices.SortFunc(shown.Unreachable, func(x, y unreachable) int { return strings.Compare(string(x.Shard), string(y.Shard)) })
	shown.Entries = shown.Entries[:min(len(shown.Entries), consoleEntriesMax)]
	return shown, nil
}

// journalTime is how the server writes the journal's times, which are UTC.
const journalTime = "2006-01-02 15:04:05.999999"

// newestEntries reads the newest lines of one journal, the newest first.
func (a *app) newestEntries(ctx context.Context, shard bucketmap.Shard) ([]consoleEntry, error) {
	server, err := a.shards.In(shard.Name, shard.Datacenter)
	if err != nil {
		return nil, err
	}
	rows, err := server.DB.QueryContext(ctx, "SELECT move_id, at, run, state, host, note FROM drover_journal ORDER BY id DESC LIMIT ?", consoleEntriesMax)
	if err != nil {
		return nil, fmt.Errorf("journal of %s: the newest lines: %w", shard.Name, err)
	}
	defer rows.Close()
	var entries []consoleEntry
	for rows.Next() {
		e := consoleEntry{Journal: shard.Name}
		var at string
		err := rows.Scan(&e.Move, &at, &e.Run, &e.State, &e.Host, &e.Note)
		if err == nil {
			e.At, err = time.Parse(journalTime, at)
		}
		if err != nil {
			return nil, fmt.Errorf("journal of %s: the newest lines: %w", shard.Name, err)
		}
		entries = append(entries, e)
	}
	return entries, rows.Err()
}
