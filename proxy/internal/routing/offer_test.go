package routing

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"drover/bucketmap"
	"drover/bucketmap/yaml"
)

// noAckOf fails when a version is acknowledged within a second of a bubble's
// time, in which the swap looks thousands of times.
func noAckOf(t *testing.T, s *source, version bucketmap.Version) {
	t.Helper()
	time.Sleep(time.Second)
	synctest.Wait()
	for len(s.acks) != 0 {
		if ack := <-s.acks; ack.Version == version {
			t.Fatalf("acknowledged while a request was being sent by an older map: %+v", ack)
		}
	}
}

func ackOf(s *source, version bucketmap.Version) bucketmap.Ack {
	for ack := range s.acks {
		if ack.Version == version {
			return ack
		}
	}
	return bucketmap.Ack{}
}

func users(t *testing.T, ids ...string) *bucketmap.Whitelist {
	t.Helper()
	w, err := bucketmap.NewWhitelist(func(yield func(string, bucketmap.Datacenter) bool) {
		for _, id := range ids {
			if !yield(id, "legacy") {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestUsersThatCameMeanwhileDoNotHideARequestByAnOlderMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		s.load = func() (*bucketmap.Snapshot, error) { return newMap(t, 1, "legacy"), nil }
		table := newTable(t, s, nil)
		defer start(t, table)()
		sending, ok := table.Enter(1)
		if !ok {
			t.Fatal("cannot send by the map in force")
		}
		if err := table.SetUsers(t.Context(), users(t, "ann")); err != nil {
			t.Fatal(err)
		}
		if d := table.Current().Decide([]byte("ann")); d.Reason != bucketmap.ReasonWhitelist {
			t.Errorf("got %+v", d)
		}
		s.events <- newMap(t, 2, "legacy")
		noAckOf(t, s, 2)
		sending.Leave()
		if ack := ackOf(s, 2); ack.Digest != newMap(t, 2, "legacy").Digest() {
			t.Errorf("got %+v", ack)
		}
		if d := table.Current().Decide([]byte("ann")); d.Reason != bucketmap.ReasonWhitelist {
			t.Errorf("the users are gone with the map: %+v", d)
		}
	})
}

func TestAnOfferWithoutTimeIsAcknowledgedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		s.load = func() (*bucketmap.Snapshot, error) { return newMap(t, 1, "legacy"), nil }
		table := newTable(t, s, nil)
		defer start(t, table)()
		sending, ok := table.Enter(1)
		if !ok {
			t.Fatal("cannot send by the map in force")
		}
		ended, end := context.WithCancel(t.Context())
		end()
		if err := table.Offer(ended, newMap(t, 2, "legacy")); err != nil {
			t.Fatal(err)
		}
		if table.Current().Version() != 2 {
			t.Fatal("it is not in force")
		}
		s.errs <- errors.New("down")
		s.errs <- &bucketmap.RefusedError{Rule: bucketmap.RuleUnreadable, Detail: "no map"} // acknowledged, with version 1
		noAckOf(t, s, 2)
		sending.Leave()
		if ack := ackOf(s, 2); ack.Reason == "" {
			t.Errorf("the refusal is forgotten: %+v", ack)
		}
	})
}

func TestAStoreThatIsDownIsNoRefusal(t *testing.T) {
	s := newSource()
	s.load = func() (*bucketmap.Snapshot, error) { return newMap(t, 1, "legacy"), nil }
	table := newTable(t, s, nil)
	defer start(t, table)()
	// Of each the second says that the first is done with.
	for _, down := range []error{errors.New("down"), bucketmap.ErrNoMap} { // or somebody has emptied it
		s.errs <- down
		s.errs <- down
		if s := table.Status(); s.Refused != nil || s.StoreError != down.Error() {
			t.Errorf("got %+v, want %v", s, down)
		}
	}
	s.events <- newMap(t, 1, "legacy")
	s.errs <- errors.New("down again")
	s.errs <- errors.New("down again")
	s.events <- newMap(t, 2, "legacy")
	if ack := ackOf(s, 2); ack.Reason != "" || ack.Refused != 0 {
		t.Errorf("got %+v", ack)
	}
	if s := table.Status(); s.Refused != nil || s.StoreError != "" {
		t.Errorf("got %+v", s)
	}
}

func TestARefusalHasItsRule(t *testing.T) {
	table := newTable(t, newSource(), func(o *Options) { o.MaxChange = 0.1; o.Datacenters["cloud"] = true })
	if err := table.Offer(t.Context(), newMap(t, 5, "legacy")); err != nil {
		t.Fatal(err)
	}
	for rule, next := range map[bucketmap.Rule]*bucketmap.Snapshot{
		bucketmap.RuleVersion: newMap(t, 4, "legacy"), bucketmap.RuleDatacenter: newMap(t, 6, "mars"),
		bucketmap.RuleMaxChange: newMap(t, 6, "cloud"), bucketmap.RuleUnreadable: nil,
	} {
		var refused *bucketmap.RefusedError
		if err := table.Offer(t.Context(), next); !errors.As(err, &refused) || refused.Rule != rule {
			t.Errorf("%s: got %v", rule, err)
		}
		if s := table.Status(); s.Refused == nil || s.Refused.Rule != rule || s.Version != 5 {
			t.Errorf("%s: got %+v", rule, s)
		}
	}
	declared := newMap(t, 5, "cloud").Edit()
	declared.Moved = 8
	next, err := declared.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Offer(t.Context(), next); err != nil {
		t.Errorf("its publisher declared it: %v", err)
	}
}

