package promotions

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"drover/bucketmap"
	"drover/bucketmap/file"
	"drover/internal/testrun"
	"drover/shardlib"
	"drover/tools/internal/program"
	"drover/tools/relay"
	"drover/tools/testservers"
)

const (
	alpha   = bucketmap.ShardName("alpha")
	legacy  = bucketmap.Datacenter("legacy")
	cloud   = bucketmap.Datacenter("cloud")
	buckets = 16
)

// datacenters are both, the first primary's first.
var datacenters = []bucketmap.Datacenter{legacy, cloud}

// other is the other datacenter.
func other(dc bucketmap.Datacenter) bucketmap.Datacenter {
	if dc == legacy {
		return cloud
	}
	return legacy
}

// side is the shard's server in one datacenter.
type side struct {
	dc     bucketmap.Datacenter
	server *testservers.MariaDB
	link   *relay.Relay // the migrator's, and the other server's unless it was told another
	wire   *relay.Relay // for the other server's replication alone
	app    *sql.DB
	root   *sql.DB
}

// world is one shard, its map, and what is needed to use both. It lasts for
// many cases.
type world struct {
	t         *testing.T
	dir       string
	sides     map[bucketmap.Datacenter]*side
	store     *file.Store
	libraries map[bucketmap.Datacenter]*shardlib.Library
	cases     int
}

// newWorld starts the servers: the one in legacy is the primary.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), sides: map[bucketmap.Datacenter]*side{}, libraries: map[bucketmap.Datacenter]*shardlib.Library{}}
	w.startServers()
	primary, replica := w.sides[legacy], w.sides[cloud]
	must(t, primary.server.Exec(t.Context(), append([]string{"SET GLOBAL read_only = 0", "CREATE DATABASE app", "USE app"}, tables...)...))
	w.configure(settings{})
	must(t, os.WriteFile(filepath.Join(w.dir, "shards.yaml"), fmt.Appendf(nil, "database: app\nshards:\n  alpha: {legacy: %q, cloud: %q}\n",
		primary.link.Addr(), replica.link.Addr()), 0o600))
	must(t, w.migrator("init", "--buckets", fmt.Sprint(buckets), "--shard", "alpha=legacy", "--even", "alpha", "--source", "legacy", "--target", "cloud"))
	w.until("the fence is installed", func() error { return w.migrator("fence", "install") })
	must(t, replica.server.ReplicateFrom(t.Context(), primary.server))
	w.follow(replica, primary.link.Addr())
	w.caughtUp(primary, replica)
	var err error
	w.store, err = file.Open(filepath.Join(w.dir, "map"), file.Options{})
	must(t, err)
	t.Cleanup(func() { _ = w.store.Close() })
	for dc := range w.sides {
		w.libraries[dc], err = shardlib.Open(t.Context(), shardlib.Config{Source: w.store, Datacenter: dc,
			Shards: shardlib.ShardList{Database: "app", Shards: map[bucketmap.ShardName]map[bucketmap.Datacenter]string{
				alpha: {legacy: primary.server.Addr(), cloud: replica.server.Addr()}}},
			Account: shardlib.Account{User: testservers.AccountApp, Password: testservers.Password}})
		must(t, err)
		t.Cleanup(func() { _ = w.libraries[dc].Close() })
	}
	return w
}

// serverConfig is that of both: read-only until somebody says otherwise, as
// docs/promotion-hooks.md asks for.
func serverConfig() map[string]string {
	return map[string]string{"read_only": "1", "sync_binlog": "1", "innodb_flush_log_at_trx_commit": "1",
		"relay_log": "../relays/relay"} // a folder of its own, beside the data
}

func (w *world) startServers() {
	w.t.Helper()
	fleet := testservers.Start(w.t)
	started := make(chan error, len(datacenters))
	for _, dc := range datacenters {
		s := &side{dc: dc}
		w.sides[dc] = s
		go func() {
			var err error
			s.server, err = fleet.MariaDB(context.Background(), string(dc), testservers.MariaDBOptions{Config: serverConfig()})
			started <- err
		}()
	}
	for range datacenters {
		must(w.t, <-started)
	}
	for _, s := range w.sides {
		must(w.t, os.Mkdir(filepath.Join(s.server.Dir(), "relays"), 0o700))
		var err error
		for _, r := range []**relay.Relay{&s.link, &s.wire} {
			*r, err = relay.Start(w.t.Context(), s.server.Addr, 0)
			must(w.t, err)
			w.t.Cleanup(func() { _ = (*r).Close() })
		}
		s.app = w.open(s, testservers.AccountApp, testservers.Password, "app")
		s.root = w.open(s, testservers.AccountRoot, "", "")
	}
}

// Bounds of the clients' connections: a server that is gone must not keep a
// client longer than a case may take.
const (
	dialMax  = 2 * time.Second
	replyMax = 10 * time.Second
	// lockMax is for root's: FLUSH TABLES WITH READ LOCK waits for who is slow.
	lockMax = 60 * time.Second
)

