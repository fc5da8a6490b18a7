package throttle

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"drover/internal/pause"
)

// ErrStopped is returned by Wait when nobody looks at the gauges any more.
var ErrStopped = errors.New("the throttle has been stopped")

// Gauge is something that may be in trouble.
type Gauge interface {
	// Look returns the reason to wait, "" for none. An error is a reason too.
	Look(ctx context.Context) (reason string, err error)
}

const (
	// Interval is how often the gauges are looked at: a few statements four
	// times a second.
	Interval = 250 * time.Millisecond
	// LookMax bounds one look at all gauges, which are looked at side by side.
	LookMax = 1 * time.Second
	// FreshMax is how old the last look may be: one that takes as long as it
	// may, the interval, and as much again.
	FreshMax = 2 * (LookMax + Interval)
)

// Throttle says when rows may be written.
type Throttle struct {
	// Gauges are what is looked at.
	Gauges []Gauge
	// RowsPerSecond bounds the rows of all callers of Wait together; 0 for no
	// bound.
	RowsPerSecond int
	// Report is called when Wait begins to wait for a gauge, and when the reason
	// changes; not for the rate. It may be nil.
	Report func(reason string)

	cancel context.CancelFunc
	ended  chan struct{}

	mu struct {
		sync.Mutex
		reason  string    // of the last look
		looked  time.Time // when the last look began; zero before the first
		changed chan struct{}
		stopped bool
		next    time.Time // when the rate lets the next row through
		told    string
	}
}

// Start begins to look at the gauges, until ctx ends or Stop is called.
func (t *Throttle) Start(ctx context.Context) {
	ctx, t.cancel = context.WithCancel(ctx)
	t.ended = make(chan struct{})
	t.mu.Lock()
	t.mu.changed = make(chan struct{})
	t.mu.Unlock()
	go func() {
		defer close(t.ended)
		t.watch(ctx)
	}()
}

// Stop ends the looking and waits for it. A Throttle is not started again.
func (t *Throttle) Stop() {
	if t == nil || t.cancel == nil {
		return
	}
	t.cancel()
	<-t.ended
}

func (t *Throttle) watch(ctx context.Context) {
	ticker := time.NewTicker(Interval)
	defer ticker.Stop()
	for {
		began := time.Now()
		reason := t.look(ctx)
		if ctx.Err() == nil {
			t.set(func() { t.mu.reason, t.mu.looked = reason, began })
		}
		select {
		case <-ctx.Done():
			t.set(func() { t.mu.stopped = true })
			return
		case <-ticker.C:
		}
	}
}

func (t *Throttle) set(change func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change()
	close(t.mu.changed)
	t.mu.changed = make(chan struct{})
}

// look asks all gauges side by side. It returns when all have answered, which
// a gauge that obeys its context does within LookMax; while one does not, the
// last look grows old.
func (t *Throttle) look(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, LookMax)
	defer cancel()
	reasons := make([]string, len(t.Gauges))
	var looks sync.WaitGroup
	for i, g := range t.Gauges {
		looks.Go(func() {
			reason, err := g.Look(ctx)
			if err != nil {
				reason = err.Error()
			}
			reasons[i] = reason
		})
	}
	looks.Wait()
	var words []string
	for _, reason := range reasons {
		if reason != "" {
			words = append(words, reason)
		}
	}
	return strings.Join(words, "; ")
}

// Wait returns when so many rows may be written, or ctx's error.
func (t *Throttle) Wait(ctx context.Context, rows int) error {
	if t == nil {
		return ctx.Err()
	}
	if err := t.waitGauges(ctx); err != nil {
		return err
	}
	wait := t.reserve(rows)
	if wait <= 0 {
		return ctx.Err()
	}
	if err := pause.For(ctx, wait); err != nil {
		return err
	}
	return t.waitGauges(ctx) // who slept looks again
}

func (t *Throttle) waitGauges(ctx context.Context) error {
	if len(t.Gauges) == 0 {
		return ctx.Err()
	}
	for {
		t.mu.Lock()
		reason, changed, stopped := t.verdict(time.Now()), t.mu.changed, t.mu.stopped
		tell := reason != "" && reason != t.mu.told
		t.mu.told = reason
		t.mu.Unlock()
		switch {
		case reason == "":
			return ctx.Err()
		case stopped:
			return ErrStopped
		}
		if tell && t.Report != nil {
			t.Report(reason)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting, for %s: %w", reason, ctx.Err())
		case <-changed: // nil before Start: only ctx ends the wait
		}
	}
}

// verdict is the reason to wait now.
func (t *Throttle) verdict(now time.Time) string {
	switch {
	case t.mu.stopped:
		return ErrStopped.Error()
	case t.mu.looked.IsZero():
		return "no figures yet"
	case now.Sub(t.mu.looked) > FreshMax:
		return fmt.Sprintf("the last figures are %s old", now.Sub(t.mu.looked).Round(time.Millisecond))
	default:
		return t.mu.reason
	}
}

// reserve takes rows from the rate and returns how long to pause for them. Time
// that nobody used is not saved up.
func (t *Throttle) reserve(rows int) time.Duration {
	if t.RowsPerSecond <= 0 {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if t.mu.next.Before(now) {
		t.mu.next = now
	}
	wait := t.mu.next.Sub(now)
	t.mu.next = t.mu.next.Add(time.Duration(float64(rows) / float64(t.RowsPerSecond) * float64(time.Second)))
	return wait
}
