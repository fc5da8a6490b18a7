package parity

import (
	"cmp"
	"slices"
	"time"
)

// Counts are mirrored requests by their outcome.
type Counts struct {
	Same      uint64 `json:"same"`      // nothing of what is compared differed
	Different uint64 `json:"different"` // something did
	// Noise could not be judged: what differed differs within one datacenter too,
	// from one answer to the next.
	Noise   uint64 `json:"noise"`
	Dropped uint64 `json:"dropped"` // never compared; see Report.Drops
	Failed  uint64 `json:"failed"`  // an answer to compare with did not come
	Timeout uint64 `json:"timeout"` // or not in time
}

func (c *Counts) add(o Counts) {
	c.Same += o.Same
	c.Different += o.Different
	c.Noise += o.Noise
	c.Dropped += o.Dropped
	c.Failed += o.Failed
	c.Timeout += o.Timeout
}

// less takes o away. A count that is smaller than before (what had differed
// turned out to be noise) is 0.
func (c *Counts) less(o Counts) {
	for _, p := range []struct {
		to   *uint64
		from uint64
	}{
		{&c.Same, o.Same}, {&c.Different, o.Different}, {&c.Noise, o.Noise},
		{&c.Dropped, o.Dropped}, {&c.Failed, o.Failed}, {&c.Timeout, o.Timeout},
	} {
		*p.to -= min(*p.to, p.from)
	}
}

// Field is a field of answers of one route class, and how many differed in it.
type Field struct {
	Field string `json:"field"`
	Count uint64 `json:"count"`
}

// Class is what is known of one route class.
type Class struct {
	Class     string   `json:"class"` // such as GET /1/user/{user}/steps
	Counts    Counts   `json:"counts"`
	Differing Interval `json:"differing"`
	// Fields are those in which answers differed, the most frequent first.
	Fields []Field `json:"fields,omitempty"`
	// Probes is how often the same request was sent twice to one datacenter, to
	// learn which fields are noise; Learning says that it is too few to tell.
	Probes   uint64 `json:"probes"`
	Learning bool   `json:"learning,omitempty"`
	// Noise are the fields that are not compared, with the number of probes in
	// which they differed.
	Noise []Field `json:"noise,omitempty"`
}

// Difference is one field of two answers, its values shortened.
type Difference struct {
	Field  string `json:"field"`
	Place  string `json:"place"` // such as $.items[3].name, of the field $.items[*].name
	Source string `json:"source"`
	Target string `json:"target"`
}

// Example is one request whose answers differed. The source is the datacenter
// that answered the user, the target the one that the request was mirrored to.
type Example struct {
	At          time.Time    `json:"at"`
	Proxy       string       `json:"proxy,omitempty"`
	Class       string       `json:"class"`
	Path        string       `json:"path"` // without the query
	Bucket      uint32       `json:"bucket"`
	Source      string       `json:"source"`
	Target      string       `json:"target"`
	Differences []Difference `json:"differences"`
}

// Failure is the last mirrored request that got no answer.
type Failure struct {
	At         time.Time `json:"at"`
	Datacenter string    `json:"datacenter"`
	Error      string    `json:"error"`
}

// Report is what one proxy, or several, say of the requests that they mirrored.
type Report struct {
	Proxy   string `json:"proxy,omitempty"` // empty for several
	Enabled bool   `json:"enabled"`         // of several: all of them mirror
	// Began is when counting began, with the program; of several the last.
	Began       time.Time         `json:"began,omitzero"`
	At          time.Time         `json:"at"` // when it was made; of several the first
	Datacenters []string          `json:"datacenters,omitempty"`
	Share       float64           `json:"share"` // of the users; of several the smallest
	Total       Counts            `json:"total"`
	Differing   Interval          `json:"differing"`
	Drops       map[string]uint64 `json:"drops,omitempty"` // Total.Dropped by its reasons
	Classes     []Class           `json:"classes,omitempty"`
	Examples    []Example         `json:"examples,omitempty"`
	LastFailure *Failure          `json:"last_failure,omitempty"`
}

// examplesMax bounds the examples of a merged report: × 16 differences × two
// values of 120 bytes = 1 MiB.
const examplesMax = 256

