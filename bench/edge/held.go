package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"drover/bench/edge/internal/figures"
	"drover/bench/edge/internal/peer"
	"drover/bench/edge/internal/scene"
	"drover/bench/edge/internal/yard"
	"drover/bench/internal/proc"
	"drover/bucketmap"
	"drover/bucketmap/file"
	"drover/internal/pause"
)

const (
	releasedMax  = 250 * time.Millisecond // wanted, for all requests together
	heldBuckets  = 4                      // from bucket 0 on, of the source's first shard
	heldFor      = 30 * time.Second       // the bound of each hold
	heldWaitMax  = 15 * time.Second       // until all are held, or all answered
	heldPollWait = 10 * time.Millisecond
	heldMove     = "bench"
	warmBatch    = 50 // requests at once while the connections are warmed
)

// heldSample is one round.
type heldSample struct {
	Round        int                `json:"round"`
	Released     float64            `json:"released_ms"`       // from Publish called to the last request at an origin
	AfterPublish float64            `json:"after_publish_ms"`  // the same from Publish done
	InForce      float64            `json:"in_force_ms"`       // from Publish called to the map in force at the edge
	Answered     int                `json:"answered"`          // of those held
	Errors       int                `json:"errors"`            // of them, and of those before
	Start        float64            `json:"start_mib"`         // before anybody connected
	Idle         float64            `json:"idle_mib"`          // all connected, each answered once
	Held         float64            `json:"held_mib"`          // all held
	PerHeld      float64            `json:"per_held_kib"`      // Held − Idle, each
	PerClient    float64            `json:"per_client_kib"`    // Held − Start, each
	Entered      float64            `json:"entered"`           // by the edge's own counters
	Outcomes     map[string]float64 `json:"outcomes"`          //
	Unaccounted  float64            `json:"entered_less_ends"` // 0 is wanted
	Connections  float64            `json:"connections"`       // to origins, at the end
}

// holding is what one round works with.
type holding struct {
	*bench
	peer     *peer.Peer
	store    *file.Store
	requests int
	sample   heldSample
	faulty   error
}

func heldCommand(b *bench) *cobra.Command {
	var requests, rate int
	cmd := &cobra.Command{
		Use: "held", Short: "Hold 5,000 requests at once and release them", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return b.run(cmd, func(ctx context.Context) error { return b.held(ctx, requests, rate) })
		},
	}
	cmd.Flags().IntVar(&requests, "requests", 5000, "how many are held")
	cmd.Flags().IntVar(&rate, "release-rate", 0, "hold.release_rate; 0: the edge's default")
	return cmd
}

func (b *bench) held(ctx context.Context, requests, rate int) error {
	if requests < 1 || requests > 8000 { // both sides of each, and the origins', below 20,000 descriptors
		return errors.New("--requests is 1 to 8000")
	}
	o := peer.Options{Workers: 2, Core: anyCore, Hold: peer.Hold{
		RequestsMax: requests, Total: requests, WaitMax: heldFor, ReleaseRate: rate,
	}}
	var samples []heldSample
	var faulty error
	for round := range b.rounds {
		err := b.with(ctx, peer.Drover, o, func(p *peer.Peer) error {
			store, err := file.Open(p.MapDir(), file.Options{})
			if err != nil {
				return fmt.Errorf("open the map's folder: %w", err)
			}
			h := &holding{bench: b, peer: p, store: store, requests: requests, sample: heldSample{Round: round + 1}}
			err = errors.Join(h.round(ctx), store.Close())
			samples, faulty = append(samples, h.sample), errors.Join(faulty, h.faulty)
			return err
		})
		if err != nil {
			return fmt.Errorf("hold requests: %w", err)
		}
	}
	b.heldTable(requests, samples)
	err := errors.Join(faulty, b.save("held", samples))
	if b.gate {
		for _, s := range samples {
			if s.Released > releasedMax.Seconds()*1e3 {
				err = errors.Join(err, fmt.Errorf("%w: the last of %d requests was released after %.0f ms, %v is wanted", errGate, requests, s.Released, releasedMax))
			}
		}
	}
	return err
}

// round connects, holds, releases and accounts.
func (h *holding) round(ctx context.Context) error {
	var err error
	if h.sample.Start, err = h.memory(); err != nil {
		return err
	}
	if err := h.yard.Open(h.peer.Address, h.requests); err != nil {
		return err
	}
	if err := h.warm(); err != nil {
		return err
	}
	if h.sample.Idle, err = h.memory(); err != nil {
		return err
	}
	if err := h.hold(ctx); err != nil {
		return err
	}
	if err := h.release(ctx); err != nil {
		return err
	}
	if err := h.account(ctx); err != nil {
		return err
	}
	return h.yard.Close()
}

