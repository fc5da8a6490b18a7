package campaign

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"drover/migrator/internal/slo"
)

// ErrJournal is the class of journals that do not add up.
var ErrJournal = errors.New("the campaign's journal does not add up")

// step is one step and where it is.
type step struct {
	id    StepID
	wave  int
	plan  Step
	state StepState
	tries int
	begun time.Time // of its last try
	moved time.Time // when its users had moved
	ended time.Time // when it came into a state in which it rests
	err   string
	open  bool   // it waits, and a move of it may be open in a journal
	what  string // what it moves, once somebody asked
}

// State is what the lines of a journal add up to. It is not safe for concurrent
// use.
type State struct {
	plan  *Plan
	steps []*step
	byID  map[StepID]*step

	first  int // no step before it has anything to do
	active int // steps that run or bake

	seq       uint64
	at        time.Time // of the last line
	begun     time.Time // of the first run
	watched   time.Time // since when the objectives have been looked at, and were good enough, without a gap
	bad       bool      // as of the last decision they were not, or not known
	mirrored  uint64    // see Since
	paused    string    // by whom and why; empty: not
	stopped   string
	stopCause Cause
	aborted   string
	ended     bool
	failure   string // of the last return that did not work
	rate      float64
	owed      float64
	halved    bool
	recent    []Moved
	returning *returning
	decision  *Entry // the last decision
	pending   []Entry
	dflt      string // the default's datacenter, as it was last seen
}

// returning is a way back that is under way.
type returning struct {
	steps []StepID // those that are to go back, the newest first
	mode  Mode
	auto  bool // the pacer's own
	why   string
}

func newState(p *Plan) *State {
	s := &State{plan: p, byID: map[StepID]*step{}, rate: float64(p.Pace.Start)}
	for w := range p.Waves {
		for i, one := range p.Waves[w].Steps {
			added := &step{id: stepID(p.Waves[w].Name, i), wave: w, plan: one, state: Waiting}
			s.steps = append(s.steps, added)
			s.byID[added.id] = added
		}
	}
	return s
}

// settle lets the pace make up for the time that has passed.
func (s *State) settle(now time.Time) {
	if passed := now.Sub(s.at); passed > 0 {
		s.owed = max(0, s.owed-s.rate*passed.Hours())
		s.at = now
	}
}

// owes are the users that the pace has not made up for at a moment.
func (s *State) owes(now time.Time) float64 {
	return max(0, s.owed-s.rate*max(0, now.Sub(s.at)).Hours())
}

// take adds a line.
func (s *State) take(e Entry) error {
	if e.Seq != s.seq+1 {
		return fmt.Errorf("%w: line %d follows line %d", ErrJournal, e.Seq, s.seq)
	}
	s.seq = e.Seq
	s.settle(e.At)
	var err error
	switch e.Kind {
	case EntryApplied:
	case EntryRun:
		if s.begun.IsZero() {
			s.begun = e.At
		}
		s.watched, s.mirrored = e.At, e.Seq // nobody looked before
	case EntryCommand:
		s.pending = append(s.pending, e)
		if e.Command == Resume {
			s.mirrored = e.Seq
		}
		err = s.command(e)
	case EntryObeyed:
		s.pending = slices.DeleteFunc(s.pending, func(p Entry) bool { return p.Seq == e.Of })
	case EntryDecision:
		s.decide(e)
	case EntryReturning:
		err = s.goBack(e)
	case EntryStep:
		err = s.move(e)
	case EntryDefault:
		s.dflt = e.Why
	case EntryEnded:
		s.ended = true
	default:
		err = fmt.Errorf("it has a line of kind %q: use the newer migrator", e.Kind)
	}
	if err != nil {
		return fmt.Errorf("%w: line %d: %w", ErrJournal, e.Seq, err)
	}
	return nil
}

// decide takes a decision of the pacer.
func (s *State) decide(e Entry) {
	good := e.Level == slo.Healthy || e.Level == slo.Unhealthy
	if good && s.bad {
		s.watched = e.At
	}
	s.bad = !good
	if e.Decision.Rate < s.rate {
		s.halved = true
	}
	s.rate = e.Decision.Rate
	s.decision = &e
	if e.Decision.Action == ActStop {
		s.stopped, s.stopCause = "stopped: "+e.Decision.Reason, e.Decision.Cause
	}
}

// move takes a step's new state.
func (s *State) move(e Entry) error {
	t := s.byID[e.Step]
	if t == nil {
		return fmt.Errorf("the plan has no step %q", e.Step)
	}
	if e.State == t.state && e.Error != "" { // a return that failed, and is tried again
		t.err, s.failure = e.Error, fmt.Sprintf("%s does not go back: %s", t.id, e.Error)
		return nil
	}
	if !slices.Contains(NextStep[t.state], e.State) {
		return fmt.Errorf("step %s goes from %s to %s", e.Step, t.state, e.State)
	}
	if t.state == Running || t.state == Baking {
		s.active--
	}
	if e.State == Running || e.State == Baking {
		s.active++
	}
	if t.state == Passed {
		s.first = 0
	}
	t.state, t.err = e.State, e.Error
	switch e.State {
	case Running:
		t.begun, t.tries = e.At, t.tries+1
		s.owed += float64(t.plan.Users)
	case Baking:
		t.moved, s.mirrored = e.At, e.Seq
		s.recent = append(s.recent, Moved{At: e.At, Users: t.plan.Users})
	case Failed:
		s.stopped, s.stopCause = fmt.Sprintf("%s failed: %s", e.Step, e.Error), CauseFailed
	case Passed:
		s.halved = false
	case Returned:
		s.failure, t.open, s.mirrored = "", false, e.Seq
	case Waiting: // interrupted: its users have not moved
		s.owed, t.open = max(0, s.owed-float64(t.plan.Users)), true
	case Skipped:
		t.open = false
	case Returning:
	}
	t.ended = e.At
	return nil
}

