package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"drover/bench/edge/internal/figures"
	"drover/bench/edge/internal/peer"
	"drover/bench/edge/internal/yard"
	"drover/bench/internal/proc"
)

const (
	connections  = 64
	rampMax      = time.Second
	discardedMax = 2 * time.Second // the round that is thrown away
)

// last is the measured time of a turn.
func (b *bench) last() time.Duration { return time.Duration(b.seconds) * time.Second }

// ramp is what comes before it and is not measured: a second, and less only
// where somebody is just trying.
func ramp(last time.Duration) time.Duration { return min(rampMax, last/5) }

// load is one way of loading a peer.
type load struct {
	name     string
	rate     int // requests a second; 0 is as many as go
	workers  int // of the peer
	peerCore int
	yardCore int
}

func loads() []load {
	return []load{
		{name: "saturated", workers: 1, peerCore: 0, yardCore: 1},
		{name: "saturated2", workers: 2, peerCore: anyCore, yardCore: anyCore},
		{name: "fixed", rate: 2000, workers: 2, peerCore: anyCore, yardCore: anyCore},
	}
}

func loadNames() []string {
	var names []string
	for _, l := range loads() {
		names = append(names, l.name)
	}
	return names
}

type compareOptions struct {
	peers, loads []string
	profile      string
	retakes      int
}

// sample is one round of one peer under one load.
type sample struct {
	Peer      string   `json:"peer"`
	Load      string   `json:"load"`
	Round     int      `json:"round"`
	Answered  int      `json:"answered"`
	Errors    int      `json:"errors"`
	Wrong     int      `json:"wrong"`
	Rate      float64  `json:"requests_per_second"`
	CPU       float64  `json:"cpu_microseconds"` // each request
	User      float64  `json:"user_microseconds"`
	System    float64  `json:"system_microseconds"`
	P50       float64  `json:"p50_ms"`
	P99       float64  `json:"p99_ms"`
	Peak      float64  `json:"peak_mib"`
	YardCores float64  `json:"yard_cores"`
	Others    float64  `json:"others_cores"`
	Allocs    *float64 `json:"allocations,omitempty"` // each request
	OwnP50    *float64 `json:"own_p50_microseconds,omitempty"`
	OwnP99    *float64 `json:"own_p99_microseconds,omitempty"`
}

// compare measures every peer under every load.
func (b *bench) compare(ctx context.Context, o compareOptions) error {
	for _, name := range o.peers {
		if !slices.Contains(peer.Names(), name) {
			return fmt.Errorf("--peers: there is no %q; there are %v", name, peer.Names())
		}
	}
	var chosen []load
	for _, name := range o.loads {
		i := slices.Index(loadNames(), name)
		if i < 0 {
			return fmt.Errorf("--load: there is no %q; there are %v", name, loadNames())
		}
		chosen = append(chosen, loads()[i])
	}
	if b.gate {
		if err := gateable(o); err != nil {
			return err
		}
	}
	samples, faulty, err := b.measureAll(ctx, o, chosen)
	if err != nil {
		return err
	}
	b.tables(o.peers, chosen, samples)
	err = errors.Join(faulty, b.save("compare", samples))
	if b.gate {
		err = errors.Join(err, gate(o, samples))
	}
	if o.profile != "" {
		err = errors.Join(err, b.profile(ctx, o.profile))
	}
	return err
}

// measureAll returns the samples, and as faulty the rounds in which something
// went wrong: they are shown all the same.
func (b *bench) measureAll(ctx context.Context, o compareOptions, chosen []load) (samples []sample, faulty, err error) {
	for _, name := range o.peers {
		b.progress("warming up: %s", name)
		if _, _, err := b.measure(ctx, name, chosen[0], 0, min(discardedMax, b.last())); err != nil {
			return nil, nil, err
		}
	}
	for round := range b.rounds {
		for _, l := range chosen {
			for i := range o.peers {
				name := o.peers[(i+round)%len(o.peers)]
				s, fault, err := b.quiet(ctx, name, l, round+1, o.retakes)
				if err != nil {
					return nil, nil, err
				}
				samples, faulty = append(samples, s), errors.Join(faulty, fault)
			}
		}
	}
	return samples, faulty, nil
}

// quiet is one peer's turn, taken again while others disturb it: of all takes
// the one that they disturbed least. A take with an error is not taken again.
func (b *bench) quiet(ctx context.Context, name string, l load, round, retakes int) (best sample, fault, err error) {
	for take := 0; ; take++ {
		s, fault, err := b.measure(ctx, name, l, round, b.last())
		if err != nil {
			return s, nil, err
		}
		b.progress("round %d of %d, %s, %s: %.1f µs CPU, %.0f requests/s, p99 %.2f ms, %d errors, others %.2f cores",
			round, b.rounds, l.name, name, s.CPU, s.Rate, s.P99, s.Errors, s.Others)
		if take == 0 || s.Others < best.Others || fault != nil {
			best = s
		}
		if fault != nil || best.Others <= quietMax || take >= retakes {
			return best, fault, nil
		}
	}
}

