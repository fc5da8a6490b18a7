package shardlib

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"drover/bucketmap"
	"drover/shardlib/fence"
	"drover/tools/testservers"
)

// The servers of all tests. Each test has a database and a cache namespace of
// its own on them.
var servers struct {
	fleet         *testservers.Fleet
	alpha, beta   *testservers.MariaDB
	legacy, cloud *testservers.Memcached
}

func TestMain(m *testing.M) { os.Exit(withServers(m)) }

func withServers(m *testing.M) (code int) {
	ctx := context.Background()
	fleet, err := testservers.New(ctx, testservers.Options{})
	if err == nil {
		defer func() {
			if err := errors.Join(fleet.Close(), leaks(code)); err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = max(code, 1)
			}
		}()
		servers.fleet = fleet
		var databases []*testservers.MariaDB
		if databases, err = fleet.MariaDBs(ctx, "alpha", "beta"); err == nil {
			servers.alpha, servers.beta = databases[0], databases[1]
			servers.legacy, err = fleet.Memcached(ctx, "legacy")
		}
		if err == nil {
			servers.cloud, err = fleet.Memcached(ctx, "cloud")
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// leaks looks for goroutines left behind, unless a test failed and may have
// left them.
func leaks(code int) error {
	if code != 0 {
		return nil
	}
	return goleak.Find()
}

const testBuckets = 16

// world is one test's two shards, alpha in legacy and beta in cloud, and a map
// by which every bucket is on alpha.
type world struct {
	t           testing.TB
	database    string
	shards      ShardList
	maps        *memory
	alpha, beta *sql.DB // as root
}

var worlds atomic.Int32

const testTable = "CREATE TABLE counter (user_id VARBINARY(256) NOT NULL, name VARCHAR(20) NOT NULL, " +
	"value BIGINT NOT NULL, PRIMARY KEY (user_id, name))"

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, database: fmt.Sprintf("world_%d", worlds.Add(1)), maps: newMemory()}
	w.alpha, w.beta = w.prepare(servers.alpha), w.prepare(servers.beta)
	w.shards = ShardList{
		Database: w.database,
		Shards: map[bucketmap.ShardName]map[bucketmap.Datacenter]string{
			"alpha": {"legacy": servers.alpha.Addr()},
			"beta":  {"cloud": servers.beta.Addr()},
		},
		Caches: map[bucketmap.Datacenter][]string{
			"legacy": {servers.legacy.Addr()},
			"cloud":  {servers.cloud.Addr()},
		},
	}
	if err := fence.Activate(t.Context(), w.alpha, 0, testBuckets-1); err != nil {
		t.Fatal(err)
	}
	d := bucketmap.NewDraft(testBuckets)
	d.Default = bucketmap.Default{Datacenter: "legacy"}
	if err := errors.Join(
		d.PutShard(bucketmap.Shard{Name: "alpha", Datacenter: "legacy"}),
		d.PutShard(bucketmap.Shard{Name: "beta", Datacenter: "cloud"}),
		d.SetHome(0, testBuckets-1, "alpha"),
	); err != nil {
		t.Fatal(err)
	}
	first, err := d.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	w.maps.publish(first)
	return w
}

// prepare makes the test's database on a server, with a fence without buckets.
func (w *world) prepare(m *testservers.MariaDB) *sql.DB {
	w.t.Helper()
	if err := m.Exec(w.t.Context(), "CREATE DATABASE "+w.database); err != nil {
		w.t.Fatal(err)
	}
	db, err := m.Open(testservers.AccountRoot, w.database)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { db.Close() })
	if err := fence.Create(w.t.Context(), db); err != nil {
		w.t.Fatal(err)
	}
	w.must(db, testTable)
	return db
}

func (w *world) must(db *sql.DB, query string, args ...any) {
	w.t.Helper()
	if _, err := db.ExecContext(w.t.Context(), query, args...); err != nil {
		w.t.Fatalf("%s: %v", query, err)
	}
}

// open opens a library in a datacenter, changed by each option.
func (w *world) open(dc bucketmap.Datacenter, options ...func(*Config)) *Library {
	w.t.Helper()
	c := Config{
		Source:     w.maps,
		Shards:     w.shards,
		Datacenter: dc,
		Account:    Account{User: testservers.AccountApp, Password: testservers.Password},
		Cache:      CacheOptions{Namespace: w.database, Local: 2 * time.Second, Remote: 2 * time.Second}, // a loaded machine
	}
	for _, o := range options {
		o(&c)
	}
	l, err := Open(w.t.Context(), c)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := l.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return l
}

