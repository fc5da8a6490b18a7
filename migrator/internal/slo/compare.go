package slo

import (
	"fmt"
	"math"
	"time"
)

// badMin is how many bad requests it takes for anything to burn: a share of fewer
// is luck.
const badMin = 5

// compare holds those who were moved against those who stayed, in the shortest
// window of a page: a long window is full of what was before the move. The
// baseline is who stayed in the same datacenter and, apart from that, who stayed
// in each other one.
func (j *judge) compare(keys []key, r reading) []Figure {
	var all []Figure
	window := j.config.Windows.base()
	for _, k := range keys {
		if k.cohort != Moved {
			continue
		}
		f := j.figure(k, window, r[k])
		f.Severity, f.Limit = Compare, j.excess(true)
		if f.Level == Unknown {
			continue // its own pairs say so
		}
		best, none := f, true
		for _, other := range keys {
			if other.cohort != Stayed || other.objective != k.objective {
				continue
			}
			base := j.figure(other, window, r[other])
			if base.Level == Unknown {
				continue // those that are not whole say so in their own pairs
			}
			none = false
			if c := j.against(f, &base, r[k][window].counts, r[other][window].counts); worse(&c, &best) {
				best = c
			}
		}
		if none {
			best.Level, best.Why = Unknown, "nobody who stayed has enough requests to compare with"
			// A fleet in which everybody has just been moved is judged by the rest.
			best.LeftOut = true
		}
		all = append(all, best)
	}
	return all
}

// worse says whether a comparison is to be told in the place of another.
func worse(a, b *Figure) bool {
	rank := map[Level]int{Healthy: 0, Unhealthy: 1, Burning: 2}
	if rank[a.Level] != rank[b.Level] {
		return rank[a.Level] > rank[b.Level]
	}
	return b.Why == "" // the first one
}

// excess is by how much more of the budget those who were moved may burn: the
// least limit of the pages for Burning, of the tickets for Unhealthy.
func (j *judge) excess(page bool) float64 {
	pairs := j.config.Windows.Page
	if !page && len(j.config.Windows.Ticket) != 0 {
		pairs = j.config.Windows.Ticket
	}
	least := math.Inf(1)
	for _, p := range pairs {
		least = min(least, p.Burn)
	}
	return least
}

// against compares f, of those who were moved, with a baseline.
func (j *judge) against(f Figure, base *Figure, moved, stayed counts) Figure {
	z := standardErrors(moved, stayed)
	more := f.Burn - base.Burn
	f.Why = fmt.Sprintf("%.3g%% of %.0f requests of those who were moved were bad, and %.3g%% of %.0f of those who stayed in %s: %.3gx of the budget more, %.1f standard errors",
		100*f.Ratio, f.Events, 100*base.Ratio, base.Events, base.Datacenter, more, z)
	f.Level = Healthy
	switch significant := moved.bad >= badMin && z >= j.config.Significance; {
	case significant && more >= j.excess(true):
		f.Level = Burning
	case significant && more >= j.excess(false):
		f.Level = Unhealthy
	}
	return f
}

// standardErrors is the z of the two-proportion test with a pooled variance: how
// many standard errors the share of bad requests in a is above that in b.
func standardErrors(a, b counts) float64 {
	pooled := a.plus(b).ratio()
	variance := pooled * (1 - pooled) * (1/a.events + 1/b.events)
	if variance <= 0 {
		return 0 // all good, or all bad
	}
	return (a.ratio() - b.ratio()) / math.Sqrt(variance)
}

// windowName writes a window as Prometheus does.
func windowName(d time.Duration) string {
	for _, u := range []struct {
		name string
		unit time.Duration
	}{{"d", day}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}} {
		if d >= u.unit && d%u.unit == 0 {
			return fmt.Sprintf("%d%s", d/u.unit, u.name)
		}
	}
	return fmt.Sprintf("%dms", d/time.Millisecond)
}
