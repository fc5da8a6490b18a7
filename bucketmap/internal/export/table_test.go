package export

import (
	"math/rand/v2"
	"testing"
	"time"

	"drover/bucketmap"
)

func TestTheTableSaysOfEveryBucketWhatTheMapSays(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const buckets = 5000
	d := bucketmap.NewDraft(buckets)
	d.Default.Datacenter = "a"
	for _, s := range []bucketmap.Shard{{Name: "s0", Datacenter: "a"}, {Name: "s1", Datacenter: "b"}, {Name: "s2", Datacenter: "a"}} {
		must(t, d.PutShard(s))
	}
	for range 100 {
		first := r.Uint32N(buckets)
		name := []bucketmap.ShardName{"", "s0", "s1", "s2"}[r.IntN(4)]
		must(t, d.SetHome(bucketmap.BucketID(first), bucketmap.BucketID(first+r.Uint32N(min(300, buckets-first))), name))
	}
	until := time.UnixMilli(1_800_000_000_000).UTC()
	d.Holds = []bucketmap.Hold{
		{First: 10, Last: 700, Move: "m-1", Until: until},
		{Shard: "s1", Move: "m-2", Until: until.Add(time.Second)},
	}
	s, err := d.Snapshot()
	must(t, err)
	for _, holds := range []bool{true, false} {
		table := NewTable(s, holds)
		held := uint32(0)
		for b := range bucketmap.BucketID(buckets) {
			shard, _ := s.Home(b)
			want := Code{Datacenter: shard.Datacenter}
			if hold, ok := s.HoldOf(b); ok && holds {
				want.UntilMs = hold.Until.UnixMilli()
				held++
			}
			if got := table.Codes[table.Of[b]]; got != want {
				t.Fatalf("bucket %d: %+v, want %+v", b, got, want)
			}
		}
		if table.Held != held || (held == 0) == holds {
			t.Errorf("%d held, want %d", table.Held, held)
		}
		if n := len(table.Codes); n > 9 || table.Codes[0] != (Code{}) {
			t.Errorf("%d codes, %+v first", n, table.Codes[0])
		}
	}
}

func TestAHeaderCarriesWhatHTTPAllows(t *testing.T) {
	for id, want := range map[string]bool{
		"a": true, "a b": true, "a\tb": true, "#": true, "\xff\xfe": true, "é": true, "\x01": true,
		" a": false, "a ": false, "\ta": false, "a\t": false, "a\x00": false, "a\nb": false, "a\rb": false, " ": false,
	} {
		if Carries(id) != want {
			t.Errorf("%q: %v", id, !want)
		}
	}
}
