package slo

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// seenShare is how much of the shortest window the data must reach back:
// samples do not fall on its edge.
const seenShare = 0.95

// judge makes a verdict of one look. It is pure: no clock, no source.
type judge struct {
	config *Config
	// datacenters are those of the map; none: not told.
	datacenters []string
	// expect says whether the map has somebody in a group; nil: see Options.
	expect func(datacenter string, cohort Cohort) bool
	// someMoved are the objectives that have enough events of users who were
	// moved, in one datacenter or more.
	someMoved map[int]bool
}

// verdict judges every key that is wanted, and every other that was found.
func (j *judge) verdict(at time.Time, r reading, wanted []key) Verdict {
	keys := slices.Clone(wanted)
	for k := range r {
		if !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	j.someMoved = map[int]bool{}
	for _, k := range keys {
		if t := r[k][j.config.Windows.base()]; k.cohort == Moved && t.events >= float64(j.config.Objectives[k.objective].MinEvents) {
			j.someMoved[k.objective] = true
		}
	}
	var figures []Figure
	for _, k := range keys {
		figures = append(figures, j.figures(k, r[k])...)
	}
	figures = append(figures, j.compare(keys, r)...)
	return decide(at, figures)
}

// figures judges one key, pair of windows by pair.
func (j *judge) figures(k key, tallies map[time.Duration]tally) []Figure {
	var all []Figure
	w := &j.config.Windows
	for _, severity := range []Severity{Page, Ticket} {
		pairs := w.Page
		if severity == Ticket {
			pairs = w.Ticket
		}
		for _, p := range pairs {
			p = w.scaled(p)
			all = append(all, j.pair(k, p, severity, tallies)...)
		}
	}
	return all
}

// pair judges one key by one pair: its level is that of both figures, but for a
// window that is unknown, which makes the other one no better.
func (j *judge) pair(k key, p Pair, severity Severity, tallies map[time.Duration]tally) []Figure {
	both := make([]Figure, 0, 2)
	unknown, above, few := false, true, false
	for _, window := range []time.Duration{p.Short, p.Long} {
		f := j.figure(k, window, tallies)
		f.Limit, f.Severity = p.Burn, severity
		unknown = unknown || f.Level == Unknown
		above = above && f.Burn >= p.Burn
		few = few || f.Ratio*f.Events < badMin-0.5 // a rate of Prometheus is no whole number
		both = append(both, f)
	}
	level := Healthy
	switch {
	case unknown:
		level = Unknown
	case above && few && severity == Page:
		// Just after a step both windows have the same few requests, and one that
		// failed may have done so by chance: no reason to go on, nor to go back. The
		// days of a ticket are not filled by a step, and nobody goes back for one.
		level = Unknown
		for i := range both {
			both[i].Why = fmt.Sprintf("%.0f of %.0f requests were bad, %.3gx the budget: fewer than %d are too few to tell",
				both[i].Ratio*both[i].Events, both[i].Events, both[i].Burn, badMin)
		}
	case above && severity == Page:
		level = Burning
	case above:
		level = Unhealthy
	}
	// Left out by one window alone, the pair has no say; by one that is unknown for
	// another reason it has.
	out := both[0].LeftOut || both[1].LeftOut
	for _, f := range both {
		out = out && (f.LeftOut || f.Level != Unknown)
	}
	for i := range both {
		both[i].Level, both[i].LeftOut = level, out
		if level == Unknown && both[i].Why == "" {
			both[i].Why = fmt.Sprintf("its other window, %v, is unknown", p.Short+p.Long-both[i].Window)
		}
	}
	return both
}

// figure gives a window's numbers, and Unknown if they are nothing to judge by.
func (j *judge) figure(k key, window time.Duration, tallies map[time.Duration]tally) Figure {
	o := &j.config.Objectives[k.objective]
	f := Figure{Objective: o.Name, Datacenter: k.datacenter, Cohort: k.cohort.label(), Window: window}
	t, found := tallies[window]
	f.Events, f.Ratio, f.Seen = t.events, t.ratio(), t.seen
	f.Burn = f.Ratio / o.budget()
	switch {
	case !found:
		f.Why = fmt.Sprintf("there is no %s of %s: see whether the proxies know the datacenter", j.config.family(k), k.group)
	case t.why != "":
		f.Why = t.why
	case t.seen != 0 && float64(t.seen) < seenShare*float64(min(window, j.config.Windows.base())):
		f.Why = fmt.Sprintf("watched for %v of %v: wait", t.seen.Round(time.Millisecond), j.config.Windows.base())
	case t.events < float64(o.MinEvents):
		f.Why = fmt.Sprintf("too few events: %.0f of %d wanted", t.events, o.MinEvents)
		f.LeftOut = k.cohort == Stayed || !j.expected(k)
		if f.LeftOut && k.cohort != Stayed {
			f.Why += "; nobody is expected there"
		}
	default:
		f.Level = Healthy
		return f
	}
	f.Level = Unknown
	return f
}

// expected says whether too few events of a key are to be held against it.
func (j *judge) expected(k key) bool {
	o := &j.config.Objectives[k.objective]
	if len(j.datacenters) != 0 && !slices.Contains(j.datacenters, k.datacenter) && !slices.Contains(o.Datacenters, k.datacenter) {
		return false // the proxies know a datacenter that the map does not
	}
	if j.expect == nil {
		return k.cohort != Moved || !j.someMoved[k.objective]
	}
	return j.expect(k.datacenter, k.cohort)
}

// decide makes the verdict of figures, by the table in doc.go, and puts those
// that decided first.
func decide(at time.Time, figures []Figure) Verdict {
	rank := func(f *Figure) int {
		switch {
		case f.LeftOut:
			return 4
		case f.Level == Burning:
			return 0
		case f.Level == Unknown:
			return 1
		case f.Level == Unhealthy:
			return 2
		default:
			return 3
		}
	}
	slices.SortStableFunc(figures, func(a, b Figure) int {
		if by := cmp.Compare(rank(&a), rank(&b)); by != 0 {
			return by
		}
		return cmp.Compare(b.Burn/max(b.Limit, 1e-9), a.Burn/max(a.Limit, 1e-9))
	})
	v := Verdict{Level: Unknown, Figures: figures, At: at}
	if len(figures) == 0 || figures[0].LeftOut {
		v.Reason = "unknown: nothing could be judged: no group of users is expected to have requests, or none is known; see the objectives' datacenters and cohorts"
		return v
	}
	v.Level = figures[0].Level
	v.Reason = reason(&figures[0])
	return v
}

// reason is the sentence for people.
func reason(f *Figure) string {
	who := group{f.Datacenter, Cohort(cmp.Or(f.Cohort, string(All)))}
	switch {
	case f.Level == Unknown:
		return fmt.Sprintf("%s: %s of %s over %v: %s", f.Level, f.Objective, who, f.Window, f.Why)
	case f.Severity == Compare:
		return fmt.Sprintf("%s: %s of %s over %v: %s", f.Level, f.Objective, who, f.Window, f.Why)
	}
	return fmt.Sprintf("%s: %s of %s burns its budget %.3gx over %v (%.3g%% of %.0f requests were bad; the limit is %gx)",
		f.Level, f.Objective, who, f.Burn, f.Window, 100*f.Ratio, f.Events, f.Limit)
}
