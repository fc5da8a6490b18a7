package binary_test

import (
	"fmt"
	"testing"

	"drover/bucketmap"
	"drover/bucketmap/binary"
)

// large is 1,048,576 buckets in random order, and a whitelist.
func large(tb testing.TB, shards, users int) bucketmap.Content {
	rng := newMaps(11)
	ids := make([]string, users)
	for i := range ids {
		ids[i] = fmt.Sprintf("user-%08x", rng.Uint32()) + fmt.Sprint(i)
	}
	return plain(tb, bucketmap.BucketsMax, shards, func(int) int { return 1 + rng.IntN(shards) }, ids...)
}

var sizes = []struct{ shards, users int }{{2, 0}, {200, 0}, {200, 100_000}, {5000, 0}}

func BenchmarkAppend(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprintf("shards=%d/users=%d", size.shards, size.users), func(b *testing.B) {
			content := large(b, size.shards, size.users)
			want := information(content)
			s := build(b, content)
			var data []byte
			b.ReportAllocs()
			for b.Loop() {
				data = binary.Append(data[:0], s, nil)
			}
			b.ReportMetric(float64(len(data)), "bytes")
			b.ReportMetric(float64(len(data))/want, "x-information")
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprintf("shards=%d/users=%d", size.shards, size.users), func(b *testing.B) {
			content := large(b, size.shards, size.users)
			want := information(content)
			data := binary.Append(nil, build(b, content), nil)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := binary.Decode(data, nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(data)), "bytes")
			b.ReportMetric(float64(len(data))/want, "x-information")
		})
	}
}

func BenchmarkDelta(b *testing.B) {
	from := build(b, large(b, 200, 100_000))
	to := move(b, from, 100)
	delta := binary.MakeDelta(from, to)
	_, private := exampleKey()
	data := binary.AppendDelta(nil, delta, private)
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		var out []byte
		for b.Loop() {
			out = binary.AppendDelta(out[:0], delta, private)
		}
		b.ReportMetric(float64(len(out)), "bytes")
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := binary.DecodeDelta(data, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("apply", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := delta.Apply(from); err != nil {
				b.Fatal(err)
			}
		}
	})
}
