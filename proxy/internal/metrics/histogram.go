package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// cellsMax is the most buckets a histogram may have, the one behind the last
// bound included.
const cellsMax = 16

// cells count one histogram's observations in one shard: how many fell between
// two bounds, and the sum in ns. Their number is the sum of the buckets.
type cells struct {
	buckets [cellsMax]atomic.Uint64
	sum     atomic.Int64
}

// bounds are a histogram's upper bounds, inclusive, lowest first; fewer than
// cellsMax.
type bounds []time.Duration

// The bounds. requestBounds go from a millisecond to the default bound of
// first_byte; stageBounds begin lower, since most stages are far shorter than
// the request; ownBounds are finest where the edge wants to be.
var (
	requestBounds = bounds{
		time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
		50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second,
		2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second,
	}
	stageBounds = bounds{
		10 * time.Microsecond, 100 * time.Microsecond, time.Millisecond, 5 * time.Millisecond, 25 * time.Millisecond,
		100 * time.Millisecond, 500 * time.Millisecond, time.Second, 5 * time.Second, 30 * time.Second,
	}
	ownBounds = bounds{
		5 * time.Microsecond, 10 * time.Microsecond, 20 * time.Microsecond, 35 * time.Microsecond, 50 * time.Microsecond,
		75 * time.Microsecond, 100 * time.Microsecond, 150 * time.Microsecond, 200 * time.Microsecond, 350 * time.Microsecond,
		500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 10 * time.Millisecond, 100 * time.Millisecond,
	}
)

// seconds returns the bounds in the unit of the metrics.
func (b bounds) seconds() []float64 {
	s := make([]float64, len(b))
	for i, d := range b {
		s[i] = d.Seconds()
	}
	return s
}

// observe counts d. The bounds are few and most times are short: looking at
// them in order is faster than a search.
func (c *cells) observe(b bounds, d time.Duration) {
	i := 0
	for i < len(b) && d > b[i] {
		i++
	}
	c.buckets[i].Add(1)
	c.sum.Add(int64(d))
}

// constHistogram adds one histogram's shards up and makes a metric of them.
func constHistogram(desc *prometheus.Desc, b bounds, shards []*cells, labels ...string) prometheus.Metric {
	var count, sum uint64
	buckets := make(map[float64]uint64, len(b))
	for i := range len(b) + 1 {
		for _, c := range shards {
			count += c.buckets[i].Load()
		}
		if i < len(b) {
			buckets[b[i].Seconds()] = count
		}
	}
	for _, c := range shards {
		sum += uint64(c.sum.Load())
	}
	return prometheus.MustNewConstHistogram(desc, count, time.Duration(sum).Seconds(), buckets, labels...)
}
