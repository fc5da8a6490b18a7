package bucketmap

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// remake returns an equal snapshot that shares nothing with s, with its digest
// made from scratch.
func remake(t testing.TB, s *Snapshot) *Snapshot {
	t.Helper()
	c := s.Content()
	var err error
	c.Whitelist, err = NewWhitelist(s.Whitelist())
	must(t, err)
	again, err := c.Snapshot()
	must(t, err)
	return again
}

// wander returns a map some edits away from s.
func wander(t testing.TB, r *rand.Rand, s *Snapshot) *Snapshot {
	t.Helper()
	d := s.Edit()
	d.Version += Version(r.IntN(3))
	for range r.IntN(6) {
		name := ShardName(fmt.Sprintf("s%d", r.IntN(24)))
		dc := d.Datacenters[r.IntN(len(d.Datacenters))]
		first := BucketID(r.Uint32N(d.Buckets))
		last := first + BucketID(r.Uint32N(d.Buckets-uint32(first)))
		switch r.IntN(9) {
		case 0:
			must(t, d.PutShard(Shard{Name: name, Datacenter: dc, Epoch: Epoch(1 + r.IntN(3))}))
		case 1, 2:
			if shard, ok := d.Shard(name); ok {
				must(t, d.SetHome(first, last, shard.Name))
			}
		case 3:
			must(t, d.SetHome(first, first, ""))
		case 4:
			d.Epochs[first] = Epoch(1 + r.IntN(4))
		case 5:
			clear(d.Epochs)
		case 6:
			d.Whitelist[fmt.Sprintf("employee-%d", r.IntN(40))] = dc
			delete(d.Whitelist, fmt.Sprintf("employee-%d", r.IntN(40)))
		case 7:
			d.Holds = nil
			if r.IntN(2) == 0 {
				d.Holds = []Hold{{First: first, Last: last, Move: "m", Until: time.UnixMilli(1 + r.Int64N(1e12))}}
			}
		default:
			d.Default = Default{Datacenter: dc}
			d.dropUnused()
		}
	}
	d.Declare(s)
	return mustSnapshot(t, d)
}

// dropUnused drops a shard and a datacenter that nothing uses, if there are.
func (d *Draft) dropUnused() {
	for _, shard := range d.Shards() {
		held := slices.ContainsFunc(d.Holds, func(h Hold) bool { return h.Shard == shard.Name })
		if !held && d.DropShard(shard.Name) == nil {
			break
		}
	}
	if !slices.Contains(d.Datacenters, "spare") {
		d.Datacenters = append(d.Datacenters, "spare")
	}
}

func wantSame(t testing.TB, got, want *Snapshot) {
	t.Helper()
	if !got.Equal(want) {
		t.Fatalf("another map:\n%s", Diff(want, got))
	}
	scratch := remake(t, want)
	if got.Digest() != want.Digest() || got.Digest() != scratch.Digest() || !got.Equal(scratch) {
		t.Fatalf("digest %s, want %s, from scratch %s", got.Digest(), want.Digest(), scratch.Digest())
	}
	if got.Homeless() != scratch.Homeless() {
		t.Fatalf("%d buckets without a home, want %d", got.Homeless(), scratch.Homeless())
	}
	for _, shard := range want.Shards() {
		if got.BucketsOf(shard.Name) != scratch.BucketsOf(shard.Name) {
			t.Fatalf("shard %s has %d buckets, want %d", shard.Name, got.BucketsOf(shard.Name), scratch.BucketsOf(shard.Name))
		}
	}
	if got.rangeHolds != scratch.rangeHolds || !slices.Equal(got.places, scratch.places) || !slices.Equal(got.counts, scratch.counts) {
		t.Fatal("what follows from the map is another than from scratch")
	}
	for b := range BucketID(want.Buckets()) {
		home, ok := want.Home(b)
		if !ok {
			home.Datacenter = want.Default().Datacenter
		}
		if d := got.DecideBucket(b); d.Datacenter != home.Datacenter || (d.Reason == ReasonBucket) != ok || d != scratch.DecideBucket(b) {
			t.Fatalf("bucket %d: %+v, want %s", b, d, home.Datacenter)
		}
	}
}

