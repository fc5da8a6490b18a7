package times

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Times are what was measured, in any order.
type Times []time.Duration

// At returns the smallest time that a share of them, 0 to 1, does not exceed: a
// quantile by nearest rank. It is 0 for none.
func (t Times) At(share float64) time.Duration {
	if len(t) == 0 {
		return 0
	}
	// Rounded, or 0.07 of 100 is 7.000000000000001, and that the eighth.
	rank := int(math.Ceil(math.Round(share*float64(len(t))*1e6) / 1e6))
	return slices.Sorted(slices.Values(t))[min(max(rank, 1), len(t))-1]
}

// Median is the middle one, the lower of two; 0 for none.
func (t Times) Median() time.Duration { return t.At(0.5) }

// String is the quantiles that matter, in columns.
func (t Times) String() string {
	if len(t) == 0 {
		return "never"
	}
	return fmt.Sprintf("p50 %9s  p99 %9s  max %9s  (%d)", Ms(t.Median()), Ms(t.At(0.99)), Ms(t.At(1)), len(t))
}

// Spread is the median, and the least and the most of few rounds.
func (t Times) Spread() string {
	if len(t) == 0 {
		return "never"
	}
	whole := func(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
	return fmt.Sprintf("%8s (%s, %s)", whole(t.Median()), whole(t.At(0)), whole(t.At(1)))
}

// Ms prints milliseconds to a tenth.
func Ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", InMs(d)) }

// InMs is a time in milliseconds.
func InMs(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
