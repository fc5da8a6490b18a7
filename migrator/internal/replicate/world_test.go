package replicate

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"drover/migrator/internal/crash"
	"drover/migrator/internal/database"
	"drover/migrator/internal/edgevalues"
	"drover/migrator/internal/preflight"
	"drover/tools/testservers"
)

// childVariable makes the test binary a migrator that a test can kill: FROM,
// TO and the point at which it dies.
const childVariable = "DROVER_REPLICATE_CHILD"

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
	if shared.fleet != nil {
		if err := shared.fleet.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func child(order string) error {
	words := strings.Split(order, " ")
	from, err := open("legacy", words[0])
	if err != nil {
		return err
	}
	to, err := open("cloud", words[1])
	if err != nil {
		return err
	}
	points := &crash.Points{}
	if err := points.Arm(words[2]); err != nil {
		return err
	}
	_, err = engine(from, to, points).Run(context.Background())
	return err
}

// shared is the fleet of all tests; each has servers of its own in it.
var shared struct {
	sync.Once
	fleet *testservers.Fleet
	err   error
	n     atomic.Int64
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(dc, addr string) (*database.Server, error) {
	s, err := database.Open("alpha", "legacy", addr, "app", database.Account{User: testservers.AccountDrover, Password: testservers.Password})
	if err == nil && dc == "cloud" {
		s.Datacenter = "cloud"
	}
	return s, err
}

func engine(from, to *database.Server, points *crash.Points) *Engine {
	limits := DefaultLimits()
	limits.Connect, limits.CatchUp, limits.Round = 20*time.Second, 30*time.Second, 300*time.Millisecond
	return &Engine{From: from, To: to, Limits: limits, Crash: points,
		Replication: database.Account{User: testservers.AccountReplica, Password: testservers.Password}}
}

// world is a primary with tables, and an empty server.
type world struct {
	t        *testing.T
	a, b     *testservers.MariaDB
	from, to *database.Server
	points   *crash.Points
}

func newWorld(t *testing.T, config map[string]string, schema ...string) *world {
	t.Helper()
	t.Parallel()
	shared.Do(func() { shared.fleet, shared.err = testservers.New(context.Background(), testservers.Options{}) })
	must(t, shared.err)
	w := &world{t: t, points: &crash.Points{}}
	n := shared.n.Add(1)
	var starts sync.WaitGroup
	var errs [2]error
	starts.Go(func() {
		w.a, errs[0] = shared.fleet.MariaDB(context.Background(), fmt.Sprintf("a%d", n), testservers.MariaDBOptions{})
	})
	starts.Go(func() {
		w.b, errs[1] = shared.fleet.MariaDB(context.Background(), fmt.Sprintf("b%d", n), testservers.MariaDBOptions{Config: config})
	})
	starts.Wait()
	must(t, errs[0])
	must(t, errs[1])
	t.Cleanup(func() {
		_ = w.a.Kill()
		_ = w.b.Kill()
	})
	var err error
	w.from, err = open("legacy", w.a.Addr())
	must(t, err)
	w.to, err = open("cloud", w.b.Addr())
	must(t, err)
	t.Cleanup(func() { _, _ = w.from.Close(), w.to.Close() })
	must(t, w.a.Exec(t.Context(), append([]string{"CREATE DATABASE app", "USE app"}, schema...)...))
	return w
}

func (w *world) engine() *Engine { return engine(w.from, w.to, w.points) }

// exec runs statements as root in the database app.
func (w *world) exec(m *testservers.MariaDB, statements ...string) {
	w.t.Helper()
	must(w.t, m.Exec(w.t.Context(), append([]string{"USE app"}, statements...)...))
}

// scan reads one value as text.
func (w *world) scan(m *testservers.MariaDB, query string) string {
	w.t.Helper()
	db, err := m.Open(testservers.AccountRoot, "")
	must(w.t, err)
	defer db.Close()
	var v sql.NullString
	must(w.t, db.QueryRowContext(w.t.Context(), query).Scan(&v))
	return v.String
}

// settled checks with the servers' own means that the replica equals the
// primary, follows it, and has nothing that it should not have.
func (w *world) settled(tables ...string) {
	w.t.Helper()
	ctx := w.t.Context()
	end, err := w.from.BinlogPosition(ctx)
	must(w.t, err)
	bareTo, err := bare(w.to)
	must(w.t, err)
	defer func() { _ = bareTo.Close() }()
	ok, err := bareTo.WaitApplied(ctx, end, 20*time.Second)
	must(w.t, err)
	if !ok {
		u, _ := bareTo.OneUpstream(ctx)
		w.t.Fatalf("the replica does not catch up: %s", u.Failure())
	}
	for _, table := range tables {
		a, b := w.checksum(w.a, table), w.checksum(w.b, table)
		if a != b || a == "" {
			w.t.Errorf("%s: checksum %q against %q", table, a, b)
		}
	}
	if on := w.scan(w.b, "SELECT @@read_only"); on != "1" {
		w.t.Errorf("read_only of the replica is %s", on)
	}
	if n := w.scan(w.b, "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = '"+markSchema+"'"); n != "0" {
		w.t.Error("the mark is still there")
	}
	replica, err := bareTo.BinlogHistory(ctx)
	must(w.t, err)
	primary, err := w.from.BinlogHistory(ctx)
	must(w.t, err)
	if e := replica.Errant(primary); len(e) != 0 {
		w.t.Errorf("the replica has errant transactions %v", e)
	}
	if e := primary.Errant(replica); len(e) != 0 {
		w.t.Errorf("the replica's history lacks %v: the primary could not follow it after a promotion", e)
	}
}

func (w *world) checksum(m *testservers.MariaDB, table string) string {
	w.t.Helper()
	db, err := m.Open(testservers.AccountRoot, "app")
	must(w.t, err)
	defer db.Close()
	var name string
	var sum sql.NullString
	must(w.t, db.QueryRowContext(w.t.Context(), "CHECKSUM TABLE "+table).Scan(&name, &sum))
	return sum.String
}

// kills runs a migrator of its own that dies at a point, and says whether it
// did.
func (w *world) kills(point string) bool {
	w.t.Helper()
	c := exec.CommandContext(w.t.Context(), os.Args[0], "-test.run=^$")
	c.Env = append(os.Environ(), childVariable+"="+w.a.Addr()+" "+w.b.Addr()+" "+point)
	out, err := c.CombinedOutput()
	if err != nil && c.ProcessState.ExitCode() != -1 {
		w.t.Fatalf("the migrator that was to die at %s: %v\n%s", point, err, out)
	}
	return err != nil
}

// found are the reasons and remedies of what refuses.
func found(t *testing.T, e *Engine) string {
	t.Helper()
	results, err := e.Preflight(t.Context())
	must(t, err)
	var all []string
	for _, r := range preflight.Errors(results) {
		all = append(all, r.String())
	}
	return strings.Join(all, "\n")
}

// types are tables with a column of each type and values at its edges.
func types() (tables, statements []string) {
	for i, typ := range edgevalues.All() {
		name := fmt.Sprintf("type%d", i)
		tables = append(tables, name)
		statements = append(statements, fmt.Sprintf("CREATE TABLE %s (id INT PRIMARY KEY, v %s)", name, typ.Definition))
		for n, v := range append(typ.Values, "NULL") {
			statements = append(statements, fmt.Sprintf("INSERT INTO %s VALUES (%d, %s)", name, n, v))
		}
	}
	return tables, append([]string{"SET NAMES utf8mb4", "SET SESSION sql_mode='ALLOW_INVALID_DATES'"}, statements...)
}
