package preflight

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"drover/bucketmap"
	"drover/migrator/internal/database"
	"drover/migrator/internal/setup"
	"drover/migrator/internal/shards"
	"drover/shardlib"
	"drover/shardlib/fence"
	"drover/tools/testservers"
)

const worldBuckets = 64

// servers are two shards that all tests of the package share; each test has a
// database of its own on them.
var servers struct {
	sync.Once
	fleet        *testservers.Fleet
	alpha, gamma *testservers.MariaDB
	err          error
	n            atomic.Int64
}

func TestMain(m *testing.M) {
	code := m.Run()
	if servers.fleet != nil {
		if err := servers.fleet.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func startServers(t *testing.T) {
	t.Helper()
	servers.Do(func() {
		ctx := context.Background()
		if servers.fleet, servers.err = testservers.New(ctx, testservers.Options{}); servers.err != nil {
			return
		}
		var both []*testservers.MariaDB
		if both, servers.err = servers.fleet.MariaDBs(ctx, "alpha", "gamma"); servers.err == nil {
			servers.alpha, servers.gamma = both[0], both[1]
		}
	})
	must(t, servers.err)
}

// world is a database on each of two shards, ready for Drover, with rows on
// alpha, where all buckets live.
type world struct {
	t        *testing.T
	database string
	account  database.Account
	by       map[bucketmap.ShardName]*testservers.MariaDB
	draft    *bucketmap.Draft
	tables   []fence.Sharded
}

func newWorld(t *testing.T) *world {
	t.Helper()
	startServers(t)
	return newWorldOn(t, servers.alpha, servers.gamma, fmt.Sprintf("world%d", servers.n.Add(1)))
}

func newWorldOn(t *testing.T, alpha, gamma *testservers.MariaDB, name string) *world {
	t.Helper()
	w := &world{t: t, database: name,
		account: database.Account{User: testservers.AccountDrover, Password: testservers.Password},
		by:      map[bucketmap.ShardName]*testservers.MariaDB{"alpha": alpha, "gamma": gamma},
		tables: []fence.Sharded{
			{Name: "steps", BucketColumn: "bucket"},
			{Name: "request", BucketColumn: "bucket"},
			{Name: "profile", UserColumn: "user_id"},
		}}
	w.draft = bucketmap.NewDraft(worldBuckets)
	must(t, w.draft.PutShard(bucketmap.Shard{Name: "alpha", Datacenter: "legacy"}))
	must(t, w.draft.PutShard(bucketmap.Shard{Name: "gamma", Datacenter: "cloud"}))
	must(t, w.draft.SetHome(0, worldBuckets-1, "alpha"))
	w.draft.Default = bucketmap.Default{Auto: true, Source: "legacy", Target: "cloud", Datacenter: "legacy"}
	found := w.shards(w.account)
	for shard, m := range w.by {
		must(t, m.Exec(t.Context(), "CREATE DATABASE "+name))
		w.exec(shard,
			`CREATE TABLE steps (bucket INT UNSIGNED NOT NULL, user_id VARBINARY(64) NOT NULL, day DATE NOT NULL,
				steps BIGINT NOT NULL, PRIMARY KEY (user_id, day), KEY (bucket))`,
			fmt.Sprintf(`CREATE TABLE request (bucket INT UNSIGNED AS (CRC32(user_id) %% %d) STORED, user_id VARBINARY(64) NOT NULL,
				id BIGINT UNSIGNED NOT NULL, PRIMARY KEY (user_id, id), KEY (bucket))`, worldBuckets),
			`CREATE TABLE profile (user_id VARBINARY(64) NOT NULL PRIMARY KEY, name VARCHAR(100))`)
		server, err := found.In(shard, w.datacenter(shard))
		must(t, err)
		must(t, setup.Prepare(t.Context(), server, w.snapshot()))
	}
	var steps, requests, profiles []string
	for i := range 40 {
		user := fmt.Sprintf("u%d", i)
		steps = append(steps, fmt.Sprintf("(CRC32('%s') %% %d, '%s', '2026-11-21', 1)", user, worldBuckets, user))
		requests = append(requests, fmt.Sprintf("('%s', 1)", user))
		profiles = append(profiles, fmt.Sprintf("('%s', 'x')", user))
	}
	w.exec("alpha", "INSERT INTO steps VALUES "+strings.Join(steps, ","),
		"INSERT INTO request (user_id, id) VALUES "+strings.Join(requests, ","), "INSERT INTO profile VALUES "+strings.Join(profiles, ","))
	return w
}

func (w *world) datacenter(shard bucketmap.ShardName) bucketmap.Datacenter {
	s, _ := w.draft.Shard(shard)
	return s.Datacenter
}

func (w *world) snapshot() *bucketmap.Snapshot {
	w.t.Helper()
	snap, err := w.draft.Snapshot()
	must(w.t, err)
	return snap
}

// shards finds the servers, as an account.
func (w *world) shards(account database.Account) *shards.Shards {
	list := shardlib.ShardList{Database: w.database, Shards: map[bucketmap.ShardName]map[bucketmap.Datacenter]string{}}
	for shard, m := range w.by {
		list.Shards[shard] = map[bucketmap.Datacenter]string{w.datacenter(shard): m.Addr()}
	}
	s := shards.New(list, nil, account)
	w.t.Cleanup(func() { must(w.t, s.Close()) })
	return s
}

func (w *world) preflight() *Preflight {
	return &Preflight{Servers: w.shards(w.account), Map: w.snapshot(), Tables: w.tables, Account: w.account.User}
}

// exec executes statements as root in the world's database.
func (w *world) exec(shard bucketmap.ShardName, statements ...string) {
	w.t.Helper()
	must(w.t, w.by[shard].Exec(context.WithoutCancel(w.t.Context()), append([]string{"USE " + w.database}, statements...)...))
}

// conn is a connection of root's to the world's database, until the test ends.
func (w *world) conn(shard bucketmap.ShardName) *sql.Conn {
	w.t.Helper()
	db, err := w.by[shard].Open(testservers.AccountRoot, w.database)
	must(w.t, err)
	w.t.Cleanup(func() { must(w.t, db.Close()) })
	conn, err := db.Conn(w.t.Context())
	must(w.t, err)
	w.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (w *world) install() {
	w.t.Helper()
	found := w.shards(w.account)
	for shard := range w.by {
		server, err := found.In(shard, w.datacenter(shard))
		must(w.t, err)
		for _, table := range w.tables {
			must(w.t, fence.Install(w.t.Context(), server.DB, table, worldBuckets, w.account.User))
		}
	}
}

// positions are the ends of the binlogs: they move when anything is written.
func (w *world) positions() []string {
	w.t.Helper()
	var all []string
	for shard := range w.by {
		var position string
		must(w.t, w.conn(shard).QueryRowContext(w.t.Context(), "SELECT @@gtid_binlog_pos").Scan(&position))
		all = append(all, string(shard)+" "+position)
	}
	slices.Sort(all)
	return all
}

// said gives what is not ok as "verdict name shard", sorted, each once.
func said(results []Result) []string {
	var words []string
	for _, r := range results {
		if r.Verdict != OK {
			words = append(words, fmt.Sprintf("%s %s %s", r.Verdict, r.Name, r.Shard))
		}
	}
	slices.Sort(words)
	return slices.Compact(words)
}

// always is what test servers are warned of: they do not sync, root may log in
// from anywhere, and profile has no bucket column.
var always = []string{
	"warning bucket-index alpha", "warning bucket-index gamma",
	"warning durable-commits alpha", "warning durable-commits gamma",
	"warning privileged-accounts alpha", "warning privileged-accounts gamma",
}

// wantSaid compares, always apart.
func wantSaid(t *testing.T, results []Result, want ...string) {
	t.Helper()
	want = append(slices.Clone(want), always...)
	slices.Sort(want)
	got := said(results)
	if !slices.Equal(got, want) {
		var lines []string
		for _, r := range results {
			if r.Verdict != OK && !slices.Contains(always, fmt.Sprintf("%s %s %s", r.Verdict, r.Name, r.Shard)) {
				lines = append(lines, fmt.Sprintf("%s %s", r.Verdict, r))
			}
		}
		apart := func(word string) bool { return slices.Contains(always, word) }
		t.Fatalf("got  %q\nwant %q\n%s", slices.DeleteFunc(got, apart), slices.DeleteFunc(want, apart), strings.Join(lines, "\n"))
	}
	for _, r := range results {
		if r.Verdict != OK && (r.Reason == "" || r.Remedy == "") {
			t.Errorf("%s has no reason or no remedy: %+v", r.Name, r)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
