package shardlib

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/shardlib/fence"
)

func TestAReplicaIsReadOnlyWhereItIsAskedForAndAllowed(t *testing.T) {
	w, replica := newPairWorld(t)
	l := w.open("cloud", withReplicas)
	w.update(l, alice)
	w.caughtUp(replica)
	token := w.token(l, alice)
	second := Staleness{Max: time.Hour}
	w.wantStale(l, loose, 1, "replica", whyProven)
	second.Token = token
	w.wantStale(l, second, 1, "replica", whyProven)
	second.Token = ""
	w.wantStale(l, second, 1, "primary", whyNoToken)
	for _, bad := range []string{w.token(l, "bob"), "1.x", token + "_", "1" + token, token + "." + token} {
		w.wantStale(l, Staleness{Max: time.Hour, WithoutToken: true, Token: bad}, 1, "primary", whyToken)
	}
	w.wantStale(w.open("legacy", withReplicas), loose, 1, "primary", whyLocal)
	w.wantStale(w.open("elsewhere", withReplicas), loose, 1, "primary", whyNone)
	w.wantStale(w.open("cloud"), loose, 1, "primary", whyOff)
	for _, s := range []Staleness{{}, {Max: -1}, {Max: time.Second, Wait: -1}, {Max: time.Second, Wait: time.Minute}} {
		if err := l.ViewStale(t.Context(), alice, s, read(alice, new(int64))); err == nil {
			t.Errorf("%+v was taken", s)
		}
	}
}

func TestAFunctionThatFailsOnAReplicaIsRunAtThePrimary(t *testing.T) {
	w, replica := newPairWorld(t)
	l := w.open("cloud", withReplicas)
	w.update(l, alice)
	w.caughtUp(replica)
	mine := errors.New("mine")
	for name, c := range map[string]struct {
		onReplica string
		want      error
		calls     int
	}{
		"a statement that the server refuses": {"SELECT nothing FROM nowhere", nil, 2},
		"a write":                             {"DELETE FROM counter", nil, 2},
		"a connection that breaks":            {"KILL CONNECTION_ID()", nil, 2},
		"the caller's own error":              {"", mine, 1},
	} {
		calls := 0
		err := l.ViewStale(t.Context(), alice, loose, func(ctx context.Context, tx *Tx) error {
			calls++
			if !tx.Replica() {
				return nil
			}
			if c.onReplica == "" {
				return mine
			}
			_, err := tx.ExecContext(ctx, c.onReplica)
			return err
		})
		if !errors.Is(err, c.want) || calls != c.calls {
			t.Errorf("%s: %d calls, %v", name, calls, err)
		}
	}
	if n := w.value(w.alpha, alice); n != 1 {
		t.Errorf("%d at the primary", n)
	}
}

func TestOwnWriteIsSeenThoughTheReplicaIsStopped(t *testing.T) {
	w, replica := newPairWorld(t)
	l, other := w.open("cloud", withReplicas), w.open("legacy", withReplicas)
	w.update(l, alice)
	w.caughtUp(replica)
	w.wantStale(l, loose, 1, "replica", whyProven)
	token := w.token(l, alice)

	goOn := w.stopped(replica)
	w.wantStale(l, loose, 1, "replica", whyProven) // it lacks nothing
	w.update(other, alice)
	w.wantStale(l, loose, 1, "replica", whyProven) // another process's write, within Max and without a token
	w.wantStale(l, Staleness{Max: time.Hour, Token: token}, 1, "replica", whyProven)
	token = other.Token(alice, token)
	w.wantStale(l, Staleness{Max: time.Hour, Token: token}, 2, "primary", whyOwn)
	w.update(l, alice)
	w.wantStale(l, loose, 3, "primary", whyOwn)
	w.wantStale(l, Staleness{Max: time.Hour, WithoutToken: true, Wait: time.Millisecond}, 3, "primary", whyOwn)
	goOn()
	w.wantStale(l, Staleness{Max: time.Hour, Token: token, Wait: time.Second}, 3, "replica", whyProven)
}

