package main

import (
	"fmt"
	"slices"
	"time"
)

// figures are times that were measured.
type figures []time.Duration

// median is the middle one, the lower of two.
func (f figures) median() time.Duration {
	if len(f) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(f))[(len(f)-1)/2]
}

func (f figures) String() string {
	if len(f) == 0 {
		return "never"
	}
	ms := func(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
	return fmt.Sprintf("%8s (%s, %s)", ms(f.median()), ms(slices.Min(f)), ms(slices.Max(f)))
}
