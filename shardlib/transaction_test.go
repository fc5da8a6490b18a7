package shardlib

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"drover/bucketmap"
	"drover/shardlib/fence"
	"drover/tools/testservers"
)

const alice bucketmap.UserID = "alice"

func bucketOf(user bucketmap.UserID) bucketmap.BucketID {
	return bucketmap.Bucket([]byte(user), testBuckets)
}

func TestUpdateCommitsAndViewReadsIt(t *testing.T) {
	w := newWorld(t)
	l := w.open("legacy")
	for range 3 {
		if err := l.Update(t.Context(), alice, add(alice)); err != nil {
			t.Fatal(err)
		}
	}
	var n int64
	if err := l.View(t.Context(), alice, read(alice, &n)); err != nil || n != 3 {
		t.Fatal(n, err)
	}
	if got := count(t, l.metrics.transactions, "update", "committed", "local"); got != 3 {
		t.Errorf("counted %v updates", got)
	}
}

func TestFailedFunctionIsRolledBack(t *testing.T) {
	w := newWorld(t)
	l := w.open("legacy")
	mine := errors.New("mine")
	err := l.Update(t.Context(), alice, func(ctx context.Context, tx *Tx) error {
		return errors.Join(add(alice)(ctx, tx), mine)
	})
	if !errors.Is(err, mine) || w.value(w.alpha, alice) != 0 {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if recover() != "boom" {
				t.Error("the panic was lost")
			}
		}()
		_ = l.Update(t.Context(), alice, func(ctx context.Context, tx *Tx) error {
			if err := add(alice)(ctx, tx); err != nil {
				return err
			}
			panic("boom")
		})
	}()
	if n := w.value(w.alpha, alice); n != 0 {
		t.Fatalf("%d after a panic", n)
	}
	if err := l.Update(t.Context(), alice, add(alice)); err != nil { // no lock is left
		t.Fatal(err)
	}
}

func TestViewCannotWrite(t *testing.T) {
	w := newWorld(t)
	l := w.open("legacy")
	if err := l.View(t.Context(), alice, add(alice)); err == nil || errors.Is(err, ErrNotHome) {
		t.Fatalf("got %v", err)
	}
	err := l.View(t.Context(), alice, func(_ context.Context, tx *Tx) error {
		tx.Invalidate("n")
		return nil
	})
	if err == nil {
		t.Fatal("a View invalidated a key")
	}
}

func TestWriteIsRefusedWhenFrozen(t *testing.T) {
	w := newWorld(t)
	l := w.open("legacy")
	for _, c := range []struct {
		row   any
		state fence.State
		read  bool
	}{
		{bucketOf(alice), fence.Frozen, true},
		{bucketOf(alice), fence.Moved, false},
		{bucketOf(alice), fence.Incoming, false},
		{fence.ShardRow, fence.Frozen, true},
		{fence.ShardRow, fence.Moved, false},
	} {
		w.setState(w.alpha, c.row, c.state)
		err := l.Update(t.Context(), alice, func(context.Context, *Tx) error {
			t.Error("the function was called")
			return nil
		})
		var where *NotHomeError
		if !errors.Is(err, ErrNotHome) || !errors.As(err, &where) || !errors.Is(err, fence.ErrRefused) {
			t.Fatalf("%v %s: got %v", c.row, c.state, err)
		}
		if where.Bucket != bucketOf(alice) || where.State != c.state || where.MapVersion != 1 || where.Shard != "alpha" {
			t.Errorf("%v %s: got %+v", c.row, c.state, where)
		}
		var n int64
		if err := l.View(t.Context(), alice, read(alice, &n)); (err == nil) != c.read || err != nil && !errors.Is(err, ErrNotHome) {
			t.Errorf("%v %s: read: %v", c.row, c.state, err)
		}
		w.setState(w.alpha, c.row, fence.Active)
	}
	if err := l.Update(t.Context(), alice, add(alice)); err != nil {
		t.Fatal(err)
	}
}