// 80 pairs of maps, and 400 with DROVER_SOAK=1.
func TestApplyOfTheDifferenceGivesTheSecondMap(t *testing.T) {
	for seed := range uint64(rounds(80, 400)) {
		r := rand.New(rand.NewPCG(seed, 7))
		most := uint32(3 * pageLen)
		if seed%5 == 0 {
			most = 3 * groupLen
		}
		buckets := 1 + r.Uint32N(most)
		a := randomMap(t, r, buckets, r.IntN(40))
		var b *Snapshot
		switch seed % 3 {
		case 0:
			b = randomMap(t, r, buckets, r.IntN(40)) // of the same version, and all else different
		case 1:
			b = randomMap(t, r, 1+r.Uint32N(most), r.IntN(40))
		default:
			b = wander(t, r, a)
		}
		if r.IntN(2) == 0 {
			a.Digest() // then that of the result is made from it
		}
		for _, pair := range [][2]*Snapshot{{a, b}, {b, a}, {nil, b}, {a, remake(t, a)}} {
			d := Diff(pair[0], pair[1])
			got, err := pair[0].Apply(d)
			if err != nil {
				t.Fatalf("seed %d: %v\n%s", seed, err, d)
			}
			wantSame(t, got, pair[1])
			text, err := json.Marshal(d)
			must(t, err)
			var back Difference
			must(t, json.Unmarshal(text, &back))
			got, err = pair[0].Apply(&back)
			if err != nil {
				t.Fatalf("seed %d, by JSON: %v\n%s", seed, err, text)
			}
			wantSame(t, got, pair[1])
		}
	}
}

func TestALongWayByDifferencesEndsAtTheSameDigest(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	published := randomMap(t, r, 3000, 30)
	kept := remake(t, published)
	kept.Digest()
	for range 300 {
		next := wander(t, r, published)
		before := remake(t, kept)
		applied, err := kept.Apply(Diff(published, next))
		must(t, err)
		wantSame(t, applied, next)
		if !kept.Equal(before) || kept.Digest() != before.Digest() {
			t.Fatal("Apply changed the map that it was applied to")
		}
		published, kept = next, applied
	}
}

// pair is two maps that differ in everything.
func pair(t testing.TB) (from, to *Snapshot) {
	t.Helper()
	until := time.UnixMilli(1_700_000_000_123)
	d := twoShards(t)
	must(t, d.PutShard(Shard{Name: "old", Datacenter: "legacy"}))
	d.Whitelist = map[string]Datacenter{"emp-1": "cloud", "emp-2": "cloud", "emp-3": "cloud"}
	d.Holds = []Hold{{First: 1, Last: 3, Move: "m-1", Until: until}, {Shard: "beta", Move: "m-2", Until: until}}
	d.Epochs = map[BucketID]Epoch{9: 2, 3: 4}
	d.Moved = 5
	from = mustSnapshot(t, d)
	d = from.Edit()
	must(t, d.DropShard("old"))
	must(t, d.PutShard(Shard{Name: "gamma", Datacenter: "edge"}))
	must(t, d.PutShard(Shard{Name: "beta", Datacenter: "legacy", Epoch: 2}))
	must(t, d.SetHome(1, 3, "beta"))
	must(t, d.SetHome(5, 5, ""))
	d.Default = Default{Datacenter: "cloud"}
	d.Whitelist = map[string]Datacenter{"emp-1": "legacy", "emp-2": "cloud", "emp-4": "cloud"}
	d.Holds = []Hold{{First: 4, Last: 4, Move: "m-3", Until: until}}
	d.Epochs = map[BucketID]Epoch{1: 2, 2: 2, 3: 5}
	d.Declare(from)
	return from, mustSnapshot(t, d)
}

