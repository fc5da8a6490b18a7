package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/goccy/go-yaml"

	"drover/bucketmap"
	"drover/tools/demo/internal/faults"
	"drover/tools/demo/internal/ledger"
	"drover/tools/demo/internal/load"
	"drover/tools/demo/internal/stage"
)

const (
	// betaShare is how much of the buckets is on a shard that nothing happens to.
	betaShare = 0.05
	// cohortFor is for how long a user counts as just moved: the least that a proxy
	// takes, so that those who were moved in one case have stayed in the next ones.
	cohortFor = time.Minute
	// lateFrom is what a request may take, a bound of the proxies' histogram. With
	// 14% of them slower nobody has lost anything: machines that do much beside this
	// are slow at times, and a delay meets every request.
	lateFrom, lateBudget = 100 * time.Millisecond, 0.14
)

// trial is a stage with relays at the places where faults are injected.
type trial struct {
	options faultsOptions
	screen  *screen
	stage   *stage.Stage
	front   *faults.Front // before the target's applications
	edge    *stage.Edge
	page    *faults.Page // before the edge's metrics
	config  string       // the migrator's, with objectives and tracers

	// Where buckets of alpha are: those of the wave and the reserve at the source,
	// the others have lived in the target since before the edge began.
	wave, reserve, lived []bucketmap.BucketID
	waveHas              map[bucketmap.BucketID]bool
	buckets              uint32

	ledger *ledger.Ledger
	users  *load.Generator
	loads  sync.WaitGroup
	stop   context.CancelFunc // of the load
	going  bool

	campaigns int
	blinded   *campaignRun // the one of all cases in which metrics are not well
	watcher   *watcher     // of that one's console
	well      time.Time    // since when the page is well again
	rows      []*faultRow
}

// open puts the relays in place and begins the load.
func (t *trial) open(ctx context.Context, problems *problems) error {
	if err := t.settle(ctx); err != nil {
		return err
	}
	var err error
	if t.front, err = faults.NewFront(ctx, t.stage.Applications[stage.Target]); err != nil {
		return err
	}
	if t.edge, err = t.stage.StartEdge(ctx, stage.EdgeOptions{ID: "edge-faults", Map: "map", Target: t.front.Addresses(), Cohort: cohortFor}); err != nil {
		return err
	}
	if t.page, err = faults.NewPage(ctx, t.edge.Admin+"/metrics"); err != nil {
		return err
	}
	t.ledger = ledger.New(t.options.users, days(time.Now()))
	t.users = load.New(load.Options{URL: t.edge.URL, Rate: t.options.rate, Ledger: t.ledger, Problem: problems.add})
	loading, stop := context.WithCancel(context.WithoutCancel(ctx))
	t.stop = stop
	t.loads.Go(func() { t.users.Run(loading) })
	t.going = true
	return t.users.Resume(ctx)
}

// close ends what open began.
func (t *trial) close() error {
	if t.watcher != nil {
		t.watcher.end()
	}
	if t.blinded != nil {
		t.blinded.end()
	}
	if t.stop != nil {
		t.stop()
		t.loads.Wait()
	}
	var errs []error
	if t.page != nil {
		errs = append(errs, t.page.Close())
	}
	if t.edge != nil {
		errs = append(errs, t.edge.Close())
	}
	if t.front != nil {
		errs = append(errs, t.front.Close())
	}
	return errors.Join(errs...)
}

// pause ends the load, until resume.
func (t *trial) pause(ctx context.Context) error {
	if !t.going {
		return nil
	}
	t.going = false
	return t.users.Pause(ctx)
}

func (t *trial) resume(ctx context.Context) error {
	if t.going {
		return nil
	}
	t.going = true
	return t.users.Resume(ctx)
}