func TestRefusalOfATriggerIsNotHomeHoweverItIsToldOn(t *testing.T) {
	w := newWorld(t)
	l := w.open("legacy", func(c *Config) { c.Retries = 3 })
	table := fence.Sharded{Name: "counter", UserColumn: "user_id"}
	if err := fence.Install(t.Context(), w.alpha, table, testBuckets, testservers.AccountDrover); err != nil {
		t.Fatal(err)
	}
	other := bucketmap.UserID("bob") // of another bucket, which the library does not look at
	if bucketOf(other) == bucketOf(alice) {
		t.Fatal("choose another user")
	}
	w.setState(w.alpha, bucketOf(other), fence.Frozen)
	for name, tell := range map[string]func(error) error{
		"as it is":  func(err error) error { return err },
		"wrapped":   func(err error) error { return fmt.Errorf("add: %w", err) },
		"as text":   func(err error) error { return errors.New(err.Error()) },
		"concealed": func(error) error { return nil },
	} {
		calls := 0
		err := l.Update(t.Context(), alice, func(ctx context.Context, tx *Tx) error {
			calls++
			if err := add(alice)(ctx, tx); err != nil {
				return err
			}
			return tell(add(other)(ctx, tx))
		})
		if !errors.Is(err, ErrNotHome) || calls != 1 {
			t.Errorf("%s: %d calls, %v", name, calls, err)
		}
		if n := w.value(w.alpha, alice); n != 0 {
			t.Errorf("%s: committed", name)
		}
	}
}

// collide makes a deadlock between a transaction of the library's and another
// connection, which has done more and so survives.
func (w *world) collide(ctx context.Context, tx *Tx) error {
	other, err := w.alpha.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer other.Rollback()
	for _, user := range []string{"x1", "x2", "x3", "other"} {
		if _, err := other.ExecContext(ctx, "INSERT INTO counter VALUES (?, 'd', 1)", user); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO counter VALUES ('own', 'd', 1)"); err != nil {
		return err
	}
	waits := make(chan struct{})
	go func() {
		defer close(waits)
		_, _ = other.ExecContext(ctx, "INSERT INTO counter VALUES ('own', 'd', 1)")
	}()
	_, err = tx.ExecContext(ctx, "INSERT INTO counter VALUES ('other', 'd', 1)")
	other.Rollback()
	<-waits
	return err
}

func TestNothingIsWrittenAfterADeadlock(t *testing.T) {
	w := newWorld(t)
	l := w.open("legacy")
	var deadlock error
	err := l.Update(t.Context(), alice, func(ctx context.Context, tx *Tx) error {
		deadlock = w.collide(ctx, tx)
		// The server has ended the transaction. Sent now, this would be
		// committed by itself, without the fence's lock.
		_ = add(alice)(ctx, tx)
		return nil
	})
	if deadlock == nil || !errors.Is(err, ErrConflict) {
		t.Fatalf("deadlock %v, got %v", deadlock, err)
	}
	if n := w.value(w.alpha, alice); n != 0 {
		t.Fatalf("%d was written after the deadlock", n)
	}
}

func TestConflictIsTriedAgainAsOftenAsAllowed(t *testing.T) {
	w := newWorld(t)
	l := w.open("legacy", func(c *Config) { c.Retries = 2 })
	for _, c := range []struct {
		deadlocks, calls int
		ok               bool
	}{{1, 2, true}, {2, 3, true}, {3, 3, false}} {
		calls := 0
		err := l.Update(t.Context(), alice, func(ctx context.Context, tx *Tx) error {
			calls++
			if calls <= c.deadlocks {
				return w.collide(ctx, tx)
			}
			return add(alice)(ctx, tx)
		})
		if calls != c.calls || (err == nil) != c.ok || err != nil && !errors.Is(err, ErrConflict) {
			t.Errorf("%d deadlocks: %d calls, %v", c.deadlocks, calls, err)
		}
	}
	if n := w.value(w.alpha, alice); n != 2 {
		t.Errorf("%d, want 2", n)
	}
}

