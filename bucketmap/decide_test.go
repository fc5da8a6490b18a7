package bucketmap

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// vectors is testdata/decisions.json, which the exported edge worker replays
// too.
type vectors struct {
	Maps []struct {
		Buckets uint32
		Default Datacenter
		Shards  map[ShardName]Datacenter
		Runs    []struct {
			First, Last BucketID
			Shard       *ShardName
		}
		Whitelist map[string]Datacenter
	}
	Cases []struct {
		Map        int
		UserHex    string `json:"user_hex"`
		Bucket     *BucketID
		Datacenter Datacenter
		Reason     string
	}
}

func TestDecisionsAreThoseOfTheVectors(t *testing.T) {
	data, err := os.ReadFile("testdata/decisions.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	var maps []*Snapshot
	for _, m := range v.Maps {
		d := NewDraft(m.Buckets)
		d.Default.Datacenter = m.Default
		d.Whitelist = m.Whitelist
		for name, dc := range m.Shards {
			must(t, d.PutShard(Shard{Name: name, Datacenter: dc}))
		}
		for _, dc := range append(slices.Collect(mapValues(m.Whitelist)), m.Default) {
			if !slices.Contains(d.Datacenters, dc) {
				d.Datacenters = append(d.Datacenters, dc)
			}
		}
		for _, r := range m.Runs {
			if r.Shard != nil {
				must(t, d.SetHome(r.First, r.Last, *r.Shard))
			}
		}
		maps = append(maps, mustSnapshot(t, d))
	}
	if len(v.Cases) != 600 {
		t.Fatalf("%d cases, want 600", len(v.Cases))
	}
	reasons := map[string]int{}
	for i, c := range v.Cases {
		user, err := hex.DecodeString(c.UserHex)
		must(t, err)
		got := maps[c.Map].Decide(user)
		if got.Datacenter != c.Datacenter || got.Reason.String() != c.Reason || got.HasBucket != (c.Bucket != nil) ||
			c.Bucket != nil && got.Bucket != *c.Bucket {
			t.Errorf("case %d: %+v, want %+v", i, got, c)
		}
		reasons[c.Reason]++
	}
	for _, r := range Reasons() {
		if reasons[r.String()] == 0 {
			t.Errorf("no case has reason %s", r)
		}
	}
}

func mapValues(m map[string]Datacenter) func(func(Datacenter) bool) {
	return func(yield func(Datacenter) bool) {
		for _, dc := range m {
			if !yield(dc) {
				return
			}
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustSnapshot(t testing.TB, d *Draft) *Snapshot {
	t.Helper()
	s, err := d.Snapshot()
	must(t, err)
	return s
}

// randomMap has shards, homes with gaps, a whitelist, holds and epochs.
func randomMap(t testing.TB, r *rand.Rand, buckets uint32, users int) *Snapshot {
	t.Helper()
	d := NewDraft(buckets)
	d.Datacenters = []Datacenter{"cloud", "legacy", "other"}
	d.Default.Datacenter = d.Datacenters[r.IntN(3)]
	shards := 1 + r.IntN(20)
	for i := range shards {
		must(t, d.PutShard(Shard{Name: ShardName(fmt.Sprintf("s%d", i)), Datacenter: d.Datacenters[r.IntN(3)], Epoch: Epoch(1 + r.IntN(3))}))
	}
	for range 1 + r.IntN(40) {
		first := r.Uint32N(buckets)
		name := ShardName("")
		if r.IntN(5) != 0 {
			name = ShardName(fmt.Sprintf("s%d", r.IntN(shards)))
		}
		last := first + r.Uint32N(buckets-first)
		must(t, d.SetHome(BucketID(first), BucketID(last), name))
		d.Epochs[BucketID(first)] = Epoch(1 + r.IntN(4))
	}
	for i := range users {
		d.Whitelist[fmt.Sprintf("employee-%d", i)] = d.Datacenters[r.IntN(3)]
	}
	until := time.UnixMilli(1_800_000_000_000)
	for first := r.Uint32N(buckets); first < buckets && len(d.Holds) < 5; first += 1 + r.Uint32N(buckets) {
		d.Holds = append(d.Holds, Hold{First: BucketID(first), Last: BucketID(first), Move: "m-1", Until: until})
	}
	if r.IntN(2) == 0 {
		d.Holds = append(d.Holds, Hold{Shard: "s0", Move: "m-2", Until: until})
	}
	r.Shuffle(len(d.Holds), func(i, j int) { d.Holds[i], d.Holds[j] = d.Holds[j], d.Holds[i] })
	return mustSnapshot(t, d)
}

func FuzzDecide(f *testing.F) {
	f.Add([]byte(""), uint32(1), uint64(1))
	f.Add([]byte("employee-1"), uint32(1024), uint64(2))
	f.Add([]byte("\x00\xff"), uint32(1<<16), uint64(3))
	f.Add([]byte(strings.Repeat("x", UserIDMax+1)), uint32(7), uint64(4))
	f.Fuzz(func(t *testing.T, user []byte, buckets uint32, seed uint64) {
		buckets = 1 + buckets%(1<<12) // small, to be quick
		s := randomMap(t, rand.New(rand.NewPCG(seed, 0)), buckets, 3)
		d := s.Decide(user)
		if !slices.Contains(s.datacenters, d.Datacenter) {
			t.Fatalf("datacenter %q is not one of the map's", d.Datacenter)
		}
		if usable := len(user) >= 1 && len(user) <= UserIDMax; d.HasBucket != usable {
			t.Fatalf("HasBucket %v for an id of %d bytes", d.HasBucket, len(user))
		}
		if d.HasBucket && uint32(d.Bucket) >= buckets {
			t.Fatalf("bucket %d of %d", d.Bucket, buckets)
		}
		if !slices.Contains(Reasons(), d.Reason) {
			t.Fatal(d.Reason)
		}
		if d.Reason == ReasonBucket {
			if home, ok := s.Home(d.Bucket); !ok || home.Datacenter != d.Datacenter {
				t.Fatalf("%+v, but the home is %+v", d, home)
			}
		}
		_, _ = s.HoldOf(d.Bucket)
		if again := s.Decide(user); again != d {
			t.Fatalf("%+v, then %+v", d, again)
		}
	})
}

// bigMap is as big as a map may be.
func bigMap(t testing.TB) *Snapshot {
	t.Helper()
	return randomMap(t, rand.New(rand.NewPCG(5, 5)), BucketsMax, 100_000)
}

func TestDecideAndHoldOfAllocateNothing(t *testing.T) {
	s := bigMap(t)
	for _, user := range []string{"", "employee-17", "somebody", strings.Repeat("x", UserIDMax), strings.Repeat("x", UserIDMax+1)} {
		user := []byte(user)
		var d Decision
		if n := testing.AllocsPerRun(100, func() { d = s.Decide(user) }); n != 0 {
			t.Errorf("Decide(%.20q) allocates %v times", user, n)
		}
		if n := testing.AllocsPerRun(100, func() { _, _ = s.HoldOf(d.Bucket) }); n != 0 {
			t.Errorf("HoldOf(%d) allocates %v times", d.Bucket, n)
		}
	}
	for _, h := range s.Holds() {
		if n := testing.AllocsPerRun(100, func() { _, _ = s.HoldOf(h.First) }); n != 0 {
			t.Errorf("HoldOf(%d) allocates %v times", h.First, n)
		}
	}
}

func TestDecisionsOfManyDatacentersAreThoseOfTheHomes(t *testing.T) {
	for datacenters := 1; datacenters <= 40; datacenters++ {
		d := NewDraft(1000)
		for i := range 2 * datacenters {
			must(t, d.PutShard(Shard{Name: ShardName(fmt.Sprintf("s%03d", i)), Datacenter: Datacenter(fmt.Sprintf("dc-%d", i%datacenters))}))
		}
		d.Default.Datacenter = Datacenter(fmt.Sprintf("dc-%d", datacenters-1))
		for b := range BucketID(999) {
			must(t, d.SetHome(b, b, ShardName(fmt.Sprintf("s%03d", int(b)%(2*datacenters)))))
		}
		s := mustSnapshot(t, d)
		d = s.Edit()
		must(t, d.SetHome(7, 7, "s000"))
		must(t, d.PutShard(Shard{Name: "s999", Datacenter: "one-more"}))
		next := mustSnapshot(t, d)
		for range 2 {
			applied, err := s.Apply(Diff(s, next))
			must(t, err)
			wantSame(t, applied, next)
			s, next = next, s // one fewer, on the way back
		}
	}
}
