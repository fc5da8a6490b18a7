package campaign

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/gofrs/flock"

	"drover/bucketmap"
	"drover/migrator/internal/crash"
	"drover/migrator/internal/slo"
)

// Executor moves users. A step may be given to it again at any time, after a
// crash in any place: each method finds out where the step is, from the map and
// the journals of the moves, and goes on from there.
type Executor interface {
	// Forward returns nil once the step's users live in the target. When ctx ends
	// it steps back and returns an error, or finishes what is past its commit point.
	Forward(ctx context.Context, s Step) error
	// Back returns nil once the step's users live where they came from.
	Back(ctx context.Context, s Step) error
	// Abandon gives up what of the step is under way and not past its commit point.
	// What is past it is finished.
	Abandon(ctx context.Context, s Step) error
	// Default makes the map's default auto, or pins it.
	Default(ctx context.Context, to bucketmap.Datacenter, auto bool) error
}

// Maps gives the map in force.
type Maps interface {
	Load(ctx context.Context) (*bucketmap.Snapshot, error)
}

// Runner runs a campaign. Its fields are set before Run and not after.
type Runner struct {
	Executor Executor
	Maps     Maps
	Judge    Judge
	Parity   Parity // nil: no gate that asks for parity is passed
	Watch    Watch
	Metrics  *Metrics // nil for none
	Crash    *crash.Points
	Who      string
	// Every is how often the objectives are looked at.
	Every time.Duration
	// Report is told of every line of the journal that comes while it runs.
	Report func(Entry)
	// Weight gives the users of a bucket, as the plan's; nil counts each as one.
	Weight func(bucketmap.BucketID) uint64
}

// DefaultEvery is how often the objectives are looked at.
const DefaultEvery = 5 * time.Second

var (
	// ErrRunning says that another run has the campaign.
	ErrRunning = errors.New("another run has the campaign")
	// ErrAborted says that the campaign was aborted.
	ErrAborted = errors.New("the campaign was aborted")
)

// maxAge is how old a verdict may be: a look, and the time that it may take.
func (r *Runner) maxAge() time.Duration { return 2*r.Every + askMax }

// run is a Runner at work. All of it belongs to the goroutine of Run.
type run struct {
	*Runner
	j        *journal
	pacer    *Pacer
	workers  map[StepID]*worker
	results  chan result  // parallelMax and returnsMax workers never wait to be heard
	verdicts chan verdict // one look at a time
	asking   bool
	beaten   time.Time
	wave     int // whose gate the look under way was asked with
	verdict  *verdict
	void     bool // what is asked for now was asked before something changed
	next     time.Time
	retry    time.Time // when a return that failed is tried again
	tries    int
}