// TestAnOwnWriteIsNeverUnseen writes and reads back 1,000 times while the
// replica stops and goes on, half by way of two processes and a token.
func TestAnOwnWriteIsNeverUnseen(t *testing.T) {
	t.Parallel()
	w, replica := newPairWorld(t)
	l, other := w.open("cloud", withReplicas), w.open("legacy", withReplicas)
	end := w.stutter(replica)
	var workers sync.WaitGroup
	var served atomic.Int64
	for _, user := range []bucketmap.UserID{"a", "b", "c", "d", "e", "f", "g", "h"} {
		token := w.token(l, user)
		workers.Go(func() {
			for i := range 125 {
				writer, s := l, Staleness{Max: time.Hour, WithoutToken: true}
				if i%2 == 1 {
					writer = other
				}
				if i%3 == 0 {
					s.Wait = 2 * time.Millisecond
				}
				if err := writer.Update(t.Context(), user, add(user)); err != nil {
					t.Error(err)
					return
				}
				if token = writer.Token(user, token); token == "" {
					t.Error("no token")
					return
				}
				if writer == other {
					s.Token, s.WithoutToken = token, false
				}
				n, fromReplica, err := stale(t.Context(), l, user, s)
				if err != nil || n != int64(i+1) {
					t.Errorf("user %s reads %d after %d writes, replica %v: %v", user, n, i+1, fromReplica, err)
					return
				}
				if fromReplica {
					served.Add(1)
				}
			}
		})
	}
	workers.Wait()
	end()
	t.Logf("%d of 1000 reads were of the replica", served.Load())
	if n := served.Load(); n == 0 || n == 1000 {
		t.Errorf("%d of 1000 reads were of the replica: nothing is proven", n)
	}
}

// TestAReadIsNeverOlderThanMax has others write while the replica stops and
// goes on. What was acknowledged Max before a read must be in it.
func TestAReadIsNeverOlderThanMax(t *testing.T) {
	t.Parallel()
	w, replica := newPairWorld(t)
	l, other := w.open("cloud", withReplicas), w.open("legacy", withReplicas)
	const limit = 30 * time.Millisecond
	end := w.stutter(replica)
	defer end()
	var mu sync.Mutex
	var acknowledged []time.Time // of each value from 1 on
	var stop atomic.Bool
	var writer sync.WaitGroup
	writer.Go(func() {
		for !stop.Load() {
			if err := other.Update(t.Context(), alice, add(alice)); err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			acknowledged = append(acknowledged, time.Now())
			mu.Unlock()
		}
	})
	defer writer.Wait()
	defer stop.Store(true)
	served := 0
	for begin := time.Now(); time.Since(begin) < 500*time.Millisecond || served < 5 && time.Since(begin) < 30*time.Second; {
		var n, least int64
		var fromReplica bool
		err := l.ViewStale(t.Context(), alice, Staleness{Max: limit, WithoutToken: true}, func(ctx context.Context, tx *Tx) error {
			fromReplica, least = tx.Replica(), 0
			called := time.Now()
			mu.Lock()
			for _, at := range acknowledged {
				if called.Sub(at) > limit {
					least++
				}
			}
			mu.Unlock()
			return read(alice, &n)(ctx, tx)
		})
		if err != nil || n < least {
			t.Fatalf("read %d, and %d were acknowledged %v before, replica %v: %v", n, least, limit, fromReplica, err)
		}
		if fromReplica {
			served++
		}
	}
	t.Logf("%d reads were of the replica", served)
	if served == 0 {
		t.Error("none was of the replica: nothing is proven")
	}
}

