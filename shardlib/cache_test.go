package shardlib

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"drover/bucketmap"
	"drover/shardlib/fence"
)

func TestCachedReadsTheDatabaseOnce(t *testing.T) {
	w := newWorld(t)
	l := w.open("legacy")
	if err := l.Update(t.Context(), alice, add(alice)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if n, err := cached(t.Context(), l, alice); err != nil || n != 1 {
			t.Fatal(n, err)
		}
	}
	if filled, hit := count(t, l.metrics.cacheReads, "filled"), count(t, l.metrics.cacheReads, "hit"); filled != 1 || hit != 2 {
		t.Errorf("filled %v, hit %v", filled, hit)
	}
	empty := func(context.Context, *Tx) ([]byte, error) { return nil, nil }
	for range 2 {
		if value, err := l.Cached(t.Context(), alice, "empty", time.Second, empty); err != nil || len(value) != 0 {
			t.Fatal(value, err)
		}
	}
	if hit := count(t, l.metrics.cacheReads, "hit"); hit != 3 {
		t.Errorf("an empty value is not cached: %v hits", hit)
	}
}

// TestReaderNeverFillsCacheWithOldValue has readers and writers of few keys in
// two processes' libraries. A read must not be older than any write that was
// answered before it began.
func TestReaderNeverFillsCacheWithOldValue(t *testing.T) {
	const seed = 20261121
	const users, writers, readers, writes = 3, 4, 6, 40
	t.Logf("seed %d", seed)
	w := newWorld(t)
	libraries := []*Library{w.open("legacy", func(c *Config) { c.Retries = RetriesMax }), w.open("cloud", func(c *Config) { c.Retries = RetriesMax })}
	var answered [users]atomic.Int64 // the writes of each user, at least
	user := func(i int) bucketmap.UserID { return bucketmap.UserID(fmt.Sprint("user", i)) }

	var writing, reading sync.WaitGroup
	done := make(chan struct{})
	for i := range writers {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		writing.Go(func() {
			for range writes {
				who, l := random.IntN(users), libraries[random.IntN(len(libraries))]
				failing := random.IntN(5) == 0
				pause := time.Duration(random.IntN(3)) * time.Millisecond
				var n int64
				err := l.Update(t.Context(), user(who), func(ctx context.Context, tx *Tx) error {
					if err := add(user(who))(ctx, tx); err != nil {
						return err
					}
					time.Sleep(pause)
					if failing {
						return errors.New("rolled back")
					}
					return read(user(who), &n)(ctx, tx)
				})
				if failing {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				for old := answered[who].Load(); n > old && !answered[who].CompareAndSwap(old, n); {
					old = answered[who].Load()
				}
			}
		})
	}
	for i := range readers {
		random := rand.New(rand.NewPCG(seed, uint64(100+i)))
		reading.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				who, l := random.IntN(users), libraries[random.IntN(len(libraries))]
				pause := time.Duration(random.IntN(4)) * time.Millisecond
				least := answered[who].Load()
				value, err := l.Cached(t.Context(), user(who), "n", time.Minute, func(ctx context.Context, tx *Tx) ([]byte, error) {
					var n int64
					err := read(user(who), &n)(ctx, tx)
					time.Sleep(pause) // a slow reader, overtaken by writers
					return fmt.Append(nil, n), err
				})
				if err != nil {
					t.Error(err)
					return
				}
				var n int64
				if _, err := fmt.Sscan(string(value), &n); err != nil || n < least {
					t.Errorf("seed %d: %s: read %q, though %d was answered before", seed, user(who), value, least)
					return
				}
			}
		})
	}
	writing.Wait()
	close(done)
	reading.Wait()
	for i := range users {
		want := w.value(w.alpha, user(i))
		for _, l := range libraries {
			if n, err := cached(t.Context(), l, user(i)); err != nil || n != want {
				t.Errorf("seed %d: %s: cached %d, in the database %d, %v", seed, user(i), n, want, err)
			}
		}
	}
	for _, o := range cacheOutcomes {
		t.Logf("%s: %v", o, count(t, libraries[0].metrics.cacheReads, string(o)))
	}
	if count(t, libraries[0].metrics.cacheReads, "hit") == 0 || count(t, libraries[0].metrics.cacheReads, "filled") == 0 {
		t.Error("the cache was not used: nothing was tested")
	}
}