// goBack takes the beginning, or with no steps the end, of a way back.
func (s *State) goBack(e Entry) error {
	s.failure = ""
	if len(e.Steps) == 0 {
		if s.returning != nil {
			s.stopped, s.stopCause = "returned: "+s.returning.why, CauseReturned
		}
		s.returning = nil
		return nil
	}
	for _, id := range e.Steps {
		t := s.byID[id]
		if t == nil {
			return fmt.Errorf("the plan has no step %q", id)
		}
	}
	s.returning = &returning{steps: e.Steps, mode: e.Mode, auto: e.Who == pacerName, why: e.Why}
	return nil
}

// newestFirst lists the steps, of one wave or with -1 of all, whose users have
// moved or may have.
func (s *State) newestFirst(wave int) []StepID {
	var moved []*step
	for _, t := range s.steps {
		switch t.state {
		case Running, Baking, Passed, Failed, Returning:
			if wave < 0 || t.wave == wave {
				moved = append(moved, t)
			}
		case Waiting:
			if t.open && (wave < 0 || t.wave == wave) {
				moved = append(moved, t)
			}
		case Skipped, Returned:
		}
	}
	slices.SortStableFunc(moved, func(a, b *step) int { return b.begun.Compare(a.begun) })
	ids := make([]StepID, len(moved))
	for i, t := range moved {
		ids[i] = t.id
	}
	return ids
}

// burning are the steps that go back when their users burn, the newest first:
// those that run or bake, and step by step, after them, what else of the wave has
// moved.
func (s *State) burning() []StepID {
	wave := s.wave()
	for _, t := range s.steps {
		if t.state == Baking {
			wave = t.wave
			break
		}
	}
	all := s.newestFirst(wave)
	if s.plan.Return == Stepwise {
		return all
	}
	return slices.DeleteFunc(all, func(id StepID) bool {
		state := s.byID[id].state
		return state != Running && state != Baking
	})
}

// count counts the steps in a state.
func (s *State) count(states ...StepState) int {
	n := 0
	for _, t := range s.steps {
		if slices.Contains(states, t.state) {
			n++
		}
	}
	return n
}

// look is what the pacer sees, but for the verdict.
func (s *State) look(now time.Time) Look {
	l := Look{Now: now, Paused: s.paused, Stopped: s.stopped, StopCause: s.stopCause,
		Rate: s.rate, Owed: s.owes(now), Halved: s.halved, Parallel: 1}
	for i, m := range s.recent {
		if now.Before(m.At.Add(hour)) {
			s.recent = s.recent[i:]
			break
		}
		if i == len(s.recent)-1 {
			s.recent = nil
		}
	}
	l.Recent = s.recent
	for s.first < len(s.steps) && (s.steps[s.first].state == Passed || s.steps[s.first].state == Skipped) {
		s.first++
	}
	wave, seen := -1, 0 // the first wave with something to do
	for _, t := range s.steps[s.first:] {
		if wave < 0 && t.state != Passed && t.state != Skipped {
			wave = t.wave
		}
		if l.Left && seen == s.active && (l.Next != nil || t.wave != wave) {
			break // what follows waits for what was seen
		}
		switch t.state {
		case Running:
			seen++
			l.Running, l.RunningUsers = l.Running+1, l.RunningUsers+t.plan.Users
		case Baking:
			seen++
			from := t.moved
			if s.watched.After(from) {
				from = s.watched
			}
			if s.bad { // it begins anew with this look, if this one is good
				from = now
			}
			l.Bakes = append(l.Bakes, Bake{Step: t.id, From: from, For: s.plan.Waves[t.wave].Gate.Bake})
		case Waiting:
			if l.Left = true; l.Next == nil && t.wave == wave {
				l.Next = &Next{Step: t.id, Users: t.plan.Users}
			}
		case Failed, Returning, Returned:
			l.Left = true
		case Passed, Skipped:
		}
	}
	if wave >= 0 {
		l.Parallel = s.plan.parallel(wave)
	}
	slices.SortStableFunc(l.Bakes, func(a, b Bake) int { return a.From.Compare(b.From) })
	return l
}

// wave is the one whose gate is asked: the first with something to do, else the
// last.
func (s *State) wave() int {
	for _, t := range s.steps[s.first:] {
		if t.state != Passed && t.state != Skipped {
			return t.wave
		}
	}
	return len(s.plan.Waves) - 1
}