func TestAReplicaBehindOrBrokenIsNotRead(t *testing.T) {
	w, replica := newPairWorld(t)
	l, other := w.open("cloud", withReplicas), w.open("legacy", withReplicas)
	w.update(l, alice)
	w.caughtUp(replica)
	w.wantStale(l, loose, 1, "replica", whyProven)
	// A row that is there already ends the applying with an error.
	w.must(replica, "SET STATEMENT sql_log_bin = 0 FOR INSERT INTO "+w.database+".counter VALUES ('bob', 'n', 7)")
	w.update(other, "bob")
	w.update(other, alice)
	written := time.Now()
	short := Staleness{Max: 40 * time.Millisecond, WithoutToken: true}
	for { // until the write is Max ago
		late := time.Since(written) > short.Max
		n, fromReplica, err := stale(t.Context(), l, alice, short)
		if err != nil || late && (n != 2 || fromReplica) {
			t.Fatalf("%d, replica %v: %v", n, fromReplica, err)
		}
		if late {
			break
		}
	}
	if count(t, l.metrics.staleReads, "primary", string(whyBehind)) == 0 {
		t.Error("behind was not counted")
	}
	w.must(replica, "STOP SLAVE SQL_THREAD")
	w.must(replica, "SET STATEMENT sql_log_bin = 0 FOR DELETE FROM "+w.database+".counter WHERE user_id = 'bob'")
	w.must(replica, "START SLAVE SQL_THREAD")
	w.caughtUp(replica)
	w.wantStale(l, Staleness{Max: time.Hour, Token: w.token(other, alice)}, 2, "replica", whyProven)
}

