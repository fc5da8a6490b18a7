package parity

import "math"

// z95 is the quantile of the normal distribution that leaves 2.5 % above it.
const z95 = 1.959963984540054

// Interval is the share of differing answers, 0 to 1, with its 95 % interval.
type Interval struct {
	// Compared is how many answers were compared, the same and the different.
	Compared  uint64  `json:"compared"`
	Different uint64  `json:"different"`
	Share     float64 `json:"share"` // 0 when nothing was compared
	Lower     float64 `json:"lower"` // 0 when nothing was compared
	// Upper counts the requests whose mirrored answer did not come, or came too
	// late, as differing. It is 1 when nothing was compared.
	Upper float64 `json:"upper"`
}

// Wilson returns the 95 % interval of a share of which different of n were seen
// (E. B. Wilson, 1927: the score interval, with no correction for continuity).
// With n of 0 it is 0 to 1. More different than n count as n.
func Wilson(different, n uint64) (lower, upper float64) {
	if n == 0 {
		return 0, 1
	}
	k := float64(min(different, n))
	all := float64(n)
	share := k / all
	weight := 1 + z95*z95/all
	middle := share + z95*z95/(2*all)
	half := z95 * math.Sqrt(share*(1-share)/all+z95*z95/(4*all*all))
	lower, upper = max((middle-half)/weight, 0), min((middle+half)/weight, 1)
	// The ends are exact where the formula is, but for its rounding.
	if k == 0 {
		lower = 0
	}
	if k == all {
		upper = 1
	}
	return lower, upper
}

// IntervalOf returns the interval of these counts.
func IntervalOf(c Counts) Interval {
	i := Interval{Compared: c.Same + c.Different, Different: c.Different}
	unknown := c.Failed + c.Timeout
	if i.Compared == 0 {
		i.Upper = 1
		return i
	}
	i.Share = float64(i.Different) / float64(i.Compared)
	i.Lower, _ = Wilson(i.Different, i.Compared)
	_, i.Upper = Wilson(i.Different+unknown, i.Compared+unknown)
	return i
}