func TestAnyFromThatIsNotSoIsAMismatch(t *testing.T) {
	from, to := pair(t)
	until := time.UnixMilli(1)
	for name, spoil := range map[string]func(*Difference){
		"version":              func(d *Difference) { d.FromVersion++ },
		"no version":           func(d *Difference) { d.FromVersion = 0 },
		"buckets":              func(d *Difference) { d.FromBuckets, d.ToBuckets = 11, 10 },
		"buckets unchanged":    func(d *Difference) { d.FromBuckets, d.ToBuckets = 10, 10 },
		"buckets cut off":      func(d *Difference) { d.FromBuckets, d.ToBuckets = 10, 8 },
		"moved":                func(d *Difference) { d.FromMoved++ },
		"moved unchanged":      func(d *Difference) { d.ToMoved = d.FromMoved },
		"default":              func(d *Difference) { d.Default.From.Datacenter = "cloud" },
		"default from nothing": func(d *Difference) { d.Default.From = nil },
		"default to nothing":   func(d *Difference) { d.Default.To = nil },
		"default unchanged":    func(d *Difference) { d.Default.To = d.Default.From },
		"datacenter there":     func(d *Difference) { d.Datacenters[0].To = "cloud" },
		"datacenter not there": func(d *Difference) { d.Datacenters = append(d.Datacenters, DatacenterChange{From: "x"}) },
		"datacenter twice":     func(d *Difference) { d.Datacenters = append(d.Datacenters, d.Datacenters[0]) },
		"datacenter of none":   func(d *Difference) { d.Datacenters[0] = DatacenterChange{} },
		"datacenter of both":   func(d *Difference) { d.Datacenters[0].From = "cloud" },
		"shard's datacenter":   func(d *Difference) { d.Shards[0].From = "legacy" },
		"shard's epoch":        func(d *Difference) { d.Shards[0].FromEpoch = 2 },
		"shard not there":      func(d *Difference) { d.Shards[0].Name = "bet" },
		"shard there":          func(d *Difference) { d.Shards[0].From, d.Shards[0].FromEpoch = "", 0 },
		"shards' order":        func(d *Difference) { slices.Reverse(d.Shards) },
		"shard twice":          func(d *Difference) { d.Shards = slices.Insert(d.Shards, 0, d.Shards[0]) },
		"shard unchanged":      func(d *Difference) { d.Shards[0].To, d.Shards[0].ToEpoch = d.Shards[0].From, d.Shards[0].FromEpoch },
		"shard kept as a home": func(d *Difference) { d.Shards = slices.Insert(d.Shards, 0, ShardChange{"alpha", "legacy", "", 1, 0}) },
		"home":                 func(d *Difference) { d.Homes[0].From = "beta" },
		"home of nothing":      func(d *Difference) { d.Homes[0].From = "" },
		"home of nobody":       func(d *Difference) { d.Homes[0].From = "nobody" },
		"home unchanged":       func(d *Difference) { d.Homes[0].To = d.Homes[0].From },
		"homes' order":         func(d *Difference) { slices.Reverse(d.Homes) },
		"homes overlap":        func(d *Difference) { d.Homes[1].First = 3 },
		"home backwards":       func(d *Difference) { d.Homes[0].First = 4 },
		"home out of bounds":   func(d *Difference) { d.Homes[1].Last = 10 },
		"home far out":         func(d *Difference) { d.Homes[1].Last = 1<<32 - 1 },
		"epoch":                func(d *Difference) { d.Epochs[0].From = 3 },
		"epoch 0":              func(d *Difference) { d.Epochs[0].From = 0 },
		"epoch unchanged":      func(d *Difference) { d.Epochs[0].To = d.Epochs[0].From },
		"epochs' order":        func(d *Difference) { slices.Reverse(d.Epochs) },
		"epoch out of bounds":  func(d *Difference) { d.Epochs[len(d.Epochs)-1].Last = 10 },
		"hold":                 func(d *Difference) { d.Holds[0].From.Move = "x" },
		"hold's until":         func(d *Difference) { d.Holds[0].From.Until = until },
		"hold not there":       func(d *Difference) { d.Holds[0].From.First = 2 },
		"hold ended twice":     func(d *Difference) { d.Holds = append(d.Holds, d.Holds[0]) },
		"hold of none":         func(d *Difference) { d.Holds[0].From = nil },
		"hold of both":         func(d *Difference) { d.Holds[0].To = d.Holds[0].From },
		"user":                 func(d *Difference) { d.Whitelist[0].From = "legacy" },
		"user not there":       func(d *Difference) { d.Whitelist[0].User = "emp-0" },
		"user there":           func(d *Difference) { d.Whitelist[0].From = "" },
		"user unchanged":       func(d *Difference) { d.Whitelist[0].To = d.Whitelist[0].From },
		"users' order":         func(d *Difference) { slices.Reverse(d.Whitelist) },
		"user twice":           func(d *Difference) { d.Whitelist = slices.Insert(d.Whitelist, 0, d.Whitelist[0]) },
	} {
		t.Run(name, func(t *testing.T) {
			d := Diff(from, to)
			spoil(d)
			s, err := from.Apply(d)
			if s != nil || !errors.Is(err, ErrMismatch) {
				t.Errorf("got %v, %v", s, err)
			}
		})
	}
	got, err := from.Apply(Diff(from, to))
	must(t, err)
	wantSame(t, got, to)
	if _, err := to.Apply(Diff(from, to)); !errors.Is(err, ErrMismatch) {
		t.Errorf("applied twice: %v", err)
	}
	var none *Snapshot
	if _, err := none.Apply(Diff(from, to)); !errors.Is(err, ErrMismatch) {
		t.Errorf("applied to no map: %v", err)
	}
}

