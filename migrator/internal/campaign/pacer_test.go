package campaign

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"drover/migrator/internal/slo"
)

// begun and moved of one step, as a test of the bounds saw them.
type flip struct {
	begun, moved time.Time
	users        uint64
}

func TestWhateverTheVerdictsThePaceKeepsItsBounds(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 20261122))
		most := uint64(50 + random.IntN(400))
		p := &Plan{Format: Format, Burning: []Policy{PolicyHold, PolicyStop, PolicyReturn}[random.IntN(3)],
			Pace:  Pace{Min: 1 + uint64(random.IntN(50)), Max: 200 + uint64(random.IntN(1000)), Add: uint64(random.IntN(100)), UsersMax: most, Parallel: 1 + random.IntN(4)},
			Quiet: Quiet{Zone: "Europe/Berlin", Hours: []string{"01:00-04:00", "sun 00:00-24:00"}}}
		p.Pace.Start = p.Pace.Min + uint64(random.IntN(int(p.Pace.Max-p.Pace.Min)))
		for w := range 3 {
			wave := Wave{Name: fmt.Sprint("w", w), Kind: KindShards, Gate: Gate{Bake: time.Duration(random.IntN(40)) * time.Minute}}
			for range 1 + random.IntN(8) {
				wave.Steps = append(wave.Steps, Step{Shard: "x", Users: uint64(random.IntN(int(most)))})
			}
			p.Waves = append(p.Waves, wave)
		}
		simulateBounds(t, seed, random, p)
	}
}

func simulateBounds(t *testing.T, seed uint64, random *rand.Rand, p *Plan) {
	t.Helper()
	pacer, err := NewPacer(p)
	must(t, err)
	berlin, err := time.LoadLocation("Europe/Berlin")
	must(t, err)
	s := newState(p)
	now := time.Date(2026, 10, 24, 12, 0, 0, 0, time.UTC) // the night before summer time ends
	put := func(e Entry) {
		e.Seq, e.At = s.seq+1, now
		must(t, s.take(e))
	}
	put(Entry{Kind: EntryRun})
	ends, flips := map[StepID]time.Time{}, map[StepID]*flip{}
	most := p.Pace.UsersMax
	level, paused := slo.Healthy, false
	good := now // since when the level has been good
	for range 1000 {
		now = now.Add(time.Duration(1+random.IntN(300)) * time.Second)
		if random.IntN(5) == 0 {
			if level = []slo.Level{slo.Healthy, slo.Healthy, slo.Healthy, slo.Unhealthy, slo.Burning, slo.Unknown, ""}[random.IntN(7)]; level != slo.Healthy && level != slo.Unhealthy {
				good = time.Time{}
			} else if good.IsZero() {
				good = now
			}
		}
		if random.IntN(40) == 0 && s.returning == nil {
			c := Pause
			if paused {
				c = Resume
			}
			paused = !paused
			put(Entry{Kind: EntryCommand, Command: c})
		}
		if s.stopped != "" && random.IntN(10) == 0 && s.returning == nil {
			paused = false
			put(Entry{Kind: EntryCommand, Command: Resume})
		}
		for id, end := range ends {
			if !now.Before(end) {
				delete(ends, id)
				flips[id].moved = now
				put(Entry{Kind: EntryStep, Step: id, State: Baking})
			}
		}
		l := s.look(now)
		l.Level = level
		d := pacer.Decide(l)
		if again := pacer.Decide(l); again != d {
			t.Fatalf("seed %d: %+v and then %+v", seed, d, again)
		}
		if d.Rate < float64(p.Pace.Min) || d.Rate > float64(p.Pace.Max) {
			t.Fatalf("seed %d: rate %v", seed, d.Rate)
		}
		put(Entry{Kind: EntryDecision, Decision: &d, Level: level})
		local := now.In(berlin)
		switch d.Action {
		case ActBegin:
			quiet := local.Weekday() == time.Sunday || local.Hour() >= 1 && local.Hour() < 4
			if level != slo.Healthy && level != slo.Unhealthy || paused || l.Stopped != "" || quiet || len(l.Bakes)+l.Running >= p.Pace.Parallel {
				t.Fatalf("seed %d: begins at %s with level %q, paused %v, stopped %q, %d baking, %d running", seed, local, level, paused, l.Stopped, len(l.Bakes), l.Running)
			}
			users := s.byID[d.Step].plan.Users
			flips[d.Step] = &flip{begun: now, users: users}
			ends[d.Step] = now.Add(time.Duration(random.IntN(90)) * time.Minute)
			put(Entry{Kind: EntryStep, Step: d.Step, State: Running})
			within := uint64(0)
			for _, f := range flips {
				if f.moved.IsZero() || now.Sub(f.moved) < time.Hour {
					within += f.users
				}
			}
			if within > most {
				t.Fatalf("seed %d: %d users within an hour, and the bound is %d", seed, within, most)
			}
		case ActPass:
			bake := p.Waves[s.byID[d.Step].wave].Gate.Bake
			if level != slo.Healthy && level != slo.Unhealthy || now.Sub(flips[d.Step].moved) < bake || now.Sub(good) < bake {
				t.Fatalf("seed %d: %s passes with level %q after %s", seed, d.Step, level, now.Sub(flips[d.Step].moved))
			}
			put(Entry{Kind: EntryStep, Step: d.Step, State: Passed})
		case ActReturn:
			if level != slo.Burning || p.Burning != PolicyReturn || len(l.Bakes) == 0 {
				t.Fatalf("seed %d: goes back with level %q, policy %s", seed, level, p.Burning)
			}
			ids := s.newestFirst(s.wave())
			put(Entry{Kind: EntryReturning, Who: pacerName, Steps: ids})
			for _, id := range ids {
				delete(ends, id)
				put(Entry{Kind: EntryStep, Step: id, State: Returning})
				put(Entry{Kind: EntryStep, Step: id, State: Returned})
				delete(flips, id)
			}
			put(Entry{Kind: EntryReturning})
		case ActStop:
			if p.Burning != PolicyStop || level != slo.Burning {
				t.Fatalf("seed %d: stops with level %q, policy %s", seed, level, p.Burning)
			}
		case ActFinish:
			return
		case ActWait, ActHold:
		}
	}
}

