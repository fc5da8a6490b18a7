package throttle

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// gauge is a gauge that a test turns.
type gauge struct {
	reason atomic.Pointer[string]
	err    atomic.Pointer[error]
	hangs  atomic.Bool
	looks  atomic.Int32
}

func (g *gauge) say(reason string) { g.reason.Store(&reason) }

func (g *gauge) Look(ctx context.Context) (string, error) {
	g.looks.Add(1)
	if g.hangs.Load() {
		<-ctx.Done()
		return "", ctx.Err()
	}
	if err := g.err.Load(); err != nil && *err != nil {
		return "", *err
	}
	if reason := g.reason.Load(); reason != nil {
		return *reason, nil
	}
	return "", nil
}

// passes says whether Wait lets somebody through within d.
func passes(t *testing.T, throttle *Throttle, d time.Duration) (bool, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	err := throttle.Wait(ctx, 1)
	return err == nil, err
}

// until lets the bubble's clock run, an interval at a time, until it is so.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick, end := time.NewTicker(Interval), time.After(time.Hour)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("never: %s", what)
		}
	}
}

// closes waits until nobody passes.
func closes(t *testing.T, throttle *Throttle) {
	t.Helper()
	until(t, "nobody passes", func() bool {
		ok, _ := passes(t, throttle, time.Nanosecond)
		return !ok
	})
}

func TestNobodyPassesWithoutFreshFigures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gauge{}
		throttle := &Throttle{Gauges: []Gauge{g}}
		if ok, _ := passes(t, throttle, time.Hour); ok {
			t.Error("somebody passed before the first look")
		}
		throttle.Start(t.Context())
		defer throttle.Stop()
		if ok, err := passes(t, throttle, time.Second); !ok {
			t.Errorf("nobody passed though all is fine: %v", err)
		}
		g.hangs.Store(true)
		closes(t, throttle)
		if ok, err := passes(t, throttle, time.Hour); ok || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("somebody passed though a gauge hangs: %v", err)
		}
		g.hangs.Store(false)
		if ok, err := passes(t, throttle, 3*LookMax); !ok {
			t.Errorf("nobody passed when the gauge answered again: %v", err)
		}
		down := errors.New("connection refused")
		g.err.Store(&down)
		closes(t, throttle)
		if ok, err := passes(t, throttle, time.Hour); ok || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("somebody passed though a gauge fails, or was not told why: %v", err)
		}
	})
}

// stuck is a gauge that does not obey its context.
type stuck struct{ release chan struct{} }

func (s stuck) Look(context.Context) (string, error) { <-s.release; return "", nil }

func TestALookThatNeverEndsLetsNobodyPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stuck{make(chan struct{}, 1)}
		s.release <- struct{}{}
		throttle := &Throttle{Gauges: []Gauge{s}}
		throttle.Start(t.Context())
		if ok, err := passes(t, throttle, time.Second); !ok {
			t.Error(err)
		}
		closes(t, throttle)
		if ok, err := passes(t, throttle, time.Hour); ok || !strings.Contains(err.Error(), "old") {
			t.Errorf("somebody passed by old figures: %v", err)
		}
		close(s.release)
		throttle.Stop()
		if _, err := passes(t, throttle, time.Hour); !errors.Is(err, ErrStopped) {
			t.Errorf("%v, want ErrStopped", err)
		}
	})
}

func TestTheReasonIsToldOnceAndTheWaitEndsWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gauge{}
		g.say("replica is behind")
		var told []string
		throttle := &Throttle{Gauges: []Gauge{g}, Report: func(reason string) { told = append(told, reason) }}
		throttle.Start(t.Context())
		defer throttle.Stop()
		done := make(chan error)
		go func() { done <- throttle.Wait(t.Context(), 1) }()
		until(t, "forty looks", func() bool { return g.looks.Load() >= 40 })
		g.say("")
		if err := <-done; err != nil {
			t.Error(err)
		}
		// What there is before the first look is a reason too.
		if n := len(told); n == 0 || n > 2 || told[n-1] != "replica is behind" {
			t.Errorf("told %q, want the reason once", told)
		}
	})
}

func TestTheRateIsThatOfAllCallersTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttle := &Throttle{RowsPerSecond: 1000}
		began := time.Now()
		done := make(chan error)
		for range 4 {
			go func() {
				for range 10 {
					if err := throttle.Wait(t.Context(), 100); err != nil {
						done <- err
						return
					}
				}
				done <- nil
			}()
		}
		for range 4 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		// The first 100 of 4,000 rows wait for nobody.
		if took := time.Since(began); took != 3900*time.Millisecond {
			t.Errorf("4,000 rows took %s, want 3.9s", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := throttle.Wait(ctx, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want the context's error", err)
		}
	})
}

func TestWithoutGaugesAndRateNobodyWaits(t *testing.T) {
	var none *Throttle
	for _, throttle := range []*Throttle{none, {}} {
		if err := throttle.Wait(t.Context(), 1_000_000); err != nil {
			t.Error(err)
		}
		throttle.Stop()
	}
}
