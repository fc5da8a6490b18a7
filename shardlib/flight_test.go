package shardlib

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestThatThereIsNoValueIsCachedUntilItIsWritten(t *testing.T) {
	w := newWorld(t)
	l := w.open("legacy")
	var loads atomic.Int32
	get := func() (string, error) {
		value, err := l.Cached(t.Context(), alice, "n", time.Minute, func(ctx context.Context, tx *Tx) ([]byte, error) {
			loads.Add(1)
			var n int64
			err := tx.QueryRowContext(ctx, "SELECT value FROM counter WHERE user_id = ? AND name = 'n'", []byte(alice)).Scan(&n)
			return fmt.Append(nil, n), err
		})
		return string(value), err
	}
	for range 3 {
		if v, err := get(); !errors.Is(err, ErrNoValue) || !errors.Is(err, sql.ErrNoRows) || v != "" {
			t.Fatalf("got %q, %v", v, err)
		}
	}
	if n := loads.Load(); n != 1 || count(t, l.metrics.cacheReads, "hit_none") != 2 {
		t.Errorf("%d reads of the database", n)
	}
	if err := l.Update(t.Context(), alice, add(alice)); err != nil {
		t.Fatal(err)
	}
	if v, err := get(); v != "1" || err != nil {
		t.Fatalf("after the write: got %q, %v", v, err)
	}
	never := w.open("legacy", func(c *Config) { c.Cache.NegativeTTL = -1 })
	for range 2 {
		_, err := never.Cached(t.Context(), alice, "other", time.Minute, func(context.Context, *Tx) ([]byte, error) {
			loads.Add(1)
			return nil, ErrNoValue
		})
		if !errors.Is(err, ErrNoValue) {
			t.Fatal(err)
		}
	}
	if n := loads.Load(); n != 4 {
		t.Errorf("%d reads of the database, want 4", n)
	}
}

// A hundred calls that come while one read is under way share the next.
func TestManyCallsAreTwoReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlights()
		var loads atomic.Int32
		release := make(chan struct{})
		load := func() (loaded, error) {
			loads.Add(1)
			<-release
			return loaded{}, nil
		}
		var calls sync.WaitGroup
		one := func() {
			if _, _, err := f.do(t.Context(), "k", load); err != nil {
				t.Error(err)
			}
		}
		calls.Go(one)
		synctest.Wait()
		for range 100 {
			calls.Go(one)
		}
		synctest.Wait() // all have joined the read that waits
		close(release)
		calls.Wait()
		f.wait()
		if n := loads.Load(); n != 2 {
			t.Errorf("%d reads for 101 calls, want 2", n)
		}
	})
}

// Who has joined a read cannot be seen from outside: so rounds are made until
// some have.
func TestCallsWithoutMemcachedShareReads(t *testing.T) {
	w := newWorld(t)
	delete(w.shards.Caches, "legacy")
	l := w.open("legacy")
	const callers, rounds = 50, 100
	for range rounds {
		var loads atomic.Int32
		started, release := make(chan struct{}), make(chan struct{})
		var calls sync.WaitGroup
		one := func() {
			v, err := l.Cached(t.Context(), alice, "k", time.Minute, func(context.Context, *Tx) ([]byte, error) {
				if loads.Add(1) == 1 {
					close(started)
					<-release
				}
				return []byte("v"), nil
			})
			if err != nil || string(v) != "v" {
				t.Error(string(v), err)
			}
		}
		calls.Go(one)
		<-started
		for range callers {
			calls.Go(one)
		}
		close(release)
		calls.Wait()
		if loads.Load() <= callers {
			return
		}
	}
	t.Errorf("in %d rounds of %d calls none shared a read", rounds, callers)
}

// TestASharedReadIsNeverOlderThanTheCall has a slow read under way when a write
// ends: a call after the write must not get the slow read's value.
func TestASharedReadIsNeverOlderThanTheCall(t *testing.T) {
	w := newWorld(t)
	delete(w.shards.Caches, "legacy")
	l := w.open("legacy")
	started, release := make(chan struct{}), make(chan struct{})
	first := make(chan string, 1)
	go func() {
		v, err := l.Cached(t.Context(), alice, "n", time.Minute, func(ctx context.Context, tx *Tx) ([]byte, error) {
			var n int64
			err := read(alice, &n)(ctx, tx)
			close(started)
			<-release
			return fmt.Append(nil, n), err
		})
		first <- fmt.Sprint(string(v), err)
	}()
	<-started
	if err := l.Update(t.Context(), alice, add(alice)); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, func() { close(release) })
	if n, err := cached(t.Context(), l, alice); err != nil || n != 1 {
		t.Errorf("read %d after a write, %v", n, err)
	}
	if v := <-first; v != "0<nil>" {
		t.Errorf("the slow read got %s", v)
	}
}

func TestAFlightThatFailsPanicsOrIsGivenUpIsItsCallersAlone(t *testing.T) {
	f := newFlights()
	entered, release := make(chan struct{}), make(chan struct{})
	mine := errors.New("mine")
	go func() {
		_, _, _ = f.do(t.Context(), "k", func() (loaded, error) { close(entered); <-release; return loaded{}, nil })
	}()
	<-entered
	results := make(chan string, 2)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, own, err := f.do(ctx, "k", func() (loaded, error) { return loaded{}, mine })
		results <- fmt.Sprint(own, err)
	}()
	cancel() // while it waits, or before
	if r := <-results; r != "truecontext canceled" && r != "true context canceled" {
		t.Errorf("got %q", r)
	}
	close(release)
	f.wait()
	// Another key: the group may still know the flight that was given up, and who
	// joins it has its error, and reads again.
	func() {
		defer func() {
			if p := recover(); p != "boom" {
				t.Errorf("recovered %v", p)
			}
		}()
		_, _, _ = f.do(t.Context(), "p", func() (loaded, error) { panic("boom") })
	}()
	if v, own, err := f.do(t.Context(), "p", func() (loaded, error) { return loaded{value: []byte("v")}, nil }); err != nil || !own || string(v.value) != "v" {
		t.Error(v, own, err)
	}
	if len(f.mu.turns) != 0 {
		t.Errorf("%d turns are left", len(f.mu.turns))
	}
}

func TestExpiriesDiffer(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 100 {
		d := jittered(time.Minute)
		if d > time.Minute || d < 54*time.Second {
			t.Fatalf("got %v", d)
		}
		seen[d] = true
	}
	if len(seen) < 50 {
		t.Errorf("%d of 100 expiries differ", len(seen))
	}
}
