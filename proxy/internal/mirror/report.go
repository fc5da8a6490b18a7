package mirror

import (
	"slices"
	"time"

	"drover/internal/parity"
)

// Report says what was compared so far.
func (m *Mirror) Report() parity.Report {
	o := &m.options
	r := parity.Report{
		Proxy: o.Proxy, Enabled: true, Began: m.began, At: time.Now(), Share: o.Share,
		Datacenters: []string{string(o.Pair[0]), string(o.Pair[1])}, Drops: map[string]uint64{},
	}
	for why := range dropCount {
		n := m.drops[why].Load()
		r.Drops[why.String()] = n
		r.Total.Dropped += n
	}
	m.ledger.report(&r, o.Noise)
	r.Finish()
	return r
}

// Off is the report of a proxy that mirrors nothing.
func Off(proxy string) parity.Report {
	r := parity.Report{Proxy: proxy, At: time.Now()}
	r.Finish()
	return r
}

func (l *ledger) report(r *parity.Report, noise bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.classes {
		one := c.report()
		one.Learning = noise && c.probes < probesMin
		r.Classes = append(r.Classes, one)
		r.Total.Same += one.Counts.Same
		r.Total.Different += one.Counts.Different
		r.Total.Noise += one.Counts.Noise
		r.Total.Failed += one.Counts.Failed
		r.Total.Timeout += one.Counts.Timeout
	}
	for _, e := range slices.Backward(l.examples) {
		c := l.classes[e.Class]
		if v := c.differs[e.key]; v == nil || !c.isNoise(v) {
			r.Examples = append(r.Examples, e.Example)
		}
	}
	if l.failure != nil {
		failure := *l.failure
		r.LastFailure = &failure
	}
}

// report is the class as it looks by what is known to be noise now.
func (c *class) report() parity.Class {
	one := parity.Class{Class: c.name, Counts: c.counts, Probes: c.probes}
	one.Counts.Different = c.rest
	fields := map[string]uint64{}
	for _, v := range c.differs {
		if c.isNoise(v) {
			one.Counts.Noise += v.count
			continue
		}
		one.Counts.Different += v.count
		for _, f := range v.fields {
			fields[f.name] += v.count
		}
	}
	noise := map[string]uint64{}
	for f := range c.noise {
		noise[f] = c.seen[f]
	}
	one.Fields, one.Noise = parity.SortedFields(fields), parity.SortedFields(noise)
	return one
}