// Run goes on with the campaign in dir until it is done, aborted, or ctx ends.
// The error is nil when it is done, and ErrAborted when it was aborted.
func (r *Runner) Run(ctx context.Context, dir string) (err error) {
	folder, err := current(dir)
	if err != nil {
		return err
	}
	lock := flock.New(filepath.Join(folder, runLockName))
	if free, err := lock.TryLock(); err != nil || !free {
		return errors.Join(ErrRunning, err)
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	silent := true // what was before this run is no news
	j, err := openJournal(folder, func(_ *State, e Entry) {
		if !silent && r.Report != nil {
			r.Report(e)
		}
	})
	if err != nil {
		return err
	}
	if j.state.ended {
		return aftermath(j.state)
	}
	silent = false
	one := &run{Runner: r, j: j, workers: map[StepID]*worker{}, results: make(chan result, 2*parallelMax), verdicts: make(chan verdict, 1)}
	if one.pacer, err = NewPacer(j.state.plan); err != nil {
		return err
	}
	if err := one.begin(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	changed, err := r.Watch(ctx, folder)
	if err == nil {
		err = one.loop(ctx, changed)
	}
	err = errors.Join(err, one.leave(ctx, cancel))
	if changed != nil {
		for range changed { // until its goroutine is over
		}
	}
	return err
}

func aftermath(s *State) error {
	if s.aborted != "" {
		return fmt.Errorf("%w %s", ErrAborted, s.aborted)
	}
	return nil
}

// begin notes the run, and sees to the default.
func (r *run) begin(ctx context.Context) error {
	if err := r.put(ctx, Entry{Kind: EntryRun, Who: r.Who}); err != nil {
		return err
	}
	p := r.j.state.plan
	if r.j.state.aborted == "" {
		to, auto := bucketmap.Datacenter(p.Default), p.Default == DefaultAuto
		if auto {
			to = p.To
		}
		r.Crash.At("campaign.before_default")
		if err := r.Executor.Default(ctx, to, auto); err != nil {
			return fmt.Errorf("the default %s: %w; set it, and migrator campaign run again", p.Default, err)
		}
		r.Crash.At("campaign.after_default")
	}
	return r.seeDefault(ctx)
}

// seeDefault notes when the default has become another datacenter.
func (r *run) seeDefault(ctx context.Context) error {
	snap, err := r.Maps.Load(ctx)
	if err != nil {
		return fmt.Errorf("the map: %w", err)
	}
	if dc := string(snap.Default().Datacenter); dc != r.j.state.dflt {
		return r.put(ctx, Entry{Kind: EntryDefault, Who: r.Who, Why: dc})
	}
	return nil
}

// put writes a line.
func (r *run) put(ctx context.Context, e Entry) error {
	e.At = time.Now()
	r.Crash.At("campaign.before_" + crash.Point(e.Kind))
	if err := r.j.append(ctx, &e, nil); err != nil {
		return err
	}
	r.Crash.At("campaign.after_" + crash.Point(e.Kind))
	r.Metrics.take(e, r.j.state)
	return nil
}

// loop is the run: what has come is taken in, then at most one thing is done,
// until there is nothing to do but wait.
func (r *run) loop(ctx context.Context, changed <-chan struct{}) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if err := r.j.read(); err != nil {
			return err
		}
		done, err := r.once(ctx)
		if err != nil || done {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		timer.Reset(max(0, time.Until(r.next)))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		case _, open := <-changed:
			if !open {
				changed = nil // it ends with ctx
			}
		case v := <-r.verdicts:
			if r.asking = false; !r.void {
				r.verdict = &v
				r.Metrics.verdict(v)
			}
			r.void = false
		case res := <-r.results:
			if err := r.heard(ctx, res); err != nil {
				return err
			}
		}
	}
}

// once does what is to be done now. It says whether the campaign is over.
func (r *run) once(ctx context.Context) (done bool, err error) {
	r.next = time.Now().Add(r.Every)
	r.beat()
	if err := r.obey(ctx); err != nil {
		return false, err
	}
	s := r.j.state
	if s.aborted != "" {
		return r.abort(ctx)
	}
	if s.paused != "" {
		r.interrupt()
	}
	if s.returning != nil {
		r.look(ctx) // the judge's windows are made of regular looks
		return false, r.giveBack(ctx)
	}
	if err := r.orphans(ctx); err != nil {
		return false, err
	}
	r.look(ctx)
	for {
		again, done, err := r.decide(ctx)
		if err != nil || done {
			return done, err
		}
		if !again {
			break
		}
	}
	if r.verdict == nil && !r.asking {
		r.next = time.Now()
	}
	return false, nil
}

// beatEvery is how often a run shows that it is alive, at most.
const beatEvery = 5 * time.Second

// beat shows that the run goes round, by the time of its lock: see Status.Looked.
// That it cannot makes it look stuck, and is no reason to be.
func (r *run) beat() {
	now := time.Now()
	if now.Sub(r.beaten) < min(r.Every, beatEvery) {
		return
	}
	r.beaten = now
	_ = os.Chtimes(filepath.Join(r.j.dir, runLockName), now, now)
}

// obey takes the operators' orders in: what they mean is in the state already.
func (r *run) obey(ctx context.Context) error {
	for len(r.j.state.pending) != 0 {
		p := r.j.state.pending[0]
		r.Metrics.command(p.Command)
		if p.Command == Resume || p.Command == Return {
			r.retry, r.tries = time.Time{}, 0
		}
		if p.Command == Resume {
			r.forget() // a word of before it does not begin a step
		}
		if err := r.put(ctx, Entry{Kind: EntryObeyed, Who: r.Who, Of: p.Seq, Command: p.Command}); err != nil {
			return err
		}
	}
	return nil
}

