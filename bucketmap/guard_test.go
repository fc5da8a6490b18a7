package bucketmap

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// hundred has the buckets 0 to 99 on alpha, in legacy; beta is in cloud.
func hundred(t testing.TB) *Snapshot {
	t.Helper()
	d := NewDraft(100)
	d.Default = Default{Datacenter: "legacy"}
	must(t, d.PutShard(Shard{Name: "alpha", Datacenter: "legacy"}))
	must(t, d.PutShard(Shard{Name: "beta", Datacenter: "cloud"}))
	must(t, d.SetHome(0, 99, "alpha"))
	return mustSnapshot(t, d)
}

func edited(t testing.TB, s *Snapshot, edit func(*Draft)) *Snapshot {
	t.Helper()
	d := s.Edit()
	edit(d)
	return mustSnapshot(t, d)
}

func TestTheGuardRefusesByEachRule(t *testing.T) {
	current := hundred(t)
	moves := func(n int) func(*Draft) {
		return func(d *Draft) { must(t, d.SetHome(0, BucketID(n-1), "beta")) }
	}
	heavy := func(b BucketID) uint64 {
		if b == 0 {
			return 901
		}
		return 1
	}
	other := NewDraft(101)
	other.Version, other.Datacenters, other.Default.Datacenter = 2, []Datacenter{"legacy"}, "legacy"
	for name, c := range map[string]struct {
		guard Guard
		next  *Snapshot
		want  Rule // none: accepted
	}{
		"the next version":          {Guard{}, edited(t, current, moves(100)), ""},
		"the same version":          {Guard{}, edited(t, current, func(d *Draft) { d.Version = 1 }), RuleVersion},
		"another bucket count":      {Guard{}, mustSnapshot(t, other), RuleBuckets},
		"no map":                    {Guard{}, nil, RuleUnreadable},
		"nobody has a home":         {Guard{}, edited(t, current, func(d *Draft) { must(t, d.SetHome(0, 99, "")) }), RuleEmpty},
		"one has a home":            {Guard{}, edited(t, current, func(d *Draft) { must(t, d.SetHome(1, 99, "")) }), ""},
		"as many as may":            {Guard{MaxChange: 0.29}, edited(t, current, moves(29)), ""},
		"one more":                  {Guard{MaxChange: 0.29}, edited(t, current, moves(30)), RuleMaxChange},
		"all of them":               {Guard{MaxChange: 1}, edited(t, current, moves(100)), ""},
		"a share that is no number": {Guard{MaxChange: math.NaN()}, edited(t, current, moves(1)), RuleMaxChange},
		"a negative share":          {Guard{MaxChange: -1}, edited(t, current, moves(1)), RuleMaxChange},
		"declared, to a publisher":  {Guard{MaxChange: 0.1}, edited(t, current, func(d *Draft) { moves(50)(d); d.Declare(current) }), RuleMaxChange},
		"declared, to a reader":     {Guard{MaxChange: 0.1, Reader: true}, edited(t, current, func(d *Draft) { moves(50)(d); d.Declare(current) }), ""},
		"not declared, to a reader": {Guard{MaxChange: 0.1, Reader: true}, edited(t, current, moves(11)), RuleMaxChange},
		"declared in part":          {Guard{MaxChange: 0.1, Reader: true}, edited(t, current, func(d *Draft) { moves(16)(d); d.Moved = 5 }), RuleMaxChange},
		"declared just enough":      {Guard{MaxChange: 0.1, Reader: true}, edited(t, current, func(d *Draft) { moves(15)(d); d.Moved = 5 }), ""},
		"homes lost":                {Guard{MaxChange: 0.1}, edited(t, current, func(d *Draft) { must(t, d.SetHome(0, 10, "")) }), RuleMaxChange},
		"a heavy bucket":            {Guard{MaxChange: 0.5, Weight: heavy}, edited(t, current, moves(1)), RuleMaxChange},
		"all but the heavy bucket":  {Guard{MaxChange: 0.5, Weight: heavy}, edited(t, current, func(d *Draft) { must(t, d.SetHome(1, 99, "beta")) }), ""},
		"a reader counts buckets":   {Guard{MaxChange: 0.5, Weight: heavy, Reader: true}, edited(t, current, moves(1)), ""},
		"a shard goes elsewhere":    {Guard{MaxChange: 0.5}, edited(t, current, func(d *Draft) { must(t, d.PutShard(Shard{Name: "alpha", Datacenter: "cloud"})) }), RuleMaxChange},
		"another shard, same place": {Guard{MaxChange: 0.01}, edited(t, current, func(d *Draft) {
			must(t, d.PutShard(Shard{Name: "zeta", Datacenter: "legacy"}))
			must(t, d.SetHome(0, 99, "zeta"))
		}), ""},
		"a shard more before":          {Guard{MaxChange: 0.01}, edited(t, current, func(d *Draft) { must(t, d.PutShard(Shard{Name: "aaa", Datacenter: "cloud"})) }), ""},
		"a datacenter not used":        {Guard{Datacenters: map[Datacenter]bool{"legacy": true}}, edited(t, current, func(*Draft) {}), ""},
		"a home's datacenter":          {Guard{Datacenters: map[Datacenter]bool{"legacy": true}}, edited(t, current, moves(1)), RuleDatacenter},
		"the default's datacenter":     {Guard{Datacenters: map[Datacenter]bool{"legacy": true}}, edited(t, current, func(d *Draft) { d.Default.Datacenter = "cloud" }), RuleDatacenter},
		"a user's datacenter":          {Guard{Datacenters: map[Datacenter]bool{"legacy": true}}, edited(t, current, func(d *Draft) { d.Whitelist["x"] = "cloud" }), RuleDatacenter},
		"no datacenter at all":         {Guard{Datacenters: map[Datacenter]bool{}}, edited(t, current, func(*Draft) {}), RuleDatacenter},
		"a datacenter that is told no": {Guard{Datacenters: map[Datacenter]bool{"legacy": false}}, edited(t, current, func(*Draft) {}), RuleDatacenter},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.guard.Check(current, c.next)
			var refused *RefusedError
			if c.want == "" {
				must(t, err)
				return
			}
			if !errors.As(err, &refused) || refused.Rule != c.want || !errors.Is(err, ErrRefused) {
				t.Fatalf("%v, want rule %s", err, c.want)
			}
			if refused.Remedy == "" || !strings.Contains(err.Error(), refused.Remedy) || !strings.Contains(err.Error(), refused.Detail) ||
				c.next != nil && refused.Version != c.next.Version() {
				t.Errorf("does not say all: %+v: %v", refused, err)
			}
		})
	}
}

