package slo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// unrouted is the datacenter of requests for which none was decided.
const unrouted = "none"

// group is whose requests are counted together.
type group struct {
	datacenter string
	cohort     Cohort
}

func (g group) String() string {
	if g.cohort == All {
		return g.datacenter
	}
	return fmt.Sprintf("%s, %s", g.datacenter, g.cohort)
}

// key is one count: an objective, by its place in the configuration, of a group.
type key struct {
	objective int
	group
}

// counts are requests, and how many of them were bad.
type counts struct{ events, bad float64 }

func (c counts) plus(d counts) counts  { return counts{c.events + d.events, c.bad + d.bad} }
func (c counts) minus(d counts) counts { return counts{c.events - d.events, c.bad - d.bad} }

func (c counts) ratio() float64 {
	if c.events <= 0 {
		return 0
	}
	return c.bad / c.events
}

// tally is what a source knows of a key in a window.
type tally struct {
	counts
	seen time.Duration // how far back the data reach, up to the window; 0: not told
	why  string        // not empty: they are not whole, and why
}

// reading is one look at a source: a tally for every key and window. A key that
// is missing is one that nobody has told anything of.
type reading map[key]map[time.Duration]tally

func (r reading) set(k key, window time.Duration, t tally) {
	if r[k] == nil {
		r[k] = map[time.Duration]tally{}
	}
	r[k][window] = t
}

// source gives figures. An error says that there are none, and what to do.
type source interface {
	read(ctx context.Context, at time.Time) (reading, error)
	// cohortWindow is the longest that the last look was told of; 0: of none.
	cohortWindow() time.Duration
	// old is Verdict.Old, of the last look.
	old() string
}

// wanted returns every key that there must be: of the datacenters, and of those
// that an objective names.
func (c *Config) wanted(datacenters []string) []key {
	var all []key
	for i := range c.Objectives {
		o := &c.Objectives[i]
		names := map[string]bool{}
		for _, d := range slices.Concat(datacenters, o.Datacenters) {
			if o.of(d) && d != unrouted {
				names[d] = true
			}
		}
		for _, d := range slices.Sorted(maps.Keys(names)) {
			for _, cohort := range o.cohorts() {
				all = append(all, key{i, group{d, cohort}})
			}
		}
	}
	return all
}

// family is the metric that a key is counted by.
func (c *Config) family(k key) string {
	latency := c.Objectives[k.objective].Kind == Latency
	switch {
	case latency && k.cohort == All:
		return secondsFamily
	case latency:
		return cohortSecondsFamily
	case k.cohort == All:
		return responsesFamily
	default:
		return cohortResponsesFamily
	}
}

// The metrics of the proxies.
const (
	responsesFamily       = "drover_proxy_responses_total"
	secondsFamily         = "drover_proxy_request_seconds"
	cohortResponsesFamily = "drover_proxy_cohort_responses_total"
	cohortSecondsFamily   = "drover_proxy_cohort_request_seconds"
	cohortKnownFamily     = "drover_proxy_cohort_known_since_timestamp_seconds"
	cohortWindowFamily    = "drover_proxy_cohort_window_seconds"
	startFamily           = "process_start_time_seconds"
)

// remedyCohorts says what to do when a proxy tells of no cohorts.
const remedyCohorts = "set cohort.window in the proxy's configuration, or cohorts: [all] in the objective's"

// memory is what a proxy says of what it knows of those who were moved. Older
// ones say nothing of it.
type memory struct {
	told   bool
	since  time.Time     // before that it knows of nobody
	window time.Duration // for so long a user counts as moved; 0: not told
}

// cohortWindowMax is the longest that a proxy takes. One that says more lies, and
// must not overflow.
const cohortWindowMax = 24 * time.Hour

func memoryOf(since, window float64) memory {
	window = min(window, cohortWindowMax.Seconds())
	return memory{true, time.UnixMilli(int64(since * 1000)), time.Duration(window * float64(time.Second))}
}

// blind says why a proxy's cohorts are not to be believed; empty when they are.
// Whoever was moved before the proxy's memory begins is counted among those who
// stayed.
func (m memory) blind(proxy string, at time.Time, base time.Duration, moved func(from, to time.Time) bool) string {
	switch {
	case !m.told:
		return ""
	case m.since.UnixMilli() == 0:
		return proxy + " counts no cohorts, or has no map: " + remedyCohorts
	case at.Sub(m.since) < base:
		return fmt.Sprintf("%s knows who was moved since %s only: wait for %v from then", proxy, m.since.UTC().Format(time.RFC3339), base)
	case moved != nil && at.Sub(m.since) < m.window && moved(at.Add(-m.window), m.since):
		return fmt.Sprintf("%s knows who was moved since %s only, and users were moved before: wait for %v from then",
			proxy, m.since.UTC().Format(time.RFC3339), m.window)
	}
	return ""
}

// missing says that a proxy tells nothing of a key.
func (c *Config) missing(proxy string, k key) string {
	text := fmt.Sprintf("%s has no %s of %s: ", proxy, c.family(k), k.group)
	if k.cohort != All {
		return text + "name the datacenter in its configuration; " + remedyCohorts
	}
	return text + "name the datacenter in its configuration, or take it out of the objective's"
}

// listed names a few of many, for a sentence.
func listed(words []string) string {
	const listedMax = 3
	if len(words) <= listedMax {
		return strings.Join(words, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(words[:listedMax], "; "), len(words)-listedMax)
}