// look asks the judge, if nobody is asking and the last word is old.
func (r *run) look(ctx context.Context) {
	wave := r.j.state.wave()
	if r.verdict != nil && r.wave != wave {
		r.verdict = nil // the gate is another one
	}
	if r.asking || r.verdict != nil && time.Since(r.verdict.at) < r.Every {
		return
	}
	r.asking, r.wave, r.void = true, wave, false
	w := r.j.state.plan.Waves[wave]
	since := Since{Wave: w.Name, Line: r.j.state.mirrored}
	judge, parity, age := r.Judge, r.Parity, r.maxAge()
	go func() { r.verdicts <- ask(ctx, w.Gate, judge, parity, since, age) }() // leave waits for it
}

// forget makes the next decision wait for a new look: something has changed.
func (r *run) forget() { r.verdict, r.void = nil, r.asking }

// decide asks the pacer and does what it says. It says whether to decide again
// at once, and whether the campaign is over.
func (r *run) decide(ctx context.Context) (again, done bool, err error) {
	now := time.Now()
	s := r.j.state
	l := s.look(now)
	v := r.verdict
	if v != nil && r.wave != s.wave() {
		v, r.verdict = nil, nil // another gate
	}
	left := len(l.Bakes) != 0 || l.Running != 0 || l.Left
	switch {
	case v == nil && left:
		return false, false, nil // the word is on its way
	case v == nil:
		v = &verdict{level: slo.Unknown, at: now}
	case now.Sub(v.at) > r.maxAge():
		old := v.unknown("the judge has said nothing since %s", v.at.UTC().Format(time.RFC3339))
		v = &old
	}
	l.Level, l.Reason, l.Cause, l.Old = v.level, v.reason, v.cause, v.old
	d := r.pacer.Decide(l)
	if err := r.note(ctx, d, v); err != nil {
		return false, false, err
	}
	if until := d.Until; !until.IsZero() && until.Before(r.next) {
		r.next = until
	}
	switch d.Action {
	case ActBegin:
		return true, false, r.start(ctx, d.Step)
	case ActPass:
		return true, false, r.put(ctx, Entry{Kind: EntryStep, Who: pacerName, Step: d.Step, State: Passed, Why: d.Reason})
	case ActReturn:
		r.interrupt()
		return false, false, r.beginReturn(ctx, d.Reason)
	case ActFinish:
		return false, true, r.put(ctx, Entry{Kind: EntryEnded, Who: pacerName, Why: "done"})
	case ActHold, ActStop:
		if v.level == slo.Burning {
			r.interrupt()
		}
	case ActWait:
	}
	return false, false, nil
}

const (
	// noteEvery bounds the lines that differ in their reason's figures alone: 1,440
	// a day of about 2 KB each.
	noteEvery = time.Minute
	// noteOtherEvery bounds those that have another reason: 35 MB a day at worst, of
	// a source that fails now in this way and now in that.
	noteOtherEvery = 5 * time.Second
)

// figuresIn are a reason's figures: times, shares, counts.
var figuresIn = regexp.MustCompile(`[0-9][0-9a-zA-Zµ.:%+-]*`)

// noted says whether a decision that is like the last one, but for its reason, needs
// no line yet.
func noted(last *Entry, reason string) bool {
	every := noteOtherEvery
	if figuresIn.ReplaceAllString(last.Decision.Reason, "") == figuresIn.ReplaceAllString(reason, "") {
		every = noteEvery
	}
	return last.Decision.Reason == reason || time.Since(last.At) < every
}

// note writes a decision that differs from the last one.
func (r *run) note(ctx context.Context, d Decision, v *verdict) error {
	r.Metrics.decided(d)
	last := r.j.state.decision
	if last != nil && last.Decision.Action == d.Action && last.Decision.Cause == d.Cause && last.Decision.Rate == d.Rate &&
		last.Decision.Step == d.Step && last.Level == v.level && d.Action != ActBegin && d.Action != ActPass &&
		noted(last, d.Reason) {
		return nil
	}
	return r.put(ctx, Entry{Kind: EntryDecision, Who: pacerName, Decision: &d, Why: d.Reason, Level: v.level, Figures: v.figures})
}
