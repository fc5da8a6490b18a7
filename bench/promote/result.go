package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"drover/bench/internal/times"
	"drover/bucketmap"
)

// reasonsShown bounds the reasons of failures in the report.
const reasonsShown = 5

// result is what was measured.
type result struct {
	began      time.Time
	took       time.Duration
	idle       float64
	entries    []entry
	failures   map[string]int // requests, by reason
	reasons    map[string]int // of steps back
	promotions []promotion

	there, back times.Times // the stalls
	parts       parts
	silence     times.Times // of each promotion, see crossing
	longest     times.Times
	unmeasured  int // stalls that no write was beside
	stale       int
	primary     bucketmap.Datacenter
	verdicts    map[bucketmap.Datacenter]*verdict
}

// judge compares the servers with the entries, and finds the stalls.
func (r *result) judge(ctx context.Context, f *field) error {
	var err error
	if r.primary, err = f.home(ctx); err != nil {
		return err
	}
	replica := legacy
	if r.primary == legacy {
		replica = cloud
	}
	if err := f.catchUp(ctx, r.primary, replica); err != nil {
		return err
	}
	r.verdicts = map[bucketmap.Datacenter]*verdict{}
	for _, dc := range []bucketmap.Datacenter{replica, r.primary} { // the last one's servers stay in the entries
		books, err := f.books(ctx, dc)
		if err != nil {
			return fmt.Errorf("read what the server in %s has: %w", dc, err)
		}
		r.verdicts[dc] = audit(r.entries, books)
	}
	for i, c := range crossings(r.promotions, r.entries) {
		r.stale += c.stale
		r.silence, r.longest = append(r.silence, c.silence), append(r.longest, c.longest)
		stall, ok := c.stall()
		if !ok {
			r.unmeasured++
			continue
		}
		stalls := &r.there
		if r.promotions[i].target == legacy {
			stalls = &r.back
		}
		*stalls = append(*stalls, stall)
		r.parts.add(c, r.promotions[i].entered)
	}
	return nil
}

// failed counts the requests that were not acknowledged, or not as they should.
func (r *result) failed() (n int) {
	for _, count := range r.failures {
		n += count
	}
	return n
}

// rate is how many writes a second there were.
func (r *result) rate() float64 { return float64(len(r.entries)) / r.took.Seconds() }

// print gives all figures.
func (r *result) print(out io.Writer) {
	fmt.Fprintf(out, "%d promotions in %s, %d writes, %.0f/s\n", len(r.promotions), r.took.Round(time.Second), len(r.entries), r.rate())
	fmt.Fprintf(out, "  of the machine's CPU time %.0f %% was idle\n", 100*r.idle)
	fmt.Fprintf(out, "  write stall, there     %s\n  write stall, back      %s\n", r.there, r.back)
	for _, name := range partNames {
		fmt.Fprintf(out, "    %-20s %s\n", name, *r.parts[name])
	}
	fmt.Fprintf(out, "  longest silence        %s\n  longest request        %s\n", r.silence, r.longest)
	for _, name := range stateNames {
		var all times.Times
		for _, p := range r.promotions {
			all = append(all, p.stays[name])
		}
		fmt.Fprintf(out, "    in %-17s %s\n", name, all)
	}
	if r.unmeasured != 0 {
		fmt.Fprintf(out, "  %d stalls without a write on both sides\n", r.unmeasured)
	}
	for _, reason := range sorted(r.reasons) {
		fmt.Fprintf(out, "  %d × %s\n", r.reasons[reason], reason)
	}
	fmt.Fprintf(out, "  failed requests %d of %d\n", r.failed(), len(r.entries))
	for i, reason := range sorted(r.failures) {
		if i == reasonsShown {
			fmt.Fprintf(out, "    and %d reasons more\n", len(r.failures)-i)
			break
		}
		fmt.Fprintf(out, "    %d × %s\n", r.failures[reason], reason)
	}
	for _, dc := range []bucketmap.Datacenter{legacy, cloud} {
		name := "replica"
		if dc == r.primary {
			name = "primary"
		}
		fmt.Fprintf(out, "  %s, the %s: %s\n", dc, name, r.verdicts[dc])
		for _, finding := range r.verdicts[dc].findings {
			fmt.Fprintf(out, "    %s\n", finding)
		}
	}
	fmt.Fprintf(out, "  taken by the old primary after the new one: %d\n", r.stale)
}

// verdict says whether what was measured is as good as it must be.
func (r *result) verdict(o options) error {
	var wrong []string
	for _, dc := range []bucketmap.Datacenter{legacy, cloud} {
		if v := r.verdicts[dc]; v.lost+v.doubled != 0 {
			wrong = append(wrong, fmt.Sprintf("%s: %s", dc, v))
		}
	}
	if r.stale != 0 {
		wrong = append(wrong, fmt.Sprintf("%d writes by two primaries at once", r.stale))
	}
	if o.gate {
		if r.rate() < rateShare*float64(o.rate) {
			wrong = append(wrong, fmt.Sprintf("%.0f writes/s of %d: the machine has too much else to do", r.rate(), o.rate))
		}
		if n := r.failed(); n != 0 {
			wrong = append(wrong, fmt.Sprintf("%d requests failed", n))
		}
		if r.unmeasured != 0 || len(r.there) == 0 {
			wrong = append(wrong, fmt.Sprintf("of %d stalls %d could be measured", len(r.promotions), len(r.promotions)-r.unmeasured))
		}
		for name, stalls := range map[string]times.Times{"there": r.there, "back": r.back} {
			if stalls.At(0.99) > stallP99 {
				wrong = append(wrong, fmt.Sprintf("99 of 100 stalls must be at most %s; %s they are %s", times.Ms(stallP99), name, stalls))
			}
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", errGate, strings.Join(wrong, "; "))
}
