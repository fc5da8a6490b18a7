package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"drover/bench/edge/internal/figures"
	"drover/bench/edge/internal/peer"
	"drover/bench/edge/internal/slow"
	"drover/bench/edge/internal/yard"
	"drover/bench/internal/proc"
)

const (
	slowRate   = 500                   // requests a second of the normal client
	slowP99Max = 50 * time.Millisecond // of them, wanted
)

type slowOptions struct {
	peers   []string
	clients int
}

// slowSample is one round: the normal client with and without slow ones.
type slowSample struct {
	Peer   string       `json:"peer"`
	Round  int          `json:"round"`
	Alone  slowLatency  `json:"alone"` // without slow clients
	Beside slowLatency  `json:"beside"`
	CPU    float64      `json:"cpu_cores"` // of the peer, beside
	Peak   float64      `json:"peak_mib"`
	Others float64      `json:"others_cores"` // the slow clients are among them
	Errors int          `json:"errors"`
	Slow   *slow.Totals `json:"slow"`
}

type slowLatency struct {
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

func slowCommand(b *bench) *cobra.Command {
	var o slowOptions
	cmd := &cobra.Command{
		Use: "slow", Short: "Measure a normal client beside 2,000 slow ones", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return b.run(cmd, func(ctx context.Context) error { return b.slow(ctx, o) })
		},
	}
	cmd.Flags().StringSliceVar(&o.peers, "peers", []string{peer.Drover}, "who is measured")
	cmd.Flags().IntVar(&o.clients, "clients", 2000, "how many clients are slow")
	return cmd
}

func (b *bench) slow(ctx context.Context, o slowOptions) error {
	if o.clients < 3 || o.clients > 5000 { // a third each; on both sides of the peer they are 10,000 descriptors
		return errors.New("--clients is 3 to 5000")
	}
	var samples []slowSample
	var faulty error
	for round := range b.rounds {
		for i := range o.peers {
			name := o.peers[(i+round)%len(o.peers)]
			err := b.with(ctx, name, peer.Options{Workers: 2, Core: anyCore}, func(p *peer.Peer) error {
				s, fault, err := b.slowTurn(ctx, p, o.clients, round+1)
				samples, faulty = append(samples, s), errors.Join(faulty, fault)
				return err
			})
			if err != nil {
				return fmt.Errorf("%s beside slow clients: %w", name, err)
			}
		}
	}
	b.slowTable(o, samples)
	err := errors.Join(faulty, b.save("slow", samples))
	if b.gate {
		for _, s := range samples {
			if s.Peer == peer.Drover && s.Beside.P99 >= slowP99Max.Seconds()*1e3 {
				err = errors.Join(err, fmt.Errorf("%w: beside slow clients p99 is %.1f ms, under %v is wanted", errGate, s.Beside.P99, slowP99Max))
			}
		}
	}
	return err
}

func (b *bench) slowTurn(ctx context.Context, p *peer.Peer, clients, round int) (s slowSample, fault, err error) {
	s = slowSample{Peer: p.Name, Round: round}
	command := yard.Command{
		Op: yard.OpLoad, Target: p.Address, Connections: connections, Rate: slowRate, Ramp: ramp(b.last()), Last: b.last(),
		Seed: uint64(round), Core: anyCore, Pids: p.Pids,
	}
	alone, err := b.yard.Do(command)
	if err != nil {
		return s, nil, err
	}
	crowd, err := slow.Start(ctx, p.Address, clients)
	if err != nil {
		return s, nil, err
	}
	beside, err := b.yard.Do(command)
	memory, err2 := proc.MemoryOf(p.Pids)
	totals := crowd.Stop()
	if err := errors.Join(err, err2); err != nil {
		return s, nil, err
	}
	s.Alone, s.Beside = newSlowLatency(alone), newSlowLatency(beside)
	s.CPU, s.Peak = beside.CPU.Total.Seconds()/beside.Elapsed.Seconds(), float64(memory.PeakKiB)/1024
	s.Others = beside.Others.Seconds() / beside.Elapsed.Seconds()
	s.Errors, s.Slow = alone.Errors+beside.Errors, &totals
	b.progress("round %d of %d, %s: p99 %.2f ms alone, %.2f ms beside %d slow clients, %d errors",
		round, b.rounds, p.Name, s.Alone.P99, s.Beside.P99, clients, s.Errors)
	return s, errors.Join(faults(p.Name+" alone", alone), faults(p.Name+" beside slow clients", beside)), nil
}

func newSlowLatency(r yard.Result) slowLatency {
	ms := func(d time.Duration) float64 { return d.Seconds() * 1e3 }
	return slowLatency{P50: ms(r.Latency.P50), P99: ms(r.Latency.P99), Max: ms(r.Latency.Max)}
}

func (b *bench) slowTable(o slowOptions, samples []slowSample) {
	fmt.Fprintf(b.out, "\n%sslow: %d requests/s beside %d slow clients; %d rounds of %d s; median (min–max)\n\n",
		prefix(b.label), slowRate, o.clients, b.rounds, b.seconds)
	b.grid(func(w io.Writer) {
		fmt.Fprintln(w, "peer\tp99 ms alone\tp50 ms\tp99 ms\tmax ms\tcores\tpeak MiB\tothers\terrors\tslow: finished\trefused\tcut off")
		for _, name := range slices.Compact(slices.Sorted(slices.Values(o.peers))) {
			cell := func(digits int, of func(slowSample) float64) string {
				var values []float64
				for _, s := range samples {
					if s.Peer == name {
						values = append(values, of(s))
					}
				}
				f := figures.Of(values)
				return fmt.Sprintf("\t%.*f (%.*f–%.*f)", digits, f.Median, digits, f.Min, digits, f.Max)
			}
			fmt.Fprintln(w, name+
				cell(2, func(s slowSample) float64 { return s.Alone.P99 })+
				cell(2, func(s slowSample) float64 { return s.Beside.P50 })+
				cell(2, func(s slowSample) float64 { return s.Beside.P99 })+
				cell(2, func(s slowSample) float64 { return s.Beside.Max })+
				cell(2, func(s slowSample) float64 { return s.CPU })+
				cell(1, func(s slowSample) float64 { return s.Peak })+
				cell(2, func(s slowSample) float64 { return s.Others })+
				cell(0, func(s slowSample) float64 { return float64(s.Errors) })+
				cell(0, func(s slowSample) float64 { return float64(s.Slow.Finished) })+
				cell(0, func(s slowSample) float64 { return float64(s.Slow.Refused) })+
				cell(0, func(s slowSample) float64 { return float64(s.Slow.Cut) }))
		}
	})
}