func TestTheFirstMapIsCheckedByWhatNeedsNoOther(t *testing.T) {
	must(t, Guard{MaxChange: 0.01, Reader: true}.Check(nil, hundred(t)))
	var refused *RefusedError
	empty := edited(t, hundred(t), func(d *Draft) { must(t, d.SetHome(0, 99, "")) })
	if err := (Guard{}).Check(nil, empty); !errors.As(err, &refused) || refused.Rule != RuleEmpty {
		t.Errorf("nobody has a home: %v", err)
	}
	if err := (Guard{Datacenters: map[Datacenter]bool{"cloud": true}}).Check(nil, hundred(t)); !errors.As(err, &refused) || refused.Rule != RuleDatacenter {
		t.Errorf("an unknown datacenter: %v", err)
	}
}

func TestRelocatedCountsWhoIsSentElsewhere(t *testing.T) {
	from := hundred(t)
	for name, c := range map[string]struct {
		edit   func(*Draft)
		weight func(BucketID) uint64
		moved  uint64
		all    uint64
	}{
		"nothing":                      {func(*Draft) {}, nil, 0, 100},
		"ten":                          {func(d *Draft) { must(t, d.SetHome(0, 9, "beta")) }, nil, 10, 100},
		"ten of two users each":        {func(d *Draft) { must(t, d.SetHome(0, 9, "beta")) }, func(BucketID) uint64 { return 2 }, 20, 200},
		"lost, though to the default":  {func(d *Draft) { must(t, d.SetHome(0, 9, "")) }, nil, 10, 100},
		"promoted":                     {func(d *Draft) { must(t, d.PutShard(Shard{Name: "alpha", Datacenter: "cloud"})) }, nil, 100, 100},
		"sums over 64 bits stay there": {func(d *Draft) { must(t, d.SetHome(0, 9, "beta")) }, func(BucketID) uint64 { return math.MaxUint64 }, math.MaxUint64, math.MaxUint64},
	} {
		t.Run(name, func(t *testing.T) {
			to := edited(t, from, c.edit)
			for _, pair := range [][2]*Snapshot{{from, to}, {remake(t, from), to}} {
				if moved, all := Relocated(pair[0], pair[1], c.weight); moved != c.moved || all != c.all {
					t.Errorf("%d of %d, want %d of %d", moved, all, c.moved, c.all)
				}
			}
		})
	}
	homeless := edited(t, from, func(d *Draft) { must(t, d.SetHome(0, 9, "")) })
	for name, c := range map[string]struct {
		edit  func(*Draft)
		moved uint64
	}{
		"found where the default is": {func(d *Draft) { must(t, d.SetHome(0, 4, "alpha")) }, 0},
		"found elsewhere":            {func(d *Draft) { must(t, d.SetHome(0, 4, "beta")) }, 5},
		"another default":            {func(d *Draft) { d.Default.Datacenter = "cloud" }, 10},
	} {
		if moved, _ := Relocated(homeless, edited(t, homeless, c.edit), nil); moved != c.moved {
			t.Errorf("%s: %d moved, want %d", name, moved, c.moved)
		}
	}
	if moved, all := Relocated(nil, from, nil); moved != 0 || all != 100 {
		t.Errorf("from no map: %d of %d", moved, all)
	}
}

