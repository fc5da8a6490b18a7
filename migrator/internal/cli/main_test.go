package cli

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"drover/bucketmap"
	"drover/bucketmap/file"
	"drover/tools/testservers"
	"drover/tools/testservers/pairs"
)

// shelf has the servers of all desktops. Tests wait more than they compute, so they
// run side by side, each with two servers that no other test has meanwhile. A
// desktop has databases of its own, and the next test finds the servers as they
// were left.
var shelf struct {
	mu    sync.Mutex
	fleet *testservers.Fleet
	idle  [][]*testservers.MariaDB
	taken map[testing.TB][]*testservers.MariaDB
	n     int // pairs, databases and maps, which all are numbered
}

// lender has the servers of all shard worlds.
var lender pairs.Lender

// programVariable makes the test binary the migrator, which a test can kill.
const programVariable = "DROVER_CLI_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(programVariable) != "" {
		os.Exit(Run(context.Background(), Environment{Args: os.Args[1:], Out: os.Stdout, Err: os.Stderr, Who: "tester",
			Config: os.Getenv("DROVER_MIGRATOR_CONFIG"), CrashAt: os.Getenv("DROVER_CRASH_AT")}))
	}
	code := m.Run()
	err := lender.Close()
	if shelf.fleet != nil {
		err = errors.Join(err, shelf.fleet.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// startFleet returns the fleet of the shelf, and a number that nobody else has.
func startFleet(t *testing.T) (*testservers.Fleet, int) {
	t.Helper()
	shelf.mu.Lock()
	defer shelf.mu.Unlock()
	if shelf.fleet == nil {
		var err error
		// It outlives the test that came first.
		shelf.fleet, err = testservers.New(context.Background(), testservers.Options{})
		must(t, err)
		shelf.taken = map[testing.TB][]*testservers.MariaDB{}
	}
	shelf.n++
	return shelf.fleet, shelf.n
}

// takeServers returns two servers that are the test's until its end, the same ones
// every time it asks, and a number for its database.
func takeServers(t *testing.T) (both []*testservers.MariaDB, n int) {
	t.Helper()
	shelf.mu.Lock()
	both = shelf.taken[t]
	shelf.mu.Unlock()
	if both != nil {
		_, n = startFleet(t)
		return both, n
	}
	t.Parallel()
	fleet, n := startFleet(t)
	shelf.mu.Lock()
	if last := len(shelf.idle) - 1; last >= 0 {
		both, shelf.idle = shelf.idle[last], shelf.idle[:last]
	}
	shelf.mu.Unlock()
	if both == nil {
		var err error
		both, err = fleet.MariaDBs(t.Context(), fmt.Sprintf("alpha%d", n), fmt.Sprintf("gamma%d", n))
		must(t, err)
	}
	shelf.mu.Lock()
	shelf.taken[t] = both
	shelf.mu.Unlock()
	t.Cleanup(func() {
		shelf.mu.Lock()
		defer shelf.mu.Unlock()
		delete(shelf.taken, t)
		shelf.idle = append(shelf.idle, both)
	})
	return both, n
}

// desktop is an operator's: a configuration, a shard list with alpha in legacy
// and gamma in cloud, an empty store, and a database with the application's
// tables on each server.
type desktop struct {
	t        *testing.T
	dir      string
	database string
	// What alpha and gamma are on.
	alpha, gamma *testservers.MariaDB
}

func newDesktop(t *testing.T) *desktop {
	t.Helper()
	both, n := takeServers(t)
	d := &desktop{t: t, dir: t.TempDir(), database: fmt.Sprintf("desktop%d", n), alpha: both[0], gamma: both[1]}
	for _, m := range both {
		d.makeDatabase(m)
	}
	d.write("shards.yaml", fmt.Sprintf("database: %s\nshards:\n  alpha: {legacy: %q}\n  gamma: {cloud: %q}\n",
		d.database, d.alpha.Addr(), d.gamma.Addr()))
	d.write("migrator.yaml", fmt.Sprintf(`map: {store: file, dir: map}
shards: shards.yaml
account: {user: %s, password: %s}
tables:
  - {name: steps, bucket_column: bucket}
  - {name: profile, user_column: user_id}
`, testservers.AccountDrover, testservers.Password))
	return d
}

func (d *desktop) makeDatabase(m *testservers.MariaDB) {
	d.t.Helper()
	must(d.t, m.Exec(d.t.Context(), "CREATE DATABASE "+d.database, "USE "+d.database,
		`CREATE TABLE steps (bucket INT UNSIGNED AS (CRC32(user_id) % 64) STORED, user_id VARBINARY(64) NOT NULL,
			day DATE NOT NULL, PRIMARY KEY (user_id, day), KEY (bucket))`,
		`CREATE TABLE profile (user_id VARBINARY(64) NOT NULL PRIMARY KEY, name VARCHAR(100))`))
}

func (d *desktop) path(name string) string { return filepath.Join(d.dir, name) }

func (d *desktop) write(name, text string) string {
	d.t.Helper()
	must(d.t, os.WriteFile(d.path(name), []byte(text), 0o600))
	return d.path(name)
}

// ran is what one command gave.
type ran struct {
	code     int
	out, err string
}

func (d *desktop) run(args ...string) ran {
	d.t.Helper()
	var out, errOut bytes.Buffer
	code := Run(d.t.Context(), Environment{Args: args, Out: &out, Err: &errOut, Who: "tester", Config: d.path("migrator.yaml")})
	return ran{code, out.String(), errOut.String()}
}

// want runs a command and checks its exit code, and that it said the words,
// wherever.
func (d *desktop) want(code int, args []string, words ...string) ran {
	d.t.Helper()
	r := d.run(args...)
	if r.code != code {
		d.t.Fatalf("migrator %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), r.code, code, r.out, r.err)
	}
	for _, word := range words {
		if !strings.Contains(r.out+r.err, word) {
			d.t.Fatalf("migrator %s: %q is not in\n%s%s", strings.Join(args, " "), word, r.out, r.err)
		}
	}
	return r
}

// reads runs a command with JSON output into v.
func (d *desktop) reads(v any, args ...string) {
	d.t.Helper()
	r := d.want(0, append(args, "-o", "json"))
	if err := json.Unmarshal([]byte(r.out), v); err != nil {
		d.t.Fatalf("migrator %s: %v in\n%s", strings.Join(args, " "), err, r.out)
	}
}

var initArgs = []string{"init", "--buckets", "64", "--shard", "alpha=legacy", "--shard", "gamma=cloud",
	"--home", "alpha=0-63", "--source", "legacy", "--target", "cloud"}

// ready is a desktop after migrator init.
func ready(t *testing.T) *desktop {
	t.Helper()
	d := newDesktop(t)
	d.want(0, initArgs, "map version 1 is published")
	return d
}

// version is that of the map in force, 0 for none.
func (d *desktop) version() bucketmap.Version {
	d.t.Helper()
	store, err := file.Open(d.path("map"), file.Options{})
	must(d.t, err)
	defer func() { must(d.t, store.Close()) }()
	snap, err := store.Load(d.t.Context())
	if err != nil {
		return 0
	}
	return snap.Version()
}

// positions are the ends of the binlogs: they move when anything is written.
func (d *desktop) positions() []string {
	d.t.Helper()
	return []string{d.scan(d.alpha, "SELECT @@gtid_binlog_pos"), d.scan(d.gamma, "SELECT @@gtid_binlog_pos")}
}

// unchanged runs a command, and fails if it changed a server or the map.
func (d *desktop) unchanged(code int, args []string, words ...string) {
	d.t.Helper()
	before, version := d.positions(), d.version()
	d.want(code, args, words...)
	if after := d.positions(); !slices.Equal(before, after) || d.version() != version {
		d.t.Fatalf("migrator %s: changed something: %v then %v, version %d then %d", strings.Join(args, " "), before, after, version, d.version())
	}
}

func (d *desktop) open(m *testservers.MariaDB, account string) *sql.DB {
	d.t.Helper()
	db, err := m.Open(account, d.database)
	must(d.t, err)
	d.t.Cleanup(func() { must(d.t, db.Close()) })
	return db
}

func (d *desktop) exec(m *testservers.MariaDB, statements ...string) {
	d.t.Helper()
	must(d.t, m.Exec(context.WithoutCancel(d.t.Context()), append([]string{"USE " + d.database}, statements...)...))
}

func (d *desktop) scan(m *testservers.MariaDB, query string) string {
	d.t.Helper()
	var v string
	must(d.t, d.open(m, testservers.AccountRoot).QueryRowContext(d.t.Context(), query).Scan(&v))
	return v
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
