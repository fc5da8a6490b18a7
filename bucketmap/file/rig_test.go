package file

import (
	"slices"
	"testing"

	"drover/bucketmap"
	"drover/bucketmap/storetest"
)

// way is how a version is published.
type way func(*testing.T, *Store, *bucketmap.Snapshot) error

var ways = map[string]way{"at once": atOnce, "staged": inTwoSteps}

func atOnce(t *testing.T, s *Store, next *bucketmap.Snapshot) error {
	return s.Publish(t.Context(), next, bucketmap.Change{Who: "ann", Why: "test"})
}

// inTwoSteps stages first.
func inTwoSteps(t *testing.T, s *Store, next *bucketmap.Snapshot) error {
	st, err := s.Stage(t.Context(), next, bucketmap.Change{Who: "ann", Why: "test"})
	if err != nil {
		return err
	}
	return st.Commit(t.Context())
}

// quick is a store that does not sync, for what a test does before and after.
func quick(t *testing.T, dir string) *Store {
	t.Helper()
	s := open(t, dir, Options{})
	s.sys = &faulty{at: -1}
	return s
}

func publish(t *testing.T, s *Store, next *bucketmap.Snapshot) {
	t.Helper()
	if err := s.Publish(t.Context(), next, bucketmap.Change{Who: "ann", Why: "test"}); err != nil {
		t.Fatal(err)
	}
}

// with returns the next version with one user more.
func with(t testing.TB, from *bucketmap.Snapshot, user string) *bucketmap.Snapshot {
	t.Helper()
	d := from.Edit()
	d.Whitelist[user] = "cloud"
	s, err := d.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// before are the folders that a publication can find. Each returns the map in
// force, nil for none.
var before = map[string]func(*testing.T, string) *bucketmap.Snapshot{
	"nothing": func(*testing.T, string) *bucketmap.Snapshot { return nil },
	"a map": func(t *testing.T, dir string) *bucketmap.Snapshot {
		first := storetest.First(t)
		second := with(t, first, "emp-2")
		s := quick(t, dir)
		publish(t, s, first)
		publish(t, s, second)
		return second
	},
	"a map edited by hand": func(t *testing.T, dir string) *bucketmap.Snapshot {
		first := storetest.First(t)
		publish(t, quick(t, dir), first)
		d := first.Edit()
		d.Version = 5
		return handEdit(t, dir, d)
	},
	"a map whose publisher died after the commit point": func(t *testing.T, dir string) *bucketmap.Snapshot {
		first := storetest.First(t)
		second := with(t, first, "emp-2")
		s := quick(t, dir)
		publish(t, s, first)
		s.sys = &faulty{at: indexOf(t, publishCalls(t), "map.rename"), mishap: crashAfter}
		if err := s.Publish(t.Context(), second, bucketmap.Change{}); err == nil {
			t.Fatal("published by a dead process")
		}
		return second
	},
	"a map and what a publisher left that died before the commit point": func(t *testing.T, dir string) *bucketmap.Snapshot {
		first := storetest.First(t)
		s := quick(t, dir)
		publish(t, s, first)
		s.sys = &faulty{at: indexOf(t, publishCalls(t), "map.rename"), mishap: crashBefore}
		if err := s.Publish(t.Context(), with(t, first, "never"), bucketmap.Change{}); err == nil {
			t.Fatal("published by a dead process")
		}
		return first
	},
}

// publishCalls are the operations of a publication over a map.
func publishCalls(t *testing.T) []string {
	t.Helper()
	s := quick(t, t.TempDir())
	first := storetest.First(t)
	publish(t, s, first)
	sys := &faulty{at: -1}
	s.sys = sys
	publish(t, s, with(t, first, "emp-2"))
	return sys.calls
}

func indexOf(t *testing.T, calls []string, name string) int {
	t.Helper()
	i := slices.Index(calls, name)
	if i < 0 {
		t.Fatalf("no operation %s in %v", name, calls)
	}
	return i
}
