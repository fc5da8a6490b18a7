package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"drover/bench/internal/proc"
	"drover/bench/internal/process"
	"drover/bench/internal/times"
	"drover/internal/pause"
	"drover/tools/sources"
	"drover/tools/testservers"
)

// versions measures requests while versions are published.
type versions struct {
	rounds, count, rate int
	buckets             uint32
	every, limit        time.Duration
	stores              []string
	proxy               string
}

func (v *versions) run(ctx context.Context, out io.Writer) (err error) {
	if v.rounds < 1 || v.count < v.rounds || v.rate < 1 || v.buckets < 1024 || v.every <= 0 || v.limit < 0 {
		return errors.New("want a round or more, a version a round or more, a request a second or more, 1,024 buckets or more, and time between versions")
	}
	for _, store := range v.stores {
		if store != "file" && store != "consul" {
			return fmt.Errorf("store %q: want file or consul", store)
		}
	}
	fleet, err := testservers.New(ctx, testservers.Options{Log: func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fleet.Close()) }()
	server, err := fleet.Consul(ctx, "versions", testservers.ConsulOptions{})
	if err != nil {
		return err
	}
	// What would be on other machines in a fleet gets what is left over.
	if err := makeIdle(server.PID()); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "drover-publish-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if v.proxy == "" {
		if v.proxy, err = sources.Program(ctx, dir, "proxy"); err != nil {
			return err
		}
	}
	for _, p := range []place{{Store: "file"}, {Store: "consul", Consul: server.Addr()}} {
		if !slices.Contains(v.stores, p.Store) {
			continue
		}
		if err := v.measure(ctx, out, dir, p); err != nil {
			return fmt.Errorf("%s: %w", p.Store, err)
		}
	}
	return nil
}

// measure takes the rounds of one store.
func (v *versions) measure(ctx context.Context, out io.Writer, dir string, p place) (err error) {
	dir = filepath.Join(dir, "bench-"+p.Store)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	at := func(name string) place {
		to := p
		if to.At = name; p.Store == "file" {
			to.At = filepath.Join(dir, name)
		}
		return to
	}
	var helpers []*helper
	defer func() {
		for _, h := range slices.Backward(helpers) {
			err = errors.Join(err, h.stop())
		}
	}()
	start := func(idle bool, command string, of any) (*helper, error) {
		text, err := json.Marshal(of)
		if err != nil {
			return nil, err
		}
		h, err := startHelper(idle, command, string(text))
		if err == nil {
			helpers = append(helpers, h)
		}
		return h, err
	}
	apps, err := start(false, originsName, struct{}{})
	if err != nil {
		return err
	}
	origins, err := ask[addresses](ctx, apps, struct{}{})
	if err != nil {
		return err
	}
	watched, err := start(true, publisherName, publisher{place: at("map"), Buckets: v.buckets})
	if err != nil {
		return err
	}
	aside, err := start(true, publisherName, publisher{place: at("aside"), Buckets: v.buckets, Elsewhere: true})
	if err != nil {
		return err
	}
	e, err := startEdge(ctx, dir, v.proxy, at("map").config(), origins)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Stop()) }()
	// Nothing is published yet, but for the first map.
	for _, h := range []*helper{watched, aside} {
		if _, err := ask[published](ctx, h, publish{}); err != nil {
			return err
		}
	}
	requests, err := start(false, loadName, load{Address: e.Address, Rate: v.rate, Buckets: v.buckets})
	if err != nil {
		return err
	}
	kinds := []*kind{
		{name: "nothing is published"},
		{name: "published elsewhere", by: aside},
		{name: "published to the proxy", by: watched},
	}
	t, err := v.takeTurns(ctx, requests, kinds, e)
	if t.taken > 0 {
		v.show(out, p.Store, kinds, t)
	}
	return err
}

// kind is what goes on in a round.
type kind struct {
	name   string
	by     *helper // who publishes; nil for nobody
	rounds []times.Times
	took   time.Duration // of all rounds
	cpu    time.Duration // of the proxy
}

const (
	// stolenMax is the share of the processors' time that the host may take from
	// this machine in a round. What it takes falls on every kind alike, and the
	// turns are compared one by one; where it takes more, a p99 of 2 ms is 10 and
	// says nothing.
	stolenMax = 0.03
	// againMax is how often a turn is taken again for it, for each that counts.
	againMax = 3
)

// round is what one round gave.
type round struct {
	kind   *kind
	times  times.Times
	took   time.Duration // of the publications, or of nothing
	cpu    time.Duration // of the proxy
	stolen float64       // share of the processors' time, 0 to 1
}

// turns is how many there were. In each, every kind has one round.
type turns struct {
	taken, again int // those that count, and those that were taken again
	versions     int // of those that count, for each kind
}

// takeTurns lets the kinds take turns. Those in one of whose rounds the host took
// too much are taken again. The first round of all is not counted. Whatever fails
// a request in any of them ends the run. What it returns beside an error was
// measured all the same.
func (v *versions) takeTurns(ctx context.Context, requests *helper, kinds []*kind, e *process.Process) (t turns, err error) {
	if _, err := v.round(ctx, requests, &kind{name: "the load begins"}, min(v.count, 50), e); err != nil {
		return t, err
	}
	began := time.Now()
	for t.taken < v.rounds && (v.limit == 0 || time.Since(began) < v.limit) {
		n := v.count*(t.taken+1)/v.rounds - v.count*t.taken/v.rounds
		var rounds []round
		stolen := 0.0
		for i := range kinds {
			// Each kind comes first as often as any.
			r, err := v.round(ctx, requests, kinds[(i+t.taken)%len(kinds)], n, e)
			if err != nil {
				return t, err
			}
			rounds, stolen = append(rounds, r), max(stolen, r.stolen)
		}
		if stolen > stolenMax && t.again < againMax*v.rounds {
			t.again++
			continue
		}
		for _, r := range rounds {
			r.kind.took += r.took
			r.kind.cpu += r.cpu
			r.kind.rounds = append(r.kind.rounds, r.times)
		}
		t.taken++
		t.versions += n
	}
	return t, nil
}