func TestTheOdometerCountsWhatWasDeclared(t *testing.T) {
	s := hundred(t)
	r := rand.New(rand.NewPCG(2, 2))
	want := uint64(0)
	for range 50 {
		next := edited(t, s, func(d *Draft) {
			b := BucketID(r.IntN(100))
			must(t, d.SetHome(b, BucketID(min(99, int(b)+r.IntN(5))), []ShardName{"alpha", "beta"}[r.IntN(2)]))
			d.Moved = 12345 // Declare knows better
			d.Declare(s)
		})
		moved, _ := Relocated(s, next, nil)
		if want += moved; next.Moved() != want {
			t.Fatalf("the odometer says %d, want %d", next.Moved(), want)
		}
		s = next
	}
	if want == 0 {
		t.Fatal("nothing moved")
	}
	d := s.Edit()
	if d.Declare(nil); d.Moved != 0 {
		t.Errorf("a first map's odometer says %d", d.Moved)
	}
	full := edited(t, s, func(d *Draft) { d.Moved = math.MaxUint64 })
	if next := edited(t, full, func(d *Draft) { must(t, d.PutShard(Shard{Name: "alpha", Datacenter: "cloud"})); d.Declare(full) }); next.Moved() != math.MaxUint64 {
		t.Errorf("the odometer went over to %d", next.Moved())
	}
}

func TestBucketsOfCountsHomes(t *testing.T) {
	s := edited(t, hundred(t), func(d *Draft) { must(t, d.SetHome(0, 9, "beta")); must(t, d.SetHome(90, 99, "")) })
	if a, b, none, other := s.BucketsOf("alpha"), s.BucketsOf("beta"), s.Homeless(), s.BucketsOf("x"); a != 80 || b != 10 || none != 10 || other != 0 {
		t.Errorf("alpha %d, beta %d, none %d, unknown %d", a, b, none, other)
	}
}

// 100 buckets of the largest map on other shards: well under 50 µs.
func BenchmarkCheck(b *testing.B) {
	r := rand.New(rand.NewPCG(9, 9))
	from := timingMap(b, r, true)
	d := from.Edit()
	for range 100 {
		bucket := BucketID(r.Uint32N(BucketsMax))
		must(b, d.SetHome(bucket, bucket, d.shards[r.IntN(len(d.shards))].Name))
	}
	d.Declare(from)
	to, err := from.Apply(Diff(from, mustSnapshot(b, d)))
	must(b, err)
	guard := Guard{Reader: true, MaxChange: 0.05, Datacenters: map[Datacenter]bool{"cloud": true, "legacy": true}}
	b.ReportAllocs()
	for b.Loop() {
		if err := guard.Check(from, to); err != nil {
			b.Fatal(err)
		}
	}
}