// TestFillIsGivenUpWhenAWriterCame holds the reader still between its read and
// its fill.
func TestFillIsGivenUpWhenAWriterCame(t *testing.T) {
	w := newWorld(t)
	reader, writer := w.open("legacy"), w.open("legacy")
	value, err := reader.Cached(t.Context(), alice, "n", time.Minute, func(ctx context.Context, tx *Tx) ([]byte, error) {
		var n int64
		err := read(alice, &n)(ctx, tx)
		return fmt.Append(nil, n), errors.Join(err, writer.Update(ctx, alice, add(alice)))
	})
	if err != nil || string(value) != "0" {
		t.Fatal(value, err)
	}
	if n := count(t, reader.metrics.cacheReads, "lost"); n != 1 {
		t.Errorf("%v fills given up", n)
	}
	if n, err := cached(t.Context(), reader, alice); err != nil || n != 1 {
		t.Fatal(n, err)
	}
}

func TestOneOfTwoWritersDoesNotUncoverTheOther(t *testing.T) {
	w := newWorld(t)
	l, other := w.open("legacy"), w.open("legacy")
	c, id, n := other.cachesNow()["legacy"], cacheKey(w.database, 1, 1, alice, "n"), newNonce()
	if err := c.mark(id, n); err != nil { // a writer before its COMMIT
		t.Fatal(err)
	}
	if err := l.Update(t.Context(), alice, add(alice)); err != nil {
		t.Fatal(err)
	}
	for want := range 2 {
		if _, err := cached(t.Context(), l, alice); err != nil {
			t.Fatal(err)
		}
		if got := count(t, l.metrics.cacheReads, "marked"); got != float64(want+1) {
			t.Fatalf("%v reads met the mark, want %d", got, want+1)
		}
	}
	if err := c.unmark(id, n); err != nil {
		t.Fatal(err)
	}
	if _, err := cached(t.Context(), l, alice); err != nil || count(t, l.metrics.cacheReads, "filled") != 1 {
		t.Fatal("the last mark was not taken away", err)
	}
}