// round publishes n versions under load, or does nothing for as long.
func (v *versions) round(ctx context.Context, requests *helper, k *kind, n int, e *process.Process) (round, error) {
	if _, err := ask[loaded](ctx, requests, loadBegins); err != nil {
		return round{}, err
	}
	began := time.Now()
	stolenBefore, err := proc.MachineStolen()
	if err != nil {
		return round{}, err
	}
	before, err := proc.Clock(e.PID())
	if err != nil {
		return round{}, err
	}
	var did published
	if k.by == nil {
		did.Took = time.Duration(n) * v.every
		err = pause.For(ctx, did.Took)
	} else {
		did, err = ask[published](ctx, k.by, publish{n, v.every})
	}
	after, cpuErr := proc.Clock(e.PID())
	stolen, stolenErr := proc.MachineStolen()
	lasted := time.Since(began)
	got, loadErr := ask[loaded](ctx, requests, loadEnds)
	if err := errors.Join(err, cpuErr, stolenErr, loadErr); err != nil {
		return round{}, fmt.Errorf("while %s: %w", k.name, err)
	}
	return round{kind: k, times: got.Took, took: did.Took, cpu: after - before,
		stolen: float64(stolen-stolenBefore) / float64(lasted) / float64(runtime.NumCPU())}, nil
}

// show prints medians of rounds: one in which something else took the
// processors changes nothing.
func (v *versions) show(out io.Writer, name string, kinds []*kind, t turns) {
	fmt.Fprintf(out, "%s: %d versions of %d buckets in %d rounds of each kind, %d requests a second, none failed\n",
		name, t.versions, v.buckets, t.taken, v.rate)
	if t.again != 0 {
		fmt.Fprintf(out, "  %d turns more were taken, and do not count: the host had more than %.1f %% of the processors' time in one of their rounds\n", t.again, 100*stolenMax)
	}
	for _, k := range kinds {
		p50, p99 := k.each(0.50), k.each(0.99)
		rate := ""
		if k.by != nil {
			rate = fmt.Sprintf("%.1f versions a second, ", float64(t.versions)/k.took.Seconds())
		}
		fmt.Fprintf(out, "  %-22s p50 %.2f ms  p99 %.2f ms (rounds %.2f to %.2f)  max %s  %sproxy CPU %s\n",
			k.name, times.InMs(p50.Median()), times.InMs(p99.Median()), times.InMs(p99.At(0)), times.InMs(p99.At(1)), times.Ms(k.each(1).At(1)), rate, times.Ms(k.cpu))
	}
	nothing, elsewhere, watched := kinds[0], kinds[1], kinds[2]
	fmt.Fprintf(out, "  p99, to the proxy: × %.2f of nothing, × %.2f of elsewhere\n", watched.against(nothing), watched.against(elsewhere))
	fmt.Fprintf(out, "  the same turn by turn, the median and where it is with 95 %% certainty: %s of nothing, %s of elsewhere\n", watched.byTurn(nothing), watched.byTurn(elsewhere))
	fmt.Fprintf(out, "  a version costs the proxy %.2f ms of CPU beyond nothing, %.2f ms beyond elsewhere\n",
		watched.beyond(nothing, t.versions), watched.beyond(elsewhere, t.versions))
}

// against is the median of the rounds' p99 by another kind's.
func (k *kind) against(other *kind) float64 {
	return float64(k.each(0.99).Median()) / float64(other.each(0.99).Median())
}

// byTurn compares the p99 of each round with that of the other kind's round
// beside it, which has met much the same disturbances: the median of the ratios,
// and its 95 % interval, by the order statistics (n/2 ± 0.98 √n of n).
func (k *kind) byTurn(other *kind) string {
	var ratios []float64
	for i, p99 := range k.each(0.99) {
		ratios = append(ratios, float64(p99)/float64(other.rounds[i].At(0.99)))
	}
	slices.Sort(ratios)
	n := float64(len(ratios))
	at := func(rank float64) float64 { return ratios[min(max(int(math.Round(rank)), 1), len(ratios))-1] }
	return fmt.Sprintf("× %.2f (%.2f to %.2f)", at((n+1)/2), at(n/2-0.98*math.Sqrt(n)), at(n/2+0.98*math.Sqrt(n)+1))
}

// beyond is the proxy's CPU for one version, in ms: without what it spends on
// requests in as much time, as another kind says. Publications may take longer
// than nothing does.
func (k *kind) beyond(other *kind, versions int) float64 {
	requests := float64(other.cpu) * k.took.Seconds() / other.took.Seconds()
	return (float64(k.cpu) - requests) / float64(time.Millisecond) / float64(versions)
}

// each returns one figure of each round.
func (k *kind) each(share float64) times.Times {
	var all times.Times
	for _, r := range k.rounds {
		all = append(all, r.At(share))
	}
	return all
}
