package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"drover/bench/edge/internal/figures"
	"drover/bench/edge/internal/peer"
)

// column is one figure of a table.
type column struct {
	name     string
	digits   int
	of       func(sample) (float64, bool)
	compared bool // whether Drover's ratio to the others is shown
}

func columns() []column {
	always := func(of func(sample) float64) func(sample) (float64, bool) {
		return func(s sample) (float64, bool) { return of(s), true }
	}
	perhaps := func(of func(sample) *float64) func(sample) (float64, bool) {
		return func(s sample) (float64, bool) {
			if v := of(s); v != nil {
				return *v, true
			}
			return 0, false
		}
	}
	return []column{
		{"CPU µs", 1, always(func(s sample) float64 { return s.CPU }), true},
		{"user µs", 1, always(func(s sample) float64 { return s.User }), true},
		{"system µs", 1, always(func(s sample) float64 { return s.System }), true},
		{"requests/s", 0, always(func(s sample) float64 { return s.Rate }), true},
		{"p50 ms", 2, always(func(s sample) float64 { return s.P50 }), true},
		{"p99 ms", 2, always(func(s sample) float64 { return s.P99 }), true},
		{"peak MiB", 1, always(func(s sample) float64 { return s.Peak }), true},
		{"errors", 0, always(func(s sample) float64 { return float64(s.Errors) }), false},
		{"allocs", 2, perhaps(func(s sample) *float64 { return s.Allocs }), false},
		{"own p50 µs", 0, perhaps(func(s sample) *float64 { return s.OwnP50 }), false},
		{"own p99 µs", 0, perhaps(func(s sample) *float64 { return s.OwnP99 }), false},
		{"yard", 2, always(func(s sample) float64 { return s.YardCores }), false},
		{"others", 2, always(func(s sample) float64 { return s.Others }), false},
	}
}

// spread returns a figure of one peer under one load over all rounds.
func (c column) spread(samples []sample, name, load string) (figures.Spread, bool) {
	var values []float64
	for _, s := range samples {
		if v, ok := c.of(s); ok && s.Peer == name && s.Load == load {
			values = append(values, v)
		}
	}
	return figures.Of(values), len(values) > 0
}

// ratio returns Drover's figure as a multiple of another's, the spread of the
// rounds' ratios: within a round the two were measured within a minute, and
// what slowed the machine slowed both.
func (c column) ratio(samples []sample, name, load string) (figures.Spread, bool) {
	var values []float64
	for _, own := range samples {
		for _, other := range samples {
			if own.Peer != peer.Drover || other.Peer != name || own.Load != load || other.Load != load || own.Round != other.Round {
				continue
			}
			mine, ok := c.of(own)
			its, ok2 := c.of(other)
			if ok && ok2 && its > 0 {
				values = append(values, mine/its)
			}
		}
	}
	return figures.Of(values), len(values) > 0
}

func (c column) number(v float64) string { return strconv.FormatFloat(v, 'f', c.digits, 64) }

// tables prints a table for each load: medians, spreads, ratios.
func (b *bench) tables(peers []string, chosen []load, samples []sample) {
	for _, l := range chosen {
		rate := "as many requests as go"
		if l.rate > 0 {
			rate = fmt.Sprintf("%d requests/s", l.rate)
		}
		fmt.Fprintf(b.out, "\n%s%s: %s, %d workers; %d rounds of %d s; median (min–max)\n\n",
			prefix(b.label), l.name, rate, l.workers, b.rounds, b.seconds)
		b.grid(func(w io.Writer) {
			header := []string{"peer"}
			for _, c := range columns() {
				header = append(header, c.name)
			}
			fmt.Fprintln(w, strings.Join(header, "\t"))
			for _, name := range peers {
				row(w, name, l.name, samples)
			}
			for _, name := range peers {
				if name != peer.Drover && slices.Contains(peers, peer.Drover) {
					ratios(w, name, l.name, samples)
				}
			}
		})
		if n, of := disturbed(samples, l.name); n > 0 {
			fmt.Fprintf(b.out, "\nIn %d of %d turns others took more than %.1f cores: repeat this when the machine is quiet.\n", n, of, quietMax)
		}
	}
}

// quietMax is how much of the machine others may take, in cores, for figures
// to be believed.
const quietMax = 0.2

func disturbed(samples []sample, load string) (n, of int) {
	for _, s := range samples {
		if s.Load == load {
			of++
			if s.Others > quietMax {
				n++
			}
		}
	}
	return n, of
}

// grid prints a table whose columns are made even.
func (b *bench) grid(fill func(io.Writer)) {
	w := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', 0)
	fill(w)
	_ = w.Flush() // a table that cannot be shown is seen by who looks for it
}

func prefix(label string) string {
	if label == "" {
		return ""
	}
	return label + ", "
}

func row(w io.Writer, name, load string, samples []sample) {
	cells := []string{name}
	for _, c := range columns() {
		s, ok := c.spread(samples, name, load)
		switch {
		case !ok:
			cells = append(cells, "-")
		case s.Min == s.Max:
			cells = append(cells, c.number(s.Median))
		default:
			cells = append(cells, fmt.Sprintf("%s (%s–%s)", c.number(s.Median), c.number(s.Min), c.number(s.Max)))
		}
	}
	fmt.Fprintln(w, strings.Join(cells, "\t"))
}

// ratios prints Drover's figures as multiples of another's.
func ratios(w io.Writer, name, load string, samples []sample) {
	cells := []string{"drover/" + name}
	for _, c := range columns() {
		r, ok := c.ratio(samples, name, load)
		switch {
		case !ok || !c.compared:
			cells = append(cells, "")
		case r.Min == r.Max:
			cells = append(cells, fmt.Sprintf("× %.2f", r.Median))
		default:
			cells = append(cells, fmt.Sprintf("× %.2f (%.2f–%.2f)", r.Median, r.Min, r.Max))
		}
	}
	fmt.Fprintln(w, strings.Join(cells, "\t"))
}
