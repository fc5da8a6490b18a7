package main

import (
	"errors"
	"fmt"
	"slices"

	"drover/bench/edge/internal/peer"
)

// peakMax bounds the memory of the edge under all loads, in MiB.
const peakMax = 30.0

// cpuMax is the most CPU that the edge may use for a request, as multiples of
// what each other peer uses.
func cpuMax() map[string]float64 {
	return map[string]float64{peer.Haproxy: 1.0, peer.Nginx: 1.1, peer.Nethttp: 1.0 / 3}
}

// gateable says whether a run measures what the gate wants to see.
func gateable(o compareOptions) error {
	for _, name := range peer.Names() {
		if !slices.Contains(o.peers, name) {
			return fmt.Errorf("--gate compares with %s: add it to --peers", name)
		}
	}
	for _, name := range loadNames() {
		if !slices.Contains(o.loads, name) {
			return fmt.Errorf("--gate wants the load %s: add it to --load", name)
		}
	}
	return nil
}

// gate says in what the edge is not good enough.
func gate(o compareOptions, samples []sample) error {
	var err error
	want := func(good bool, format string, args ...any) {
		if !good {
			err = errors.Join(err, fmt.Errorf("%w: "+format, append([]any{errGate}, args...)...))
		}
	}
	all := columns()
	cpu := all[slices.IndexFunc(all, func(c column) bool { return c.name == "CPU µs" })]
	peak := all[slices.IndexFunc(all, func(c column) bool { return c.name == "peak MiB" })]
	for _, load := range o.loads {
		for _, name := range peer.Names() {
			bound, compared := cpuMax()[name]
			if !compared {
				continue
			}
			ratio, measured := cpu.ratio(samples, name, load)
			want(measured && ratio.Median <= bound, "%s: CPU for a request, compared with %s, is × %.2f; at most × %.2f is wanted",
				load, name, ratio.Median, bound)
		}
		memory, _ := peak.spread(samples, peer.Drover, load)
		want(memory.Max <= peakMax, "%s: peak memory is %.1f MiB, at most %.0f MiB is wanted", load, memory.Max, peakMax)
	}
	return err
}
