package main

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// figures are times that were measured.
type figures []time.Duration

// at returns the smallest figure that a share of them, 0 to 1, does not exceed;
// 0 for none.
func (f figures) at(share float64) time.Duration {
	if len(f) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(f))
	return sorted[max(0, int(math.Ceil(share*float64(len(sorted))))-1)]
}

func (f figures) String() string {
	return fmt.Sprintf("p50 %s  p99 %s  max %s  (%d)", ms(f.at(0.5)), ms(f.at(0.99)), ms(f.at(1)), len(f))
}

func ms(d time.Duration) string { return fmt.Sprintf("%6.1f ms", float64(d)/float64(time.Millisecond)) }
