package bucketmap

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	timingUsers  = 1 << 20 // ids drawn from, so that caches miss
	timingListed = 100_000
	timingBatch  = 256 // decisions between two looks at the clock
)

// timingMap has as many buckets as a map may have, in random order over 200
// shards, and 100,000 users on the whitelist.
func timingMap(t testing.TB, r *rand.Rand, epochs bool) *Snapshot {
	t.Helper()
	d := NewDraft(BucketsMax)
	d.Datacenters = []Datacenter{"cloud", "legacy"}
	d.Default = Default{Datacenter: "legacy", Auto: true, Source: "legacy", Target: "cloud"}
	for i := range 200 {
		must(t, d.PutShard(Shard{Name: ShardName(fmt.Sprintf("shard-%03d", i)), Datacenter: d.Datacenters[i%2]}))
	}
	for b := range d.homes {
		d.homes[b] = uint16(1 + r.IntN(200))
		if epochs {
			d.Epochs[BucketID(b)] = Epoch(2 + r.IntN(5))
		}
	}
	for i := range timingListed {
		d.Whitelist[fmt.Sprintf("employee-%08d", i)] = d.Datacenters[i%2]
	}
	return mustSnapshot(t, d)
}

// userIDs is many ids drawn at random, one after the other in memory: an id is
// in the cache because the request was just read, and what it leads to in the
// map is not.
func userIDs(r *rand.Rand, n int, format string, from int) [][]byte {
	var arena []byte
	var ends []int
	for range n {
		arena = fmt.Appendf(arena, format, r.IntN(from))
		ends = append(ends, len(arena))
	}
	ids := make([][]byte, n)
	for i, start := 0, 0; i < n; i++ {
		ids[i] = arena[start:ends[i]:ends[i]]
		start = ends[i]
	}
	return ids
}

// At most 30 ns and no allocation for an id of usual length. The median over
// batches does not mind what else the machine does.
func BenchmarkDecide(b *testing.B) {
	r := rand.New(rand.NewPCG(5, 5))
	s := timingMap(b, r, false)
	usual := userIDs(r, timingUsers, "user-%08d", 1e8)
	more, err := NewWhitelist(func(yield func(string, Datacenter) bool) {
		for i := range timingListed {
			if !yield(fmt.Sprintf("tester-%08d", i), "cloud") {
				return
			}
		}
	})
	must(b, err)
	for _, bench := range []struct {
		name  string
		s     *Snapshot
		users [][]byte
	}{
		{"bucket", s, usual},
		{"whitelist", s, userIDs(r, timingUsers, "employee-%08d", timingListed)},
		{"bucket, ids of 256 bytes", s, userIDs(r, timingUsers/16, "%0256d", 1e8)},
		{"bucket, ids of 36 bytes", s, userIDs(r, timingUsers, "%036d", 1e8)},
		{"bucket, more users", s.WithUsers(more), usual},
		{"no user", s, [][]byte{nil}},
		{"bad user", s, [][]byte{[]byte(strings.Repeat("x", UserIDMax+1))}},
		{"bucket, 1024 buckets", randomMap(b, rand.New(rand.NewPCG(5, 5)), 1024, 0), usual},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			timings := make([]float64, 0, 1<<16)
			for i := 0; b.Loop(); i++ {
				chunk := bench.users
				if n := len(bench.users) / timingBatch; n != 0 {
					chunk = bench.users[i%n*timingBatch : (i%n+1)*timingBatch]
				}
				start := time.Now()
				for j := range timingBatch {
					bench.s.Decide(chunk[j%len(chunk)])
				}
				took := float64(time.Since(start).Nanoseconds()) / timingBatch
				if len(timings) < cap(timings) {
					timings = append(timings, took)
				}
			}
			slices.Sort(timings)
			b.ReportMetric(0, "ns/op") // of a batch, which says nothing
			b.ReportMetric(timings[len(timings)/2], "ns/decide-median")
			b.ReportMetric(timings[len(timings)/10], "ns/decide-p10")
		})
	}
}
