package campaign

import (
	"math"
	"time"

	"drover/migrator/internal/slo"
)

// after is when something comes that comes so often an hour.
func (m *sim) after(often float64) time.Time {
	if often <= 0 {
		return time.Time{}
	}
	hours := min(m.random.ExpFloat64()/often, simHoursMax)
	return m.now.Add(time.Duration(hours * float64(time.Hour)))
}

// moved is what a step does to the objectives.
func (m *sim) moved(t *step) {
	if m.model == nil {
		return
	}
	m.hour(m.now).moved += t.plan.Users
	from := m.now.Add(m.model.Detect)
	switch p := m.random.Float64(); {
	case p < m.model.BurnsAfter:
		m.spells = append(m.spells, spell{from, from.Add(m.model.SpellFor), slo.Burning})
	case p < m.model.BurnsAfter+m.model.UnhealthyAfter:
		m.spells = append(m.spells, spell{from, from.Add(m.model.SpellFor), slo.Unhealthy})
	}
}

// level is what the judge says now, and until when if nothing else happens.
func (m *sim) level() (slo.Level, time.Time) {
	if m.model == nil {
		return slo.Healthy, time.Time{}
	}
	var until time.Time
	sooner := func(t time.Time) {
		if !t.IsZero() && t.After(m.now) && (until.IsZero() || t.Before(until)) {
			until = t
		}
	}
	if !m.blindAt.IsZero() && !m.now.Before(m.blindAt) {
		m.spells = append(m.spells, spell{m.blindAt, m.now.Add(m.model.BlindFor), slo.Unknown})
		m.blindAt = m.after(m.model.Blind / 24)
	}
	sooner(m.blindAt)
	level, kept := slo.Healthy, m.spells[:0]
	for _, s := range m.spells {
		if !m.now.Before(s.to) {
			continue
		}
		kept = append(kept, s)
		if m.now.Before(s.from) {
			sooner(s.from)
			continue
		}
		sooner(s.to)
		switch {
		case s.level == slo.Burning, level == slo.Healthy, level == slo.Unhealthy && s.level == slo.Unknown:
			level = s.level
		}
	}
	m.spells = kept
	return level, until
}

// hour is the count of the hour that a moment is in.
func (m *sim) hour(at time.Time) *hourOf {
	i := min(simHoursMax-1, int(at.Sub(m.begin)/time.Hour))
	for len(m.hours) <= i {
		m.hours = append(m.hours, hourOf{})
	}
	return &m.hours[i]
}

// count counts what happens until next.
func (m *sim) count(next time.Time) {
	if m.model == nil {
		return
	}
	var baking uint64
	copied := 0.0
	for _, t := range m.s.steps[m.s.first:] {
		if t.state == Waiting {
			break
		}
		if t.state == Baking {
			baking += t.plan.Users
		}
		if end := m.ends[t.id]; t.state == Running && t.plan.Kind() == KindBuckets && end.After(t.begun) {
			copied += float64(t.plan.Users) * float64(m.model.BytesPerUser) / end.Sub(t.begun).Hours() // an hour
		}
	}
	// What is down fails its share until a check has seen it: a tenth of the time.
	down := m.model.InstanceFailures * m.model.InstanceDown.Hours() / 10
	bad := float64(m.all) * m.model.Requests * min(1, down)
	if m.burns() {
		bad += float64(baking) * m.model.Requests * m.model.BadRatio
	}
	for at := m.now; at.Before(next); {
		i := int(at.Sub(m.begin).Hours())
		end := m.begin.Add(time.Duration(i+1) * time.Hour)
		if next.Before(end) {
			end = next
		}
		h, share := m.hour(at), end.Sub(at).Hours()
		h.requests += bad * share
		h.bytes += copied * share
		if m.burns() && baking > h.users {
			h.users = baking
		}
		at = end
		if i >= simHoursMax {
			return
		}
	}
}

// burns says whether users are harmed, seen or not yet.
func (m *sim) burns() bool {
	for _, s := range m.spells {
		if s.level == slo.Burning && m.now.After(s.from.Add(-m.model.Detect-time.Nanosecond)) && m.now.Before(s.to) {
			return true
		}
	}
	return false
}

// worst keeps the worst hour.
func (m *sim) worst(w *WorstHour) {
	for i, h := range m.hours {
		if h.requests > w.Requests {
			*w = WorstHour{Begins: m.begin.Add(time.Duration(i) * time.Hour), Requests: h.requests, Users: h.users, Moved: h.moved, Seed: m.seed}
		}
	}
}

// link is the load of the link: replication always, and copies.
func (m *sim) link(l *LinkLoad) {
	l.Base = float64(m.all) * float64(m.model.WritesPerUser) / time.Hour.Seconds()
	sum := 0.0
	for i, h := range m.hours {
		load := l.Base + h.bytes/time.Hour.Seconds()
		sum += load
		if load > l.Peak {
			l.Peak, l.PeakAt = load, m.begin.Add(time.Duration(i)*time.Hour)
		}
	}
	l.Mean = sum / math.Max(1, float64(len(m.hours)))
	l.PeakShare = l.Peak / float64(m.model.Link)
}
