package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"drover/tools/demo/internal/stage"
)

// campaign follows migrator campaign run by the lines of its journal. Its methods
// may be called concurrently.
type campaign struct {
	stage *stage.Stage
	plan  *plan
	run   process

	mu      sync.Mutex
	changed chan struct{}        // closed when what follows has changed
	steps   map[string]step      // by id
	obeyed  map[string]time.Time // when an order was last taken in, by its command
	returns int                  // that are over
	back    string               // why the campaign itself sends users back or stops
	why     string               // of the last decision
	level   string               // of the last verdict
	took    time.Duration        // of the waves so far
}

// process is migrator campaign run.
type process interface {
	Ended() <-chan struct{}
	Err() error
}

// step is what was heard of a step.
type step struct {
	state string
	at    time.Time // of its last line
	moved time.Time // when its users had moved, the last time
	err   string
}

// The words of the campaign that the demo waits for.
const (
	baking    = "baking"
	passed    = "passed"
	failed    = "failed"
	returning = "returning"
	returned  = "returned"
	skipped   = "skipped"
)

// pacer is who writes the campaign's own lines.
const pacer = "pacer"

// stepWaitMax bounds the wait for a step: the longest takes seconds, and looking
// for a quiet moment of a busy bucket half a minute.
const stepWaitMax = 2 * time.Minute

// errStep says that a step did not work.
var errStep = errors.New("the step failed")

func newCampaign(s *stage.Stage, p *plan) *campaign {
	return &campaign{stage: s, plan: p, changed: make(chan struct{}), steps: map[string]step{}, obeyed: map[string]time.Time{}}
}

// heard takes a line of the journal.
func (c *campaign) heard(e stage.Entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch e.Kind {
	case "step":
		t := c.steps[e.Step]
		t.state, t.at, t.err = e.State, e.At, e.Error
		if e.State == baking {
			t.moved = e.At
		}
		c.steps[e.Step] = t
	case "obeyed":
		c.obeyed[e.Command] = e.At
	case "decision":
		c.why, c.level = e.Why, e.Level
		if e.Decision.Action == "stop" {
			c.back = e.Why
		}
	case "returning":
		switch {
		case len(e.Steps) == 0:
			c.returns++
		case e.Who == pacer:
			c.back = e.Why
		}
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

// until waits until something is so, and returns an error where it cannot be any
// more: is gives one, the run has ended, or the campaign has turned back.
func (c *campaign) until(ctx context.Context, what string, is func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, stepWaitMax)
	defer cancel()
	for {
		c.mu.Lock()
		done, err := is()
		changed, back, why := c.changed, c.back, c.why
		c.mu.Unlock()
		switch {
		case err != nil || done:
			return err
		case back != "":
			return fmt.Errorf("%s: the campaign has turned back: %s", what, back)
		}
		select {
		case <-changed:
		case <-c.run.Ended():
			c.mu.Lock()
			done, err := is() // all that it said was heard
			c.mu.Unlock()
			if done || err != nil {
				return err
			}
			return errors.Join(fmt.Errorf("%s: the campaign's run has ended", what), c.run.Err())
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("%s: not within %v; the campaign says: %s", what, stepWaitMax, why)
			}
			return ctx.Err()
		}
	}
}

// moved waits until a step's users have moved. The error is an errStep when they
// have not.
func (c *campaign) moved(ctx context.Context, id string) error {
	return c.until(ctx, id, func() (bool, error) {
		t := c.steps[id]
		if t.state == failed {
			return false, fmt.Errorf("%w: %s: %s", errStep, id, t.err)
		}
		return t.state == baking || t.state == passed, nil
	})
}

// movedAgain is moved, of a step that has moved before a moment already.
func (c *campaign) movedAgain(ctx context.Context, id string, since time.Time) error {
	return c.until(ctx, id, func() (bool, error) { return c.steps[id].moved.After(since), nil })
}

// home waits until a step's users are back, and nothing else goes back.
func (c *campaign) home(ctx context.Context, id string) error {
	return c.until(ctx, id, func() (bool, error) {
		t := c.steps[id]
		if t.state == returning && t.err != "" {
			return false, fmt.Errorf("%w: %s does not go back: %s", errStep, id, t.err)
		}
		return t.state == returned && c.returns != 0, nil
	})
}

// judged waits until the objectives are known: the edge must be watched for the
// shortest window first.
func (c *campaign) judged(ctx context.Context) error {
	return c.until(ctx, "the objectives", func() (bool, error) { return c.level != "" && c.level != "unknown", nil })
}

// turned says why the campaign has turned back or stopped; nil: it has not.
func (c *campaign) turned() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.back == "" {
		return nil
	}
	return fmt.Errorf("the campaign has turned back: %s", c.back)
}

// over waits for the campaign's end.
func (c *campaign) over(ctx context.Context) error {
	err := c.until(ctx, "the end", func() (bool, error) { return false, nil })
	if ctx.Err() == nil && c.ended() && c.run.Err() == nil {
		return nil
	}
	return err
}

func (c *campaign) ended() bool {
	select {
	case <-c.run.Ended():
		return true
	default:
		return false
	}
}

// order gives an order, as an operator would; it is in force when order returns.
func (c *campaign) order(ctx context.Context, why string, words ...string) error {
	_, err := c.stage.Migrator(ctx, append(append([]string{"campaign"}, words...), "--why", why)...)
	return err
}

// wave lets one wave go, and but for the last one holds the campaign again once
// the users of its last step have moved: what bakes goes on to bake. An order that
// comes late does no harm: what has begun of the next wave steps back, or has
// moved. each is told how each step went, nil or an errStep.
func (c *campaign) wave(ctx context.Context, w *wave, each func(i int, err error) error) error {
	if err := c.order(ctx, "the act begins", "resume"); err != nil {
		return err
	}
	for i := range w.Steps {
		err := c.moved(ctx, w.id(i))
		if err != nil && !errors.Is(err, errStep) {
			return err
		}
		if i == len(w.Steps)-1 && w.Name != waveShards {
			if err := c.order(ctx, "the act ends", "pause"); err != nil {
				return err
			}
		}
		if err := each(i, err); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	last := c.steps[w.id(len(w.Steps)-1)]
	c.took += max(0, last.moved.Sub(c.obeyed["resume"])) + w.Gate.Bake
	return nil
}

// skip leaves a step out that failed.
func (c *campaign) skip(ctx context.Context, id string) error {
	return c.order(ctx, "the show goes on without it", "skip", id)
}

// has says whether a step's users have moved.
func (c *campaign) has(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	state := c.steps[id].state
	return state == baking || state == passed
}

// open lists the steps that are neither passed nor skipped.
func (c *campaign) open() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var open []string
	for id, t := range c.steps {
		if t.state != passed && t.state != skipped {
			open = append(open, id+" "+t.state)
		}
	}
	slices.Sort(open)
	return open
}
