package promote

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

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
	"drover/tools/testservers/pairs"
)

const (
	alpha   = bucketmap.ShardName("alpha")
	legacy  = bucketmap.Datacenter("legacy")
	cloud   = bucketmap.Datacenter("cloud")
	buckets = 16
)

// world is one shard with a server in each of two datacenters, and a map.
type world struct {
	t      *testing.T
	a, b   *testservers.MariaDB // in legacy and in cloud
	store  *file.Store
	dir    string
	shards *shards.Shards
	list   shardlib.ShardList
	points *crash.Points
	limits Limits
	runs   []Hook
	// appOpener, when not nil, connects as the application to servers that are not
	// a and b.
	appOpener func(bucketmap.Datacenter) (*sql.DB, error)
	mysql     bool
	// executed, when not nil, is told what engines execute.
	executed func(Statement)

	mu     sync.Mutex
	events []Event
}

var schema = []string{
	"CREATE TABLE ledger (id BIGINT PRIMARY KEY, bucket INT NOT NULL, server INT NOT NULL, epoch BIGINT NOT NULL)",
	"CREATE TABLE counter (bucket INT PRIMARY KEY, n BIGINT NOT NULL)",
}

// lender has the servers of all worlds.
var lender pairs.Lender

// newWorld makes b a replica of a that has caught up. Tests wait more than they
// compute, and each has servers of its own: they run side by side.
func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	pair := lender.Take(t)
	w := &world{t: t, a: pair.A, b: pair.B, dir: t.TempDir(), points: &crash.Points{}, limits: testLimits()}
	ctx := t.Context()
	must(t, w.a.Exec(ctx, "CREATE DATABASE app"))
	w.mapped(w.a.Addr(), w.b.Addr())
	w.filled()
	must(t, w.b.ReplicateFrom(ctx, w.a))
	testrun.Until(t, "the database has come over", w.server(cloud).DB.Ping)
	w.caughtUp(legacy, cloud)
	return w
}

// mapped makes the map and the shard list.
func (w *world) mapped(a, b string) {
	t, ctx := w.t, w.t.Context()
	t.Helper()
	w.list = shardlib.ShardList{Database: "app", Shards: map[bucketmap.ShardName]map[bucketmap.Datacenter]string{
		alpha: {legacy: a, cloud: b}}}
	var err error
	w.store, err = file.Open(w.dir, file.Options{})
	must(t, err)
	t.Cleanup(func() { _ = w.store.Close() })
	draft := bucketmap.NewDraft(buckets)
	draft.Default = bucketmap.Default{Datacenter: legacy, Auto: true, Source: legacy, Target: cloud}
	draft.Datacenters = []bucketmap.Datacenter{cloud}
	must(t, draft.PutShard(bucketmap.Shard{Name: alpha, Datacenter: legacy}))
	must(t, draft.SetHome(0, buckets-1, alpha))
	snap, err := draft.Snapshot()
	must(t, err)
	must(t, w.store.Publish(ctx, snap, bucketmap.Change{Who: "test", Why: "the first map"}))
	w.shards = shards.New(w.list, w.store, database.Account{User: testservers.AccountDrover, Password: testservers.Password})
	t.Cleanup(func() { _ = w.shards.Close() })
}

// filled makes the shard's tables on the primary.
func (w *world) filled() {
	t, ctx := w.t, w.t.Context()
	t.Helper()
	from := w.server(legacy)
	must(t, fence.Create(ctx, from.DB))
	must(t, fence.Activate(ctx, from.DB, 0, buckets-1))
	must(t, journal.Create(ctx, from.DB))
	for _, statement := range schema {
		w.exec(from.DB, statement)
	}
	for bucket := range buckets {
		w.exec(from.DB, "INSERT INTO counter VALUES (?, 0)", bucket)
	}
}

// testLimits leave more room than a loaded machine needs, and step back fast.
func testLimits() Limits {
	l := DefaultLimits()
	l.BackoffMax = 100 * time.Millisecond
	l.Freeze = 3 * time.Second
	l.Hold.Until = 10 * time.Second
	return l
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) server(dc bucketmap.Datacenter) *database.Server {
	w.t.Helper()
	s, err := w.shards.In(alpha, dc)
	must(w.t, err)
	return s
}

func (w *world) exec(db *sql.DB, statement string, args ...any) {
	w.t.Helper()
	if _, err := db.ExecContext(context.Background(), statement, args...); err != nil {
		w.t.Fatalf("%s: %v", statement, err)
	}
}

// caughtUp waits until the server in `to` has all that the one in `from` has.
func (w *world) caughtUp(from, to bucketmap.Datacenter) {
	w.t.Helper()
	end, err := w.server(from).Committed(w.t.Context())
	must(w.t, err)
	ok, err := w.server(to).Await(w.t.Context(), end, 20*time.Second)
	must(w.t, err)
	if !ok {
		w.t.Fatalf("%s has not applied %s", to, end)
	}
}

func (w *world) engine() *Engine {
	return &Engine{Servers: w.shards, Limits: w.limits, PastReadOnly: []string{testservers.AccountRoot}, Hooks: w.runs, Executed: w.executed, Crash: w.points, AllowMySQL: w.mysql,
		Map:         &publish.Publisher{Store: w.store, Who: "test"},
		Replication: database.Account{User: testservers.AccountReplica, Password: testservers.Password},
		Report: func(e Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, e)
		}}
}

