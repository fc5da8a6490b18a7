package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"drover/bucketmap"
	"drover/tools/demo/internal/faults"
	"drover/tools/demo/internal/stage"
)

const (
	// lookEvery is how often the campaign asks for the objectives.
	lookEvery = 500 * time.Millisecond
	// faultWaitMax bounds what must come: a minute in which proxies may not know who
	// was moved, a window, and a machine that does much beside this.
	faultWaitMax = 3 * time.Minute
	// harmBake is longer than a fault may go unseen.
	harmBake = 2 * time.Minute
)

// decided finds decisions.
func decided(action, level string) func(stage.Entry) bool {
	return func(e stage.Entry) bool {
		return e.Kind == "decision" && e.Decision.Action == action && e.Level == level
	}
}

// comesInto finds steps that come into one of some states.
func comesInto(states ...string) func(stage.Entry) bool {
	return func(e stage.Entry) bool {
		for _, s := range states {
			if e.Kind == "step" && e.State == s {
				return true
			}
		}
		return false
	}
}

// campaignRun is a campaign under way.
type campaignRun struct {
	dir     string // of --state
	steps   map[string][]bucketmap.BucketID
	feed    *faults.Feed[stage.Entry]
	process *stage.Program
}

func (c *campaignRun) end() int { return c.process.Stop() }

// campaign begins a campaign of one wave, and runs it.
func (t *trial) campaign(ctx context.Context, bake time.Duration, steps [][]bucketmap.BucketID) (*campaignRun, error) {
	if away, err := t.away(ctx); err != nil || away != 0 {
		return nil, errors.Join(err, fmt.Errorf("%d of %d buckets are still away, by a case before this one", away, len(t.wave)))
	}
	text, err := t.migrator(ctx, "campaign", "plan", "--to", string(stage.Target), "--output", "json")
	if err != nil {
		return nil, err
	}
	var made struct {
		Map struct {
			Version bucketmap.Version `json:"version"`
			Digest  string            `json:"digest"`
		} `json:"map"`
	}
	if err := json.Unmarshal(text, &made); err != nil {
		return nil, fmt.Errorf("migrator campaign plan: %w", err)
	}
	t.campaigns++
	name := fmt.Sprintf("campaign-%d", t.campaigns)
	c := &campaignRun{dir: filepath.Join(t.stage.Dir, name), steps: map[string][]bucketmap.BucketID{}}
	const pace = 1_000_000_000 // users an hour: nothing waits for it
	var plan strings.Builder
	fmt.Fprintf(&plan, "format: 1\nto: %s\nmap: {version: %d, digest: %q}\ndefault: auto\nburning: return\nreturn: at_once\n"+
		"pace: {start: %d, add: 0, min: %d, max: %d, parallel: 1}\nwaves:\n- name: faults\n  kind: buckets\n  gate: {bake: %v}\n  steps:\n",
		stage.Target, made.Map.Version, made.Map.Digest, pace, pace, pace, bake)
	for i, buckets := range steps {
		c.steps[fmt.Sprintf("faults/%d", i+1)] = buckets
		fmt.Fprintf(&plan, "  - {buckets: %q, from: %s, to: %s}\n", ranges(buckets), stage.Alpha, stage.Gamma)
	}
	path, err := t.writeText(name+".yaml", plan.String())
	if err != nil {
		return nil, err
	}
	if _, err := t.migrator(ctx, "campaign", "apply", path, "--state", c.dir); err != nil {
		return nil, err
	}
	c.feed = faults.NewFeed(stage.ReadEntry)
	c.process, err = t.stage.Start(name, c.feed, t.stage.MigratorCommand()[0], "campaign", "run", "--state", c.dir,
		"--every", lookEvery.String(), "--output", "json", "--config", t.config)
	return c, err
}

