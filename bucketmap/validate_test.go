package bucketmap

import (
	"errors"
	"math"
	"strings"
	"testing"
)

// successors are every way to a map of a version.
func successors(t *testing.T, from *Snapshot) map[string]func(v Version) (*Snapshot, error) {
	t.Helper()
	return map[string]func(v Version) (*Snapshot, error){
		"a draft": func(v Version) (*Snapshot, error) {
			d := from.Edit()
			d.Version = v
			return d.Snapshot()
		},
		"a content": func(v Version) (*Snapshot, error) {
			c := from.Content()
			c.Version = v
			return c.Snapshot()
		},
		"a difference": func(v Version) (*Snapshot, error) {
			d := Diff(from, edited(t, from, func(*Draft) {}))
			d.ToVersion = v
			return from.Apply(d)
		},
	}
}

func TestAVersionHasTwelveDigitsAtMost(t *testing.T) {
	from, err := twoShards(t).Snapshot()
	must(t, err)
	for name, make := range successors(t, from) {
		s, err := make(VersionMax)
		if err != nil || s.Version() != 999_999_999_999 {
			t.Errorf("%s of version %d: %v", name, VersionMax, err)
		}
		for _, v := range []Version{VersionMax + 1, math.MaxUint64} {
			_, err := make(v)
			var invalid *InvalidError
			if !errors.As(err, &invalid) || len(invalid.Problems) != 1 || invalid.Problems[0].Key != "version" || !strings.Contains(err.Error(), "want 1 to 999999999999") {
				t.Errorf("%s of version %d: got %v", name, v, err)
			}
		}
	}
}

func TestNothingFollowsTheLastVersion(t *testing.T) {
	d := twoShards(t)
	d.Version = VersionMax
	last, err := d.Snapshot()
	must(t, err)
	if _, err := last.Edit().Snapshot(); err == nil {
		t.Error("a version of thirteen digits")
	}
}