func TestEndedStatementsAreTold(t *testing.T) {
	w := newWorld(t)
	l := w.open("legacy")
	exec := func(query string) error {
		return l.Update(t.Context(), alice, func(ctx context.Context, tx *Tx) error {
			_, err := tx.ExecContext(ctx, query)
			return err
		})
	}
	w.must(w.alpha, "INSERT INTO counter VALUES ('row', 'n', 0)")
	if err := exec("SET STATEMENT max_statement_time=0.01 FOR UPDATE counter SET value = 1 WHERE SLEEP(5) = 9"); !errors.Is(err, ErrInterrupted) {
		t.Errorf("time limit: got %v", err)
	}
	if err := exec("KILL QUERY CONNECTION_ID()"); !errors.Is(err, ErrInterrupted) {
		t.Errorf("killed: got %v", err)
	}
	holder, err := w.alpha.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Rollback()
	if _, err := holder.ExecContext(t.Context(), "UPDATE counter SET value = 2"); err != nil {
		t.Fatal(err)
	}
	if err := exec("SET STATEMENT innodb_lock_wait_timeout=1 FOR UPDATE counter SET value = 3"); !errors.Is(err, ErrConflict) {
		t.Errorf("lock wait: got %v", err)
	}
	if err := holder.Rollback(); err != nil {
		t.Fatal(err)
	}
	var server *mysql.MySQLError
	err = exec("INSERT INTO counter VALUES ('row', 'n', 0)") // the caller's own business
	if !errors.As(err, &server) || server.Number != 1062 || count(t, l.metrics.transactions, "update", "rolled_back", "local") != 1 {
		t.Errorf("duplicate: got %v", err)
	}
}

func TestReadOnlyServerIsNotHome(t *testing.T) {
	w := newWorld(t)
	l := w.open("legacy")
	defer w.must(w.alpha, "SET GLOBAL read_only = 0")
	w.must(w.alpha, "SET GLOBAL read_only = 1")
	if err := l.Update(t.Context(), alice, add(alice)); !errors.Is(err, ErrNotHome) || errors.Is(err, fence.ErrRefused) {
		t.Fatalf("got %v", err)
	}
	w.must(w.alpha, "SET GLOBAL read_only = 0")
	// Set between the write and COMMIT, which then is refused as a whole.
	err := l.Update(t.Context(), alice, func(ctx context.Context, tx *Tx) error {
		if err := add(alice)(ctx, tx); err != nil {
			return err
		}
		made := make(chan error, 1)
		go func() {
			_, err := w.alpha.ExecContext(ctx, "SET GLOBAL read_only = 1")
			made <- err
		}()
		return <-made
	})
	if !errors.Is(err, ErrNotHome) {
		t.Fatalf("at COMMIT: got %v", err)
	}
	w.must(w.alpha, "SET GLOBAL read_only = 0")
	if n := w.value(w.alpha, alice); n != 0 {
		t.Fatalf("%d was written", n)
	}
}

func TestCommitOnDeadConnectionIsUnknown(t *testing.T) {
	w := newWorld(t)
	victim, err := servers.fleet.MariaDB(t.Context(), "victim-"+w.database, testservers.MariaDBOptions{})
	if err != nil {
		t.Fatal(err)
	}
	db := w.prepare(victim)
	if err := fence.Activate(t.Context(), db, 0, testBuckets-1); err != nil {
		t.Fatal(err)
	}
	w.shards.Shards["alpha"]["legacy"] = victim.Addr()
	l := w.open("legacy", func(c *Config) { c.Retries = RetriesMax })

	killConnection := func(context.Context) error {
		var id int64
		if err := db.QueryRowContext(t.Context(), "SELECT id FROM information_schema.PROCESSLIST WHERE user = 'app'").Scan(&id); err != nil {
			return err
		}
		_, err := db.ExecContext(t.Context(), fmt.Sprint("KILL ", id))
		return err
	}
	for _, c := range []struct {
		name string
		kill func(context.Context) error
	}{
		{"connection killed", killConnection},
		{"server killed", func(context.Context) error { return victim.Kill() }},
		{"server paused until the context ends", func(context.Context) error { return victim.Pause() }},
	} {
		calls := 0
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		start := time.Now()
		err := l.Update(ctx, alice, func(ctx context.Context, tx *Tx) error {
			calls++
			if err := add(alice)(ctx, tx); err != nil {
				return err
			}
			return c.kill(ctx)
		})
		cancel()
		if !errors.Is(err, ErrOutcomeUnknown) || calls != 1 {
			t.Errorf("%s: %d calls, %v", c.name, calls, err)
		}
		if took := time.Since(start); took > 8*time.Second { // Timeouts.IO is 10 s
			t.Errorf("%s: it took %v", c.name, took)
		}
		if err := victim.Resume(); err != nil && !errors.Is(err, testservers.ErrNotRunning) {
			t.Fatal(err)
		}
		if err := victim.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		// The pool's dead connections are replaced without a word.
		if err := l.Update(t.Context(), alice, add(alice)); err != nil {
			t.Errorf("after %s: %v", c.name, err)
		}
	}
}

