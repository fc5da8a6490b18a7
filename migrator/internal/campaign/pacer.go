package campaign

import (
	"fmt"
	"time"

	"drover/migrator/internal/slo"
)

// Action is what the pacer wants done.
type Action string

// The actions.
const (
	ActBegin  Action = "begin"  // begin the next step
	ActPass   Action = "pass"   // a bake is over
	ActWait   Action = "wait"   // all is well, and it is not time yet
	ActHold   Action = "hold"   // begin nothing until the cause is gone
	ActStop   Action = "stop"   // begin nothing until an operator says resume
	ActReturn Action = "return" // take the users who bake back
	ActFinish Action = "finish" // nothing is left to do
)

// Actions lists them.
func Actions() []Action {
	return []Action{ActBegin, ActPass, ActWait, ActHold, ActStop, ActReturn, ActFinish}
}

// Cause is why.
type Cause string

// The causes.
const (
	CauseHealthy   Cause = "healthy"
	CauseUnhealthy Cause = "unhealthy"
	CauseBurning   Cause = "burning"
	CauseUnknown   Cause = "unknown"
	CauseParity    Cause = "parity"
	CauseOld       Cause = "old"
	CauseBaking    Cause = "baking"
	CauseRunning   Cause = "running"
	CausePace      Cause = "pace"
	CauseUsersMax  Cause = "users_max"
	CauseQuiet     Cause = "quiet"
	CausePaused    Cause = "paused"
	CauseStopped   Cause = "stopped"
	CauseReturned  Cause = "returned"
	CauseFailed    Cause = "failed"
	CauseDone      Cause = "done"
)

// Causes lists them.
func Causes() []Cause {
	return []Cause{CauseHealthy, CauseUnhealthy, CauseBurning, CauseUnknown, CauseParity, CauseOld, CauseBaking, CauseRunning, CausePace,
		CauseUsersMax, CauseQuiet, CausePaused, CauseStopped, CauseReturned, CauseFailed, CauseDone}
}

// Look is all that a decision depends on.
type Look struct {
	Now time.Time
	// Level and Reason are the verdict's, after the gate; Cause is CauseParity when
	// it is the parity's.
	Level  slo.Level
	Reason string
	Cause  Cause
	// Old is the verdict's: why nothing may be begun by it, nor a bake be over.
	Old string
	// Paused and Stopped say why an operator must say something first; empty: no.
	Paused, Stopped string
	StopCause       Cause
	// Rate is in users an hour. Owed are the users that it has not made up for yet.
	Rate, Owed float64
	// Halved is set when the rate was halved since the last step began.
	Halved bool
	// Running counts steps under way, and RunningUsers their users.
	Running      int
	RunningUsers uint64
	// Recent are the users who moved lately, the oldest first.
	Recent []Moved
	// Bakes are the steps whose users bake, the oldest first.
	Bakes []Bake
	// Next is what could begin now; nil for none. Left says whether any step is
	// left to begin later.
	Next *Next
	Left bool
	// Parallel is how many steps may run or bake at a time.
	Parallel int
}

// Moved is one step's users.
type Moved struct {
	At    time.Time
	Users uint64
}

// Bake is a step whose users are looked at.
type Bake struct {
	Step StepID
	// From is since when it was looked at without a gap.
	From time.Time
	For  time.Duration
}

// Next is a step that could begin.
type Next struct {
	Step  StepID
	Users uint64
}

// Decision is what the pacer says.
type Decision struct {
	Action Action `json:"action"`
	Cause  Cause  `json:"cause"`
	Reason string `json:"reason"`
	// Step is the one to begin, or whose bake is over.
	Step StepID `json:"step,omitempty"`
	// Rate is the new one.
	Rate float64 `json:"rate"`
	// Until is when something may have changed by time alone; zero: not known.
	Until time.Time `json:"until,omitzero"`
}

// Pacer decides. It keeps nothing between decisions, and may be called by any
// number of goroutines.
type Pacer struct {
	pace    Pace
	burning Policy
	quiet   *calendar
}

// hour is the span of the bound on users.
const hour = time.Hour

// NewPacer returns the pacer of a plan.
func NewPacer(p *Plan) (*Pacer, error) {
	quiet, err := p.Quiet.read()
	if err != nil {
		return nil, fmt.Errorf("%w: quiet: %w", ErrPlan, err)
	}
	return &Pacer{pace: p.Pace, burning: p.Burning, quiet: quiet}, nil
}

