package routing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"drover/bucketmap"
	"drover/bucketmap/file"
	"drover/proxy/internal/routing/cohort"
)

const (
	timedBuckets = 4096
	timedShards  = 200
	timedBatch   = 16
)

// told passes acknowledgements on once the store has them.
type told struct {
	bucketmap.Source
	acks chan bucketmap.Version
}

func (s *told) Ack(ctx context.Context, ack bucketmap.Ack) error {
	err := s.Source.Ack(ctx, ack)
	s.acks <- ack.Version
	return err
}

// wideMap has its buckets in random order on many shards: the hardest to encode.
func wideMap(b *testing.B) *bucketmap.Snapshot {
	b.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	d := bucketmap.NewDraft(timedBuckets)
	d.Version = 1
	d.Default = bucketmap.Default{Datacenter: "legacy"}
	name := func(i int) bucketmap.ShardName { return bucketmap.ShardName(fmt.Sprintf("shard-%03d", i)) }
	var failed error
	for i := range timedShards {
		failed = errors.Join(failed, d.PutShard(bucketmap.Shard{Name: name(i), Datacenter: "legacy"}))
	}
	for bucket := range bucketmap.BucketID(timedBuckets) {
		failed = errors.Join(failed, d.SetHome(bucket, bucket, name(random.IntN(timedShards))))
	}
	s, err := d.Snapshot()
	if err := errors.Join(failed, err); err != nil {
		b.Fatal(err)
	}
	return s
}

// folders are two: versions are published in one, and put in the other as its
// publisher would do, so that nothing but the edge's work is measured.
type folders struct {
	from, to string
	store    *file.Store
	deltas   bool
	now      *bucketmap.Snapshot
}

func (f *folders) next(b *testing.B) (commit func() error) {
	b.Helper()
	d := f.now.Edit()
	random := rand.New(rand.NewPCG(uint64(f.now.Version()), 5))
	first := bucketmap.BucketID(random.Uint32N(timedBuckets - timedBatch))
	shard := bucketmap.ShardName(fmt.Sprintf("shard-%03d", random.IntN(timedShards)))
	err := d.SetHome(first, first+timedBatch-1, shard)
	d.Declare(f.now)
	next, made := d.Snapshot()
	if err := errors.Join(err, made); err != nil {
		b.Fatal(err)
	}
	if err := f.store.Publish(b.Context(), next, bucketmap.Change{Who: "bench"}); err != nil {
		b.Fatal(err)
	}
	f.now = next
	return f.bring(b)
}

func (f *folders) bring(b *testing.B) (commit func() error) {
	b.Helper()
	suffixes := []string{".yaml", ".json"}
	if f.deltas && f.now.Version() > 1 {
		suffixes = append(suffixes, ".delta")
	}
	name := fmt.Sprintf("%012d", f.now.Version())
	err := os.MkdirAll(filepath.Join(f.to, "history"), 0o755)
	for _, suffix := range suffixes {
		err = errors.Join(err, os.Rename(filepath.Join(f.from, "history", name+suffix), filepath.Join(f.to, "history", name+suffix)))
	}
	text, read := os.ReadFile(filepath.Join(f.from, "map.yaml"))
	temporary := filepath.Join(f.to, ".map.yaml.tmp")
	if err := errors.Join(err, read, os.WriteFile(temporary, text, 0o600)); err != nil {
		b.Fatal(err)
	}
	// The publisher finds its history complete.
	if err := errors.Join(os.WriteFile(filepath.Join(f.from, "history", name+".yaml"), text, 0o600),
		os.WriteFile(filepath.Join(f.from, "history", name+".json"), []byte("{}"), 0o600)); err != nil {
		b.Fatal(err)
	}
	return func() error { return os.Rename(temporary, filepath.Join(f.to, "map.yaml")) }
}

// BenchmarkVersion measures what a version in a folder costs a proxy, from the
// rename to the acknowledgement.
func BenchmarkVersion(b *testing.B) {
	for _, deltas := range []bool{true, false} {
		b.Run(fmt.Sprintf("deltas=%v", deltas), func(b *testing.B) { timeVersions(b, deltas) })
	}
}

func timeVersions(b *testing.B, deltas bool) {
	f := &folders{from: b.TempDir(), to: b.TempDir(), deltas: deltas, now: wideMap(b)}
	publisher, err := file.Open(f.from, file.Options{})
	if err != nil {
		b.Fatal(err)
	}
	f.store = publisher
	if err := publisher.Publish(b.Context(), f.now, bucketmap.Change{}); err != nil {
		b.Fatal(err)
	}
	if err := f.bring(b)(); err != nil {
		b.Fatal(err)
	}
	watched, err := file.Open(f.to, file.Options{})
	if err != nil {
		b.Fatal(err)
	}
	source := &told{Source: watched, acks: make(chan bucketmap.Version, 10)}
	table := newTable(b, nil, func(o *Options) {
		o.Source, o.Cohorts = source, cohort.New(cohort.Options{Window: time.Hour})
		o.Log = zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(io.Discard), zap.InfoLevel))
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- table.Run(ctx) }()
	<-source.acks
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		commit := f.next(b)
		b.StartTimer()
		if err := commit(); err != nil {
			b.Fatal(err)
		}
		if v := <-source.acks; v != f.now.Version() {
			b.Fatalf("version %d, want %d", v, f.now.Version())
		}
	}
	b.StopTimer()
	cancel()
	if err := errors.Join(<-done, watched.Close(), publisher.Close()); err != nil {
		b.Fatal(err)
	}
}