// settle chooses who is where, and takes those over who have lived in the target
// for long when the faults begin.
func (t *trial) settle(ctx context.Context) error {
	snap, err := t.stage.Map(ctx)
	if err != nil {
		return err
	}
	t.buckets = snap.Buckets()
	share := map[bucketmap.BucketID]float64{}
	for i := 1; i <= t.options.users; i++ {
		share[t.bucketOf(ledger.User(i).ID())] += activity(i, t.options.users)
	}
	var all []bucketmap.BucketID
	for run := range snap.Runs() {
		for b := run.First; run.Shard == stage.Alpha && b <= run.Last; b++ {
			all = append(all, b)
		}
	}
	chance := rand.New(rand.NewPCG(1, 2)) // the same every time
	chance.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	wave, reserve := 0.0, 0.0
	for _, b := range all {
		switch {
		case wave+share[b] <= t.options.wave:
			t.wave, wave = append(t.wave, b), wave+share[b]
		case reserve+share[b] <= t.options.reserve:
			t.reserve, reserve = append(t.reserve, b), reserve+share[b]
		case t.options.lived:
			t.lived = append(t.lived, b)
		}
	}
	t.waveHas = map[bucketmap.BucketID]bool{}
	for _, b := range t.wave {
		t.waveHas[b] = true
	}
	slices.Sort(t.wave)
	slices.Sort(t.lived)
	t.screen.line("   %d buckets are to live in %s; the wave has %d, with %.1f%% of the requests, and %d stay in %s beside it, with %.1f%%",
		len(t.lived), stage.Target, len(t.wave), 100*wave, len(t.reserve), stage.Source, 100*reserve)
	if len(t.lived) == 0 {
		return nil
	}
	if _, err := t.stage.Migrator(ctx, "bucket", "move", ranges(t.lived), "--to", string(stage.Gamma), "--why", "they have lived there for long"); err != nil {
		return err
	}
	_, err = t.stage.Migrator(ctx, "bucket", "finish", fmt.Sprint(t.lived[0]))
	return err
}

func (t *trial) bucketOf(user string) bucketmap.BucketID {
	return bucketmap.Bucket([]byte(user), t.buckets)
}

// inWave says whether a user is one of those who are just moved.
func (t *trial) inWave(user string) bool { return t.waveHas[t.bucketOf(user)] }

// usersIn counts the users of buckets.
func (t *trial) usersIn(buckets []bucketmap.BucketID) (n int) {
	for i := 1; i <= t.options.users; i++ {
		if slices.Contains(buckets, t.bucketOf(ledger.User(i).ID())) {
			n++
		}
	}
	return n
}

// activity is the share of the requests that a user sends: the load takes user
// 1 + count × r × s, with r and s even between 0 and 1, and r × s is below x with
// the probability x − x ln x.
func activity(user, count int) float64 {
	below := func(x float64) float64 {
		if x <= 0 {
			return 0
		}
		return x - x*math.Log(x)
	}
	return below(float64(user)/float64(count)) - below(float64(user-1)/float64(count))
}

// configure writes the migrator's configuration: the stage's, with an objective
// that looks at the relay before the edge's page, and with tracers. Only what is
// spoiled is asked for: a machine that does much beside this is late all the time.
func (t *trial) configure(minEvents int, late bool, more ...*stage.Edge) error {
	command := t.stage.MigratorCommand()
	text, err := os.ReadFile(command[slices.Index(command, "--config")+1])
	if err != nil {
		return err
	}
	var all map[string]any
	if err := yaml.Unmarshal(text, &all); err != nil {
		return err
	}
	type m = map[string]any
	objective := m{"name": "availability", "kind": "availability", "target": 1 - t.options.budget, "min_events": minEvents}
	if late {
		objective = m{"name": "latency", "kind": "latency", "target": 1 - lateBudget, "threshold": lateFrom.String(), "min_events": minEvents}
	}
	all["slo"] = m{
		"source":     m{"kind": "proxies", "urls": []string{t.page.URL()}},
		"objectives": []m{objective},
		"windows":    m{"scale": t.options.scale},
	}
	proxies := []m{{"name": t.edge.ID, "url": t.edge.URL, "admin": t.edge.Admin}, {"name": "edge-1", "url": t.stage.Proxy, "admin": t.stage.Admin}}
	for _, e := range more {
		proxies = append(proxies, m{"name": e.ID, "url": e.URL, "admin": e.Admin})
	}
	all["tracers"] = m{
		"proxies": proxies, "rate": 40, "grace": "1s", "headers": m{"X-User-Id": "{user}"},
		"write": m{"method": "POST", "path": "/1/user/-/steps", "body": `{"request_id": "{id}", "day": "{date}", "steps": 1}`,
			"datacenter": "json:datacenter", "shard": "json:shard", "instance": "json:instance", "count": "json:total", "duplicate": "json:duplicate"},
		"read": m{"method": "GET", "path": "/1/user/-/steps/{date}", "count": "json:requests"},
	}
	if text, err = yaml.Marshal(all); err != nil {
		return err
	}
	t.config, err = t.writeText("migrator-faults.yaml", string(text))
	return err
}

// migrator runs one of the migrator's commands with that configuration.
func (t *trial) migrator(ctx context.Context, args ...string) ([]byte, error) {
	return t.stage.Migrator(ctx, append(args, "--config", t.config)...)
}
