package campaign

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"drover/migrator/internal/slo"
)

// Simulation is what came out.
type Simulation struct {
	Runs  int       `json:"runs"`
	Begin time.Time `json:"begin"`
	// Median and P90 are when it ends; Took how long that is.
	Median     time.Time     `json:"median"`
	P90        time.Time     `json:"p90"`
	TookMedian time.Duration `json:"took_median"`
	TookP90    time.Duration `json:"took_p90"`
	Users      uint64        `json:"users"`
	Steps      int           `json:"steps"`
	// Returns, Failures and Held are of the median run.
	Returns  int           `json:"returns"`
	Failures int           `json:"failures"`
	Held     time.Duration `json:"held"`
	// Worst is the hour with the most failed requests of all runs.
	Worst WorstHour `json:"worst_hour"`
	Link  LinkLoad  `json:"link"`
}

// WorstHour is an hour of one run.
type WorstHour struct {
	Begins   time.Time `json:"begins"`
	Requests float64   `json:"failed_requests"`
	// Users are those who baked while the objectives burnt.
	Users uint64 `json:"users"`
	Moved uint64 `json:"moved"`
	Seed  uint64 `json:"seed"`
}

// LinkLoad is what the link between the datacenters carries, in bytes a second.
type LinkLoad struct {
	Base      float64   `json:"base"` // replication alone
	Mean      float64   `json:"mean"`
	Peak      float64   `json:"peak"` // of the busiest hour
	PeakAt    time.Time `json:"peak_at"`
	PeakShare float64   `json:"peak_share"` // of the link
}

const (
	// simEventsMax bounds one run: ten for each of stepsMax steps, and as many for
	// what befalls them.
	simEventsMax = 2_000_000
	// stepTakes stands for a step of which nothing is known.
	stepTakes = 5 * time.Second
	// simHoursMax bounds the hours that are counted: ten years.
	simHoursMax = 24 * 3660
)

// errStuck says that a simulated campaign does not end.
var errStuck = errors.New("the simulated campaign does not end")

// Simulate runs a plan against a model, from begin on.
func Simulate(p *Plan, m Model, begin time.Time) (Simulation, error) {
	if err := m.Check(); err != nil {
		return Simulation{}, err
	}
	pacer, err := NewPacer(p)
	if err != nil {
		return Simulation{}, err
	}
	out := Simulation{Runs: m.Runs, Begin: begin}
	var runs []*sim
	for i := range m.Runs {
		one := newSim(newState(p), pacer, begin)
		one.model, one.seed = &m, m.Seed+uint64(i)
		one.random = rand.New(rand.NewPCG(one.seed, 1))
		one.blindAt = one.after(m.Blind / 24)
		if err := one.run(); err != nil {
			return Simulation{}, fmt.Errorf("seed %d: %w", one.seed, err)
		}
		runs = append(runs, one)
	}
	slices.SortStableFunc(runs, func(a, b *sim) int { return a.now.Compare(b.now) })
	at := func(q float64) *sim { return runs[min(len(runs)-1, int(q*float64(len(runs))))] }
	median := at(0.5)
	out.Median, out.P90 = median.now, at(0.9).now
	out.TookMedian, out.TookP90 = out.Median.Sub(begin), out.P90.Sub(begin)
	out.Users = median.s.plan.Users()
	out.Steps = len(median.s.steps)
	out.Returns, out.Failures, out.Held = median.returns, median.failures, median.held
	for _, one := range runs {
		one.worst(&out.Worst)
	}
	median.link(&out.Link)
	return out, nil
}

// sim is one simulated run: the campaign's own state and pacer with another
// clock, and a world.
type sim struct {
	s      *State
	pacer  *Pacer
	now    time.Time
	begin  time.Time
	model  *Model // nil: all is well, and it is a forecast
	random *rand.Rand
	seed   uint64
	all    uint64  // users
	factor float64 // how much longer steps take than planned

	ends    map[StepID]time.Time
	blindAt time.Time // the next time that nobody knows
	spells  []spell
	answer  time.Time // when the operator says resume

	returns, failures int
	held              time.Duration
	hours             []hourOf
}

// spell is a time with a level.
type spell struct {
	from, to time.Time
	level    slo.Level
}

type hourOf struct {
	requests, bytes float64
	users, moved    uint64
}

func newSim(s *State, pacer *Pacer, now time.Time) *sim {
	return &sim{s: s, pacer: pacer, now: now, begin: now, all: s.plan.Users(), ends: map[StepID]time.Time{}, factor: 1}
}

func (m *sim) put(e Entry) error {
	e.Seq, e.At = m.s.seq+1, m.now
	return m.s.take(e)
}

// run goes from event to event until the campaign ends.
func (m *sim) run() error {
	if err := m.put(Entry{Kind: EntryRun}); err != nil {
		return err
	}
	return m.loop()
}

func (m *sim) loop() error {
	for range simEventsMax {
		if err := m.settleEnds(); err != nil {
			return err
		}
		level, until := m.level()
		l := m.s.look(m.now)
		l.Level = level
		d := m.pacer.Decide(l)
		if err := m.note(d, level); err != nil {
			return err
		}
		switch d.Action {
		case ActFinish:
			return nil
		case ActBegin, ActPass:
			if err := m.act(d); err != nil {
				return err
			}
			continue
		case ActReturn:
			if err := m.giveBack(); err != nil {
				return err
			}
			continue
		case ActWait, ActHold, ActStop:
		}
		if m.s.stopped != "" && m.answer.IsZero() && m.s.returning == nil {
			m.answer = m.now
			if m.model != nil {
				m.answer = m.now.Add(m.model.Answer)
			}
		}
		if !m.advance(d, until) {
			return fmt.Errorf("%w: %s", errStuck, d.Reason)
		}
	}
	return fmt.Errorf("%w within %d events", errStuck, simEventsMax)
}