// Decide says what to do. Its order is its meaning: what keeps users from harm
// comes before what an operator wants, and that before going on.
func (p *Pacer) Decide(l Look) Decision {
	d := Decision{Rate: p.bounded(l.Rate), Action: ActHold}
	switch {
	case l.Level == slo.Burning && len(l.Bakes) != 0:
		return p.burns(l, d)
	case l.Paused != "":
		return d.of(CausePaused, "paused "+l.Paused)
	case l.Stopped != "":
		return d.of(l.StopCause, l.Stopped)
	case len(l.Bakes) == 0 && l.Running == 0 && !l.Left:
		d.Action = ActFinish
		return d.of(CauseDone, "every step is done")
	}
	switch l.Level {
	case slo.Healthy:
	case slo.Unhealthy:
		if !l.Halved {
			d.Rate = p.bounded(l.Rate / 2)
		}
	case slo.Burning:
		return d.of(l.cause(CauseBurning), l.Reason)
	default:
		return d.of(l.cause(CauseUnknown), l.Reason)
	}
	next, over := p.passes(l, d)
	if !over {
		next = p.begins(l, d)
	}
	if l.Old != "" && (next.Action == ActPass || next.Action == ActBegin) {
		d.Action = ActWait
		return d.of(CauseOld, l.Old)
	}
	return next
}

func (l Look) cause(c Cause) Cause {
	if l.Cause == CauseParity {
		return CauseParity
	}
	return c
}

// burns is the policy.
func (p *Pacer) burns(l Look, d Decision) Decision {
	switch p.burning {
	case PolicyReturn:
		d.Action = ActReturn
	case PolicyStop:
		d.Action = ActStop
	default:
	}
	return d.of(l.cause(CauseBurning), l.Reason)
}

// passes ends the bake that has lasted longest, if it is over.
func (p *Pacer) passes(l Look, d Decision) (Decision, bool) {
	for _, b := range l.Bakes {
		if l.Now.Before(b.From.Add(b.For)) {
			continue
		}
		d.Action, d.Step = ActPass, b.Step
		if l.Level == slo.Healthy && !l.Halved {
			d.Rate = p.bounded(l.Rate + float64(p.pace.Add))
		}
		return d.of(levelCause(l.Level), fmt.Sprintf("%s baked for %s: %s", b.Step, b.For, l.Reason)), true
	}
	return d, false
}

func levelCause(level slo.Level) Cause {
	if level == slo.Unhealthy {
		return CauseUnhealthy
	}
	return CauseHealthy
}

// begins is the next step, or why not yet.
func (p *Pacer) begins(l Look, d Decision) Decision {
	d.Action = ActWait
	if l.Next == nil || l.Running+len(l.Bakes) >= l.Parallel {
		return p.waits(l, d)
	}
	if until, quiet := p.quiet.at(l.Now); quiet {
		d.Action, d.Until = ActHold, until
		return d.of(CauseQuiet, "quiet hours until "+until.In(p.quiet.zone).Format("Mon 15:04 MST"))
	}
	if until, used, over := p.full(l); over {
		d.Action, d.Until = ActHold, until
		return d.of(CauseUsersMax, fmt.Sprintf("%d users moved or are moving within the hour, %s has %d, and the bound is %d",
			used, l.Next.Step, l.Next.Users, p.pace.UsersMax))
	}
	if l.Owed > 0 {
		d.Until = l.Now.Add(roundUp(l.Owed / d.Rate))
		return d.of(CausePace, fmt.Sprintf("%.0f users an hour: %s may begin at %s", d.Rate, l.Next.Step, d.Until.UTC().Format(time.RFC3339)))
	}
	d.Action, d.Step = ActBegin, l.Next.Step
	return d.of(levelCause(l.Level), l.Reason)
}

// roundUp is so many hours, and a moment more: the pace must be made up for when
// it is over.
func roundUp(hours float64) time.Duration {
	const most = 366 * 24 * time.Hour
	return min(most, time.Duration(min(hours, most.Hours())*float64(time.Hour))+time.Millisecond)
}

func (p *Pacer) waits(l Look, d Decision) Decision {
	for _, b := range l.Bakes {
		if over := b.From.Add(b.For); d.Until.IsZero() || over.Before(d.Until) {
			d.Until = over
		}
	}
	if len(l.Bakes) == 0 {
		return d.of(CauseRunning, fmt.Sprintf("%d under way", l.Running))
	}
	return d.of(CauseBaking, fmt.Sprintf("%d baking, %d under way: %s", len(l.Bakes), l.Running, l.Reason))
}

// full says whether the next step would make too many users in an hour, and
// when it would not. Who is under way counts until they have moved for an hour:
// nobody knows when in its run a step changes homes.
func (p *Pacer) full(l Look) (until time.Time, used uint64, over bool) {
	if p.pace.UsersMax == 0 {
		return time.Time{}, 0, false
	}
	used = l.RunningUsers
	for _, m := range l.Recent {
		if l.Now.Before(m.At.Add(hour)) {
			used += m.Users
		}
	}
	left := used
	for _, m := range l.Recent {
		if left+l.Next.Users <= p.pace.UsersMax {
			break
		}
		if end := m.At.Add(hour); l.Now.Before(end) {
			left, until = left-m.Users, end
		}
	}
	return until, used, used+l.Next.Users > p.pace.UsersMax
}

// bounded is a rate within the plan's bounds. What is no number is the least.
func (p *Pacer) bounded(rate float64) float64 {
	if !(rate > float64(p.pace.Min)) {
		return float64(p.pace.Min)
	}
	return min(rate, float64(p.pace.Max))
}

func (d Decision) of(cause Cause, reason string) Decision {
	d.Cause, d.Reason = cause, reason
	return d
}
