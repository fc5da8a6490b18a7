package shardlib

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"drover/shardlib/fence"
)

func newOnceWorld(t *testing.T) *world {
	w := newWorld(t)
	w.must(w.alpha, CreateOnceTable)
	w.must(w.beta, CreateOnceTable)
	return w
}

// addOnce adds 1 to alice's counter, and returns what it is then.
func addOnce(ctx context.Context, tx *Tx) ([]byte, error) {
	if err := add(alice)(ctx, tx); err != nil {
		return nil, err
	}
	var n int64
	err := read(alice, &n)(ctx, tx)
	return fmt.Append(nil, n), err
}

func TestARepeatedRequestIsDoneOnceAlsoAfterAMove(t *testing.T) {
	w := newOnceWorld(t)
	l := w.open("legacy")
	want := func(id, result string) {
		t.Helper()
		if got, err := l.Once(t.Context(), alice, id, addOnce); err != nil || string(got) != result {
			t.Fatalf("%s: got %q, %v, want %q", id, got, err, result)
		}
	}
	want("r1", "1")
	want("r1", "1")
	want("r2", "2")
	// The bucket moves, and the table with it.
	w.setState(w.alpha, bucketOf(alice), fence.Moved)
	w.must(w.beta, "INSERT INTO drover_once (bucket, user_id, request_id, result, created) VALUES (?, ?, 'r1', '1', NOW())", bucketOf(alice), []byte(alice))
	w.setState(w.alpha, bucketOf(alice), fence.Active)
	w.move(alice, w.alpha, w.beta, "beta")
	if err := l.AtLeast(t.Context(), w.maps.get().Version()); err != nil {
		t.Fatal(err)
	}
	want("r1", "1")
	want("r3", "3")
	if got, err := l.Once(t.Context(), alice, "empty", func(context.Context, *Tx) ([]byte, error) { return nil, nil }); err != nil || len(got) != 0 {
		t.Fatal(got, err)
	}
	mine := errors.New("mine")
	if _, err := l.Once(t.Context(), alice, "failed", func(context.Context, *Tx) ([]byte, error) { return nil, mine }); !errors.Is(err, mine) {
		t.Fatal(err)
	}
	want("failed", "4") // nothing was kept of the failure
	for _, id := range []string{"", strings.Repeat("i", RequestIDMax+1)} {
		if _, err := l.Once(t.Context(), alice, id, addOnce); err == nil {
			t.Errorf("an id of %d bytes", len(id))
		}
	}
	if _, err := l.Once(t.Context(), alice, "large", func(context.Context, *Tx) ([]byte, error) { return make([]byte, OnceResultMax+1), nil }); err == nil {
		t.Error("a result that is too large")
	}
}

func TestRepeatsAtOnceAreDoneOnce(t *testing.T) {
	w := newOnceWorld(t)
	l, other := w.open("legacy", func(c *Config) { c.Retries = RetriesMax }), w.open("cloud", func(c *Config) { c.Retries = RetriesMax })
	var calls sync.WaitGroup
	var ran atomic.Int32
	for i := range 12 {
		calls.Go(func() {
			library := []*Library{l, other}[i%2]
			got, err := library.Once(t.Context(), alice, "same", func(ctx context.Context, tx *Tx) ([]byte, error) {
				if ran.Add(1); ran.Load() < 3 {
					return nil, errors.New("the first two fail")
				}
				return addOnce(ctx, tx)
			})
			if err == nil && string(got) != "1" {
				t.Errorf("got %q", got)
			}
		})
	}
	calls.Wait()
	if n := w.value(w.alpha, alice); n != 1 {
		t.Errorf("the counter is %d", n)
	}
	if got, err := l.Once(t.Context(), alice, "same", addOnce); err != nil || string(got) != "1" {
		t.Error(string(got), err)
	}
}

// TestOnceFindsOutWhatAnUnknownOutcomeWas kills the connection before its COMMIT:
// the transaction is rolled back, and done by the next try.
func TestOnceFindsOutWhatAnUnknownOutcomeWas(t *testing.T) {
	w := newOnceWorld(t)
	l := w.open("legacy")
	kills := 1
	do := func(ctx context.Context, tx *Tx) ([]byte, error) {
		result, err := addOnce(ctx, tx)
		var id int64
		if err := errors.Join(err, tx.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&id)); err != nil {
			return nil, err
		}
		if kills--; kills >= 0 {
			_, err = w.alpha.ExecContext(ctx, fmt.Sprint("KILL ", id))
			return nil, err // with no result to store, COMMIT is next
		}
		return result, err
	}
	if got, err := l.Once(t.Context(), alice, "k1", do); err != nil || string(got) != "1" {
		t.Fatal(string(got), err)
	}
	kills = 100
	if _, err := l.Once(t.Context(), alice, "k2", do); !errors.Is(err, ErrOutcomeUnknown) {
		t.Fatal(err)
	}
	// Unknown, and then the bucket is gone: it stays unknown, and is no ErrNotHome.
	kills = 1
	_, err := l.Once(t.Context(), alice, "k3", func(ctx context.Context, tx *Tx) ([]byte, error) {
		result, err := do(ctx, tx)
		w.setState(w.beta, -1, fence.Active) // any statement: the row of alpha is locked here
		go w.setState(w.alpha, bucketOf(alice), fence.Moved)
		for {
			var n int
			if err := w.alpha.QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = ? AND INFO LIKE 'UPDATE drover_fence%'", w.database).Scan(&n); err != nil || n != 0 {
				break
			}
			if ctx.Err() != nil {
				break
			}
			var state string
			if err := w.alpha.QueryRowContext(ctx, "SELECT state FROM drover_fence WHERE bucket = ?", bucketOf(alice)).Scan(&state); err != nil || state == "moved" {
				break
			}
		}
		return result, err
	})
	if !errors.Is(err, ErrOutcomeUnknown) || errors.Is(err, ErrNotHome) {
		t.Fatal(err)
	}
	if n := w.value(w.alpha, alice); n != 1 {
		t.Errorf("the counter is %d", n)
	}
}

func TestOldRequestsArePurgedAtTheirHome(t *testing.T) {
	w := newOnceWorld(t)
	l, far := w.open("legacy"), w.open("cloud")
	for _, id := range []string{"old", "new"} {
		if _, err := l.Once(t.Context(), alice, id, addOnce); err != nil {
			t.Fatal(err)
		}
	}
	w.must(w.alpha, "UPDATE drover_once SET created = created - INTERVAL 2 HOUR WHERE request_id = 'old'")
	if n, err := far.PurgeOnce(t.Context(), time.Hour); n != 0 || err != nil {
		t.Errorf("another datacenter purged %d, %v", n, err)
	}
	w.setState(w.alpha, (bucketOf(alice)+1)%testBuckets, fence.Frozen) // goes on past it
	n, err := l.PurgeOnce(t.Context(), time.Hour)
	if n != 1 || !errors.Is(err, ErrNotHome) {
		t.Errorf("purged %d, %v", n, err)
	}
	if got, err := l.Once(t.Context(), alice, "new", addOnce); err != nil || string(got) != "2" {
		t.Error(string(got), err)
	}
	if _, err := l.PurgeOnce(t.Context(), 0); err == nil {
		t.Error("an age of 0")
	}
}