func TestTheRateAddsWhenHealthyHalvesOnceAStepAndStaysWithinBounds(t *testing.T) {
	t.Parallel()
	pacer := &Pacer{pace: Pace{Add: 50, Min: 100, Max: 420}, burning: PolicyReturn}
	now := time.Now()
	bake := []Bake{{Step: "w/1", From: now.Add(-time.Hour), For: time.Minute}}
	for _, c := range []struct {
		name   string
		look   Look
		action Action
		rate   float64
	}{
		{"healthy adds", Look{Level: slo.Healthy, Rate: 200, Bakes: bake}, ActPass, 250},
		{"to the most", Look{Level: slo.Healthy, Rate: 400, Bakes: bake}, ActPass, 420},
		{"unhealthy halves", Look{Level: slo.Unhealthy, Rate: 400, Bakes: bake}, ActPass, 200},
		{"once", Look{Level: slo.Unhealthy, Rate: 200, Bakes: bake, Halved: true}, ActPass, 200},
		{"and adds nothing then", Look{Level: slo.Healthy, Rate: 200, Bakes: bake, Halved: true}, ActPass, 200},
		{"to the least", Look{Level: slo.Unhealthy, Rate: 150, Bakes: bake}, ActPass, 100},
		{"unknown keeps", Look{Level: slo.Unknown, Rate: 200, Bakes: bake}, ActHold, 200},
		{"burning goes back", Look{Level: slo.Burning, Rate: 200, Bakes: bake}, ActReturn, 200},
		{"also when paused", Look{Level: slo.Burning, Rate: 200, Bakes: bake, Paused: "by ann"}, ActReturn, 200},
		{"burning before a step holds", Look{Level: slo.Burning, Rate: 200, Left: true, Next: &Next{"w/2", 1}, Parallel: 1}, ActHold, 200},
		{"nothing left", Look{Level: slo.Unknown, Rate: 200}, ActFinish, 200},
	} {
		c.look.Now = now
		if d := pacer.Decide(c.look); d.Action != c.action || d.Rate != c.rate {
			t.Errorf("%s: %+v, want %s and %v", c.name, d, c.action, c.rate)
		}
	}
}

func TestQuietHoursGoByTheClockOnTheWall(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	must(t, err)
	at := func(text string) time.Time {
		v, err := time.Parse(time.RFC3339, text)
		must(t, err)
		return v
	}
	for _, c := range []struct {
		hours, now, until string // until is empty: not quiet
	}{
		{"22:00-06:00", "2026-11-22T21:59:59+01:00", ""},
		{"22:00-06:00", "2026-11-22T22:00:00+01:00", "2026-11-23T06:00:00+01:00"},
		{"22:00-06:00", "2026-11-22T05:59:59+01:00", "2026-11-22T06:00:00+01:00"},
		{"fri 22:00-06:00", "2026-11-28T05:00:00+01:00", "2026-11-28T06:00:00+01:00"}, // began on Friday
		{"fri 22:00-06:00", "2026-11-27T05:00:00+01:00", ""},
		{"sat,sun 00:00-24:00", "2026-11-28T00:00:00+01:00", "2026-11-30T00:00:00+01:00"},
		// Summer time begins: 02:00 to 03:00 is not there, and the night is an hour shorter.
		{"22:00-02:30", "2026-03-28T23:00:00+01:00", "2026-03-29T03:00:00+02:00"},
		{"01:00-05:00", "2026-03-29T01:30:00+01:00", "2026-03-29T05:00:00+02:00"},
		// It ends: 02:00 to 03:00 is there twice, and quiet twice.
		{"02:15-02:45", "2026-10-25T02:20:00+02:00", "2026-10-25T02:45:00+02:00"},
		{"02:15-02:45", "2026-10-25T02:20:00+01:00", "2026-10-25T02:45:00+01:00"},
		{"02:15-02:45", "2026-10-25T02:50:00+02:00", ""},
		{"01:00-05:00", "2026-10-25T01:30:00+02:00", "2026-10-25T05:00:00+01:00"},
	} {
		cal, err := Quiet{Zone: "Europe/Berlin", Hours: []string{c.hours}}.read()
		must(t, err)
		until, quiet := cal.at(at(c.now))
		if quiet != (c.until != "") || quiet && !until.Equal(at(c.until)) {
			t.Errorf("%s at %s: %v until %s, want %q", c.hours, c.now, quiet, until.In(berlin), c.until)
		}
	}
	for _, bad := range []Quiet{{Hours: []string{"22-06"}}, {Hours: []string{"22:00-25:00"}}, {Hours: []string{"10:00-10:00"}}, {Hours: []string{"someday 10:00-11:00"}},
		{Hours: []string{"nmo 10:00-11:00"}}, {Hours: []string{""}}, {Hours: []string{"24:00-06:00"}}, {Zone: "Mars/Olympus", Hours: []string{"10:00-11:00"}}} {
		if _, err := bad.read(); err == nil {
			t.Errorf("%+v is read", bad)
		}
	}
}

