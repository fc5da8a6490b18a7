package campaign

import (
	"time"

	"drover/bucketmap"
	"drover/migrator/internal/slo"
)

// Phase is how a campaign is, in one word.
type Phase string

// The phases.
const (
	PhaseReady     Phase = "ready"     // no run has had it
	PhaseMoving    Phase = "moving"    // steps run, bake, or wait for their time
	PhaseHeld      Phase = "held"      // nothing begins until the cause is gone
	PhasePaused    Phase = "paused"    // by an operator
	PhaseStopped   Phase = "stopped"   // until an operator says resume
	PhaseReturning Phase = "returning" // users go back
	PhaseDone      Phase = "done"
	PhaseAborted   Phase = "aborted"
)

// Status says how a campaign is getting on. The JSON names stay as they are.
type Status struct {
	Campaign string               `json:"campaign"`
	At       time.Time            `json:"at"`
	To       bucketmap.Datacenter `json:"to"`
	Phase    Phase                `json:"phase"`
	// Reason says why nothing begins, if nothing does.
	Reason string `json:"reason,omitempty"`
	// Live says whether a run has the campaign now.
	Live bool `json:"live"`
	// Looked is when a run last went round, at most LookedMax ago while one is live:
	// a live run that was not seen for longer is stuck.
	Looked  time.Time `json:"looked,omitzero"`
	Begun   time.Time `json:"begun,omitzero"`
	Default string    `json:"default,omitempty"` // the datacenter
	Pace    PaceNow   `json:"pace"`
	Users   Count     `json:"users"`
	// Whitelisted are those of the whitelist, where they are among Users: their
	// buckets move later.
	Whitelisted Count `json:"whitelisted,omitzero"`
	// Verdict is the last one that a decision was made by.
	Verdict  *VerdictNow `json:"verdict,omitempty"`
	Decision *Decision   `json:"decision,omitempty"`
	// End is the forecast; zero when nothing can be said: while it is held, paused,
	// or over.
	End time.Time `json:"end,omitzero"`
	// Left is how long it will take from the moment it goes on, if all is well.
	Left  time.Duration `json:"left"`
	Waves []WaveNow     `json:"waves"`
	// Moved is who had moved when, progressMax points at most, and Journal the last
	// journalMax lines.
	Moved   []Point `json:"moved"`
	Journal []Entry `json:"journal"`
}

// PaceNow is the pace.
type PaceNow struct {
	Rate     float64 `json:"rate"` // users an hour
	Min      uint64  `json:"min"`
	Max      uint64  `json:"max"`
	UsersMax uint64  `json:"users_an_hour_max,omitempty"`
	// LastHour are the users who moved within the last 60 minutes.
	LastHour uint64 `json:"last_hour"`
}

// Count is how many of how many.
type Count struct {
	Moved uint64 `json:"moved"`
	All   uint64 `json:"all"`
}

// VerdictNow is a verdict.
type VerdictNow struct {
	Level   slo.Level    `json:"level"`
	Reason  string       `json:"reason"`
	At      time.Time    `json:"at"`
	Figures []slo.Figure `json:"figures,omitempty"`
}

// WaveNow is one wave.
type WaveNow struct {
	Name  string    `json:"name"`
	Kind  Kind      `json:"kind"`
	State string    `json:"state"` // waiting, moving, done, returned or failed
	Gate  Gate      `json:"gate"`
	Users Count     `json:"users"`
	Steps []StepNow `json:"steps"`
}

// StepNow is one step.
type StepNow struct {
	Step  StepID        `json:"step"`
	What  string        `json:"what"`
	State StepState     `json:"state"`
	Users uint64        `json:"users"`
	Begun time.Time     `json:"begun,omitzero"`
	Moved time.Time     `json:"moved,omitzero"`
	Tries int           `json:"tries"`
	Takes time.Duration `json:"takes"` // as planned
	Error string        `json:"error,omitempty"`
}