// harm lets a step move, injects a fault, and sees that the campaign takes its
// users home.
func (t *trial) harm(ctx context.Context, row *faultRow, fault faults.Faults, hidden bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, faultWaitMax, fmt.Errorf("not within %v", faultWaitMax))
	defer cancel()
	if err := t.configure(t.options.minEvents, fault.Delay != 0); err != nil {
		return err
	}
	c, err := t.campaign(ctx, harmBake, [][]bucketmap.BucketID{t.wave})
	if err != nil {
		return err
	}
	defer c.end()
	if _, err := c.feed.Until(ctx, 0, "the wave's users have moved", comesInto("baking")); err != nil {
		return err
	}
	from := c.feed.Len()
	t.front.Inject(fault)
	decision, err := c.feed.Until(ctx, from, "the campaign decides to take its users home", decided("return", "burning"))
	if err != nil {
		return err
	}
	seen := t.front.Tally()
	if err := t.comesHome(ctx); err != nil {
		return err
	}
	row.back = time.Since(seen.First)
	t.front.Heal()
	tally := t.front.Tally()
	row.hold, row.users, row.requests, row.share = decision.At.Sub(seen.First), tally.Users, tally.Faulty, seen.Share()
	row.why = decision.Why
	over := func(e stage.Entry) bool { return e.Kind == "returning" && len(e.Steps) == 0 }
	if _, err := c.feed.Until(ctx, from, "the way back is over", over); err != nil {
		return err
	}
	row.moved = t.movedBetween(c, from)
	if most := 2*t.options.base() + lookEvery; row.hold > most {
		row.not("it took %v, more than two of the shortest window and a look, %v", row.hold.Round(time.Millisecond), most)
	}
	budget := t.options.budget
	if fault.Delay != 0 {
		budget = lateBudget
	}
	if row.hidden = hidden; hidden && t.options.hidden && row.share > budget {
		row.not("of all requests in %s %.3g%% met the fault: the objective of %.3g%% does not hide it", stage.Target, 100*row.share, 100*budget)
	}
	t.wantStatus(ctx, row, c, "stopped", "returned")
	return nil
}

// movedBetween counts the users whose steps have moved since.
func (t *trial) movedBetween(c *campaignRun, from int) (n int) {
	for _, e := range c.feed.Since(from) {
		if comesInto("baking")(e) {
			n += t.usersIn(c.steps[e.Step])
		}
	}
	return n
}

// homePoll is how often the map is looked at.
const homePoll = 20 * time.Millisecond

// comesHome waits until the map says that the whole wave lives at the source.
func (t *trial) comesHome(ctx context.Context) error {
	for {
		away, err := t.away(ctx)
		if err != nil || away == 0 {
			return err
		}
		if wait(ctx, homePoll) != nil {
			return fmt.Errorf("%d of %d buckets do not live in %s again: %w", away, len(t.wave), stage.Source, context.Cause(ctx))
		}
	}
}

// away counts the wave's buckets that do not live at the source.
func (t *trial) away(ctx context.Context) (n int, err error) {
	snap, err := t.stage.Map(ctx)
	if err != nil {
		return 0, err
	}
	for _, b := range t.wave {
		if home, ok := snap.Home(b); !ok || home.Datacenter != stage.Source {
			n++
		}
	}
	return n, nil
}

// wantStatus looks at what campaign status says to people: the phase, and one of
// the words.
func (t *trial) wantStatus(ctx context.Context, row *faultRow, c *campaignRun, phase string, words ...string) {
	_, err := t.migrator(ctx, "campaign", "status", "--state", c.dir)
	var failed *stage.CommandError
	if !errors.As(err, &failed) {
		row.not("campaign status does not say that it is %s: %v", phase, err)
		return
	}
	said := failed.Last()
	if !strings.Contains(said, "the campaign is "+phase) || !containsAny(said, words) {
		row.not("campaign status says %q: want %s, and one of %q", said, phase, words)
	}
}

func containsAny(text string, words []string) bool {
	for _, w := range words {
		if strings.Contains(text, w) {
			return true
		}
	}
	return false
}