func (h *holding) memory() (float64, error) {
	m, err := proc.MemoryOf(h.peer.Pids)
	return float64(m.NowKiB) / 1024, err
}

// warm has each connection answered once, a few at a time: what a held request
// costs must not be hidden in what a burst has left behind.
func (h *holding) warm() error {
	for first := 0; first < h.requests; first += warmBatch {
		users := make([]scene.User, min(warmBatch, h.requests-first))
		for i := range users {
			users[i] = h.scene.Users[(first+i)%len(h.scene.Users)]
		}
		if err := h.yard.Send(first, users); err != nil {
			return err
		}
		if err := h.collect("before the hold"); err != nil {
			return err
		}
	}
	return nil
}

func (h *holding) collect(when string) error {
	r, err := h.yard.Collect(heldWaitMax)
	h.sample.Answered, h.sample.Errors = r.Answered, h.sample.Errors+r.Errors
	h.faulty = errors.Join(h.faulty, faults(when, r))
	if when == whenReleased {
		h.sample.Released, h.sample.AfterPublish = float64(r.LastArrival), float64(r.LastArrival)
		if r.Arrivals != h.requests {
			h.faulty = errors.Join(h.faulty, fmt.Errorf("%w: %d of %d held requests reached an origin", errFaulty, r.Arrivals, h.requests))
		}
	}
	return err
}

const whenReleased = "after the hold"

// hold publishes the hold, sees it acknowledged, and sends the requests.
func (h *holding) hold(ctx context.Context) error {
	next, err := bucketmap.Update(ctx, h.store, bucketmap.Change{Who: "bench", Why: "hold"}, func(d *bucketmap.Draft) error {
		d.Holds = append(d.Holds, bucketmap.Hold{First: 0, Last: heldBuckets - 1, Move: heldMove, Until: time.Now().Add(heldFor).Truncate(time.Millisecond)})
		return nil
	})
	if err != nil {
		return fmt.Errorf("publish the hold: %w", err)
	}
	if err := h.acknowledged(ctx, next.Version()); err != nil {
		return err
	}
	after, err := ended(next)
	if err != nil {
		return err
	}
	users := heldUsers(h.scene, after, h.requests)
	if err := h.yard.Send(0, users); err != nil {
		return err
	}
	if err := h.allHeld(ctx); err != nil {
		return err
	}
	if h.sample.Held, err = h.memory(); err != nil {
		return err
	}
	each := 1024 / float64(h.requests)
	h.sample.PerHeld, h.sample.PerClient = (h.sample.Held-h.sample.Idle)*each, (h.sample.Held-h.sample.Start)*each
	return nil
}

// ended is the map after the move: the hold is gone and its buckets are at
// home in the target.
func ended(held *bucketmap.Snapshot) (*bucketmap.Snapshot, error) {
	draft := held.Edit()
	draft.DropHolds(heldMove)
	if err := draft.SetHome(0, heldBuckets-1, "shard1"); err != nil {
		return nil, fmt.Errorf("give the buckets a new home: %w", err)
	}
	next, err := draft.Snapshot()
	if err != nil {
		return nil, fmt.Errorf("check the map after the move: %w", err)
	}
	return next, nil
}

// heldUsers returns n users of the held buckets, over and over again, with
// where the map after the move sends them.
func heldUsers(s *scene.Scene, after *bucketmap.Snapshot, n int) []scene.User {
	var all []scene.User
	for _, u := range s.Users {
		if d := after.Decide([]byte(u.ID)); d.HasBucket && d.Bucket < heldBuckets {
			all = append(all, scene.User{ID: u.ID, Datacenter: scene.Index(d.Datacenter)})
		}
	}
	users := make([]scene.User, n)
	for i := range users {
		users[i] = all[i%len(all)]
	}
	return users
}

func (h *holding) acknowledged(ctx context.Context, v bucketmap.Version) error {
	ctx, cancel := context.WithTimeout(ctx, heldWaitMax)
	defer cancel()
	seen := false
	err := h.store.WatchAcks(ctx, func(acks []bucketmap.Ack) bool {
		seen = len(acks) == 1 && acks[0].Version >= v
		return !seen
	})
	if !seen {
		return fmt.Errorf("the edge did not acknowledge map %d within %v: %w", v, heldWaitMax, errors.Join(err, ctx.Err()))
	}
	return nil
}