// Point is how many users had moved at a moment.
type Point struct {
	At    time.Time `json:"at"`
	Users uint64    `json:"users"`
}

// LookedMax is how long ago a live run went round at most, unless it is stuck. It
// does so twelve times as often, and waits for the journal's lock, for the map and
// for a disk that is slow in between.
const LookedMax = time.Minute

// Stuck says that a run has the campaign and does not go round: it waits for a disk,
// was stopped by a signal, or its machine is.
func (out *Status) Stuck() bool { return out.Live && out.At.Sub(out.Looked) > LookedMax }

// whatMax bounds what a step says of itself, in bytes.
const whatMax = 200

// fill takes what a state says, but for the forecast.
func (out *Status) fill(s *State) {
	out.To, out.Begun, out.Default = s.plan.To, s.begun, s.dflt
	l := s.look(out.At)
	out.Pace = PaceNow{Rate: s.rate, Min: s.plan.Pace.Min, Max: s.plan.Pace.Max, UsersMax: s.plan.Pace.UsersMax}
	for _, m := range l.Recent {
		if out.At.Before(m.At.Add(hour)) {
			out.Pace.LastHour += m.Users
		}
	}
	out.Users, out.Whitelisted = s.users()
	if d := s.decision; d != nil {
		out.Decision = d.Decision
		out.Verdict = &VerdictNow{Level: d.Level, Reason: d.Why, At: d.At, Figures: d.Figures}
	}
	out.Phase, out.Reason = s.phase()
	out.waves(s)
}

func (s *State) phase() (Phase, string) {
	switch {
	case s.aborted != "":
		return PhaseAborted, "aborted " + s.aborted
	case s.ended:
		return PhaseDone, ""
	case s.returning != nil && s.failure != "":
		return PhaseReturning, s.failure
	case s.returning != nil:
		return PhaseReturning, s.returning.why
	case s.paused != "":
		return PhasePaused, "paused " + s.paused
	case s.stopped != "":
		return PhaseStopped, s.stopped
	case s.begun.IsZero():
		return PhaseReady, ""
	case s.decision != nil && s.decision.Decision.Action == ActHold:
		return PhaseHeld, s.decision.Why
	}
	return PhaseMoving, ""
}

func (out *Status) waves(s *State) {
	out.Waves = make([]WaveNow, len(s.plan.Waves))
	for i, w := range s.plan.Waves {
		out.Waves[i] = WaveNow{Name: w.Name, Kind: w.Kind, Gate: w.Gate, Steps: make([]StepNow, 0, len(w.Steps))}
	}
	for _, t := range s.steps {
		w := &out.Waves[t.wave]
		if t.what == "" {
			if t.what = t.plan.String(); len(t.what) > whatMax {
				t.what = t.what[:whatMax] + "…"
			}
		}
		w.Users.All += t.plan.Users
		if t.state == Baking || t.state == Passed || t.state == Returning {
			w.Users.Moved += t.plan.Users
		}
		w.Steps = append(w.Steps, StepNow{Step: t.id, What: t.what, State: t.state, Users: t.plan.Users, Begun: t.begun, Moved: t.moved,
			Tries: t.tries, Takes: t.plan.Takes, Error: t.err})
	}
	for i := range out.Waves {
		out.Waves[i].State = waveState(out.Waves[i].Steps)
	}
}

// waveState is a wave's state in a word, from its steps'.
func waveState(steps []StepNow) string {
	n := map[StepState]int{}
	for _, t := range steps {
		n[t.State]++
	}
	switch {
	case n[Passed]+n[Skipped] == len(steps):
		return "done"
	case n[Failed] != 0:
		return "failed"
	case n[Returning] != 0:
		return "returning"
	case n[Running]+n[Baking]+n[Passed] != 0:
		return "moving"
	case n[Returned] != 0:
		return "returned"
	}
	return "waiting"
}
