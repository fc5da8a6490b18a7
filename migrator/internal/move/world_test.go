package move

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"drover/bucketmap"
	"drover/bucketmap/file"
	"drover/internal/testrun"
	"drover/migrator/internal/crash"
	"drover/migrator/internal/database"
	"drover/migrator/internal/journal"
	"drover/migrator/internal/publish"
	"drover/migrator/internal/shards"
	"drover/shardlib"
	"drover/shardlib/fence"
	"drover/tools/testservers"
)

const worldBuckets = 64

const (
	// writersMax is how many connections a ledger keeps to a server: the 8 of the
	// test with the most writers, and one for what the test itself does.
	writersMax = 9
	// writePause is between two writes of a ledger's writer, as users have one.
	// Three writers without it take two cores: then a test waits for its own load.
	writePause = 3 * time.Millisecond
	// lanes is how many tests run at once.
	lanes = 4
	// newerMax is how long a refused writer waits for a newer map: a bucket may
	// be made active again by the map that it has.
	newerMax = 200 * time.Millisecond
)

// servers are two shards that all tests of the package share; each test has
// databases of its own on them.
var servers struct {
	sync.Once
	fleet *testservers.Fleet
	alpha *testservers.MariaDB
	gamma *testservers.MariaDB
	err   error
	n     atomic.Int64
	soak  bool // try everything
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childVariable); text != "" {
		os.Exit(child(text))
	}
	servers.soak = os.Getenv("DROVER_SOAK") == "1"
	if err := testrun.Parallel(lanes); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if servers.fleet != nil {
		if err := servers.fleet.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// world is a database on each of two shards, a map, and an engine.
type world struct {
	t        *testing.T
	looks    map[*testservers.MariaDB]*sql.DB // the migrator's account, for count and text
	database string
	dir      string // of the map
	alpha    *testservers.MariaDB
	gamma    *testservers.MariaDB
	store    *file.Store
	shards   *shards.Shards
	tables   []fence.Sharded
	events   chan Event
}

var worldTables = []fence.Sharded{
	{Name: "steps", BucketColumn: "bucket"},
	{Name: "request", BucketColumn: "bucket"},
	{Name: "profile", UserColumn: "user_id"},
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ctx := t.Context()
	servers.Do(func() {
		background := context.Background()
		if servers.fleet, servers.err = testservers.New(background, testservers.Options{}); servers.err != nil {
			return
		}
		var both []*testservers.MariaDB
		if both, servers.err = servers.fleet.MariaDBs(background, "alpha", "gamma"); servers.err == nil {
			servers.alpha, servers.gamma = both[0], both[1]
		}
	})
	if servers.err != nil {
		t.Fatal(servers.err)
	}
	return newWorldOn(ctx, t, servers.alpha, servers.gamma)
}

func newWorldOn(ctx context.Context, t *testing.T, alpha, gamma *testservers.MariaDB) *world {
	t.Helper()
	w := &world{t: t, alpha: alpha, gamma: gamma, tables: worldTables, looks: map[*testservers.MariaDB]*sql.DB{},
		database: fmt.Sprintf("world%d", servers.n.Add(1)), events: make(chan Event, 100_000)}
	for _, m := range []*testservers.MariaDB{alpha, gamma} {
		must(t, m.Exec(ctx, "CREATE DATABASE "+w.database))
		w.looks[m] = w.openDrover(m)
	}
	w.dir = t.TempDir()
	store, err := file.Open(w.dir, file.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, store.Close()) })
	w.store = store
	draft := bucketmap.NewDraft(worldBuckets)
	must(t, draft.PutShard(bucketmap.Shard{Name: "alpha", Datacenter: "legacy"}))
	must(t, draft.PutShard(bucketmap.Shard{Name: "gamma", Datacenter: "cloud"}))
	must(t, draft.SetHome(0, worldBuckets-1, "alpha"))
	draft.Default = bucketmap.Default{Auto: true, Source: "legacy", Target: "cloud", Datacenter: "legacy"}
	snap, err := draft.Snapshot()
	must(t, err)
	must(t, store.Publish(ctx, snap, bucketmap.Change{Who: "test", Why: "first"}))
	w.shards = shards.New(shardlib.ShardList{
		Database: w.database,
		Shards: map[bucketmap.ShardName]map[bucketmap.Datacenter]string{
			"alpha": {"legacy": alpha.Addr()}, "gamma": {"cloud": gamma.Addr()}},
	}, store, database.Account{User: testservers.AccountDrover, Password: testservers.Password})
	t.Cleanup(func() { must(t, w.shards.Close()) })
	var group errgroup.Group
	for _, shard := range []bucketmap.ShardName{"alpha", "gamma"} {
		group.Go(func() error { return w.createTables(ctx, shard) })
	}
	must(t, group.Wait())
	server, err := w.shards.Primary(ctx, "alpha")
	must(t, err)
	must(t, fence.Activate(ctx, server.DB, 0, worldBuckets-1))
	return w
}

