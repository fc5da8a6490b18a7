package campaign

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Command is an operator's word.
type Command string

// The commands.
const (
	Pause  Command = "pause"  // begin nothing; what is under way steps back and waits
	Resume Command = "resume" // end a pause or a stop; what failed or went back is tried again
	Rate   Command = "rate"   // users an hour from now on
	Skip   Command = "skip"   // leave steps out
	Return Command = "return" // take users back
	Abort  Command = "abort"  // end the campaign where it is
)

// Commands lists them.
func Commands() []Command { return []Command{Pause, Resume, Rate, Skip, Return, Abort} }

// ErrRefused says that a command does not go with how the campaign is.
var ErrRefused = errors.New("the campaign refuses")

// Order is a command with who, why, and what it is about.
type Order struct {
	Command  Command
	Who, Why string
	// Rate is of the command rate, in users an hour.
	Rate uint64
	// Target is of skip and return: a step such as singles/3, or a wave. Empty: the
	// step that the campaign waits at, or the newest wave with moved users. All is
	// of return: everybody.
	Target string
	All    bool
	Mode   Mode // of return; empty: the plan's
}

// Receipt says what became of an order.
type Receipt struct {
	Campaign string `json:"campaign"`
	Line     uint64 `json:"line"` // of the journal
	// Live says whether a run has the campaign; Obeyed, that it has taken the order
	// in, and After how long.
	Live   bool          `json:"live"`
	Obeyed bool          `json:"obeyed"`
	After  time.Duration `json:"after"`
	Steps  []StepID      `json:"steps,omitempty"`
}

// entry makes the journal's line of an order, or says why the campaign refuses.
func (s *State) entry(o Order) (Entry, error) {
	e := Entry{Kind: EntryCommand, Command: o.Command, Who: o.Who, Why: o.Why}
	if s.ended || s.aborted != "" {
		return e, fmt.Errorf("%w %s: it is over", ErrRefused, o.Command)
	}
	switch o.Command {
	case Pause:
		if s.paused != "" {
			return e, fmt.Errorf("%w pause: it is paused %s", ErrRefused, s.paused)
		}
	case Resume:
		switch {
		case s.returning != nil:
			return e, fmt.Errorf("%w resume: users are going back; wait until they have, or send abort", ErrRefused)
		case s.paused == "" && s.stopped == "" && s.count(Failed, Returned) == 0:
			return e, fmt.Errorf("%w resume: it is neither paused nor stopped", ErrRefused)
		}
	case Rate:
		if p := s.plan.Pace; o.Rate < p.Min || o.Rate > p.Max {
			return e, fmt.Errorf("%w rate %d: the plan allows %d to %d users an hour", ErrRefused, o.Rate, p.Min, p.Max)
		}
		e.Rate = o.Rate
	case Skip:
		steps, err := s.skippable(o.Target)
		if err != nil {
			return e, err
		}
		e.Steps = steps
	case Return:
		steps, err := s.returnable(o)
		if err != nil {
			return e, err
		}
		if e.Steps, e.Mode = steps, o.Mode; e.Mode == "" {
			e.Mode = s.plan.Return
		}
	case Abort:
	default:
		return e, fmt.Errorf("%w %q: no such command", ErrRefused, o.Command)
	}
	return e, nil
}

// named are the steps that a target names.
func (s *State) named(target string) ([]*step, error) {
	if t := s.byID[StepID(target)]; t != nil {
		return []*step{t}, nil
	}
	var steps []*step
	for _, t := range s.steps {
		if s.plan.Waves[t.wave].Name == target {
			steps = append(steps, t)
		}
	}
	if len(steps) == 0 {
		return nil, fmt.Errorf("%w: the plan has no wave and no step %q; campaign status lists them", ErrRefused, target)
	}
	return steps, nil
}