func TestContextThatEndsBeforeCommitIsNotUnknown(t *testing.T) {
	w := newWorld(t)
	l := w.open("legacy")
	ctx, cancel := context.WithCancel(t.Context())
	err := l.Update(ctx, alice, func(ctx context.Context, tx *Tx) error {
		defer cancel()
		return add(alice)(ctx, tx)
	})
	if err == nil || errors.Is(err, ErrOutcomeUnknown) || !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if n := w.value(w.alpha, alice); n != 0 {
		t.Fatalf("%d was written", n)
	}
}

func TestConnectionLostBeforeCommitIsNotUnknown(t *testing.T) {
	w := newWorld(t)
	l := w.open("legacy")
	err := l.Update(t.Context(), alice, func(ctx context.Context, tx *Tx) error {
		if err := add(alice)(ctx, tx); err != nil {
			return err
		}
		_, _ = tx.ExecContext(ctx, "KILL CONNECTION_ID()")
		_ = add(alice)(ctx, tx)
		return nil
	})
	if err == nil || errors.Is(err, ErrOutcomeUnknown) {
		t.Fatalf("got %v", err)
	}
	if n := w.value(w.alpha, alice); n != 0 {
		t.Fatalf("%d was written", n)
	}
}

func TestWorksFromTheWrongDatacenter(t *testing.T) {
	w := newWorld(t)
	home, away := w.open("legacy"), w.open("cloud")
	if err := away.Update(t.Context(), alice, add(alice)); err != nil {
		t.Fatal(err)
	}
	if n, err := cached(t.Context(), home, alice); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	// The cache is the home's: what is written from away is seen at home.
	if err := away.Update(t.Context(), alice, add(alice)); err != nil {
		t.Fatal(err)
	}
	for _, l := range []*Library{home, away} {
		if n, err := cached(t.Context(), l, alice); err != nil || n != 2 {
			t.Fatal(n, err)
		}
	}
	if n := count(t, away.metrics.cacheReads, "hit"); n != 1 {
		t.Errorf("%v hits from away", n)
	}
	if n := count(t, away.metrics.transactions, "update", "committed", "remote"); n != 2 {
		t.Errorf("%v remote updates", n)
	}
}

