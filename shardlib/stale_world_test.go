package shardlib

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/internal/testrun"
	"drover/shardlib/fence"
	"drover/tools/testservers"
)

// The pair of all tests of replicas: a primary in legacy and its replica in
// cloud. Each test has a database of its own on it, and leaves the replica
// replicating.
var pair struct {
	sync.Once
	primary, replica *testservers.MariaDB
	err              error
}

func startPair() {
	ctx := context.Background()
	both, err := servers.fleet.MariaDBs(ctx, "primary", "replica")
	if err == nil {
		pair.primary, pair.replica = both[0], both[1]
		err = pair.replica.ReplicateFrom(ctx, pair.primary)
	}
	pair.err = err
}

// newPairWorld is a world whose shard alpha is the pair.
func newPairWorld(t testing.TB) (w *world, replica *sql.DB) {
	t.Helper()
	if pair.Do(startPair); pair.err != nil {
		t.Fatal(pair.err)
	}
	w = newWorld(t)
	w.alpha = w.prepare(pair.primary)
	if err := fence.Activate(t.Context(), w.alpha, 0, testBuckets-1); err != nil {
		t.Fatal(err)
	}
	w.shards.Shards["alpha"] = map[bucketmap.Datacenter]string{"legacy": pair.primary.Addr(), "cloud": pair.replica.Addr()}
	replica, err := pair.replica.Open(testservers.AccountRoot, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { replica.Close() })
	w.caughtUp(replica)
	return w, replica
}

// caughtUp waits until the replica has what the primary has now.
func (w *world) caughtUp(replica *sql.DB) {
	w.t.Helper()
	var have string
	if err := w.alpha.QueryRowContext(w.t.Context(), "SELECT @@gtid_binlog_pos").Scan(&have); err != nil {
		w.t.Fatal(err)
	}
	var left int
	if err := replica.QueryRowContext(w.t.Context(), "SELECT MASTER_GTID_WAIT(?, 30)", have).Scan(&left); err != nil || left != 0 {
		w.t.Fatal("the replica does not catch up: ", left, err)
	}
}

// stopped stops the replica's applying until the test ends or go on is called.
func (w *world) stopped(replica *sql.DB) (goOn func()) {
	w.t.Helper()
	w.must(replica, "STOP SLAVE SQL_THREAD")
	var once sync.Once
	goOn = func() {
		once.Do(func() {
			if _, err := replica.ExecContext(context.Background(), "START SLAVE SQL_THREAD"); err != nil {
				w.t.Error(err)
			}
		})
	}
	w.t.Cleanup(goOn)
	return goOn
}

// stutterEvery is how long the replica applies, and how long it does not.
const stutterEvery = 20 * time.Millisecond

// stutter stops and starts the replica's applying, again and again, until the
// function that it returns is called. That waits for its end.
func (w *world) stutter(replica *sql.DB) (end func()) {
	ctx, stop := context.WithCancel(w.t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		turns := testrun.NewPace(stutterEvery)
		defer turns.Stop()
		for going := true; going; {
			for _, statement := range []string{"STOP SLAVE SQL_THREAD", "START SLAVE SQL_THREAD"} {
				if _, err := replica.ExecContext(context.Background(), statement); err != nil {
					w.t.Error(err)
				}
				going = turns.Wait(ctx)
			}
		}
	})
	return func() {
		stop()
		done.Wait()
	}
}

func withReplicas(c *Config) { c.Replicas = ReplicaOptions{Enabled: true, Timeout: 5 * time.Second} } // a loaded machine

// loose is a read that the pair can nearly always serve.
var loose = Staleness{Max: time.Hour, WithoutToken: true}

// stale reads the user's counter by ViewStale, and says where.
func stale(ctx context.Context, l *Library, user bucketmap.UserID, s Staleness) (n int64, replica bool, err error) {
	err = l.ViewStale(ctx, user, s, func(ctx context.Context, tx *Tx) error {
		replica = tx.Replica()
		return read(user, &n)(ctx, tx)
	})
	return n, replica, err
}

// wantStale reads, and wants a value, and a place with a reason.
func (w *world) wantStale(l *Library, s Staleness, value int64, place string, reason why) {
	w.t.Helper()
	before := count(w.t, l.metrics.staleReads, place, string(reason))
	n, replica, err := stale(w.t.Context(), l, alice, s)
	if err != nil || n != value || replica != (place == "replica") {
		w.t.Errorf("got %d, replica %v, %v: want %d of the %s", n, replica, err, value, place)
	}
	if got := count(w.t, l.metrics.staleReads, place, string(reason)); got != before+1 {
		w.t.Errorf("it was not counted as %s, %s", place, reason)
	}
}

func (w *world) update(l *Library, user bucketmap.UserID) {
	w.t.Helper()
	if err := l.Update(w.t.Context(), user, add(user)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) token(l *Library, user bucketmap.UserID) string {
	w.t.Helper()
	token, err := l.TokenNow(w.t.Context(), user)
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

// notHere wants a refusal.
func (w *world) notHere(l *Library, s Staleness, reason why) {
	w.t.Helper()
	before := count(w.t, l.metrics.staleReads, "primary", string(reason))
	if n, _, err := stale(w.t.Context(), l, alice, s); !errors.Is(err, ErrNotHome) {
		w.t.Errorf("got %d, %v: want ErrNotHome", n, err)
	}
	if got := count(w.t, l.metrics.staleReads, "primary", string(reason)); got != before+1 {
		w.t.Errorf("it was not counted as %s", reason)
	}
}