// notes are what the engines reported in words.
func (w *world) notes() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var notes []string
	for _, e := range w.events {
		if e.Note != "" {
			notes = append(notes, e.Note)
		}
	}
	return notes
}

// promote takes the shard to a datacenter.
func (w *world) promote(to bucketmap.Datacenter) (*Promotion, error) {
	e := w.engine()
	p, err := e.Start(w.t.Context(), Plan{Shard: alpha, Target: to, Who: "test"})
	if err != nil {
		return nil, err
	}
	return p, e.Run(w.t.Context(), p)
}

// lives returns where the map says the shard is.
func (w *world) lives() bucketmap.Shard {
	w.t.Helper()
	snap, err := w.store.Load(w.t.Context())
	must(w.t, err)
	if len(snap.Holds()) != 0 {
		w.t.Errorf("the map still holds %v", snap.Holds())
	}
	s, _ := snap.Shard(alpha)
	return s
}

// other is the other datacenter.
func other(dc bucketmap.Datacenter) bucketmap.Datacenter {
	if dc == legacy {
		return cloud
	}
	return legacy
}

// settled checks that the shard has exactly one writable primary, the one by
// the map, that the other server follows it, and that map, fence and journal
// agree.
func (w *world) settled(dc bucketmap.Datacenter, epoch bucketmap.Epoch) {
	w.t.Helper()
	ctx := w.t.Context()
	if s := w.lives(); s.Datacenter != dc || s.Epoch != epoch {
		w.t.Fatalf("the map has the shard in %s, epoch %d; want %s, %d", s.Datacenter, s.Epoch, dc, epoch)
	}
	primary, replica := w.server(dc), w.server(other(dc))
	id, err := primary.ServerID(ctx)
	must(w.t, err)
	w.caughtUp(dc, other(dc))
	for _, s := range []*database.Server{primary, replica} {
		row, err := shardRow(ctx, s)
		must(w.t, err)
		want := fence.Row{Bucket: fence.ShardRow, State: fence.Active, Epoch: epoch, ServerID: id}
		if row != want {
			w.t.Errorf("%s: the shard's row is %+v, want %+v", s.Name(), row, want)
		}
		records, err := journal.Open(s).List(ctx, true)
		must(w.t, err)
		if len(records) != 0 {
			w.t.Errorf("%s: %s is open in state %s", s.Name(), records[0].Move, records[0].State)
		}
		readOnly, err := s.ReadOnly(ctx)
		must(w.t, err)
		if readOnly != (s == replica) {
			w.t.Errorf("%s: read_only is %t", s.Name(), readOnly)
		}
	}
	if all, err := primary.Upstreams(ctx); err != nil || len(all) != 0 {
		w.t.Errorf("%s follows %v, %v", primary.Name(), all, err)
	}
	if u, err := replica.OneUpstream(ctx); err != nil || u.ServerID != id || u.Failure() != "" {
		w.t.Errorf("%s follows server %d, want %d: %s, %v", replica.Name(), u.ServerID, id, u.Failure(), err)
	}
	if err := w.write(dc, false); err != nil {
		w.t.Errorf("a write on the primary: %v", err)
	}
	if err := w.write(other(dc), false); !errors.Is(err, fence.ErrRefused) {
		w.t.Errorf("a write on the replica: %v, want a refusal", err)
	}
}

// write makes one fenced write on a server, as the application does. It is
// rolled back unless it is to stay.
func (w *world) write(dc bucketmap.Datacenter, stay bool) error {
	db := w.appDB(dc)
	tx, err := db.BeginTx(context.Background(), nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := fence.CheckWrite(context.Background(), tx, 3); err != nil {
		return err
	}
	if _, err := tx.Exec("UPDATE counter SET n = n WHERE bucket = 3"); err != nil {
		return err
	}
	if !stay {
		return nil
	}
	return tx.Commit()
}

// appDB connects as the application to the server in a datacenter, whatever it
// is there.
func (w *world) appDB(dc bucketmap.Datacenter) *sql.DB {
	w.t.Helper()
	db, err := w.openApp(dc)
	must(w.t, err)
	w.t.Cleanup(func() { _ = db.Close() })
	return db
}

func (w *world) openApp(dc bucketmap.Datacenter) (*sql.DB, error) {
	if w.appOpener != nil {
		return w.appOpener(dc)
	}
	if dc == cloud {
		return w.b.Open(testservers.AccountApp, "app")
	}
	return w.a.Open(testservers.AccountApp, "app")
}

// childVariable makes the test binary a migrator that a test can kill.
const childVariable = "DROVER_PROMOTE_CHILD"

// soak says whether tests may take their time.
func soak() bool { return os.Getenv("DROVER_SOAK") == "1" }

func TestMain(m *testing.M) {
	_ = mysql.SetLogger(log.New(io.Discard, "", 0)) // connections are lost on purpose
	if order := os.Getenv(childVariable); order != "" {
		if err := child(order); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	if err := lender.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