func TestServersThatDoNotAnswerAreLeftAlone(t *testing.T) {
	w, replica := newPairWorld(t)
	l := w.open("cloud", withReplicas, func(c *Config) { c.Replicas.Timeout = 300 * time.Millisecond })
	w.update(l, alice)
	w.caughtUp(replica)
	for deadline := time.Now().Add(20 * time.Second); ; { // on a loaded machine the first may be late
		if _, fromReplica, err := stale(t.Context(), l, alice, loose); err != nil {
			t.Fatal(err)
		} else if fromReplica {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the replica is not read")
		}
	}
	if err := pair.replica.Pause(); err != nil {
		t.Fatal(err)
	}
	w.wantStale(l, loose, 1, "primary", whyAway)
	start := time.Now()
	w.wantStale(l, loose, 1, "primary", whyAway) // at once
	took := time.Since(start)
	if err := pair.replica.Resume(); err != nil {
		t.Fatal(err)
	}
	if took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		if _, fromReplica, err := stale(t.Context(), l, alice, loose); err != nil || fromReplica {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a replica that is back is not read")
		}
	}
	// The primary is silent: what was sampled is good for Max, and no longer.
	if err := pair.primary.Pause(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := pair.primary.Resume(); err != nil {
			t.Error(err)
		}
	}()
	if n, fromReplica, err := stale(t.Context(), l, alice, loose); err != nil || n != 1 || !fromReplica {
		t.Errorf("%d, replica %v: %v", n, fromReplica, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, _, err := stale(ctx, l, alice, Staleness{Max: time.Millisecond, WithoutToken: true}); err == nil {
		t.Error("a read without a proof")
	}
	if count(t, l.metrics.staleReads, "primary", string(whySample)) != 1 {
		t.Error("it was not counted")
	}
}

func TestABucketThatMovedIsNotReadFromAReplicaOfItsOldHome(t *testing.T) {
	w, replica := newPairWorld(t)
	w.shards.Shards["beta"] = map[bucketmap.Datacenter]string{"legacy": servers.beta.Addr()}
	w.publish(func(d *bucketmap.Draft) {
		if err := d.PutShard(bucketmap.Shard{Name: "beta", Datacenter: "legacy"}); err != nil {
			t.Fatal(err)
		}
	})
	old := newMemory() // a process whose map stays as it was
	old.publish(w.maps.get())
	behind := w.open("cloud", withReplicas, func(c *Config) { c.Source = old })
	ahead := w.open("cloud", withReplicas)
	w.update(behind, alice)
	w.caughtUp(replica)
	w.wantStale(behind, loose, 1, "replica", whyProven)
	token := w.token(ahead, alice)

	goOn := w.stopped(replica)
	w.move(alice, w.alpha, w.beta, "beta")
	if err := ahead.AtLeast(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	w.update(ahead, alice)
	if token = ahead.Token(alice, token); token == "" {
		t.Fatal("no token")
	}
	w.wantStale(ahead, loose, 2, "primary", whyNone)
	w.notHere(behind, Staleness{Max: time.Hour, Token: token}, whyOwn)
	goOn()
	w.caughtUp(replica)
	w.notHere(behind, loose, whyFence)
	w.notHere(behind, Staleness{Max: time.Hour, Token: token}, whyFence)

	// It comes back, and the replica still shows it active of old.
	w.must(w.alpha, "UPDATE "+fence.Table+" SET state = 'active' WHERE bucket = ?", bucketOf(alice))
	w.caughtUp(replica)
	w.wantStale(behind, loose, 1, "replica", whyProven)
	w.stopped(replica)
	w.must(w.alpha, "UPDATE "+fence.Table+" SET state = 'moved' WHERE bucket = ?", bucketOf(alice))
	w.move(alice, w.beta, w.alpha, "alpha")
	if err := ahead.AtLeast(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	w.wantStale(ahead, loose, 2, "primary", whyEpoch)
	w.wantStale(ahead, Staleness{Max: time.Hour, Token: token}, 2, "primary", whyEpoch)
}

func TestAReplicaThatWasPromotedMeanwhileIsNotReadAsAReplica(t *testing.T) {
	w, replica := newPairWorld(t)
	l := w.open("cloud", withReplicas)
	w.update(l, alice)
	w.caughtUp(replica)
	w.wantStale(l, loose, 1, "replica", whyProven)
	w.must(w.alpha, "UPDATE "+fence.Table+" SET server_id = ? WHERE bucket = -1", pair.replica.ServerID())
	w.caughtUp(replica)
	w.notHere(l, loose, whyPrimary)
	// A server that is the primary no more gives no sample.
	w.notHere(w.open("cloud", withReplicas), loose, whySample)
	w.must(w.alpha, "UPDATE "+fence.Table+" SET server_id = 999 WHERE bucket = -1")
	w.caughtUp(replica)
	w.notHere(l, loose, whyPrimary)
	w.must(w.alpha, "UPDATE "+fence.Table+" SET server_id = @@server_id, state = 'moved' WHERE bucket = -1")
	w.caughtUp(replica)
	w.notHere(l, loose, whyFence)
	w.must(w.alpha, "DELETE FROM "+fence.Table+" WHERE bucket = -1")
	w.caughtUp(replica)
	w.notHere(l, loose, whyFence)
}

func TestACommitThatTellsItsGTIDEndsAsAnyOther(t *testing.T) {
	w, replica := newPairWorld(t)
	l := w.open("cloud", withReplicas)
	token := w.token(l, alice)
	w.update(l, alice)
	var at string
	if err := w.alpha.QueryRowContext(t.Context(), "SELECT @@gtid_binlog_pos").Scan(&at); err != nil {
		t.Fatal(err)
	}
	p, err := parsePosition(at, ",")
	if err != nil || l.Token(alice, token) != formatToken(alice, evidence{epoch: l.Map().Epoch(bucketOf(alice)), position: p}) {
		t.Errorf("the token is %s, the primary at %s: %v", l.Token(alice, token), at, err)
	}
	if other := l.Token("bob", token); other != "" {
		t.Errorf("a token of alice's became %s", other)
	}

	// before does something, as root, between the write and COMMIT.
	before := func(do func(id int64) (query string)) error {
		return l.Update(t.Context(), alice, func(ctx context.Context, tx *Tx) error {
			if err := add(alice)(ctx, tx); err != nil {
				return err
			}
			var id int64
			if err := tx.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&id); err != nil {
				return err
			}
			_, err := w.alpha.ExecContext(ctx, do(id))
			return err
		})
	}
	defer w.must(w.alpha, "SET GLOBAL read_only = 0")
	if err := before(func(int64) string { return "SET GLOBAL read_only = 1" }); !errors.Is(err, ErrNotHome) {
		t.Errorf("read only: %v", err)
	}
	w.must(w.alpha, "SET GLOBAL read_only = 0")
	if n := w.value(w.alpha, alice); n != 1 {
		t.Errorf("%d was written", n)
	}
	if l.Token(alice, token) == "" {
		t.Error("a write that was not committed took the token away")
	}
	if err := before(func(id int64) string { return fmt.Sprint("KILL ", id) }); !errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("killed: %v", err)
	}
	w.caughtUp(replica)
	w.wantStale(l, loose, 1, "primary", whyUnsure)
	if got := l.Token(alice, token); got != "" {
		t.Errorf("a token of a write without an answer: %s", got)
	}
}
