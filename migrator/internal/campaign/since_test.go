package campaign

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"drover/internal/testrun"
	"drover/migrator/internal/slo"
)

// mirrored is a Parity that notes from when on it was asked to judge, and has
// enough to judge by at the second look with the same since.
type mirrored struct {
	mu    sync.Mutex
	asked []Since
	fails atomic.Bool
}

func (m *mirrored) Parity(_ context.Context, _ float64, since Since) slo.Verdict {
	m.mu.Lock()
	defer m.mu.Unlock()
	again := len(m.asked) != 0 && m.asked[len(m.asked)-1] == since
	m.asked = append(m.asked, since)
	v := slo.Verdict{Level: slo.Healthy, Reason: "alike", At: time.Now()}
	switch {
	case !again:
		v.Level, v.Reason = slo.Unknown, "too few"
	case m.fails.Load():
		v.Level, v.Reason = slo.Burning, "they differ"
	}
	return v
}

// has says whether it was asked to judge from such a moment on.
func (m *mirrored) has(since Since) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.asked {
		if s == since {
			return true
		}
	}
	return false
}

func TestAnswersAreJudgedSinceTheWavesUsersCameOrWentHomeOrSomebodySaidResumeOrARunBegan(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		p := f.plan(t)
		most := 0.001
		for i := range p.Waves {
			p.Waves[i].Gate.Parity = &most
		}
		dir := f.apply(t, p)
		m := &mirrored{}
		r := f.runner(nil)
		r.Parity = m
		ctx, cancel := context.WithCancel(t.Context())
		ended := start(ctx, r, dir)
		reach(t, dir, "two steps on", func(s Status) bool { return s.Users.Moved > 2 })
		m.fails.Store(true) // of who was just moved
		reach(t, dir, "stopped with its users home", func(s Status) bool { return s.Phase == PhaseStopped })
		m.fails.Store(false)
		order(t, dir, Order{Command: Resume})
		reach(t, dir, "further", func(s Status) bool { return s.Users.Moved > 12 })
		cancel() // and another run
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		must(t, r.Run(t.Context(), dir))
		var run, resumed, back, came int
		wave := map[StepID]string{}
		for _, w := range p.Waves {
			for i := range w.Steps {
				wave[stepID(w.Name, i)] = w.Name
			}
		}
		asked := map[uint64]bool{}
		for _, s := range m.asked {
			asked[s.Line] = true
		}
		lines := readJournal(t, dir)
		for i, e := range lines {
			next := i+1 < len(lines) && lines[i+1].Kind == EntryRun // before anybody could ask
			switch {
			case e.Kind == EntryRun:
				run++
			case e.Kind == EntryCommand && e.Command == Resume:
				resumed++
			case e.Kind == EntryStep && e.State == Returned:
				back++
				continue // the resume came before anybody asked
			case e.Kind == EntryStep && e.State == Baking:
				came++
				if !next && !m.has(Since{wave[e.Step], e.Seq}) {
					t.Errorf("%s bakes since line %d, and nobody was asked from then on", e.Step, e.Seq)
				}
			default:
				continue
			}
			if !next && !asked[e.Seq] {
				t.Errorf("nobody was asked from line %d on: %+v", e.Seq, e)
			}
		}
		if run != 2 || resumed != 1 || back == 0 || came < len(wave) {
			t.Errorf("%d runs, %d resumes, %d steps back, %d there", run, resumed, back, came)
		}
		for i, s := range m.asked[1:] { // a wave's answers say nothing of the next one's
			if m.asked[i].Line > s.Line {
				t.Errorf("asked from %v on after %v", s, m.asked[i])
			}
		}
	})
}

