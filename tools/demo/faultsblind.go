package main

import (
	"context"
	"fmt"
	"time"

	"drover/bucketmap"
	"drover/tools/demo/internal/faults"
	"drover/tools/demo/internal/stage"
)

// blindSteps is how many steps the reserve makes: a few for each case.
const blindSteps = 30

// blindEvents are few: a step of the reserve is small.
const blindEvents = 20

// blind spoils the metrics' page while a campaign goes on, and sees that it holds,
// that nobody goes back, and that it goes on by itself once the page is well.
func (t *trial) blind(ctx context.Context, row *faultRow, state faults.State, words []string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, faultWaitMax, fmt.Errorf("not within %v", faultWaitMax))
	defer cancel()
	if err := t.begins(ctx); err != nil {
		return err
	}
	c := t.blinded
	if err := c.goesOn(ctx, t.well.Add(t.options.base()*3/2)); err != nil {
		return err
	}
	from, shownFrom := c.feed.Len(), t.watcher.feed.Len()
	if err := t.page.Be(ctx, state); err != nil {
		return err
	}
	held, err := c.feed.Until(ctx, from, fmt.Sprintf("the campaign holds, by one of %q", words), func(e stage.Entry) bool {
		return decided("hold", "unknown")(e) && containsAny(e.Why, words)
	})
	if err != nil {
		return err
	}
	_, first := t.page.Spoilt()
	row.hold, row.why = held.At.Sub(first), held.Why
	t.wantStatus(ctx, row, c, "held", words...)
	t.watcher.shows(ctx, row, shownFrom, "held", words)
	if err := t.looksOn(ctx); err != nil {
		return err
	}
	known := true
	for _, e := range c.feed.Since(from) {
		switch {
		case e.Decision.Cause == "old", e.Seq == held.Seq:
			known = false
		case comesInto("running")(e) && !known:
			row.not("%s began while nothing was known", e.Step)
		}
	}
	row.moved = t.movedBetween(c, from)
	if most := 2*t.options.base() + lookEvery; row.hold > most {
		row.not("it took %v, more than two of the shortest window and a look, %v", row.hold.Round(time.Millisecond), most)
	}
	healed := c.feed.Len()
	if err := t.page.Be(ctx, faults.Well); err != nil {
		return err
	}
	t.well = time.Now()
	on, err := c.feed.Until(ctx, healed, "the campaign goes on by itself", comesInto("running"))
	if err != nil {
		return err
	}
	row.on = on.At.Sub(t.well)
	for _, e := range c.feed.Since(from) {
		if e.Kind == "returning" || comesInto("returning", "returned")(e) {
			row.not("users went back: %s %s", e.Kind, e.Why)
		}
	}
	return t.nobodyLeft(ctx, row, c)
}

// goesOn waits until a step has moved after a moment, and its users are known to be
// well: what is held already is not held for a fault. Once the page was not well, the
// moment is when no window begins any more while nobody could look.
func (c *campaignRun) goesOn(ctx context.Context, after time.Time) error {
	moved, err := c.feed.Until(ctx, c.feed.Len(), "a step has moved", func(e stage.Entry) bool { return comesInto("baking")(e) && e.At.After(after) })
	if err != nil {
		return err
	}
	_, err = c.feed.Until(ctx, 0, "its users are well", func(e stage.Entry) bool {
		return e.Seq > moved.Seq && e.Kind == "decision" && (e.Level == "healthy" || e.Level == "unhealthy")
	})
	return err
}

// begins begins the campaign of all cases in which metrics are not well, and
// opens its console, unless they are there.
func (t *trial) begins(ctx context.Context) error {
	if t.blinded != nil {
		return nil
	}
	steps := [][]bucketmap.BucketID{t.wave}
	n := min(blindSteps, len(t.reserve))
	for i := range n {
		steps = append(steps, t.reserve[i*len(t.reserve)/n:(i+1)*len(t.reserve)/n])
	}
	if err := t.configure(blindEvents, false); err != nil {
		return err
	}
	c, err := t.campaign(ctx, t.options.base()/3, steps) // short, so that it goes on again and again
	if err != nil {
		return err
	}
	if t.watcher, err = t.watch(ctx, c.dir); err != nil {
		c.end()
		return err
	}
	t.blinded = c
	return nil
}

// looksOn waits until the page was looked at so many times more.
func (t *trial) looksOn(ctx context.Context) error {
	began, _ := t.page.Spoilt()
	for {
		if n, _ := t.page.Spoilt(); n-began >= t.options.looks {
			return nil
		}
		if wait(ctx, homePoll) != nil {
			return fmt.Errorf("nobody looks at the metrics any more: %w", context.Cause(ctx))
		}
	}
}

// nobodyLeft looks whether everybody who has moved lives in the target.
func (t *trial) nobodyLeft(ctx context.Context, row *faultRow, c *campaignRun) error {
	all := c.feed.Since(0)
	snap, err := t.stage.Map(ctx)
	if err != nil {
		return err
	}
	for _, e := range all {
		if !comesInto("baking")(e) {
			continue
		}
		for _, b := range c.steps[e.Step] {
			if home, ok := snap.Home(b); !ok || home.Datacenter != stage.Target {
				row.not("bucket %d of %s lives in %s", b, e.Step, home.Datacenter)
			}
		}
	}
	return nil
}