// publish changes the map.
func (w *world) publish(edit func(*bucketmap.Draft)) *bucketmap.Snapshot {
	w.t.Helper()
	d := w.maps.get().Edit()
	edit(d)
	s, err := d.Snapshot()
	if err != nil {
		w.t.Fatal(err)
	}
	w.maps.publish(s)
	return s
}

// setState changes a bucket's fence row, or the shard's.
func (w *world) setState(db *sql.DB, bucket any, state fence.State) {
	w.t.Helper()
	w.must(db, "UPDATE "+fence.Table+" SET state = ? WHERE bucket = ?", string(state), bucket)
}

// move moves a user's bucket with its rows, from database to database and in
// the map, with the next epoch.
func (w *world) move(user bucketmap.UserID, source, target *sql.DB, shard bucketmap.ShardName) {
	w.t.Helper()
	s := w.maps.get()
	b := bucketmap.Bucket([]byte(user), s.Buckets())
	w.setState(source, b, fence.Moved)
	value := w.value(source, user)
	w.must(target, "REPLACE INTO counter VALUES (?, 'n', ?)", []byte(user), value)
	w.must(target, "REPLACE INTO "+fence.Table+" (bucket, state, epoch) VALUES (?, 'active', ?)", b, s.Epoch(b)+1)
	w.publish(func(d *bucketmap.Draft) {
		d.Epochs[b] = s.Epoch(b) + 1
		if err := d.SetHome(b, b, shard); err != nil {
			w.t.Fatal(err)
		}
	})
}

// value reads a user's counter past the fence; 0 if there is none.
func (w *world) value(db *sql.DB, user bucketmap.UserID) (n int64) {
	w.t.Helper()
	err := db.QueryRowContext(w.t.Context(), "SELECT value FROM counter WHERE user_id = ? AND name = 'n'", []byte(user)).Scan(&n)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		w.t.Fatal(err)
	}
	return n
}

// add is a function for Update: it adds 1 to the user's counter.
func add(user bucketmap.UserID) func(context.Context, *Tx) error {
	return func(ctx context.Context, tx *Tx) error {
		tx.Invalidate("n")
		_, err := tx.ExecContext(ctx, "INSERT INTO counter VALUES (?, 'n', 1) ON DUPLICATE KEY UPDATE value = value + 1", []byte(user))
		return err
	}
}

// read is a function for View: it reads the user's counter.
func read(user bucketmap.UserID, n *int64) func(context.Context, *Tx) error {
	return func(ctx context.Context, tx *Tx) error {
		*n = 0
		err := tx.QueryRowContext(ctx, "SELECT value FROM counter WHERE user_id = ? AND name = 'n'", []byte(user)).Scan(n)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	}
}

// cached reads the user's counter by way of the cache.
func cached(ctx context.Context, l *Library, user bucketmap.UserID) (n int64, err error) {
	value, err := l.Cached(ctx, user, "n", time.Minute, func(ctx context.Context, tx *Tx) ([]byte, error) {
		var n int64
		err := read(user, &n)(ctx, tx)
		return fmt.Append(nil, n), err
	})
	if err != nil {
		return 0, err
	}
	_, err = fmt.Sscan(string(value), &n)
	return n, err
}

// count returns the value of a counter of the library.
func count(t testing.TB, c *prometheus.CounterVec, labels ...string) float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(c.WithLabelValues(labels...))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families[0].Metric[0].Counter.GetValue()
}

// memory is a source of maps in memory.
type memory struct {
	mu      sync.Mutex
	current *bucketmap.Snapshot
	changed chan struct{}
}

func newMemory() *memory { return &memory{changed: make(chan struct{})} }

func (m *memory) publish(s *bucketmap.Snapshot) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.current = s
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *memory) get() *bucketmap.Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current
}

func (m *memory) Load(context.Context) (*bucketmap.Snapshot, error) {
	if s := m.get(); s != nil {
		return s, nil
	}
	return nil, bucketmap.ErrNoMap
}

func (m *memory) Watch(ctx context.Context, changed func(*bucketmap.Snapshot, error)) error {
	for {
		m.mu.Lock()
		s, next := m.current, m.changed
		m.mu.Unlock()
		if s != nil {
			changed(s, nil)
		} else {
			changed(nil, bucketmap.ErrNoMap)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-next:
		}
	}
}

func (m *memory) Ack(context.Context, bucketmap.Ack) error { return nil }