func (w *world) createTables(ctx context.Context, shard bucketmap.ShardName) error {
	server, err := w.shards.Primary(ctx, shard)
	if err != nil {
		return err
	}
	if err := errors.Join(fence.Create(ctx, server.DB), journal.Create(ctx, server.DB), CreateTables(ctx, server.DB)); err != nil {
		return err
	}
	for _, statement := range []string{
		`CREATE TABLE steps (bucket INT UNSIGNED NOT NULL, user_id VARCHAR(64) NOT NULL, day DATE NOT NULL,
			steps BIGINT NOT NULL, PRIMARY KEY (user_id, day), KEY (bucket))`,
		`CREATE TABLE request (user_id VARBINARY(64) NOT NULL, id BIGINT UNSIGNED NOT NULL,
			bucket INT UNSIGNED AS (CRC32(user_id) % ` + strconv.Itoa(worldBuckets) + `) STORED, PRIMARY KEY (user_id, id), KEY (bucket))`,
		`CREATE TABLE profile (user_id VARCHAR(64) NOT NULL PRIMARY KEY, name VARCHAR(100), lifetime BIGINT NOT NULL DEFAULT 0)`,
	} {
		if _, err := server.DB.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// testLimits leave room for -race on a busy machine.
func testLimits() Limits {
	limits := DefaultLimits()
	limits.Freeze = 5 * time.Second
	limits.BackoffMax = 100 * time.Millisecond
	// The gate is closed by long transactions of other tests, too.
	limits.GateKnock = time.Second
	return limits
}

// engine returns a migrator of its own.
func (w *world) engine(points *crash.Points) *Engine {
	return &Engine{Servers: w.shards, Map: &publish.Publisher{Store: w.store, Who: "test"}, Tables: w.tables,
		Limits: testLimits(), Crash: points, Report: func(e Event) { w.events <- e }}
}

// open returns the app's connections to a shard, as the account that the
// fence does not pass.
func (w *world) open(m *testservers.MariaDB) *sql.DB {
	w.t.Helper()
	db, err := m.Open(testservers.AccountApp, w.database)
	must(w.t, err)
	// A connection that is not kept is made anew for each write of a ledger.
	db.SetMaxIdleConns(writersMax)
	w.t.Cleanup(func() { must(w.t, db.Close()) })
	return db
}

// userIn returns a user of a bucket.
func userIn(bucket bucketmap.BucketID, n int) string {
	for i := 0; ; i++ {
		user := fmt.Sprintf("u%d-%d", i, n)
		if bucketmap.Bucket([]byte(user), worldBuckets) == bucket {
			return user
		}
	}
}

// count counts rows as the migrator's account sees them.
func (w *world) count(m *testservers.MariaDB, query string, args ...any) int {
	w.t.Helper()
	var n int
	must(w.t, w.looks[m].QueryRowContext(w.t.Context(), query, args...).Scan(&n))
	return n
}

// ledger writes to buckets as an application does and remembers what was
// acknowledged.
type ledger struct {
	w     *world
	users []string
	dbs   map[bucketmap.Datacenter]*sql.DB
	pause time.Duration // of a writer between two writes

	mu       sync.Mutex
	acked    map[string]int // user → requests acknowledged
	unknown  map[string]int // user → requests of unknown outcome
	refusals int

	newest struct {
		sync.Mutex
		version bucketmap.Version
		changed chan struct{}
	}
}

func (w *world) newLedger(users ...string) *ledger {
	l := &ledger{w: w, users: users, pause: writePause, acked: map[string]int{}, unknown: map[string]int{},
		dbs: map[bucketmap.Datacenter]*sql.DB{"legacy": w.open(w.alpha), "cloud": w.open(w.gamma)}}
	l.newest.changed = make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() { _ = w.store.Watch(w.t.Context(), l.known) }) // it ends with the test
	w.t.Cleanup(watch.Wait)
	return l
}

// known notes the newest map.
func (l *ledger) known(s *bucketmap.Snapshot, err error) {
	if err != nil || s == nil {
		return
	}
	l.newest.Lock()
	defer l.newest.Unlock()
	l.newest.version = s.Version()
	close(l.newest.changed)
	l.newest.changed = make(chan struct{})
}

// newer waits for a map that is newer than the one by which a write was refused,
// for newerMax at most.
func (l *ledger) newer(ctx context.Context, than bucketmap.Version) {
	ctx, cancel := context.WithTimeout(ctx, newerMax)
	defer cancel()
	for ctx.Err() == nil {
		l.newest.Lock()
		version, changed := l.newest.version, l.newest.changed
		l.newest.Unlock()
		if version > than {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// write adds one request for a user, at the home by the newest map, and tries
// again while the fence refuses.
func (l *ledger) write(ctx context.Context, user string, id uint64, think time.Duration) error {
	bucket := bucketmap.Bucket([]byte(user), worldBuckets)
	for {
		snap, err := l.w.store.Load(context.WithoutCancel(ctx))
		if err != nil {
			return err
		}
		home, _ := snap.Home(bucket)
		// The transaction is not interrupted: its outcome would be unknown.
		err = l.try(context.WithoutCancel(ctx), l.dbs[home.Datacenter], bucket, user, id, think)
		switch {
		case err == nil:
			l.mu.Lock()
			l.acked[user]++
			l.mu.Unlock()
			return nil
		case errors.Is(err, fence.ErrRefused):
			l.mu.Lock()
			l.refusals++
			l.mu.Unlock()
			l.newer(ctx, snap.Version())
		default:
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

func (l *ledger) try(ctx context.Context, db *sql.DB, bucket bucketmap.BucketID, user string, id uint64, think time.Duration) error {
	return database.InTx(ctx, db, func(tx *sql.Tx) error {
		if _, err := fence.CheckWrite(ctx, tx, bucket); err != nil {
			return err
		}
		for _, s := range []struct {
			sql  string
			args []any
		}{
			{"INSERT INTO request (user_id, id) VALUES (?, ?)", []any{user, id}},
			{"INSERT INTO steps (bucket, user_id, day, steps) VALUES (?, ?, '2026-01-01', 1) ON DUPLICATE KEY UPDATE steps = steps + 1", []any{bucket, user}},
			{"INSERT INTO profile (user_id, name, lifetime) VALUES (?, ?, 1) ON DUPLICATE KEY UPDATE lifetime = lifetime + 1", []any{user, "näme of " + user}},
		} {
			if _, err := tx.ExecContext(ctx, s.sql, s.args...); err != nil {
				return err
			}
		}
		if think > 0 {
			if _, err := tx.ExecContext(ctx, "DO SLEEP(?)", think.Seconds()); err != nil {
				return err
			}
		}
		return nil
	})
}

// run writes with n goroutines until the returned function is called.
func (l *ledger) run(n int) (stop func()) {
	ctx, cancel := context.WithCancel(l.w.t.Context())
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			pace := testrun.NewPace(l.pause)
			defer pace.Stop()
			for id := uint64(i + 1); pace.Wait(ctx); id += uint64(n) {
				user := l.users[int(id)%len(l.users)]
				if err := l.write(ctx, user, id, 0); err != nil && ctx.Err() == nil {
					l.w.t.Errorf("write: %v", err)
					return
				}
			}
		})
	}
	return func() { cancel(); group.Wait() }
}

// total is the number of acknowledged writes.
func (l *ledger) total() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, c := range l.acked {
		n += c
	}
	return n
}

// check compares the ledger with the databases at the home of each user.
func (l *ledger) check() {
	l.w.t.Helper()
	snap, err := l.w.store.Load(l.w.t.Context())
	must(l.w.t, err)
	for _, user := range l.users {
		home, _ := snap.Home(bucketmap.Bucket([]byte(user), worldBuckets))
		server := l.w.alpha
		if home.Datacenter == "cloud" {
			server = l.w.gamma
		}
		requests := l.w.count(server, "SELECT COUNT(*) FROM request WHERE user_id = ?", user)
		steps := l.w.count(server, "SELECT COALESCE(SUM(steps), 0) FROM steps WHERE user_id = ?", user)
		lifetime := l.w.count(server, "SELECT COALESCE(SUM(lifetime), 0) FROM profile WHERE user_id = ?", user)
		if want := l.acked[user]; requests != want || steps != want || lifetime != want {
			l.w.t.Errorf("user %s at %s: %d acknowledged; in the database %d requests, %d steps, %d lifetime",
				user, home.Name, want, requests, steps, lifetime)
		}
	}
}