func TestNewerMapIsTriedOnceAfterARefusal(t *testing.T) {
	w := newWorld(t)
	patient := w.open("legacy", func(c *Config) { c.RefusedWait = 20 * time.Second })
	hasty := w.open("legacy")
	if err := hasty.Update(t.Context(), alice, add(alice)); err != nil {
		t.Fatal(err)
	}
	w.setState(w.alpha, bucketOf(alice), fence.Moved)
	if err := hasty.Update(t.Context(), alice, add(alice)); !errors.Is(err, ErrNotHome) {
		t.Fatalf("got %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- patient.Update(t.Context(), alice, add(alice)) }()
	for count(t, patient.metrics.transactions, "update", "not_home", "local") == 0 {
		time.Sleep(time.Millisecond)
	}
	w.move(alice, w.alpha, w.beta, "beta")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := w.value(w.beta, alice); n != 2 {
		t.Fatalf("%d on beta", n)
	}
}

func TestPromotionChangesTheMapAlone(t *testing.T) {
	w := newWorld(t)
	delete(w.shards.Shards, "beta")
	w.shards.Shards["alpha"] = map[bucketmap.Datacenter]string{"legacy": servers.alpha.Addr(), "cloud": servers.beta.Addr()}
	l := w.open("legacy")
	if err := fence.Activate(t.Context(), w.beta, 0, testBuckets-1); err != nil {
		t.Fatal(err)
	}
	if err := l.Update(t.Context(), alice, add(alice)); err != nil {
		t.Fatal(err)
	}
	w.setState(w.alpha, fence.ShardRow, fence.Moved)
	w.must(w.beta, "UPDATE "+fence.Table+" SET epoch = 2 WHERE bucket = -1")
	s := w.publish(func(d *bucketmap.Draft) {
		if err := d.PutShard(bucketmap.Shard{Name: "alpha", Datacenter: "cloud", Epoch: 2}); err != nil {
			t.Fatal(err)
		}
	})
	if err := l.AtLeast(t.Context(), s.Version()); err != nil {
		t.Fatal(err)
	}
	if err := l.Update(t.Context(), alice, add(alice)); err != nil {
		t.Fatal(err)
	}
	if a, b := w.value(w.alpha, alice), w.value(w.beta, alice); a != 1 || b != 1 {
		t.Fatalf("%d at the old primary, %d at the new one", a, b)
	}
	home, err := l.Home(alice)
	if err != nil || home != (Home{Bucket: bucketOf(alice), Shard: "alpha", Datacenter: "cloud", Epoch: 1, ShardEpoch: 2, MapVersion: 2}) {
		t.Fatalf("%+v, %v", home, err)
	}
}

func TestUnusableUsersAndHomes(t *testing.T) {
	w := newWorld(t)
	l := w.open("legacy")
	for _, user := range []bucketmap.UserID{"", bucketmap.UserID(slices.Repeat([]byte("x"), bucketmap.UserIDMax+1))} {
		if err := l.Update(t.Context(), user, add(user)); !errors.Is(err, ErrUser) {
			t.Errorf("%d bytes: got %v", len(user), err)
		}
	}
	s := w.publish(func(d *bucketmap.Draft) {
		b := bucketOf(alice)
		if err := d.SetHome(b, b, ""); err != nil {
			t.Fatal(err)
		}
	})
	if err := l.AtLeast(t.Context(), s.Version()); err != nil {
		t.Fatal(err)
	}
	var where *NotHomeError
	if err := l.Update(t.Context(), alice, add(alice)); !errors.As(err, &where) || where.MapVersion != 2 {
		t.Errorf("no home: got %v", err)
	}
	s = w.publish(func(d *bucketmap.Draft) {
		if err := errors.Join(d.PutShard(bucketmap.Shard{Name: "alpha", Datacenter: "cloud"}),
			d.SetHome(0, testBuckets-1, "alpha")); err != nil {
			t.Fatal(err)
		}
	})
	if err := l.AtLeast(t.Context(), s.Version()); err != nil {
		t.Fatal(err)
	}
	if err := l.Update(t.Context(), alice, add(alice)); !errors.Is(err, ErrNoServer) {
		t.Errorf("no server: got %v", err)
	}
}

// A query builder asks for these.
var _ interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
	PrepareContext(context.Context, string) (*sql.Stmt, error)
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
	QueryRowContext(context.Context, string, ...any) *sql.Row
} = (*Tx)(nil)

func TestPreparedStatementsAndRowsWork(t *testing.T) {
	w := newWorld(t)
	l := w.open("legacy")
	err := l.Update(t.Context(), alice, func(ctx context.Context, tx *Tx) error {
		insert, err := tx.PrepareContext(ctx, "INSERT INTO counter VALUES (?, ?, ?)")
		if err != nil {
			return err
		}
		defer insert.Close()
		for i := range 3 {
			if _, err := insert.ExecContext(ctx, []byte(alice), fmt.Sprint(i), i); err != nil {
				return err
			}
		}
		rows, err := tx.QueryContext(ctx, "SELECT value FROM counter WHERE user_id = ? ORDER BY name", []byte(alice))
		if err != nil {
			return err
		}
		defer rows.Close()
		var got []int
		for rows.Next() {
			var n int
			if err := rows.Scan(&n); err != nil {
				return err
			}
			got = append(got, n)
		}
		if !slices.Equal(got, []int{0, 1, 2}) {
			return fmt.Errorf("got %v", got)
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
}