func (s *State) skippable(target string) ([]StepID, error) {
	steps := s.steps
	if target != "" {
		var err error
		if steps, err = s.named(target); err != nil {
			return nil, err
		}
	}
	var ids []StepID
	for _, t := range steps {
		if !slices.Contains(NextStep[t.state], Skipped) || t.state == Running {
			continue
		}
		if ids = append(ids, t.id); target == "" {
			break
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("%w skip: nothing of %q waits; what is under way or has moved is not skipped: pause first, or return it", ErrRefused, target)
	}
	return ids, nil
}

func (s *State) returnable(o Order) ([]StepID, error) {
	all := s.newestFirst(-1)
	if o.All && o.Target == "" {
		if len(all) == 0 {
			return nil, fmt.Errorf("%w return: nobody has moved", ErrRefused)
		}
		return all, nil
	}
	if o.All {
		return nil, fmt.Errorf("%w return: name %s, or everybody, one of the two", ErrRefused, o.Target)
	}
	if o.Target == "" {
		if len(all) == 0 {
			return nil, fmt.Errorf("%w return: nobody has moved", ErrRefused)
		}
		newest := s.byID[all[0]].wave
		return s.newestFirst(newest), nil
	}
	steps, err := s.named(o.Target)
	if err != nil {
		return nil, err
	}
	var ids []StepID
	for _, id := range all {
		if slices.ContainsFunc(steps, func(t *step) bool { return t.id == id }) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("%w return: nobody of %s has moved", ErrRefused, o.Target)
	}
	return ids, nil
}

// command takes an operator's word, which was checked before it was written.
func (s *State) command(e Entry) error {
	by := "by " + e.Who
	if e.Why != "" {
		by += ": " + e.Why
	}
	switch e.Command {
	case Pause:
		s.paused = by
	case Resume:
		s.paused, s.stopped, s.stopCause, s.failure = "", "", "", ""
		for _, t := range s.steps {
			if t.state == Failed || t.state == Returned {
				t.open = t.state == Failed
				t.state, t.err = Waiting, ""
			}
		}
	case Rate:
		s.rate, s.halved = float64(e.Rate), false
	case Skip:
		for _, id := range e.Steps {
			t := s.byID[id]
			if t == nil || !slices.Contains(NextStep[t.state], Skipped) {
				return fmt.Errorf("step %q cannot be skipped", id)
			}
			t.state, t.ended = Skipped, e.At
		}
		if s.count(Failed) == 0 && s.stopCause == CauseFailed {
			s.stopped, s.stopCause = "", ""
		}
	case Return:
		e.Why = by
		return s.goBack(e)
	case Abort:
		s.aborted = by
	default:
		return fmt.Errorf("it has a command %q: use the newer migrator", e.Command)
	}
	return nil
}

// Watch says when a folder may have changed, until ctx ends. A word too many
// does no harm.
type Watch func(ctx context.Context, dir string) (<-chan struct{}, error)

// Send puts an order into the journal of the campaign in dir, and waits, at most
// for wait, until the run that has it has taken it in.
func Send(ctx context.Context, dir string, o Order, wait time.Duration, watch Watch) (Receipt, error) {
	folder, err := current(dir)
	if err != nil {
		return Receipt{}, err
	}
	obeyed := map[uint64]time.Time{}
	j, err := openJournal(folder, func(_ *State, e Entry) {
		if e.Kind == EntryObeyed {
			obeyed[e.Of] = e.At
		}
	})
	if err != nil {
		return Receipt{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	changed, err := watch(ctx, folder)
	if err != nil {
		return Receipt{}, err
	}
	var e Entry
	began := time.Now()
	if err := j.append(ctx, &e, func() error {
		var err error
		if e, err = j.state.entry(o); err == nil {
			e.At = began
		}
		return err
	}); err != nil {
		return Receipt{}, err
	}
	r := Receipt{Campaign: folderID(folder), Line: e.Seq, Live: live(folder), Steps: e.Steps}
	for r.Live && !r.Obeyed {
		if err := j.read(); err != nil {
			return r, err
		}
		if _, r.Obeyed = obeyed[e.Seq]; r.Obeyed {
			r.After = time.Since(began)
			break
		}
		select {
		case <-ctx.Done():
			return r, nil
		case _, open := <-changed:
			if !open {
				return r, nil
			}
		}
	}
	return r, nil
}

// String gives the steps, for people.
func (r Receipt) String() string {
	words := make([]string, len(r.Steps))
	for i, id := range r.Steps {
		words[i] = string(id)
	}
	return strings.Join(words, ", ")
}