func (m *sim) note(d Decision, level slo.Level) error {
	last := m.s.decision
	if last != nil && last.Decision.Action == d.Action && last.Decision.Cause == d.Cause && last.Decision.Rate == d.Rate && last.Level == level {
		return nil
	}
	return m.put(Entry{Kind: EntryDecision, Decision: &d, Level: level})
}

// act begins a step, or ends a bake.
func (m *sim) act(d Decision) error {
	if d.Action == ActPass {
		return m.put(Entry{Kind: EntryStep, Step: d.Step, State: Passed})
	}
	t := m.s.byID[d.Step]
	m.ends[d.Step] = m.now.Add(m.takes(t.plan))
	return m.put(Entry{Kind: EntryStep, Step: d.Step, State: Running})
}

func (m *sim) takes(s Step) time.Duration {
	takes := s.Takes
	if takes == 0 {
		takes = stepTakes
		if m.model != nil {
			takes = m.model.Takes(s)
		}
	}
	factor := m.factor
	if m.random != nil { // no two take the same: a third more or less, as a rule
		factor *= math.Exp(0.3 * m.random.NormFloat64())
	}
	return time.Duration(float64(takes) * factor)
}

// settleEnds takes what has ended by now.
func (m *sim) settleEnds() error {
	if !m.answer.IsZero() && !m.now.Before(m.answer) {
		m.answer = time.Time{}
		if err := m.put(Entry{Kind: EntryCommand, Command: Resume}); err != nil {
			return err
		}
	}
	due := []StepID{}
	for id, end := range m.ends {
		if !m.now.Before(end) {
			due = append(due, id)
		}
	}
	slices.Sort(due) // the order must be the seed's
	for _, id := range due {
		delete(m.ends, id)
		t, e := m.s.byID[id], Entry{Kind: EntryStep, Step: id}
		switch {
		case t.state == Returning:
			e.State = Returned
		case m.model != nil && m.random.Float64() < m.model.Fails:
			e.State, e.Error = Failed, "simulated"
			m.failures++
		default:
			e.State = Baking
			m.moved(t)
		}
		if err := m.put(e); err != nil {
			return err
		}
	}
	if m.s.returning != nil && len(m.ends) == 0 {
		return m.put(Entry{Kind: EntryReturning})
	}
	return nil
}

func (m *sim) giveBack() error {
	m.returns++
	steps := m.s.burning()
	if err := m.put(Entry{Kind: EntryReturning, Who: pacerName, Why: "burning", Steps: steps, Mode: AtOnce}); err != nil {
		return err
	}
	clear(m.ends)
	for _, id := range steps {
		if err := m.put(Entry{Kind: EntryStep, Step: id, State: Returning}); err != nil {
			return err
		}
		m.ends[id] = m.now.Add(stepTakes) // there is no copy on the way back
	}
	// They are home, and nothing burns for their sake any more.
	m.spells = slices.DeleteFunc(m.spells, func(s spell) bool { return s.level == slo.Burning })
	return nil
}

// advance goes to the next moment at which something may be different.
func (m *sim) advance(d Decision, until time.Time) bool {
	next := until
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	sooner(d.Until)
	sooner(m.answer)
	for _, end := range m.ends {
		sooner(end)
	}
	if next.IsZero() || m.random == nil && d.Cause == CauseUnknown {
		return false
	}
	next = maxTime(next, m.now.Add(time.Millisecond))
	if d.Action == ActHold || d.Action == ActStop {
		m.held += next.Sub(m.now)
	}
	m.count(next)
	m.now = next
	return true
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// forecast is when a campaign ends if all goes well from now on: with the same
// pacer, and steps that take as much longer than planned as those before them.
func forecast(s *State, now time.Time) (time.Time, error) {
	pacer, err := NewPacer(s.plan)
	if err != nil {
		return time.Time{}, err
	}
	c := *s
	c.steps, c.byID = nil, map[StepID]*step{}
	one := newSim(&c, pacer, now)
	var planned, took time.Duration
	for _, t := range s.steps {
		copied := *t
		c.steps, c.byID[t.id] = append(c.steps, &copied), &copied
		switch t.state {
		case Baking, Passed:
			if t.tries == 1 && t.plan.Takes > 0 {
				planned, took = planned+t.plan.Takes, took+t.moved.Sub(t.begun)
			}
		case Failed, Returned:
			copied.state = Waiting
		case Returning:
			copied.state = Passed
		case Waiting, Running, Skipped:
		}
	}
	if planned > 0 && took > 0 {
		one.factor = min(100, max(0.01, took.Seconds()/planned.Seconds()))
	}
	for _, t := range c.steps {
		if t.state == Running {
			one.ends[t.id] = maxTime(now, t.begun.Add(one.takes(t.plan)))
		}
	}
	c.paused, c.stopped, c.stopCause, c.returning, c.pending, c.first = "", "", "", nil, nil, 0
	c.recent, c.decision = slices.Clone(s.recent), nil
	err = one.loop()
	return one.now, err
}
