package parity

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"
	"time"
)

func TestTheIntervalIsWilsons(t *testing.T) {
	for _, c := range []struct {
		different, n uint64
		lower, upper float64
	}{
		{0, 0, 0, 1},
		{0, 10, 0, 0.27753},       // Brown, Cai, DasGupta (2001): z²/(n+z²)
		{10, 10, 0.72247, 1},      // by symmetry
		{1, 10, 0.01788, 0.40415}, //
		{20, 20000, .000647660, .001544649},
		{5, 3, 0.43850, 1}, // more than there are: all
	} {
		lower, upper := Wilson(c.different, c.n)
		if math.Abs(lower-c.lower) > 5e-6 || math.Abs(upper-c.upper) > 5e-6 {
			t.Errorf("%d of %d: got %v to %v, want %v to %v", c.different, c.n, lower, upper, c.lower, c.upper)
		}
	}
}

func TestWhatCouldNotBeComparedRaisesTheUpperEndOnly(t *testing.T) {
	good := IntervalOf(Counts{Same: 10000})
	bad := IntervalOf(Counts{Same: 10000, Failed: 400, Timeout: 100})
	if good.Upper > 0.0004 || bad.Upper < 0.04 || bad.Lower != 0 || bad.Share != 0 || bad.Compared != 10000 {
		t.Errorf("got %+v and %+v", good, bad)
	}
	if none := IntervalOf(Counts{Failed: 100, Noise: 5, Dropped: 9}); none.Upper != 1 || none.Compared != 0 {
		t.Errorf("nothing compared: got %+v", none)
	}
}

func reportOf(proxy string, at time.Time, same, different uint64) Report {
	r := Report{
		Proxy: proxy, Enabled: true, Began: at.Add(-time.Hour), At: at, Datacenters: []string{"a", "b"}, Share: 0.1,
		Total: Counts{Same: same, Different: different, Dropped: 3}, Drops: map[string]uint64{"queue_full": 3},
		Classes: []Class{{
			Class: "GET /x", Counts: Counts{Same: same, Different: different}, Fields: []Field{{"$.n", different}},
			Probes: 30, Noise: []Field{{"$.id", 30}},
		}},
		Examples: []Example{{At: at.Add(-time.Minute), Class: "GET /x", Differences: []Difference{{Field: "$.n"}}}},
	}
	r.Finish()
	return r
}

func TestReportsAreMergedByClassAndField(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	all := Merge([]Report{reportOf("p", now, 900, 1), reportOf("q", now.Add(time.Second), 99, 0)})
	if all.Total != (Counts{Same: 999, Different: 1, Dropped: 6}) || all.Drops["queue_full"] != 6 || !all.Enabled || !all.At.Equal(now) {
		t.Errorf("got %+v", all)
	}
	if c := all.Classes; len(c) != 1 || c[0].Probes != 60 || c[0].Differing.Compared != 1000 || c[0].Noise[0] != (Field{"$.id", 60}) || c[0].Fields[0].Count != 1 {
		t.Errorf("got %+v", c)
	}
	if len(all.Examples) != 2 || all.Examples[0].Proxy != "q" {
		t.Errorf("got %+v", all.Examples)
	}
	if off := Merge([]Report{reportOf("p", now, 1, 0), {At: now}}); off.Enabled {
		t.Error("one that mirrors nothing is not seen")
	}
	if none := Merge(nil); none.Enabled || none.Differing.Upper != 1 {
		t.Errorf("of nobody: got %+v", none)
	}
}

func TestAfterGivesWhatCameInBetween(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	before, later := reportOf("p", now, 900, 2), reportOf("p", now.Add(time.Minute), 1000, 5)
	later.Began = before.Began
	got := later.After(before)
	if got.Total.Same != 100 || got.Total.Different != 3 || got.Differing.Compared != 103 || got.Classes[0].Fields[0].Count != 3 || got.Drops["queue_full"] != 0 {
		t.Errorf("got %+v", got)
	}
	if len(got.Examples) != 0 {
		t.Errorf("an example of before is there: %+v", got.Examples)
	}
	if later.Total.Same != 1000 || later.Classes[0].Counts.Same != 1000 {
		t.Error("the report itself was changed")
	}
	anew := reportOf("p", now.Add(2*time.Hour), 7, 0)
	if got := anew.After(before); !reflect.DeepEqual(got, anew) {
		t.Errorf("a process that began anew: got %+v", got)
	}
	// What had differed turned out to be noise meanwhile.
	if got := reportOf("p", now, 900, 0).After(before); got.Total.Different != 0 {
		t.Errorf("got %+v", got.Total)
	}
}

func TestAReportComesBackFromItsJSON(t *testing.T) {
	r := reportOf("p", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), 10, 1)
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(r, back) {
		t.Errorf("got %+v, %v", back, err)
	}
}
