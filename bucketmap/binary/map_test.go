package binary_test

import (
	"bytes"
	"testing"

	"drover/bucketmap"
	"drover/bucketmap/binary"
)

// again decodes data, and wants the map s and the same bytes.
func again(t testing.TB, data []byte, s *bucketmap.Snapshot) {
	t.Helper()
	got, err := binary.Decode(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !got.Equal(s) || got.Digest() != s.Digest() {
		t.Fatal("another map came back")
	}
	if !bytes.Equal(binary.Append(nil, got, nil), data) {
		t.Fatal("what was decoded encodes to other bytes")
	}
}

// 100 maps, and 400 with DROVER_SOAK=1.
func TestEveryMapComesBackAsItWas(t *testing.T) {
	for seed := range uint64(binary.Rounds(100, 400)) {
		m := newMaps(seed)
		s := m.any(t, 1<<m.IntN(13))
		prefix := []byte("before")
		data := binary.Append(prefix, s, nil)
		if !bytes.HasPrefix(data, prefix) {
			t.Fatalf("seed %d: dst was not kept", seed)
		}
		data = data[len(prefix):]
		if !binary.Is(data) || binary.IsDelta(data) {
			t.Fatalf("seed %d: the map does not begin like one", seed)
		}
		again(t, data, s)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func TestMoreEpochsThanTheEntropyCoderTakesComeBack(t *testing.T) {
	rng := newMaps(21)
	c := plain(t, 70_000, 2, func(b int) int { return 1 + b%2 })
	for b, e := range rng.Perm(len(c.Homes)) {
		c.EpochBuckets, c.Epochs = append(c.EpochBuckets, bucketmap.BucketID(b)), append(c.Epochs, bucketmap.Epoch(2+3*e))
	}
	s := build(t, c)
	again(t, binary.Append(nil, s, nil), s)
}

// With DROVER_SOAK=1 it has as many buckets, too, as a map may have.
func TestAsManyShardsAsAMapMayHaveComeBack(t *testing.T) {
	rng := newMaps(22)
	s := build(t, plain(t, binary.Rounds(1<<17, bucketmap.BucketsMax), bucketmap.ShardsMax, func(int) int { return rng.IntN(bucketmap.ShardsMax + 1) }))
	again(t, binary.Append(nil, s, nil), s)
}