// measure is one peer's turn.
func (b *bench) measure(ctx context.Context, name string, l load, round int, last time.Duration) (s sample, fault, err error) {
	err = b.with(ctx, name, peer.Options{Workers: l.workers, Core: l.peerCore}, func(p *peer.Peer) error {
		s, fault, err = b.turn(ctx, p, l, round, last)
		return err
	})
	if err != nil {
		err = fmt.Errorf("%s under %s: %w", name, l.name, err)
	}
	return s, fault, err
}

func (b *bench) turn(ctx context.Context, p *peer.Peer, l load, round int, last time.Duration) (sample, error, error) {
	if err := ctx.Err(); err != nil {
		return sample{}, nil, err
	}
	// Two pages at first: what lies between them is the price of a page.
	var pages [3]figures.Page
	var err error
	for i := range 2 {
		if pages[i], err = page(ctx, p); err != nil {
			return sample{}, nil, err
		}
	}
	r, err := b.yard.Do(yard.Command{
		Op: yard.OpLoad, Target: p.Address, Connections: connections, Rate: l.rate, Ramp: ramp(last), Last: last,
		Seed: uint64(round), Core: l.yardCore, Pids: p.Pids,
	})
	if err != nil {
		return sample{}, nil, err
	}
	if pages[2], err = page(ctx, p); err != nil {
		return sample{}, nil, err
	}
	memory, err := proc.MemoryOf(p.Pids)
	if err != nil {
		return sample{}, nil, err
	}
	if r.Answered == 0 {
		return sample{}, nil, errors.Join(errors.New("no request was answered"), faults(p.Name, r))
	}
	s := newSample(r)
	s.Peer, s.Load, s.Round, s.Peak = p.Name, l.name, round, float64(memory.PeakKiB)/1024
	s.own(pages, ramp(last))
	return s, faults(fmt.Sprintf("%s under %s, round %d", p.Name, l.name, round), r), nil
}

func newSample(r yard.Result) sample {
	each := func(d time.Duration) float64 { return d.Seconds() * 1e6 / float64(r.Answered) }
	user, system := r.CPU.Split()
	return sample{
		Answered: r.Answered, Errors: r.Errors, Wrong: r.Wrong, Rate: float64(r.Answered) / r.Elapsed.Seconds(),
		CPU: each(r.CPU.Total), User: each(user), System: each(system),
		P50: r.Latency.P50.Seconds() * 1e3, P99: r.Latency.P99.Seconds() * 1e3,
		YardCores: r.Yard.Total.Seconds() / r.Elapsed.Seconds(), Others: r.Others.Seconds() / r.Elapsed.Seconds(),
	}
}

// own fills in what a Go peer says of itself: pages from before, from before
// again, and from after the load.
func (s *sample) own(pages [3]figures.Page, ramp time.Duration) {
	const mallocs = "go_memstats_mallocs_total"
	price, after := pages[1].Since(pages[0]), pages[2].Since(pages[1])
	if all, ok := after.Sum(mallocs); ok {
		one, _ := price.Sum(mallocs)
		requests, _ := after.Sum("drover_proxy_requests_total")
		if requests == 0 { // nethttp counts none: the ramp's have to be guessed
			requests = float64(s.Answered) + s.Rate*ramp.Seconds()
		}
		each := max(all-one, 0) / requests
		s.Allocs = &each
	}
	for _, want := range []struct {
		q  float64
		to **float64
	}{{0.5, &s.OwnP50}, {0.99, &s.OwnP99}} {
		if v, ok := after.Quantile(want.q, "drover_proxy_own_seconds"); ok {
			v *= 1e6
			*want.to = &v
		}
	}
}

// profile writes a CPU profile of drover while it is saturated.
func (b *bench) profile(ctx context.Context, path string) error {
	l := loads()[0]
	return b.with(ctx, peer.Drover, peer.Options{Workers: l.workers, Core: l.peerCore}, func(p *peer.Peer) error {
		type answer struct {
			text []byte
			err  error
		}
		fetched := make(chan answer, 1)
		go func() {
			text, err := p.Page(ctx, fmt.Sprintf("/debug/pprof/profile?seconds=%d", b.seconds))
			fetched <- answer{text, err}
		}()
		_, err := b.yard.Do(yard.Command{
			Op: yard.OpLoad, Target: p.Address, Connections: connections, Ramp: ramp(b.last()), Last: b.last(), Core: l.yardCore,
		})
		got := <-fetched
		switch {
		case err != nil:
			return err
		case got.err != nil:
			b.progress("no profile: does the edge's admin server have /debug/pprof/? %v", got.err)
			return nil //nolint:nilerr // a profile is an extra: the figures stand
		}
		if err := os.WriteFile(path, got.text, 0o644); err != nil { //nolint:gosec // a profile is no secret
			return fmt.Errorf("write --profile: %w", err)
		}
		b.progress("profile: go tool pprof %s %s", b.proxy, path)
		return nil
	})
}
