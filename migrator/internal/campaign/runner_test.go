package campaign

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"drover/bucketmap"
	"drover/migrator/internal/slo"
)

func TestACampaignTakesEverybodyOverAndTheDefaultFlipsAtHalf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		f.takes = time.Second
		dir := f.apply(t, f.plan(t))
		before := read(t, dir)
		if before.Phase != PhaseReady || before.Left < 2*time.Minute {
			t.Errorf("before: %+v", before)
		}
		began := time.Now()
		must(t, f.runner(nil).Run(t.Context(), dir))
		took := time.Since(began)
		s := read(t, dir)
		if s.Phase != PhaseDone || s.Users.Moved != s.Users.All || s.Users.All != 640 || strings.Trim(states(s), "pasde ") != "" || s.Default != "cloud" {
			t.Errorf("after: %s, %+v, %s", s.Phase, s.Users, states(s))
		}
		for _, name := range []string{"alpha", "beta", "delta"} {
			for b := range 64 {
				home, _ := f.snap.Home(bucketmap.BucketID(b))
				if home.Datacenter != "cloud" {
					t.Fatalf("%s: bucket %d lives in %s", name, b, home.Datacenter)
				}
			}
		}
		if forecast := before.Left; math.Abs(took.Seconds()-forecast.Seconds()) > 0.2*took.Seconds() {
			t.Errorf("it took %s, and the forecast was %s", took, forecast)
		}
		must(t, f.runner(nil).Run(t.Context(), dir)) // a run of what is done is done
		flips := 0
		for _, e := range readJournal(t, dir) {
			if e.Kind == EntryDefault {
				flips++
			}
		}
		if flips != 2 { // as it was at first, and the flip
			t.Errorf("%d lines of the default", flips)
		}
	})
}

func TestNobodyMovesOnMissingOldOrLyingVerdicts(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]func() slo.Verdict{
		"unknown": func() slo.Verdict {
			return slo.Verdict{Level: slo.Unknown, Reason: "the endpoint is dead", At: time.Now()}
		},
		"empty":    func() slo.Verdict { return slo.Verdict{} },
		"stale":    func() slo.Verdict { return slo.Verdict{Level: slo.Healthy, At: time.Now().Add(-time.Minute)} },
		"tomorrow": func() slo.Verdict { return slo.Verdict{Level: slo.Healthy, At: time.Now().Add(24 * time.Hour)} },
		"no level": func() slo.Verdict { return slo.Verdict{Level: "splendid", At: time.Now()} },
		"no number": func() slo.Verdict {
			return slo.Verdict{Level: slo.Healthy, At: time.Now(), Figures: []slo.Figure{{Objective: "a", Ratio: math.NaN(), Level: slo.Healthy}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t)
				dir := f.apply(t, f.plan(t))
				f.verdict = v
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				if err := f.runner(nil).Run(ctx, dir); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatal(err)
				}
				if s := read(t, dir); len(f.done) != 0 || s.Phase != PhaseHeld || s.Reason == "" || s.Decision.Cause != CauseUnknown {
					t.Errorf("%v; %s: %s", f.done, s.Phase, s.Reason)
				}
			})
		})
	}
}

func TestAJudgeThatHangsHoldsAndOrdersAreTakenInAllTheSame(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		dir := f.apply(t, f.plan(t))
		r, judge := f.runner(nil), hanging{asked: make(chan struct{}, 1)}
		r.Judge = judge
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		ended := start(ctx, r, dir)
		<-judge.asked
		order(t, dir, Order{Command: Pause})
		reach(t, dir, "paused", func(s Status) bool { return s.Phase == PhasePaused })
		f.stays(t, dir, PhasePaused, time.Minute)
		if n := f.made(); n != 0 {
			t.Errorf("%d steps were made", n)
		}
		order(t, dir, Order{Command: Abort})
		if err := <-ended; !errors.Is(err, ErrAborted) {
			t.Error(err)
		}
	})
}

// hanging is a judge that says when it is asked, and nothing else.
type hanging struct{ asked chan struct{} }

func (h hanging) Evaluate(ctx context.Context) slo.Verdict {
	select {
	case h.asked <- struct{}{}:
	default:
	}
	<-ctx.Done()
	return slo.Verdict{}
}