func TestAGateWithNamedObjectivesAsksThemAlone(t *testing.T) {
	t.Parallel()
	now := time.Now()
	figure := func(name string, level slo.Level) slo.Figure { return slo.Figure{Objective: name, Level: level} }
	for _, c := range []struct {
		level   slo.Level
		figures []slo.Figure
		want    slo.Level
	}{
		{slo.Burning, []slo.Figure{figure("a", slo.Healthy), figure("b", slo.Burning)}, slo.Healthy},
		{slo.Burning, []slo.Figure{figure("a", slo.Burning), figure("b", slo.Healthy)}, slo.Burning},
		{slo.Unhealthy, []slo.Figure{figure("a", slo.Burning)}, slo.Unhealthy}, // one window alone
		{slo.Unknown, []slo.Figure{figure("a", slo.Healthy), figure("b", slo.Unknown)}, slo.Healthy},
		{slo.Unknown, []slo.Figure{figure("a", slo.Unknown), figure("b", slo.Healthy)}, slo.Unknown},
		{slo.Healthy, []slo.Figure{figure("b", slo.Healthy)}, slo.Unknown},
		{slo.Healthy, nil, slo.Unknown},
		{slo.Unknown, nil, slo.Unknown},
	} {
		v := gated(Gate{Objectives: []string{"a"}}, slo.Verdict{Level: c.level, Figures: c.figures, At: now}, now, now, time.Minute)
		if v.level != c.want {
			t.Errorf("%s with %+v: %s (%s), want %s", c.level, c.figures, v.level, v.reason, c.want)
		}
	}
}

func TestNothingIsBegunOrPassedByFiguresThatWereThereBefore(t *testing.T) {
	t.Parallel()
	pacer, err := NewPacer(&Plan{Format: Format, Burning: PolicyReturn, Pace: Pace{Min: 10, Max: 1000, Start: 100, Add: 50, Parallel: 1}})
	must(t, err)
	now := time.Now()
	next := &Next{Step: "w/1", Users: 5}
	baked := []Bake{{Step: "w/0", From: now.Add(-time.Hour), For: time.Minute}}
	baking := []Bake{{Step: "w/0", From: now, For: time.Minute}}
	const old = "the page is the same"
	for _, c := range []struct {
		name  string
		look  Look
		fresh Action
		then  Action
		cause Cause
	}{
		{"a step", Look{Level: slo.Healthy, Next: next, Left: true}, ActBegin, ActWait, CauseOld},
		{"an unhealthy step", Look{Level: slo.Unhealthy, Next: next, Left: true, Halved: true}, ActBegin, ActWait, CauseOld},
		{"a bake that is over", Look{Level: slo.Healthy, Bakes: baked, Next: next, Left: true}, ActPass, ActWait, CauseOld},
		{"a bake", Look{Level: slo.Healthy, Bakes: baking, Next: next, Left: true}, ActWait, ActWait, CauseBaking},
		{"burning", Look{Level: slo.Burning, Bakes: baking, Left: true}, ActReturn, ActReturn, CauseBurning},
		{"unknown", Look{Level: slo.Unknown, Bakes: baked, Left: true}, ActHold, ActHold, CauseUnknown},
		{"paused", Look{Level: slo.Healthy, Next: next, Left: true, Paused: "by ann"}, ActHold, ActHold, CausePaused},
		{"nothing left", Look{Level: slo.Healthy}, ActFinish, ActFinish, CauseDone},
	} {
		c.look.Now, c.look.Rate, c.look.Parallel = now, 100, 1
		if d := pacer.Decide(c.look); d.Action != c.fresh || d.Cause == CauseOld {
			t.Errorf("%s, by new figures: %+v, want %s", c.name, d, c.fresh)
		}
		c.look.Old = old
		d := pacer.Decide(c.look)
		if d.Action != c.then || d.Cause != c.cause || d.Rate != 100 || c.cause == CauseOld && (d.Reason != old || d.Step != "") {
			t.Errorf("%s, by old ones: %+v, want %s for %s at the rate that it was", c.name, d, c.then, c.cause)
		}
	}
}
