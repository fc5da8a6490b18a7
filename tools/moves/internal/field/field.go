package field

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/file"
	"drover/shardlib"
	"drover/tools/internal/book"
	"drover/tools/internal/program"
	"drover/tools/relay"
	"drover/tools/testservers"
)

// The two shards and their datacenters.
const (
	Alpha = bucketmap.ShardName("alpha")
	Gamma = bucketmap.ShardName("gamma")

	legacy = bucketmap.Datacenter("legacy")
	cloud  = bucketmap.Datacenter("cloud")
)

// Options say what a field is like.
type Options struct {
	Program   string // the migrator
	Dir       string // for the map and the configurations
	Database  string // on both servers, new
	Buckets   uint32 // all of them on alpha at first
	UsersEach int    // users of each bucket
	// RoundTrip is between the datacenters. The migrator is in the old one.
	RoundTrip time.Duration
	// FreezeMax is the migrator's move.freeze_max; 0 is its default.
	FreezeMax time.Duration
	// BackoffMax is the migrator's move.backoff_max; 0 is its default.
	BackoffMax time.Duration
}

// End is one shard as the field knows it.
type End struct {
	Shard  bucketmap.ShardName
	DC     bucketmap.Datacenter
	Server *testservers.MariaDB
	Link   *relay.Relay // the migrator's

	far  *relay.Relay                     // from the other datacenter
	apps map[bucketmap.Datacenter]*sql.DB // by where the application is
	root *sql.DB
}

// Field is a database on each of two servers, and what uses it.
type Field struct {
	Options
	Alpha, Gamma *End
	Book         *book.Book

	config string

	entry, register, tally string // the tables
	lax                    bool   // sabotage: the clients let frozen rows pass

	store     *file.Store
	libraries map[bucketmap.Datacenter]*shardlib.Library
	users     [][]string // by bucket

	stop    context.CancelFunc
	clients sync.WaitGroup
	failure struct {
		sync.Mutex
		err error
	}
}

// New makes a field on two servers. The caller must Close it.
func New(ctx context.Context, alpha, gamma *testservers.MariaDB, o Options) (*Field, error) {
	f := &Field{Options: o, Book: book.Open(), config: filepath.Join(o.Dir, "migrator.yaml"),
		libraries: map[bucketmap.Datacenter]*shardlib.Library{},
		entry:     "entry_" + o.Database, register: "register_" + o.Database, tally: "tally_" + o.Database,
		Alpha: &End{Shard: Alpha, DC: legacy, Server: alpha}, Gamma: &End{Shard: Gamma, DC: cloud, Server: gamma}}
	if err := f.setUp(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("set up %s: %w", o.Database, err), f.Close())
	}
	return f, nil
}

func (f *Field) setUp(ctx context.Context) error {
	f.nameUsers()
	for _, e := range f.Ends() {
		if err := f.link(ctx, e); err != nil {
			return err
		}
	}
	if err := f.writeConfig(); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"init", "--buckets", fmt.Sprint(f.Buckets), "--shard", "alpha=legacy", "--shard", "gamma=cloud", "--even", "alpha",
			"--source", "legacy", "--target", "cloud"},
		{"fence", "install"},
	} {
		if err := f.patiently(ctx, args...); err != nil {
			return err
		}
	}
	if err := f.seed(ctx); err != nil {
		return err
	}
	var err error
	if f.store, err = file.Open(filepath.Join(f.Dir, "map"), file.Options{}); err != nil {
		return err
	}
	for _, dc := range []bucketmap.Datacenter{legacy, cloud} {
		f.libraries[dc], err = shardlib.Open(ctx, shardlib.Config{Source: f.store, Datacenter: dc,
			Shards: shardlib.ShardList{Database: f.Database, Shards: map[bucketmap.ShardName]map[bucketmap.Datacenter]string{
				Alpha: {legacy: f.Alpha.addr(dc)}, Gamma: {cloud: f.Gamma.addr(dc)}}},
			Account: shardlib.Account{User: testservers.AccountApp, Password: testservers.Password}})
		if err != nil {
			return err
		}
	}
	return nil
}

// Ends are both ends.
func (f *Field) Ends() []*End { return []*End{f.Alpha, f.Gamma} }

// Other is the end that e is not.
func (f *Field) Other(e *End) *End {
	if e == f.Alpha {
		return f.Gamma
	}
	return f.Alpha
}

// End is the end with that shard.
func (f *Field) End(shard bucketmap.ShardName) *End {
	if shard == Gamma {
		return f.Gamma
	}
	return f.Alpha
}

// Home is where the map has a bucket now.
func (f *Field) Home(ctx context.Context, bucket bucketmap.BucketID) (bucketmap.ShardName, error) {
	snap, err := f.store.Load(ctx)
	if err != nil {
		return "", err
	}
	shard, _ := snap.Home(bucket)
	return shard.Name, nil
}