func TestUnknownOutcomeLeavesItsMark(t *testing.T) {
	w := newWorld(t)
	l := w.open("legacy", func(c *Config) { c.Timeouts.IO, c.Cache.MarkTTL = 2*time.Second, 4*time.Second })
	if n, err := cached(t.Context(), l, alice); err != nil || n != 0 {
		t.Fatal(n, err)
	}
	err := l.Update(t.Context(), alice, func(ctx context.Context, tx *Tx) error {
		if err := add(alice)(ctx, tx); err != nil {
			return err
		}
		var id int64
		if err := tx.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&id); err != nil {
			return err
		}
		_, err := w.alpha.ExecContext(ctx, fmt.Sprint("KILL ", id))
		return err
	})
	if !errors.Is(err, ErrOutcomeUnknown) {
		t.Fatal(err)
	}
	if _, err := cached(t.Context(), l, alice); err != nil || count(t, l.metrics.cacheReads, "marked") != 1 {
		t.Fatal("no mark is left", err)
	}
	for deadline := time.Now().Add(20 * time.Second); count(t, l.metrics.cacheReads, "filled") != 2; {
		if time.Now().After(deadline) {
			t.Fatal("the mark did not expire")
		}
		if _, err := cached(t.Context(), l, alice); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestOldEpochIsNeverRead(t *testing.T) {
	w := newWorld(t)
	l := w.open("legacy")
	see := func(want int64) {
		t.Helper()
		if err := l.AtLeast(t.Context(), w.maps.get().Version()); err != nil {
			t.Fatal(err)
		}
		if n, err := cached(t.Context(), l, alice); err != nil || n != want {
			t.Fatalf("read %d, %v, want %d", n, err, want)
		}
	}
	see(0) // cached in legacy, in epoch 1
	w.move(alice, w.alpha, w.beta, "beta")
	see(0)
	w.must(w.beta, "REPLACE INTO counter VALUES (?, 'n', 7)", []byte(alice)) // nobody invalidates
	w.move(alice, w.beta, w.alpha, "alpha")
	see(7) // in legacy again, where epoch 1 still has 0
	if n := count(t, l.metrics.cacheReads, "hit"); n != 0 {
		t.Errorf("%v hits", n)
	}
}

func TestNothingIsCachedWhenTheFenceShowsAnotherEpoch(t *testing.T) {
	w := newWorld(t)
	l := w.open("legacy")
	w.must(w.alpha, "UPDATE "+fence.Table+" SET epoch = 3 WHERE bucket = ?", bucketOf(alice)) // gone and come back; the map is late
	for range 2 {
		if n, err := cached(t.Context(), l, alice); err != nil || n != 0 {
			t.Fatal(n, err)
		}
	}
	if n := count(t, l.metrics.cacheReads, "lost"); n != 2 {
		t.Errorf("%v reads were not cached", n)
	}
	// A writer marks the key of the fence's epoch, where readers with the
	// right map look.
	if err := l.Update(t.Context(), alice, func(ctx context.Context, tx *Tx) error {
		tx.Invalidate("n")
		return l.cachesNow()["legacy"].reads.client.Set(&memcache.Item{Key: cacheKey(w.database, 1, 3, alice, "n"), Value: appendValue(nil, alice, "n", []byte("0"))})
	}); err != nil {
		t.Fatal(err)
	}
	if item, err := l.cachesNow()["legacy"].reads.get(cacheKey(w.database, 1, 3, alice, "n")); item != nil || err != nil {
		t.Errorf("%+v, %v", item, err)
	}
}

func TestCallsOfOneProcessShareARead(t *testing.T) {
	w := newWorld(t)
	l := w.open("legacy")
	const callers = 20
	var loads atomic.Int32
	release := make(chan struct{})
	var calls sync.WaitGroup
	for range callers {
		calls.Go(func() {
			value, err := l.Cached(t.Context(), alice, "n", time.Minute, func(context.Context, *Tx) ([]byte, error) {
				loads.Add(1)
				<-release
				return []byte("v"), nil
			})
			if err != nil || string(value) != "v" {
				t.Error(string(value), err)
			}
		})
	}
	awaitJoined(t, callers-1)
	close(release)
	calls.Wait()
	if n, joined := loads.Load(), count(t, l.metrics.cacheReads, "joined"); n != 1 || joined != callers-1 {
		t.Errorf("%d reads of the database, shared by %v others", n, joined)
	}
}

// awaitJoined waits until n calls of this process wait for the read of another.
// Only their stacks tell that from outside.
func awaitJoined(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		var stacks strings.Builder
		if err := pprof.Lookup("goroutine").WriteTo(&stacks, 2); err != nil {
			t.Fatal(err)
		}
		waiting := strings.Count(stacks.String(), "shardlib.(*cache).join(")
		if waiting == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d calls wait for another's read, want %d", waiting, n)
		}
	}
}

func TestFailedReadIsNotShared(t *testing.T) {
	w := newWorld(t)
	l := w.open("legacy")
	started, second := make(chan struct{}), make(chan error, 1)
	go func() {
		<-started
		_, err := cached(t.Context(), l, alice)
		second <- err
	}()
	mine := errors.New("mine")
	_, err := l.Cached(t.Context(), alice, "n", time.Minute, func(context.Context, *Tx) ([]byte, error) {
		close(started)
		awaitJoined(t, 1)
		return nil, mine
	})
	if !errors.Is(err, mine) {
		t.Fatal(err)
	}
	if err := <-second; err != nil || count(t, l.metrics.cacheReads, "busy") != 1 {
		t.Fatal("the second call did not read for itself", err)
	}
	// The placeholder is gone with its reader.
	if _, err := cached(t.Context(), l, alice); err != nil || count(t, l.metrics.cacheReads, "filled") == 0 {
		t.Fatal("nothing was cached after a failed read", err)
	}
}