func (h *holding) allHeld(ctx context.Context) error {
	for deadline := time.Now().Add(heldWaitMax); ; {
		metrics, err := page(ctx, h.peer)
		if err != nil {
			return err
		}
		held, _ := metrics.Sum("drover_proxy_held_requests")
		if int(held) == h.requests {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%.0f of %d requests are held after %v; outcomes so far: %v",
				held, h.requests, heldWaitMax, metrics.By("drover_proxy_holds_total", "outcome"))
		}
		if err := pause.For(ctx, heldPollWait); err != nil {
			return err
		}
	}
}

// release publishes the map after the move.
func (h *holding) release(ctx context.Context) error {
	current, err := h.store.Load(ctx)
	if err != nil {
		return fmt.Errorf("load the map: %w", err)
	}
	after, err := ended(current)
	if err != nil {
		return err
	}
	wall := time.Now()
	called, err := yard.Monotonic()
	if err != nil {
		return err
	}
	if err := h.store.Publish(ctx, after, bucketmap.Change{Who: "bench", Why: "the hold is over"}); err != nil {
		return fmt.Errorf("publish the end of the hold: %w", err)
	}
	done, err := yard.Monotonic()
	if err != nil {
		return err
	}
	if err := h.collect(whenReleased); err != nil {
		return err
	}
	h.sample.Released = (h.sample.Released - float64(called)) / 1e6
	h.sample.AfterPublish = (h.sample.AfterPublish - float64(done)) / 1e6
	text, err := h.peer.Page(ctx, "/map")
	if err != nil {
		return err
	}
	var status struct{ Since time.Time }
	if err := json.Unmarshal(text, &status); err != nil {
		return fmt.Errorf("read the edge's /map: %w", err)
	}
	h.sample.InForce = status.Since.Sub(wall).Seconds() * 1e3
	return nil
}

// account reads the edge's counters, which must add up.
func (h *holding) account(ctx context.Context) error {
	metrics, err := page(ctx, h.peer)
	if err != nil {
		return err
	}
	h.sample.Entered, _ = metrics.Sum("drover_proxy_holds_entered_total")
	h.sample.Outcomes = metrics.By("drover_proxy_holds_total", "outcome")
	h.sample.Connections, _ = metrics.Sum("drover_proxy_upstream_connections")
	h.sample.Unaccounted = h.sample.Entered
	for _, n := range h.sample.Outcomes {
		h.sample.Unaccounted -= n
	}
	if h.sample.Unaccounted != 0 || int(h.sample.Entered) != h.requests {
		h.faulty = errors.Join(h.faulty, fmt.Errorf("%w: %d requests were held, the edge counts %.0f, by outcome %v",
			errFaulty, h.requests, h.sample.Entered, h.sample.Outcomes))
	}
	h.progress("round %d of %d: released within %.0f ms, %.0f of them until the map was in force; %.1f KiB for each held request, %d errors; %.0f connections to origins",
		h.sample.Round, h.rounds, h.sample.Released, h.sample.InForce, h.sample.PerHeld, h.sample.Errors, h.sample.Connections)
	return nil
}

func (b *bench) heldTable(requests int, samples []heldSample) {
	fmt.Fprintf(b.out, "\n%sheld: %d requests in %d buckets; %d rounds; median (min–max)\n\n", prefix(b.label), requests, heldBuckets, b.rounds)
	b.grid(func(w io.Writer) {
		for _, line := range []struct {
			name string
			of   func(heldSample) float64
		}{
			{"last request sent, ms after Publish was called", func(s heldSample) float64 { return s.Released }},
			{"last request sent, ms after Publish was done", func(s heldSample) float64 { return s.AfterPublish }},
			{"map in force at the edge, ms after Publish was called", func(s heldSample) float64 { return s.InForce }},
			{"KiB for each held request, over the idle connection", func(s heldSample) float64 { return s.PerHeld }},
			{"KiB for each held request, with its connection", func(s heldSample) float64 { return s.PerClient }},
			{"MiB before anybody connected", func(s heldSample) float64 { return s.Start }},
			{"MiB with all connected", func(s heldSample) float64 { return s.Idle }},
			{"MiB with all held", func(s heldSample) float64 { return s.Held }},
			{"connections to origins at the end", func(s heldSample) float64 { return s.Connections }},
			{"errors", func(s heldSample) float64 { return float64(s.Errors) }},
			{"entered", func(s heldSample) float64 { return s.Entered }},
			{"entered less all outcomes", func(s heldSample) float64 { return s.Unaccounted }},
		} {
			var values []float64
			for _, s := range samples {
				values = append(values, line.of(s))
			}
			f := figures.Of(values)
			fmt.Fprintf(w, "%s\t%.1f (%.1f–%.1f)\n", line.name, f.Median, f.Min, f.Max)
		}
		last := samples[len(samples)-1]
		fmt.Fprintf(w, "outcomes of the last round\t%v\n", last.Outcomes)
	})
}