// nameUsers finds users for every bucket.
func (f *Field) nameUsers() {
	f.users = make([][]string, f.Buckets)
	missing := int(f.Buckets) * f.UsersEach
	for n := 0; missing > 0; n++ {
		user := fmt.Sprintf("user-%d", n)
		b := bucketmap.Bucket([]byte(user), f.Buckets)
		if len(f.users[b]) < f.UsersEach {
			f.users[b] = append(f.users[b], user)
			missing--
		}
	}
}

// link makes an end's database, relays and pools.
func (f *Field) link(ctx context.Context, e *End) error {
	if err := e.Server.Exec(ctx, append([]string{"CREATE DATABASE " + f.Database, "USE " + f.Database}, f.tables()...)...); err != nil {
		return err
	}
	far := time.Duration(0)
	if e.DC == cloud {
		far = f.RoundTrip
	}
	var err error
	if e.Link, err = relay.Start(ctx, e.Server.Addr, far); err != nil {
		return err
	}
	if f.RoundTrip > 0 {
		if e.far, err = relay.Start(ctx, e.Server.Addr, f.RoundTrip); err != nil {
			return err
		}
	}
	e.apps = map[bucketmap.Datacenter]*sql.DB{}
	for _, dc := range []bucketmap.Datacenter{legacy, cloud} {
		if e.apps[dc], err = openDB(testservers.AccountApp, testservers.Password, e.addr(dc), f.Database); err != nil {
			return err
		}
	}
	e.root, err = openDB(testservers.AccountRoot, "", e.Server.Addr(), f.Database)
	return err
}

// addr is where an application in a datacenter finds the server.
func (e *End) addr(from bucketmap.Datacenter) string {
	if e.far == nil || from == e.DC {
		return e.Server.Addr()
	}
	return e.far.Addr()
}

// writeConfig writes the migrator's files.
func (f *Field) writeConfig() error {
	limits := ""
	if f.FreezeMax > 0 {
		limits += fmt.Sprintf(", freeze_max: %s", f.FreezeMax)
	}
	if f.BackoffMax > 0 {
		limits += fmt.Sprintf(", backoff_max: %s", f.BackoffMax)
	}
	for name, text := range map[string]string{
		"shards.yaml": fmt.Sprintf("database: %s\nshards:\n  alpha: {legacy: %q}\n  gamma: {cloud: %q}\n",
			f.Database, f.Alpha.Link.Addr(), f.Gamma.Link.Addr()),
		"migrator.yaml": fmt.Sprintf(`map: {store: file, dir: map}
shards: shards.yaml
account: {user: %s, password: %q}
tables:
  - {name: %s, bucket_column: bucket}
  - {name: %s, bucket_column: bucket}
  - {name: %s, user_column: user_id}
move: {ack_max: 1s%s}
`, testservers.AccountDrover, testservers.Password, f.entry, f.register, f.tally, limits),
	} {
		if err := os.WriteFile(filepath.Join(f.Dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// StartMigrator starts the migrator with a command; see program.Start.
func (f *Field) StartMigrator(ctx context.Context, at string, args ...string) (*program.Child, error) {
	return program.Start(ctx, f.Program, at, append([]string{"--config", f.config}, args...)...)
}

// Migrator runs a command of the migrator; the error has what it printed.
func (f *Field) Migrator(ctx context.Context, args ...string) error {
	child, err := f.StartMigrator(ctx, "", args...)
	if err != nil {
		return err
	}
	return child.Wait()
}

// installTries bounds how often fence install is tried: the server ends a
// statement of it that takes longer than 0.1 s, which on a busy machine may
// come in the middle of reading a trigger, as a syntax error.
const installTries = 10

// patiently runs a command that may be run again when it fails.
func (f *Field) patiently(ctx context.Context, args ...string) (err error) {
	for range installTries {
		if err = f.Migrator(ctx, args...); err == nil || args[0] != "fence" || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// Close stops the clients and closes what New opened. The databases stay.
func (f *Field) Close() error {
	err := f.Stop()
	for _, l := range f.libraries {
		if l != nil {
			err = errors.Join(err, l.Close())
		}
	}
	if f.store != nil {
		err = errors.Join(err, f.store.Close())
	}
	for _, e := range f.Ends() {
		for _, db := range e.apps {
			err = errors.Join(err, db.Close())
		}
		if e.root != nil {
			err = errors.Join(err, e.root.Close())
		}
		for _, link := range []*relay.Relay{e.Link, e.far} {
			if link != nil {
				err = errors.Join(err, link.Close())
			}
		}
	}
	return err
}
