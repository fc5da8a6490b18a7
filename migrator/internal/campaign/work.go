package campaign

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"

	"drover/bucketmap"
)

const (
	// returnsMax bounds steps that go back at once.
	returnsMax = 8
	// returnFirst and returnMost are the pauses between tries of a return that
	// fails; it is tried until it works, since users are where they are harmed.
	returnFirst = 1 * time.Second
	returnMost  = 1 * time.Minute
)

// task is what a worker does with a step.
type task string

const (
	forward task = "forward"
	back    task = "back"
	abandon task = "abandon"
)

type worker struct {
	task   task
	cancel context.CancelFunc
	began  time.Time
	// interrupted is set when the run itself ended it.
	interrupted bool
	// orphan goes on with what another run left: its buckets may be frozen.
	orphan bool
}

type result struct {
	step StepID
	err  error
}

// put one step to work. The caller has noted it.
func (r *run) work(ctx context.Context, id StepID, t task) {
	ctx, cancel := context.WithCancel(ctx)
	r.workers[id] = &worker{task: t, cancel: cancel, began: time.Now()}
	s := r.j.state.byID[id].plan
	do := map[task]func(context.Context, Step) error{forward: r.Executor.Forward, back: r.Executor.Back, abandon: r.Executor.Abandon}[t]
	go func() { // leave waits for it
		r.Crash.At("campaign.before_work")
		err := do(ctx, s)
		r.Crash.At("campaign.after_work")
		cancel()
		r.results <- result{id, err}
	}()
}

// start begins a step.
func (r *run) start(ctx context.Context, id StepID) error {
	t := r.j.state.byID[id]
	if err := r.put(ctx, Entry{Kind: EntryStep, Who: pacerName, Step: id, State: Running, Users: t.plan.Users}); err != nil {
		return err
	}
	r.forget()
	r.work(ctx, id, forward)
	return nil
}

// orphans go on with what an earlier run left under way, whatever the
// objectives say: a killed migrator may have left buckets frozen.
func (r *run) orphans(ctx context.Context) error {
	for _, t := range r.j.state.steps {
		if t.state == Running && r.workers[t.id] == nil {
			r.forget()
			r.work(ctx, t.id, forward)
			r.workers[t.id].orphan = true
		}
	}
	return ctx.Err()
}

// interrupt makes the steps that go forward step back. What an earlier run left is
// finished, unless it is to go back or to be given up, which both see to what is
// frozen.
func (r *run) interrupt() {
	finishes := r.j.state.returning == nil && r.j.state.aborted == ""
	for _, w := range r.workers {
		if w.task == forward && !w.interrupted && (!w.orphan || !finishes) {
			w.interrupted = true
			w.cancel()
		}
	}
}

// heard takes what a worker has done.
func (r *run) heard(ctx context.Context, res result) error {
	w := r.workers[res.step]
	delete(r.workers, res.step)
	r.forget()
	e := Entry{Kind: EntryStep, Who: r.Who, Step: res.step, Took: time.Since(w.began), Users: r.j.state.byID[res.step].plan.Users}
	if res.err != nil {
		e.Error = res.err.Error()
	}
	switch w.task {
	case forward:
		e.State = r.outcome(ctx, w, res)
	case back:
		if e.State = Returned; res.err != nil {
			e.State = Returning
			r.retryLater()
		}
	case abandon:
		return r.abandoned(ctx, e, res.err)
	}
	if w.interrupted && e.State == Waiting {
		e.Error = ""
		e.Why = "interrupted: it stepped back"
	}
	if err := r.put(ctx, e); err != nil {
		return err
	}
	return r.seeDefault(context.WithoutCancel(ctx))
}

// outcome is the state that follows from a step that went forward. An error is
// no proof that the users stayed: the map says where they are.
func (r *run) outcome(ctx context.Context, w *worker, res result) StepState {
	if res.err == nil {
		return Baking
	}
	s := r.j.state
	if snap, err := r.Maps.Load(context.WithoutCancel(ctx)); err == nil && placeOf(snap, s.plan.To, s.byID[res.step].plan) == placeMoved {
		return Baking
	}
	if w.interrupted || ctx.Err() != nil {
		return Waiting
	}
	return Failed
}

func (r *run) retryLater() {
	b := backoff.ExponentialBackOff{InitialInterval: returnFirst, Multiplier: 2, MaxInterval: returnMost}
	b.Reset()
	pause := time.Duration(0)
	for range min(r.tries, 16) + 1 {
		pause = b.NextBackOff()
	}
	r.tries++
	r.retry = time.Now().Add(pause)
}

// beginReturn notes a way back that the pacer wants: of who was just moved, and
// step by step of their whole wave, for as long as it burns.
func (r *run) beginReturn(ctx context.Context, why string) error {
	s := r.j.state
	return r.put(ctx, Entry{Kind: EntryReturning, Who: pacerName, Why: why, Steps: s.burning(), Mode: s.plan.Return})
}

