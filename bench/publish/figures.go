package main

import (
	"fmt"
	"math"
	"slices"
	"time"

	"golang.org/x/sys/unix"
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

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) }

// cpuOf is the CPU time that a process has used, all its threads together: its
// CPU clock, as of clock_getcpuclockid(3).
func cpuOf(pid int) (time.Duration, error) {
	const scheduled = 2
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &ts); err != nil {
		return 0, fmt.Errorf("read the CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}