func TestADifferenceToAnInvalidMapIsRefused(t *testing.T) {
	from, to := pair(t)
	for name, spoil := range map[string]func(*Difference){
		"version":             func(d *Difference) { d.ToVersion = 0 },
		"buckets":             func(d *Difference) { d.FromBuckets, d.ToBuckets = 10, BucketsMax+1 },
		"no buckets":          func(d *Difference) { d.FromBuckets, d.ToBuckets = 10, 0 },
		"default":             func(d *Difference) { d.Default.To = &Default{Datacenter: "x"} },
		"datacenter's name":   func(d *Difference) { d.Datacenters[0].To = "a/b" },
		"datacenter in use":   func(d *Difference) { d.Datacenters = append(d.Datacenters, DatacenterChange{From: "cloud"}) },
		"shard's name":        func(d *Difference) { d.Shards[1].Name = "gam ma" },
		"shard's datacenter":  func(d *Difference) { d.Shards[0].To = "x" },
		"shard's epoch":       func(d *Difference) { d.Shards[0].ToEpoch = 0 },
		"shard of no place":   func(d *Difference) { d.Shards[0].To = "" },
		"home":                func(d *Difference) { d.Homes[0].To = "nobody" },
		"home on one removed": func(d *Difference) { d.Homes[0].To = "old" },
		"epoch":               func(d *Difference) { d.Epochs[0].To = 0 },
		"hold's shard": func(d *Difference) {
			d.Holds[0] = HoldChange{To: &Hold{Shard: "old", Move: "m", Until: time.UnixMilli(1)}}
		},
		"hold's bucket":     func(d *Difference) { d.Holds[1].To.Last = 10 },
		"hold begun twice":  func(d *Difference) { d.Holds = append(d.Holds, d.Holds[1]) },
		"hold kept":         func(d *Difference) { d.Holds[1].To.First = 3; d.Holds = d.Holds[1:] },
		"hold's until":      func(d *Difference) { d.Holds[1].To.Until = time.Time{} },
		"user's id":         func(d *Difference) { d.Whitelist[0].User = "" },
		"user's datacenter": func(d *Difference) { d.Whitelist[0].To = "x" },
	} {
		t.Run(name, func(t *testing.T) {
			d := Diff(from, to)
			spoil(d)
			s, err := from.Apply(d)
			var invalid *InvalidError
			if s != nil || !errors.As(err, &invalid) {
				t.Errorf("got %v, %v", s, err)
			}
		})
	}
}

func TestAnEditSharesThePagesThatItDoesNotTouch(t *testing.T) {
	a := randomMap(t, rand.New(rand.NewPCG(1, 1)), 100*pageLen, 100)
	d := a.Edit()
	d.homes[5*pageLen] = (d.homes[5*pageLen] + 1) % 2
	d.Whitelist["somebody"] = "cloud"
	edited := mustSnapshot(t, d)
	applied, err := a.Apply(Diff(a, edited))
	must(t, err)
	for _, b := range []*Snapshot{edited, applied} {
		pages, users := 0, 0
		for p := range pagesFor(a.buckets) {
			if a.homePage(p) != b.homePage(p) || a.epochPage(p) != b.epochPage(p) {
				pages++
			}
		}
		for p := range a.whitelist.pages {
			if a.whitelist.pages[p] != b.whitelist.pages[p] {
				users++
			}
		}
		groups, routes := 0, 0
		for g := range a.groups {
			if a.groups[g] != b.groups[g] {
				groups++
			}
		}
		for p := range a.routes.pages {
			if a.routes.pages[p] != b.routes.pages[p] {
				routes++
			}
		}
		if pages != 1 || users != 1 || groups != 1 || routes != 1 {
			t.Errorf("%d pages of buckets, %d of users, %d groups and %d pages of routes are copies, want 1 each", pages, users, groups, routes)
		}
	}
}

// A difference of 100 buckets on the largest map, with the digest: well under
// a millisecond.
func BenchmarkApply(b *testing.B) {
	r := rand.New(rand.NewPCG(9, 9))
	for _, epochs := range []bool{false, true} {
		from := timingMap(b, r, epochs)
		d := from.Edit()
		for range 100 {
			bucket := BucketID(r.Uint32N(BucketsMax))
			d.homes[bucket] = d.homes[bucket]%200 + 1
			d.Epochs[bucket]++
			d.Epochs[bucket] = max(d.Epochs[bucket], 2)
		}
		to := mustSnapshot(b, d)
		diff := Diff(from, to)
		from.Digest()
		want := remake(b, to).Digest()
		b.Run(fmt.Sprintf("100 of 1048576 buckets, epochs %v", epochs), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				next, err := from.Apply(diff)
				if err != nil || next.Digest() != want {
					b.Fatal(err, next.Digest(), want)
				}
			}
		})
		user := from.Edit()
		user.Whitelist["somebody"] = "cloud"
		diff = Diff(from, mustSnapshot(b, user))
		b.Run(fmt.Sprintf("1 of 100000 users, epochs %v", epochs), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := from.Apply(diff); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDiff(b *testing.B) {
	from := timingMap(b, rand.New(rand.NewPCG(9, 9)), true)
	d := from.Edit()
	d.homes[17] = d.homes[17]%200 + 1
	edited := mustSnapshot(b, d)
	other := timingMap(b, rand.New(rand.NewPCG(8, 8)), true)
	same := remake(b, from)
	for name, to := range map[string]*Snapshot{"an edit": edited, "equal and apart": same, "every bucket": other} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				Diff(from, to)
			}
		})
	}
}
