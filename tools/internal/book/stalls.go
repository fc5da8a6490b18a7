package book

import (
	"cmp"
	"time"

	"drover/bucketmap"
)

// Change is one change of home of one bucket, by the epoch that began with it.
type Change struct {
	Bucket bucketmap.BucketID
	Epoch  bucketmap.Epoch
}

// Stalls returns, for each change of home, how long from the last
// acknowledgement at the old home to the first at the new one. That is what the
// mover costs only where somebody wrote to the bucket without a pause; elsewhere
// it has the clients' own pauses in it.
func (b *Book) Stalls() map[Change]time.Duration {
	type times struct{ first, last time.Duration }
	all := map[Change]times{}
	for _, e := range b.writes(Acknowledged) {
		k := Change{e.Bucket, e.Epoch}
		t, ok := all[k]
		if !ok || e.Ended < t.first {
			t.first = e.Ended
		}
		t.last = max(t.last, e.Ended)
		all[k] = t
	}
	stalls := map[Change]time.Duration{}
	for k, t := range all {
		k.Epoch++
		if next, ok := all[k]; ok {
			stalls[k] = max(0, next.first-t.last)
		}
	}
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