// Merge puts the reports of several proxies together.
func Merge(reports []Report) Report {
	all := Report{Enabled: len(reports) != 0, Drops: map[string]uint64{}}
	classes := map[string]*merging{}
	for i := range reports {
		r := &reports[i]
		all.Enabled = all.Enabled && r.Enabled
		if r.Began.After(all.Began) {
			all.Began = r.Began
		}
		if i == 0 || r.At.Before(all.At) {
			all.At = r.At
		}
		if i == 0 || r.Share < all.Share {
			all.Share = r.Share
		}
		for _, dc := range r.Datacenters {
			if !slices.Contains(all.Datacenters, dc) {
				all.Datacenters = append(all.Datacenters, dc)
			}
		}
		all.Total.add(r.Total)
		for why, n := range r.Drops {
			all.Drops[why] += n
		}
		mergeClasses(classes, r.Classes)
		for _, e := range r.Examples {
			e.Proxy = cmp.Or(e.Proxy, r.Proxy)
			all.Examples = append(all.Examples, e)
		}
		if f := r.LastFailure; f != nil && (all.LastFailure == nil || f.At.After(all.LastFailure.At)) {
			all.LastFailure = f
		}
	}
	slices.Sort(all.Datacenters)
	slices.SortStableFunc(all.Examples, func(a, b Example) int { return b.At.Compare(a.At) })
	all.Examples = all.Examples[:min(len(all.Examples), examplesMax)]
	for _, m := range classes {
		all.Classes = append(all.Classes, m.class())
	}
	all.finish()
	return all
}

// merging is a class of several proxies.
type merging struct {
	Class
	fields, noise map[string]uint64
}

func mergeClasses(to map[string]*merging, classes []Class) {
	for _, c := range classes {
		m := to[c.Class]
		if m == nil {
			m = &merging{Class: Class{Class: c.Class}, fields: map[string]uint64{}, noise: map[string]uint64{}}
			to[c.Class] = m
		}
		m.Counts.add(c.Counts)
		m.Probes += c.Probes
		m.Learning = m.Learning || c.Learning
		for _, f := range c.Fields {
			m.fields[f.Field] += f.Count
		}
		for _, f := range c.Noise {
			m.noise[f.Field] += f.Count
		}
	}
}

func (m *merging) class() Class {
	c := m.Class
	c.Fields, c.Noise = SortedFields(m.fields), SortedFields(m.noise)
	return c
}

// SortedFields returns fields with their counts, the most frequent first.
func SortedFields(counts map[string]uint64) []Field {
	var fields []Field
	for f, n := range counts {
		fields = append(fields, Field{f, n})
	}
	slices.SortFunc(fields, func(a, b Field) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Field, b.Field))
	})
	return fields
}

// After returns what r counted since before, an earlier report of the same
// process. When the process began anew meanwhile, that is all of r.
func (r Report) After(before Report) Report {
	if !r.Began.Equal(before.Began) || r.Proxy != before.Proxy {
		return r
	}
	then := map[string]*Class{}
	for i := range before.Classes {
		then[before.Classes[i].Class] = &before.Classes[i]
	}
	r.Total.less(before.Total)
	drops := map[string]uint64{}
	for why, n := range r.Drops {
		drops[why] = n - min(n, before.Drops[why])
	}
	r.Drops, r.Began = drops, before.At
	r.Classes = slices.Clone(r.Classes)
	for i := range r.Classes {
		c := &r.Classes[i]
		was := then[c.Class]
		if was == nil {
			continue
		}
		c.Counts.less(was.Counts)
		c.Fields = fieldsLess(c.Fields, was.Fields)
	}
	r.Examples = slices.DeleteFunc(slices.Clone(r.Examples), func(e Example) bool { return !e.At.After(before.At) })
	r.finish()
	return r
}

func fieldsLess(fields, before []Field) []Field {
	counts := map[string]uint64{}
	for _, f := range fields {
		counts[f.Field] = f.Count
	}
	for _, f := range before {
		counts[f.Field] -= min(counts[f.Field], f.Count)
		if counts[f.Field] == 0 {
			delete(counts, f.Field)
		}
	}
	return SortedFields(counts)
}

// finish sets what follows from the rest: the intervals, and the order of the
// classes, those first in which most answers differ.
func (r *Report) finish() {
	r.Differing = IntervalOf(r.Total)
	for i := range r.Classes {
		r.Classes[i].Differing = IntervalOf(r.Classes[i].Counts)
	}
	slices.SortFunc(r.Classes, func(a, b Class) int {
		return cmp.Or(cmp.Compare(b.Counts.Different, a.Counts.Different),
			cmp.Compare(b.Differing.Compared, a.Differing.Compared), cmp.Compare(a.Class, b.Class))
	})
}

// Finish completes a report whose counts are set: a proxy calls it.
func (r *Report) Finish() { r.finish() }
