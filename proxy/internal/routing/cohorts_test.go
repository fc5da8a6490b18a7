package routing

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/file/regular"
	"drover/proxy/internal/passport"
	"drover/proxy/internal/routing/cohort"
)

// cohortsOf is a set by the clock of the test.
func cohortsOf() *cohort.Set {
	begun := time.Now()
	return cohort.New(cohort.Options{Window: time.Hour, Now: func() passport.Instant { return passport.Instant(time.Since(begun)) }})
}

// nextMap moves one bucket of the map before.
func nextMap(t *testing.T, from *bucketmap.Snapshot, b bucketmap.BucketID) *bucketmap.Snapshot {
	t.Helper()
	d := from.Edit()
	d.Epochs[b] = max(d.Epochs[b], bucketmap.FirstEpoch) + 1
	next, err := d.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// Whenever a process dies, the next one can use what it finds.
func TestWhoWasMovedIsKeptWithEveryMapThatIsKept(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "cache")
	synctest.Test(t, func(t *testing.T) {
		table := newTable(t, newSource(), func(o *Options) { o.Cache, o.Cohorts = cache, cohortsOf() })
		stop := start(t, table)
		kept := map[bucketmap.Version]bool{}
		look := func() {
			synctest.Wait()
			s, err := ReadCache(cache)
			if err != nil {
				t.Fatal(err)
			}
			if s == nil {
				return
			}
			kept[s.Version()] = true
			data, err := regular.Read(cache+cohortsSuffix, cohort.BytesMax)
			if err != nil {
				t.Fatal(err)
			}
			other := cohortsOf()
			if err := other.Restore(data, s, nil); err != nil {
				t.Errorf("version %d: %v", s.Version(), err)
			}
			for b := range bucketmap.BucketID(s.Version()) - 1 { // those that the versions up to it moved
				if got := other.Of(s, s.DecideBucket(b%bucketmap.BucketID(s.Buckets())), nil, 0); got != passport.CohortMoved {
					t.Fatalf("version %d: bucket %d %s", s.Version(), b, got)
				}
			}
		}
		next := newMap(t, 1, "legacy")
		pace := time.NewTicker(300 * time.Millisecond)
		defer pace.Stop()
		for b := range bucketmap.BucketID(20) {
			if err := table.Offer(t.Context(), next); err != nil {
				t.Fatal(err)
			}
			look()
			next = nextMap(t, next, b%bucketmap.BucketID(next.Buckets()))
			<-pace.C
			look()
		}
		stop()
		look()
		if len(kept) < 3 || !kept[20] {
			t.Errorf("kept: %v", kept)
		}
	})
}

func TestAStartThatFindsNoCohortsKeepsItsOwnThoughNoMapComes(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "cache")
	begin := func() (table *Table, stop func()) {
		table = newTable(t, newSource(), func(o *Options) { o.Cache = cache })
		return table, start(t, table)
	}
	table, stop := begin()
	if err := table.Offer(t.Context(), newMap(t, 1, "legacy")); err != nil {
		t.Fatal(err)
	}
	stop()
	var known []time.Time
	for range 2 {
		set := cohortsOf()
		table = newTable(t, newSource(), func(o *Options) { o.Cache, o.Cohorts = cache, set })
		start(t, table)()
		known = append(known, set.Known().Truncate(time.Millisecond))
	}
	if !known[0].Equal(known[1]) || known[0].IsZero() {
		t.Errorf("known since %v", known)
	}
}