func (w *world) open(s *side, account, password, database string) *sql.DB {
	w.t.Helper()
	config := mysql.NewConfig()
	config.User, config.Passwd, config.Net, config.Addr, config.DBName = account, password, "tcp", s.server.Addr(), database
	config.Timeout, config.ReadTimeout, config.WriteTimeout = dialMax, replyMax, replyMax
	if account == testservers.AccountRoot {
		config.ReadTimeout = lockMax
	}
	config.InterpolateParams = true
	config.Logger = &mysql.NopLogger{} // these servers are killed on purpose
	connector, err := mysql.NewConnector(config)
	must(w.t, err)
	db := sql.OpenDB(connector)
	w.t.Cleanup(func() { _ = db.Close() })
	return db
}

// settings are the parts of the migrator's configuration that cases differ in.
type settings struct {
	hooks       []string // each a line of promotion.hooks
	freezeTries int
	freezeMax   time.Duration
}

func (w *world) configure(s settings) {
	w.t.Helper()
	if s.freezeTries == 0 {
		s.freezeTries = 100
	}
	if s.freezeMax == 0 {
		s.freezeMax = 3 * time.Second
	}
	hooks := ""
	if len(s.hooks) != 0 {
		hooks = "\n  hooks:\n    - " + strings.Join(s.hooks, "\n    - ")
	}
	must(w.t, os.WriteFile(w.config(), fmt.Appendf(nil, `map: {store: file, dir: map}
shards: shards.yaml
account: {user: %s, password: %q}
replication: {user: %s, password: %q}
tables:
  - {name: entry, bucket_column: bucket}
  - {name: register, bucket_column: bucket}
  - {name: tally, user_column: user_id}
move: {ack_max: 1s, freeze_max: %s, backoff_max: 100ms, freeze_tries: %d}
promotion:
  past_read_only: [%s]%s
`, testservers.AccountDrover, testservers.Password, testservers.AccountReplica, testservers.Password, s.freezeMax, s.freezeTries, testservers.AccountRoot, hooks), 0o600))
}

func (w *world) config() string { return filepath.Join(w.dir, "migrator.yaml") }

// start starts the migrator with a command; see program.Start.
func (w *world) start(at string, args ...string) *program.Child {
	w.t.Helper()
	child, err := program.Start(w.t.Context(), shared.migrator, at, append([]string{"--config", w.config()}, args...)...)
	must(w.t, err)
	return child
}

// migrator runs a command of the migrator; the error has what it printed.
func (w *world) migrator(args ...string) error { return w.start("", args...).Wait() }

const (
	// patience is when something that must come is given up.
	patience = 60 * time.Second
)

// until asks until it is so.
func (w *world) until(what string, is func() error) {
	w.t.Helper()
	testrun.Until(w.t, what, is)
}

// follow makes a replica receive from an address.
func (w *world) follow(s *side, addr string) {
	w.t.Helper()
	host, port, _ := strings.Cut(addr, ":")
	must(w.t, s.server.Exec(w.t.Context(), "STOP SLAVE", fmt.Sprintf("CHANGE MASTER TO MASTER_HOST='%s', MASTER_PORT=%s", host, port), "START SLAVE"))
	w.connected(s)
}

// connected waits until a replica replicates.
func (w *world) connected(s *side) {
	w.t.Helper()
	w.until("the replica replicates", func() error {
		status, err := s.status(w.t.Context())
		if failure := status.failure(); err == nil && failure != "" {
			err = errors.New(failure)
		}
		return err
	})
}

// caughtUp waits until a replica has what the primary has now.
func (w *world) caughtUp(primary, replica *side) {
	w.t.Helper()
	position, err := value(w.t.Context(), primary.root, "SELECT @@GLOBAL.gtid_binlog_pos")
	must(w.t, err)
	w.until(string(replica.dc)+" has caught up", func() error {
		waited, err := value(w.t.Context(), replica.root, "SELECT MASTER_GTID_WAIT('"+position+"', 1)")
		if err == nil && waited != "0" {
			status, _ := replica.status(w.t.Context())
			err = fmt.Errorf("it has not applied %s: %s", position, status.failure())
		}
		return err
	})
}

// value is the only value of a query.
func value(ctx context.Context, db *sql.DB, query string) (string, error) {
	var v sql.NullString
	err := db.QueryRowContext(ctx, query).Scan(&v)
	return v.String, err
}

// replication is what SHOW SLAVE STATUS says; empty for a server that is no
// replica.
type replication map[string]string

// failure says what is wrong with it.
func (r replication) failure() string {
	switch {
	case len(r) == 0:
		return "it follows nobody"
	case r["Slave_IO_Running"] != "Yes":
		return "it does not receive: " + r["Last_IO_Error"]
	case r["Slave_SQL_Running"] != "Yes":
		return "it does not apply: " + r["Last_SQL_Error"]
	}
	return ""
}

func (s *side) status(ctx context.Context) (replication, error) {
	rows, err := s.root.QueryContext(ctx, "SHOW SLAVE STATUS")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	values, targets := make([]sql.NullString, len(names)), make([]any, len(names))
	for i := range values {
		targets[i] = &values[i]
	}
	status := replication{}
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return nil, err
		}
		for i, name := range names {
			status[name] = values[i].String
		}
	}
	return status, rows.Err()
}

// home is where the map has the shard now.
func (w *world) home() bucketmap.Shard {
	w.t.Helper()
	snap, err := w.store.Load(w.t.Context())
	must(w.t, err)
	shard, _ := snap.Shard(alpha)
	return shard
}