func TestUsersWhoBurnGoHomeAndTheOthersStayWhereTheyAre(t *testing.T) {
	t.Parallel()
	for _, mode := range []Mode{AtOnce, Stepwise} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t)
				p := f.plan(t)
				p.Return = mode
				dir := f.apply(t, p)
				var burning atomic.Bool
				f.level = func() slo.Level {
					if burning.Load() {
						return slo.Burning
					}
					return slo.Healthy
				}
				f.fails = func(what string, s Step) error {
					if s.Kind() != KindBuckets {
						return nil
					}
					switch bucket := s.String()[:9]; {
					case what == "forward" && bucket == "buckets 2": // the third single one
						burning.Store(true)
					case what == "back" && bucket == map[Mode]string{AtOnce: "buckets 2", Stepwise: "buckets 1"}[mode]:
						burning.Store(false)
					}
					return nil
				}
				ended := start(t.Context(), f.runner(nil), dir)
				s := reach(t, dir, "stopped", func(s Status) bool { return s.Phase == PhaseStopped })
				f.stays(t, dir, PhaseStopped, time.Minute)
				want := "passed passed passed returned waiting "
				if mode == Stepwise { // nothing burns once the second is home, too
					want = "passed passed returned returned waiting "
				}
				if got := states(s); !strings.HasPrefix(got, want) {
					t.Errorf("%s, want %s; %s", got, want, s.Reason)
				}
				// An operator goes on, and what went back is tried again.
				f.fails = nil
				order(t, dir, Order{Command: Resume})
				must(t, <-ended)
				if s := read(t, dir); s.Users.Moved != s.Users.All {
					t.Errorf("%+v", s.Users)
				}
			})
		})
	}
}

func TestOrdersAreObeyedWithinASecondAndJournaled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		f.takes = 10 * time.Second
		dir := f.apply(t, f.plan(t))
		ended := start(t.Context(), f.runner(nil), dir)
		reach(t, dir, "at a step", func(s Status) bool { return strings.HasPrefix(states(s), string(Running)) })
		order(t, dir, Order{Command: Pause})
		reach(t, dir, "paused by the operator", func(s Status) bool { return s.Phase == PhasePaused && strings.Contains(s.Reason, "operator") })
		f.stays(t, dir, PhasePaused, 2*time.Minute)
		if n := f.made(); n != 0 { // the step under way stepped back
			t.Fatalf("%d steps were made", n)
		}
		order(t, dir, Order{Command: Rate, Rate: 5000})
		order(t, dir, Order{Command: Skip, Target: "singles"})
		order(t, dir, Order{Command: Resume})
		moved := func(s Status) bool { return s.Users.Moved != 0 }
		if s := reach(t, dir, "moving users", moved); s.Pace.Rate < 5000 || s.Pace.Rate > 12000 {
			t.Errorf("%+v, rate %v", s.Users, s.Pace.Rate)
		}
		order(t, dir, Order{Command: Return, All: true})
		reach(t, dir, "stopped with everybody home", func(s Status) bool { return s.Phase == PhaseStopped && !moved(s) })
		order(t, dir, Order{Command: Abort})
		if err := <-ended; !errors.Is(err, ErrAborted) {
			t.Error(err)
		}
		for _, o := range []Order{{Command: Resume}, {Command: Abort}} {
			if _, err := Send(t.Context(), dir, o, time.Second, testWatch); !errors.Is(err, ErrRefused) {
				t.Errorf("%s of what is over: %v", o.Command, err)
			}
		}
		commands := 0
		for _, e := range readJournal(t, dir) {
			if e.Kind == EntryCommand {
				commands++
				if e.Who != "operator" || e.Why != "a test" {
					t.Errorf("%+v", e)
				}
			}
		}
		if commands != 6 {
			t.Errorf("%d commands", commands)
		}
	})
}

func TestAnErrorIsNoProofThatTheUsersStayed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		f.lost = true
		dir := f.apply(t, f.plan(t))
		must(t, f.runner(nil).Run(t.Context(), dir))
		for _, done := range f.done {
			if strings.HasPrefix(done, "back") {
				t.Error(done)
			}
		}
		if s := read(t, dir); s.Phase != PhaseDone || len(f.done) != len(f.at) || s.Users.Moved != s.Users.All {
			t.Errorf("%s %+v", s.Phase, s.Users)
		}
	})
}

func TestAStepThatFailsWaitsForAnOperator(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		dir := f.apply(t, f.plan(t))
		broken := atomic.Bool{}
		broken.Store(true)
		f.fails = func(_ string, s Step) error {
			if s.Shard == "beta" && broken.Load() {
				return errors.New("the replica lags")
			}
			return nil
		}
		ended := start(t.Context(), f.runner(nil), dir)
		reach(t, dir, "stopped by what failed", func(s Status) bool { return s.Phase == PhaseStopped && strings.Contains(s.Reason, "the replica lags") })
		f.stays(t, dir, PhaseStopped, time.Minute)
		broken.Store(false)
		order(t, dir, Order{Command: Resume})
		must(t, <-ended)
	})
}

func TestAReturnThatFailsIsTriedUntilItWorks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		dir := f.apply(t, f.plan(t))
		tries := atomic.Int32{}
		f.fails = func(what string, s Step) error {
			if what == "back" && tries.Add(1) < 5 {
				return errors.New("the link is down")
			}
			return nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := start(ctx, f.runner(nil), dir)
		reach(t, dir, "with three steps passed", func(s Status) bool { return strings.Count(states(s), string(Passed)) >= 3 })
		order(t, dir, Order{Command: Return, All: true})
		reach(t, dir, "stopped with everybody home", func(s Status) bool { return s.Phase == PhaseStopped && s.Users.Moved == 0 })
		if n := tries.Load(); n < 5 {
			t.Errorf("%d tries of a way back, of which four failed", n)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
