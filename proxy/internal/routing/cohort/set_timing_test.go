package cohort

import (
	"fmt"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/proxy/internal/passport"
)

// wide is the largest map, its buckets in turn on many shards.
func wide(b *testing.B) *bucketmap.Snapshot {
	b.Helper()
	const shards, run = 200, 512
	d := bucketmap.NewDraft(bucketmap.BucketsMax)
	d.Version, d.Default.Datacenter = 1, "legacy"
	name := func(i int) bucketmap.ShardName { return bucketmap.ShardName(fmt.Sprintf("shard-%03d", i%shards)) }
	for i := range shards {
		if err := d.PutShard(bucketmap.Shard{Name: name(i), Datacenter: []bucketmap.Datacenter{"legacy", "cloud"}[i%2]}); err != nil {
			b.Fatal(err)
		}
	}
	for i := range bucketmap.BucketsMax / run {
		if err := d.SetHome(bucketmap.BucketID(i*run), bucketmap.BucketID((i+1)*run-1), name(i)); err != nil {
			b.Fatal(err)
		}
	}
	s, err := d.Snapshot()
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// BenchmarkOf is one request beside its decision.
func BenchmarkOf(b *testing.B) {
	m := wide(b)
	users := make([][]byte, 1<<16)
	for i := range users {
		users[i] = fmt.Appendf(nil, "user-%08d", i*7919)
	}
	d := m.Edit()
	d.Whitelist["ann"] = "cloud"
	listed, err := d.Snapshot()
	if err != nil {
		b.Fatal(err)
	}
	set := New(Options{Window: time.Hour})
	set.Change(nil, m, nil)
	decide := func(b *testing.B, set *Set, ask bool) {
		b.ReportAllocs()
		i, moved := 0, 0
		for b.Loop() {
			user := users[i&(len(users)-1)]
			decision := m.Decide(user)
			if ask && set.Of(m, decision, user, passport.Instant(i)) == passport.CohortMoved {
				moved++
			}
			i++
		}
	}
	b.Run("decision_alone", func(b *testing.B) { decide(b, set, false) })
	b.Run("off", func(b *testing.B) { decide(b, nil, true) })
	b.Run("on", func(b *testing.B) { decide(b, set, true) })
	set.Change(m, listed, nil)
	b.Run("on_while_the_whitelist_changed", func(b *testing.B) { decide(b, set, true) })
}

// BenchmarkChange is one version of the largest map.
func BenchmarkChange(b *testing.B) {
	m := wide(b)
	d := m.Edit()
	if err := d.SetHome(4000, 4099, "shard-150"); err != nil {
		b.Fatal(err)
	}
	moved, err := d.Snapshot()
	if err != nil {
		b.Fatal(err)
	}
	if err := d.PutShard(bucketmap.Shard{Name: "shard-000", Datacenter: "cloud", Epoch: 2}); err != nil {
		b.Fatal(err)
	}
	promoted, err := d.Snapshot()
	if err != nil {
		b.Fatal(err)
	}
	run := func(next *bucketmap.Snapshot, settle bool) func(*testing.B) {
		return func(b *testing.B) {
			set := New(Options{Window: time.Hour})
			set.Change(nil, m, nil)
			b.ReportAllocs()
			for b.Loop() {
				if settle {
					set.Change(m, next, nil)
					set.Settle(next)
				} else {
					set.Change(m, next, nil)
				}
				if k := set.marks.Load(); len(k.shards) > 1 { // as it were settled
					again := *k
					again.shards = nil
					set.marks.Store(&again)
				}
			}
		}
	}
	b.Run("100_buckets", run(moved, false))
	b.Run("promotion", run(promoted, false))
	b.Run("promotion_and_settled", run(promoted, true))
}

// BenchmarkAppend is the file of the largest map.
func BenchmarkAppend(b *testing.B) {
	set := New(Options{Window: time.Hour})
	set.Change(nil, wide(b), nil)
	b.ReportAllocs()
	for b.Loop() {
		b.SetBytes(int64(len(set.Append(nil))))
	}
}