// giveBack takes the way back a little further.
func (r *run) giveBack(ctx context.Context) error {
	s := r.j.state
	r.interrupt()
	if wait := time.Until(r.retry); wait > 0 {
		if r.retry.Before(r.next) {
			r.next = r.retry
		}
		return nil
	}
	most := returnsMax
	if s.returning.mode == Stepwise {
		most = 1
	}
	left := false
	for _, id := range s.returning.steps {
		t := s.byID[id]
		if t.state == Returned || t.state == Skipped || t.state == Waiting && !t.open {
			continue
		}
		left = true
		if r.workers[id] != nil || len(r.workers) >= most {
			continue
		}
		if t.state != Returning {
			if goesOn, err := r.stillBurns(ctx); err != nil || !goesOn {
				return err
			}
			if err := r.put(ctx, Entry{Kind: EntryStep, Who: r.Who, Step: id, State: Returning, Users: t.plan.Users}); err != nil {
				return err
			}
		}
		r.work(ctx, id, back)
	}
	if left {
		return nil
	}
	return r.endReturn(ctx, "everybody is back")
}

func (r *run) endReturn(ctx context.Context, why string) error {
	r.forget()
	r.next = time.Now()
	return r.put(ctx, Entry{Kind: EntryReturning, Who: r.Who, Why: why})
}

// stillBurns asks, before each step but the first of the pacer's own way back
// step by step, whether the objectives still burn. Healthy ends it; unknown
// waits, for nobody goes back on missing data.
func (r *run) stillBurns(ctx context.Context) (bool, error) {
	s := r.j.state
	if !s.returning.auto || s.returning.mode != Stepwise || s.failure != "" {
		return true, nil
	}
	first := true
	for _, id := range s.returning.steps {
		first = first && s.byID[id].state != Returned
	}
	if first {
		return true, nil
	}
	r.look(ctx)
	if r.verdict == nil {
		return false, nil
	}
	switch badness[r.verdict.level] {
	case 0:
		return false, r.note(ctx, Decision{Action: ActHold, Cause: CauseUnknown, Reason: r.verdict.reason, Rate: s.rate}, r.verdict)
	case badness["burning"]:
		return true, nil
	default:
		return false, r.endReturn(ctx, "nothing burns any more: "+r.verdict.reason)
	}
}

// abort ends the campaign: what is under way is given up, or finished where it
// is past its commit point.
func (r *run) abort(ctx context.Context) (done bool, err error) {
	r.interrupt()
	if len(r.workers) != 0 {
		return false, nil // they are on their way
	}
	for _, t := range r.j.state.steps {
		if t.state == Running || t.state == Failed || t.state == Returning || t.state == Waiting && t.open {
			if time.Until(r.retry) > 0 {
				return false, nil
			}
			r.work(ctx, t.id, abandon)
			return false, nil
		}
	}
	if err := r.put(ctx, Entry{Kind: EntryEnded, Who: r.Who, Why: "aborted " + r.j.state.aborted}); err != nil {
		return false, err
	}
	return true, aftermath(r.j.state)
}

// abandoned notes what became of a step that was given up.
func (r *run) abandoned(ctx context.Context, e Entry, err error) error {
	snap, loadErr := r.Maps.Load(context.WithoutCancel(ctx))
	t := r.j.state.byID[e.Step]
	if err = errors.Join(err, loadErr); err != nil {
		if r.retryLater(); r.tries > abandonTries {
			return errors.Join(err, errors.New("the campaign is not ended: migrator campaign run tries again"))
		}
		return nil
	}
	e.State, e.Why = Skipped, "given up"
	switch {
	case placeOf(snap, r.j.state.plan.To, t.plan) == placeMoved:
		e.State, e.Why = Baking, "it was past its commit point"
	case t.state == Returning:
		e.State, e.Why = Returned, ""
	}
	return r.put(ctx, e)
}

// abandonTries bounds the tries to give a step up: a minute and a half.
const abandonTries = 6

// leave ends the run: it waits for who works, and notes how they ended.
func (r *run) leave(ctx context.Context, cancel context.CancelFunc) error {
	ended := ctx.Err() != nil
	cancel()
	var errs []error
	for len(r.workers) != 0 {
		if res := <-r.results; ended {
			errs = append(errs, r.heard(ctx, res))
		} else {
			delete(r.workers, res.step) // the run failed: the next one finds out
		}
	}
	if r.asking {
		<-r.verdicts
	}
	return errors.Join(errs...)
}

// place is where a step's users are.
type place string

const (
	placeHome    place = "home"
	placeMoved   place = "moved"
	placeBetween place = "between"
)

// placeOf says where a step's users are, by a map.
func placeOf(snap *bucketmap.Snapshot, to bucketmap.Datacenter, s Step) place {
	here, there := 0, 0
	count := func(moved bool) {
		if moved {
			there++
		} else {
			here++
		}
	}
	switch s.Kind() {
	case KindShards:
		shard, _ := snap.Shard(s.Shard)
		count(shard.Datacenter == to)
	case KindBuckets:
		for _, b := range s.Buckets.Buckets {
			home, _ := snap.Home(b)
			count(home.Name == s.To)
		}
	case KindWhitelist:
		for _, text := range s.IDs {
			id, err := bucketmap.ParseUserID(text)
			dc, on := snap.Whitelisted().Lookup([]byte(id))
			count(err == nil && on && dc == to)
		}
	}
	switch {
	case here == 0:
		return placeMoved
	case there == 0:
		return placeHome
	}
	return placeBetween
}