func TestWithoutMemcached(t *testing.T) {
	w := newWorld(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.shards.Caches["legacy"] = []string{listener.Addr().String()}
	_ = listener.Close() // nobody answers there
	l := w.open("legacy")
	for want := range int64(2) {
		if n, err := cached(t.Context(), l, alice); err != nil || n != want {
			t.Fatal(n, err)
		}
		if err := l.Update(t.Context(), alice, add(alice)); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(t, l.metrics.cacheMarks, "failed"); n == 0 {
		t.Error("the failure was not counted")
	}
	strict := w.open("legacy", func(c *Config) { c.Cache.FailWrites = true })
	if err := strict.Update(t.Context(), alice, add(alice)); !errors.Is(err, ErrCache) {
		t.Errorf("got %v", err)
	}
	if n := w.value(w.alpha, alice); n != 2 {
		t.Errorf("%d, want 2", n)
	}
	delete(w.shards.Caches, "legacy")
	if n, err := cached(t.Context(), w.open("legacy"), alice); err != nil || n != 2 {
		t.Fatal(n, err)
	}
}

func TestRestartedMemcachedIsUsedAgain(t *testing.T) {
	w := newWorld(t)
	m, err := servers.fleet.Memcached(t.Context(), "restarted-"+w.database)
	if err != nil {
		t.Fatal(err)
	}
	w.shards.Caches["legacy"] = []string{m.Addr()}
	l := w.open("legacy")
	if _, err := cached(t.Context(), l, alice); err != nil {
		t.Fatal(err)
	}
	if err := m.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.Update(t.Context(), alice, add(alice)); err != nil {
		t.Fatal(err)
	}
	if n, err := cached(t.Context(), l, alice); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	if n := count(t, l.metrics.cacheMarks, "failed") + count(t, l.metrics.cacheReads, "error"); n != 0 {
		t.Errorf("%v failures by dead connections", n)
	}
}

func TestEntryOfAnotherUserIsNotRead(t *testing.T) {
	w := newWorld(t)
	l := w.open("legacy")
	c := l.cachesNow()["legacy"]
	id := cacheKey(w.database, 1, 1, alice, "n")
	for _, entry := range [][]byte{
		appendValue(nil, "bob", "n", []byte("9")), // a collision of hashes
		appendValue(nil, alice, "m", []byte("9")),
		{}, {'V'}, {'V', 5}, {'M', 1}, {'F', 2}, []byte("something else"),
	} {
		if err := c.reads.client.Set(&memcache.Item{Key: id, Value: entry}); err != nil {
			t.Fatal(err)
		}
		if n, err := cached(t.Context(), l, alice); err != nil || n != 0 {
			t.Errorf("%q: read %d, %v", entry, n, err)
		}
	}
	if err := l.Update(t.Context(), alice, add(alice)); err != nil { // takes even that away
		t.Fatal(err)
	}
	if item, err := c.reads.get(id); item != nil || err != nil {
		t.Errorf("%+v, %v", item, err)
	}
}

func TestCacheKeysAreFitForMemcached(t *testing.T) {
	seen := map[string]string{}
	namespace := strings.Repeat("n", 32)
	const most = ^bucketmap.Epoch(0)
	for _, key := range []string{"", "a", "with space", "ünicode", "line\nbreak", "\x7f", strings.Repeat("k", 120), strings.Repeat("k", 200), strings.Repeat("k", 201), strings.Repeat("k", 5000)} {
		for _, user := range []bucketmap.UserID{"u", "v", bucketmap.UserID(strings.Repeat("\x00", 256))} {
			for _, epochs := range [][2]bucketmap.Epoch{{1, 1}, {1, 11}, {11, 1}, {most, most}} {
				id := cacheKey(namespace, epochs[0], epochs[1], user, key)
				what := fmt.Sprintf("%q %q %v", user, key, epochs)
				if len(id) > memcachedKeyMax || !printable(id) {
					t.Errorf("%s: %q, %d bytes", what, id, len(id))
				}
				if other, taken := seen[id]; taken {
					t.Errorf("%s has the key of %s", what, other)
				}
				seen[id] = what
			}
		}
	}
}

func TestMarksComeAndGoInAnyOrder(t *testing.T) {
	const seed = 7
	random := rand.New(rand.NewPCG(seed, 0))
	var entry []byte
	under := map[nonce]bool{}
	for i := range 2000 {
		if len(under) < marksMax && (len(under) == 0 || random.IntN(2) == 0) {
			n := newNonce()
			entry, under[n] = withMark(entry, n), true
		} else {
			for n := range under {
				rest, found := withoutMark(entry, n)
				if !found {
					t.Fatalf("seed %d, step %d: a mark is lost", seed, i)
				}
				delete(under, n)
				entry = rest
				break
			}
		}
		if !isMarked(entry) || len(entry) != 1+16*len(under) {
			t.Fatalf("seed %d, step %d: %d marks, %d bytes", seed, i, len(under), len(entry))
		}
		if len(under) == 0 {
			entry = nil
		}
	}
	for range marksMax + 5 {
		entry = withMark(entry, newNonce())
	}
	if len(entry) != 1 {
		t.Fatalf("too many marks are %d bytes", len(entry))
	}
}

func FuzzEntriesOfOthersAreNeverValues(f *testing.F) {
	f.Add(appendValue(nil, alice, "k", []byte("v")), "alice", "k")
	f.Add([]byte{'V', 255, 255, 255, 255, 255, 255, 255, 255, 255, 1}, "a", "")
	f.Fuzz(func(t *testing.T, entry []byte, user, key string) {
		value, ok := parseValue(entry, bucketmap.UserID(user), key)
		if !ok {
			return
		}
		again := appendValue(nil, bucketmap.UserID(user), key, value)
		if v, ok := parseValue(again, bucketmap.UserID(user), key); !ok || string(v) != string(value) {
			t.Fatalf("%q reads as %q, which reads back as %q, %v", entry, value, v, ok)
		}
	})
}

func TestAWriterWaitsForASlowMemcachedThatAReaderGivesUp(t *testing.T) {
	w := newWorld(t)
	m, err := servers.fleet.Memcached(t.Context(), "slow-"+w.database)
	if err != nil {
		t.Fatal(err)
	}
	w.shards.Caches["legacy"] = []string{m.Addr()}
	patient := w.open("legacy")
	if n, err := cached(t.Context(), patient, alice); err != nil || n != 0 {
		t.Fatal(n, err)
	}
	hasty := w.open("legacy", func(c *Config) { c.Cache.Local, c.Cache.Write = time.Millisecond, 30*time.Second })
	if err := m.Pause(); err != nil {
		t.Fatal(err)
	}
	updated := make(chan error, 1)
	go func() { updated <- hasty.Update(t.Context(), alice, add(alice)) }()
	if n, err := cached(t.Context(), hasty, alice); err != nil || n != 0 {
		t.Errorf("read %d, %v, want the database's", n, err)
	}
	select {
	case err := <-updated:
		t.Fatalf("the write was answered with its mark not placed: %v", err)
	default:
	}
	if err := m.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := <-updated; err != nil {
		t.Fatal(err)
	}
	if n, err := cached(t.Context(), patient, alice); err != nil || n != 1 {
		t.Errorf("read %d after the write, %v", n, err)
	}
}