func TestAReasonFitsAnyStore(t *testing.T) {
	table := newTable(t, newSource(), nil)
	table.unreadable(&bucketmap.RefusedError{Rule: bucketmap.RuleUnreadable, Detail: strings.Repeat("ä", 1<<20)})
	if ack := table.Acknowledgement(); len(ack.Reason) > reasonMax+len(" …") || !utf8.ValidString(ack.Reason) {
		t.Errorf("%d bytes", len(ack.Reason))
	}
}

func TestAPushedMapIsNotReplacedByTheKeptOne(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "cache")
	text, err := yaml.Encode(newMap(t, 3, "legacy"))
	if err := errors.Join(err, os.WriteFile(cache, text, 0o600)); err != nil {
		t.Fatal(err)
	}
	table := newTable(t, newSource(), func(o *Options) { o.Cache = cache })
	if err := table.Offer(t.Context(), newMap(t, 4, "legacy")); err != nil {
		t.Fatal(err)
	}
	start(t, table)()
	if v := table.Current().Version(); v != 4 {
		t.Errorf("version %d is in force", v)
	}
	if kept, err := ReadCache(cache); err != nil || kept.Version() != 4 {
		t.Errorf("got %v, %v", kept, err)
	}
}

func TestAKeptMapThatMayNotBeUsedIsNot(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "cache")
	text, err := yaml.Encode(newMap(t, 3, "mars"))
	if err := errors.Join(err, os.WriteFile(cache, text, 0o600)); err != nil {
		t.Fatal(err)
	}
	table := newTable(t, newSource(), func(o *Options) { o.Cache = cache })
	start(t, table)()
	if table.Current() != nil {
		t.Error("it is in force")
	}
}

func TestAcknowledgementsDoNotWaitForADiskThatTakesNothing(t *testing.T) {
	s := newSource()
	s.load = func() (*bucketmap.Snapshot, error) { return newMap(t, 1, "legacy"), nil }
	table := newTable(t, s, func(o *Options) { o.Cache = filepath.Join(t.TempDir(), "no folder", "cache") })
	defer start(t, table)()
	for v := bucketmap.Version(2); v <= 20; v++ {
		s.events <- newMap(t, v, "legacy")
	}
	ackOf(s, 20)
}

// large is a map of the most buckets, on some shards of two datacenters.
func large(tb testing.TB) *bucketmap.Snapshot {
	tb.Helper()
	c := bucketmap.Content{
		Version: 1, Default: bucketmap.Default{Datacenter: "legacy"}, Datacenters: []bucketmap.Datacenter{"cloud", "legacy"},
		Homes: make([]uint16, bucketmap.BucketsMax),
	}
	const shards = 64
	for i := range shards {
		dc := bucketmap.Datacenter("legacy")
		if i%2 != 0 {
			dc = "cloud"
		}
		c.Shards = append(c.Shards, bucketmap.Shard{Name: bucketmap.ShardName(fmt.Sprintf("s%02d", i)), Datacenter: dc, Epoch: 1})
	}
	for b := range c.Homes {
		c.Homes[b] = uint16(b*7919%shards) + 1
	}
	s, err := c.Snapshot()
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// follow returns n versions after s, each of which moves 100 buckets and
// declares it, as a delta from a store makes them.
func follow(tb testing.TB, s *bucketmap.Snapshot, n int) []*bucketmap.Snapshot {
	tb.Helper()
	var all []*bucketmap.Snapshot
	for i := range n {
		d := &bucketmap.Difference{FromVersion: s.Version(), ToVersion: s.Version() + 1, FromMoved: s.Moved(), ToMoved: s.Moved() + 100}
		for k := range 100 {
			b := bucketmap.BucketID((i*100 + k) * 97 % bucketmap.BucketsMax)
			home, _ := s.Home(b)
			to := bucketmap.ShardName("s00")
			if home.Name == to {
				to = "s01"
			}
			d.Homes = append(d.Homes, bucketmap.HomeChange{First: b, Last: b, From: home.Name, To: to})
		}
		slices.SortFunc(d.Homes, func(a, b bucketmap.HomeChange) int { return int(a.First) - int(b.First) })
		next, err := s.Apply(d)
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, next)
		s = next
	}
	return all
}

func TestADecisionWithUsersOfAFileAllocatesNothing(t *testing.T) {
	table := newTable(t, newSource(), nil)
	ids := make([]string, 100_000)
	for i := range ids {
		ids[i] = fmt.Sprintf("user-%d", i)
	}
	if err := errors.Join(table.SetUsers(t.Context(), users(t, ids...)), table.Offer(t.Context(), newMap(t, 1, "legacy"))); err != nil {
		t.Fatal(err)
	}
	there, not := []byte("user-777"), []byte("somebody else")
	if n := testing.AllocsPerRun(1000, func() {
		if table.Current().Decide(there).Reason != bucketmap.ReasonWhitelist || table.Current().Decide(not).Reason != bucketmap.ReasonBucket {
			t.Error("wrong reason")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkOffer is a map of 1,048,576 buckets that comes into force: checked,
// swapped and acknowledged. 100 buckets have moved.
func BenchmarkOffer(b *testing.B) {
	first := large(b)
	first.Digest()
	const n = 50
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		table := newTable(b, newSource(), func(o *Options) { o.MaxChange = 0.1; o.Datacenters["cloud"] = true })
		if err := table.Offer(b.Context(), first); err != nil {
			b.Fatal(err)
		}
		versions := follow(b, first, n)
		b.StartTimer()
		for _, next := range versions {
			if err := table.Offer(b.Context(), next); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/version")
}
