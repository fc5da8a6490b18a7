package book

import (
	"cmp"
	"slices"
	"time"

	"drover/bucketmap"
)

// Stalls returns, for each time that a bucket changed its home, how long from
// the last acknowledgement at the old home to the first at the new one, the
// shortest first.
func (b *Book) Stalls() []time.Duration {
	type times struct{ first, last time.Duration }
	type key struct {
		bucket bucketmap.BucketID
		epoch  bucketmap.Epoch
	}
	all := map[key]times{}
	for _, e := range b.writes(Acknowledged) {
		k := key{e.Bucket, e.Epoch}
		t, ok := all[k]
		if !ok || e.Ended < t.first {
			t.first = e.Ended
		}
		t.last = max(t.last, e.Ended)
		all[k] = t
	}
	var stalls []time.Duration
	for k, t := range all {
		if next, ok := all[key{k.bucket, k.epoch + 1}]; ok {
			stalls = append(stalls, max(0, next.first-t.last))
		}
	}
	slices.Sort(stalls)
	return stalls
}

// Quantile returns the value below which a share q of sorted values is.
func Quantile[T cmp.Ordered](sorted []T, q float64) T {
	var none T
	if len(sorted) == 0 {
		return none
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