func TestAHeldCampaignTellsItsReasonAnewEveryMinuteAndThatItsRunIsAlive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		dir := f.apply(t, f.plan(t))
		if s := read(t, dir); !s.Looked.IsZero() {
			t.Errorf("looked at %s before any run", s.Looked)
		}
		f.verdict = func() slo.Verdict {
			return slo.Verdict{Level: slo.Unknown, Reason: fmt.Sprintf("dead, %d", time.Now().Unix()), At: time.Now()}
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := start(ctx, f.runner(nil), dir)
		reach(t, dir, "held", func(s Status) bool { return s.Phase == PhaseHeld })
		const odd = 6*time.Second + 7*time.Millisecond // the looks fall on no second of the run's
		watched, done := context.WithTimeout(t.Context(), 30*odd)
		defer done()
		looks := testrun.NewPace(odd)
		defer looks.Stop()
		n := 0
		for ; looks.Wait(watched); n++ {
			s := read(t, dir)
			var at int64
			if _, err := fmt.Sscanf(s.Reason, "dead, %d", &at); err != nil {
				t.Fatal(err, s.Reason)
			}
			if age := time.Since(time.Unix(at, 0)); age > time.Minute+5*time.Second || s.Phase != PhaseHeld {
				t.Fatalf("%s by a reason of %s ago: %s", s.Phase, age, s.Reason)
			}
			if age := time.Since(s.Looked); !s.Live || age > LookedMax/10 {
				t.Fatalf("live %v, and looked %s ago", s.Live, age)
			}
			later, err := Read(dir, time.Now().Add(2*LookedMax)) // as if it had not looked since
			must(t, err)
			if s.Stuck() || !later.Stuck() {
				t.Fatalf("stuck: %v, and two minutes later %v", s.Stuck(), later.Stuck())
			}
		}
		if n < 25 {
			t.Errorf("%d looks in three minutes", n)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		before := read(t, dir).Looked
		s, err := Read(dir, time.Now().Add(time.Hour))
		must(t, err)
		if s.Live || s.Stuck() || !s.Looked.Equal(before) {
			t.Errorf("live %v, and looked at %s, and before at %s", s.Live, s.Looked, before)
		}
	})
}

func TestAnotherReasonIsToldSoonAndOtherFiguresOnceAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		dir := f.apply(t, f.plan(t))
		var dead atomic.Bool
		f.verdict = func() slo.Verdict {
			reason := fmt.Sprintf("no answer within %s", time.Duration(time.Now().UnixNano()%int64(time.Hour)))
			if dead.Load() {
				reason = "connection refused"
			}
			return slo.Verdict{Level: slo.Unknown, Reason: reason, At: time.Now()}
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := start(ctx, f.runner(nil), dir)
		const want = 5
		reach(t, dir, "held five times by other figures", func(s Status) bool { return len(held(s, "no answer")) >= want })
		var before time.Time
		for _, e := range held(read(t, dir), "no answer") {
			if !before.IsZero() && e.At.Sub(before) < noteEvery {
				t.Errorf("two lines within %s, of which only figures differ", e.At.Sub(before))
			}
			before = e.At
		}
		died := time.Now()
		dead.Store(true)
		reach(t, dir, "held by another reason", func(s Status) bool { return s.Reason == "connection refused" })
		all := held(read(t, dir), "refused")
		if late := all[0].At.Sub(died); late > noteOtherEvery+2*time.Second {
			t.Errorf("another reason was told after %s", late)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// held are the lines of a journal that hold the campaign for a reason that
// contains why.
func held(s Status, why string) []Entry {
	var all []Entry
	for _, e := range s.Journal {
		if e.Kind == EntryDecision && strings.Contains(e.Why, why) {
			all = append(all, e)
		}
	}
	return all
}

func TestTheObjectivesAreLookedAtWhileUsersGoHome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		dir := f.apply(t, f.plan(t))
		var looks, last, widest atomic.Int64
		enough := make(chan struct{})
		f.fails = func(what string, _ Step) error {
			if what == "back" {
				<-enough // the way home takes long
			}
			return nil
		}
		f.verdict = func() slo.Verdict {
			now := time.Now().UnixNano()
			if before := last.Swap(now); before != 0 {
				widest.Store(max(widest.Load(), now-before))
			}
			looks.Add(1)
			return slo.Verdict{Level: slo.Healthy, Reason: "well", At: time.Now()}
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := start(ctx, f.runner(nil), dir)
		reach(t, dir, "two users on", func(s Status) bool { return s.Users.Moved >= 2 })
		order(t, dir, Order{Command: Return, All: true})
		before := looks.Load()
		reach(t, dir, "looked at 30 times on the way", func(s Status) bool { return looks.Load() >= before+30 })
		close(enough)
		reach(t, dir, "stopped with everybody home", func(s Status) bool { return s.Phase == PhaseStopped && s.Users.Moved == 0 })
		if wide := time.Duration(widest.Load()); wide > 3*time.Second {
			t.Errorf("%s without a look: want one every second", wide)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
