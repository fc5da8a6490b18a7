package file

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"drover/bucketmap"
)

// sizes are maps whose buckets have all moved, every other to the other shard.
var sizes = []uint32{64, 1024, 4096}

func moved(t testing.TB, buckets uint32) *bucketmap.Snapshot {
	t.Helper()
	d := bucketmap.NewDraft(buckets)
	for name, dc := range map[bucketmap.ShardName]bucketmap.Datacenter{"alpha": "legacy", "beta": "cloud"} {
		if err := d.PutShard(bucketmap.Shard{Name: name, Datacenter: dc}); err != nil {
			t.Fatal(err)
		}
	}
	d.Default = bucketmap.Default{Datacenter: "legacy"}
	for b := range bucketmap.BucketID(buckets) {
		d.Epochs[b] = bucketmap.Epoch(2 + b%7)
		if err := d.SetHome(b, b, []bucketmap.ShardName{"alpha", "beta"}[b%2]); err != nil {
			t.Fatal(err)
		}
	}
	s, err := d.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// toOther returns the next version, with one bucket on the other shard.
func toOther(t testing.TB, from *bucketmap.Snapshot) *bucketmap.Snapshot {
	t.Helper()
	d := from.Edit()
	b := bucketmap.BucketID(uint64(d.Version) % uint64(d.Buckets))
	home, _ := d.Home(b)
	to := bucketmap.ShardName("alpha")
	if home.Name == to {
		to = "beta"
	}
	if err := d.SetHome(b, b, to); err != nil {
		t.Fatal(err)
	}
	d.Epochs[b]++
	s, err := d.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// withHistory returns a store whose history has that many versions and its map,
// the newest.
func withHistory(b *testing.B, buckets uint32, versions bucketmap.Version) (*Store, *bucketmap.Snapshot) {
	b.Helper()
	s := open(b, b.TempDir(), Options{})
	now := moved(b, buckets)
	if err := s.Publish(b.Context(), now, bucketmap.Change{}); err != nil {
		b.Fatal(err)
	}
	for v := bucketmap.Version(2); v < versions; v++ {
		for suffix, text := range map[string]string{contentSuffix: "", finalSuffix: "{}", deltaSuffix: ""} {
			if err := os.WriteFile(s.historyPath(v, suffix), []byte(text), 0o600); err != nil {
				b.Fatal(err)
			}
		}
	}
	d := now.Edit()
	d.Version = versions
	now = handEdit(b, s.dir, d)
	now = toOther(b, now)
	if err := s.Publish(b.Context(), now, bucketmap.Change{}); err != nil {
		b.Fatal(err)
	}
	return s, now
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// step is a part of a publication; only those that are measured count.
type step struct {
	measured bool
	run      func() error
}

func measure(b *testing.B, steps func(i int) []step) {
	b.Helper()
	b.ReportAllocs()
	var busy time.Duration
	b.StopTimer()
	for i := range b.N {
		for _, s := range steps(i) {
			before := processorTime(b)
			if s.measured {
				b.StartTimer()
			}
			err := s.run()
			b.StopTimer()
			if s.measured {
				busy += processorTime(b) - before
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(busy.Microseconds())/float64(b.N), "cpu-µs/op")
}

// BenchmarkPublication has a fresh process's publisher as "first", which knows
// nothing of the folder.
func BenchmarkPublication(b *testing.B) {
	for _, buckets := range sizes {
		for _, versions := range []bucketmap.Version{10, 5000} {
			b.Run(fmt.Sprintf("buckets=%d/versions=%d", buckets, versions), func(b *testing.B) {
				s, now := withHistory(b, buckets, versions)
				change := bucketmap.Change{Who: "ann", Why: "a benchmark"}
				b.Run("publish", func(b *testing.B) {
					measure(b, func(int) []step {
						now = toOther(b, now)
						return []step{{true, func() error { return s.Publish(b.Context(), now, change) }}}
					})
				})
				b.Run("first", func(b *testing.B) {
					measure(b, func(int) []step {
						now = toOther(b, now)
						fresh := open(b, s.dir, Options{})
						return []step{{true, func() error { return fresh.Publish(b.Context(), now, change) }}}
					})
				})
				benchmarkStaged(b, s, now, change)
			})
		}
	}
}

func benchmarkStaged(b *testing.B, s *Store, now *bucketmap.Snapshot, change bucketmap.Change) {
	b.Helper()
	for _, what := range []string{"stage", "commit"} {
		b.Run(what, func(b *testing.B) {
			measure(b, func(int) []step {
				now = toOther(b, now)
				var staged bucketmap.Staged
				return []step{
					{what == "stage", func() (err error) {
						staged, err = s.Stage(b.Context(), now, change)
						return err
					}},
					{what == "commit", func() error { return staged.Commit(b.Context()) }},
				}
			})
		})
	}
}
