package promote

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"drover/migrator/internal/crash"
	"drover/migrator/internal/database"
	"drover/migrator/internal/journal"
	"drover/migrator/internal/machine"
	"drover/shardlib/fence"
)

// run is one migrator's work on one promotion.
type run struct {
	*Engine
	promotion *Promotion
	from, to  *database.Server // the old primary and the new one
	// dialect is that of both servers.
	dialect database.Dialect
	token   fence.Token
	// passed is set once this run has read or made the commit point.
	passed bool
	tries  int // of the freeze
	// hooked is set once the hooks before the freeze have run.
	hooked bool
	// staged is set from the hold's acknowledgement to the step back, or the end
	// of the run.
	staged *staging
}

// Run takes a promotion that Start made to its rest: done, or aborted.
func (e *Engine) Run(ctx context.Context, p *Promotion) error {
	return e.locked(ctx, p, func(r *run) error { return r.drive(ctx) })
}

// locked takes the journal's lock on both servers, as far as they can be
// reached, and calls f. One of two migrators thus gets none, whichever server
// the other one cannot reach; of two that reach one each, the token in the
// shard's row stops the older.
func (e *Engine) locked(ctx context.Context, p *Promotion, f func(*run) error) error {
	r := &run{Engine: e, promotion: p, token: p.Record.Token()}
	defer r.unstage()
	var err error
	if r.from, err = e.Servers.In(p.Shard, p.Source); err != nil {
		return r.failed(err, "")
	}
	if r.to, err = e.Servers.In(p.Shard, p.Target); err != nil {
		return r.failed(err, "")
	}
	var unreachable []error
	for _, server := range []*database.Server{r.from, r.to} {
		unlock, err := r.lock(ctx, server)
		switch {
		case err == nil:
			defer unlock()
		case errors.Is(err, journal.ErrLocked) || ctx.Err() != nil:
			return err
		default:
			unreachable = append(unreachable, err)
		}
	}
	if len(unreachable) == 2 {
		return r.failed(errors.Join(unreachable...), "")
	}
	return f(r)
}

// lock takes the journal's lock on a server. It may note there who has it, which
// a server that is read-only for the migrator too would refuse.
func (r *run) lock(ctx context.Context, server *database.Server) (unlock func(), err error) {
	d, err := server.Dialect(ctx)
	if err != nil {
		return nil, err
	}
	r.dialect = d
	if strict, err := isStrict(ctx, server, d); err != nil {
		return nil, err
	} else if strict {
		if err := r.doAll(ctx, server, commandsLenient(d)); err != nil {
			return nil, err
		}
	}
	return journal.Open(server).Lock(ctx, r.promotion.Record.Move)
}

// isStrict says whether a server is read-only for the migrator, too.
func isStrict(ctx context.Context, server *database.Server, d database.Dialect) (bool, error) {
	if d.Lenient == "" {
		return false, nil
	}
	v, err := server.Variable(ctx, "super_read_only")
	return v == "1", err
}

// drive takes one step after the other until the promotion rests. What a step
// returns is an error only when the promotion can neither go on nor step back.
func (r *run) drive(ctx context.Context) error {
	for {
		step, ok := r.steps()[r.promotion.State()]
		if !ok {
			return nil // done, aborted
		}
		if err := r.take(ctx, step); err != nil {
			return err
		}
	}
}

// finishTime bounds what is done past the commit point though the run was
// interrupted: nobody can write until the new primary is active, and nobody
// finds it until the map says so.
const finishTime = 30 * time.Second

// take takes one step and enters the state that it leads to.
func (r *run) take(ctx context.Context, step func(context.Context) (State, error)) error {
	if s := r.promotion.State(); s == Switching || s == Publishing {
		finishing, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTime)
		defer cancel()
		ctx = finishing
	}
	next, err := step(ctx)
	if err != nil {
		if next, err = r.afterFailure(ctx, err); err != nil {
			return err
		}
	}
	if next == r.promotion.State() {
		return nil // entered by the step itself, with what it did
	}
	if err := r.enter(ctx, next, ""); err != nil {
		return r.putRight(ctx, err)
	}
	return nil
}

// steps is what is done in each state; what it returns is the state to enter,
// or to be in already.
func (r *run) steps() map[State]func(context.Context) (State, error) {
	return map[State]func(context.Context) (State, error){
		Planned:     func(context.Context) (State, error) { return Replicating, nil },
		Replicating: r.replicating,
		CatchingUp:  r.catchingUp,
		Holding:     r.holding,
		Freezing:    r.freezing,
		Switching:   r.switching,
		Publishing:  r.publishing,
		Reversing:   r.reversing,
		Aborting:    r.aborting,
	}
}

// settleTime bounds putting things right after a failure, when the context of
// the run may be over; lockedTime, when somebody has a lock on the whole server:
// nobody can write until it ends, and then the shard must be thawed.
const (
	settleTime = 10 * time.Second
	lockedTime = 2 * time.Minute
)

// putRight ends a hold or a freeze after a failure, whatever happened, so that
// no user waits for a migrator that has stopped. It returns the failure, or nil
// if it turns out that the commit point was passed and the run can go on.
func (r *run) putRight(ctx context.Context, failure error) error {
	settling, cancel := context.WithTimeout(context.WithoutCancel(ctx), lockedTime)
	defer cancel()
	if err := r.settle(settling); err != nil {
		return r.failed(errors.Join(failure, err), "")
	}
	if r.passed && r.promotion.State() == Switching {
		return nil
	}
	return r.failed(failure, "")
}

// afterFailure decides what a failed step means. A budget that is spent and a
// shard that is busy abort the promotion; a lost connection before the commit
// point is a step back; everything else ends this run, and another one goes on
// from the journal.
func (r *run) afterFailure(ctx context.Context, failure error) (State, error) {
	if s := r.promotion.State(); s == Holding || s == Freezing {
		err := r.putRight(ctx, failure)
		if err == nil {
			return Switching, nil // the commit point was passed after all
		}
		if r.promotion.State() != CatchingUp {
			return "", err // it may be frozen still: what is aborting is not thawed
		}
		if ctx.Err() == nil && database.ConnectionLost(failure) && !errors.Is(failure, ErrHook) {
			next, err := r.stepBack(ctx, setback{SetbackConnection, failure.Error()})
			if err == nil {
				return next, nil
			}
			failure = err // that was the last try
		}
	}
	if ctx.Err() != nil || !abortable(r.promotion.State()) || r.promotion.State() == Aborting ||
		!errors.Is(failure, ErrSteppedBack) && !errors.Is(failure, ErrBusy) && !errors.Is(failure, ErrHook) {
		return "", r.failed(failure, "")
	}
	// What cannot be aborted is not said to be: ErrSteppedBack means an end.
	if err := r.enter(ctx, Aborting, failure.Error()); err != nil {
		return "", r.failed(fmt.Errorf("it is to be aborted: %s: %w", failure.Error(), err), "")
	}
	if _, err := r.aborting(ctx); err != nil {
		return "", r.failed(fmt.Errorf("it is being aborted: %s: %w", failure.Error(), err), "")
	}
	return "", r.failed(failure, "nothing has changed for the users")
}

// failed wraps err with the place and the way on.
func (r *run) failed(err error, hint string) error {
	var placed *Error
	if errors.As(err, &placed) {
		return err
	}
	if hint == "" && r.promotion.Record.Open {
		hint = "run migrator resume " + string(r.promotion.Record.Move)
		if abortable(r.promotion.State()) {
			hint += ", or migrator abort " + string(r.promotion.Record.Move)
		}
	}
	return &Error{Move: r.promotion.Record.Move, State: r.promotion.State(), Hint: hint, Err: err}
}

// home is the server that has the journal of a state.
func (r *run) home(s State) *database.Server {
	switch s {
	case Publishing, Reversing, Done:
		return r.to
	case Switching: // the commit point writes it; a resumed run, which has switched servers, again
		if r.passed {
			return r.to
		}
		return r.from
	case Planned, Replicating, CatchingUp, Holding, Freezing, Aborting, Aborted:
		return r.from
	}
	return r.from
}

// enter journals a state, and only then is the promotion in it.
func (r *run) enter(ctx context.Context, next State, note string) error {
	return r.enterWith(ctx, r.home(next), next, note, func(*sql.Tx) error { return nil })
}

// enterWith does f on a server and journals the state there, both or neither.
func (r *run) enterWith(ctx context.Context, server *database.Server, next State, note string, f func(*sql.Tx) error) error {
	if err := machine.CheckNext(Next, r.promotion.State(), next); err != nil {
		return r.failed(err, "this is a bug")
	}
	detail, err := json.Marshal(r.promotion.Detail)
	if err != nil {
		return r.failed(err, "")
	}
	record := *r.promotion.Record
	record.State, record.Detail = string(next), detail
	record.Open = next != Aborted && next != Done
	r.tell(server.Name(), textJournal(next))
	r.crash("before_journal", next)
	err = database.InTx(ctx, server.DB, func(tx *sql.Tx) error {
		if err := f(tx); err != nil {
			return err
		}
		return journal.Open(server).WriteIn(ctx, tx, &record, note)
	})
	if err != nil {
		return fmt.Errorf("%s on %s: %w", next, server.Name(), err)
	}
	*r.promotion.Record = record
	r.crash("after_journal", next)
	r.report(Event{Move: record.Move, State: next, Note: note, Entered: true})
	return nil
}

// crash is the crash point "state.what".
func (r *run) crash(what string, s State) { r.Crash.At(crash.Point(string(s) + "." + what)) }

// patiently repeats what failed for want of a lock, and says that it waits. How
// often a freeze may be tried has no part in it: this harms nobody.
//
// f is given how long it may queue for a lock, with everybody behind it:
// Limits.FreezeLock at first. Where transactions always last longer than that it
// would never have the row, so it becomes longer with the tries.
func (r *run) patiently(ctx context.Context, f func(queue time.Duration) error) error {
	tries, last := 0, error(nil)
	return machine.Patiently(ctx, r.Limits.Backoff, r.Limits.BackoffMax, database.TimedOut, func(try int) {
		tries = try
		r.report(Event{Move: r.promotion.Record.Move, State: r.promotion.State(), Note: fmt.Sprintf("waiting, try %d: %s", try, inTheWay(last))})
	}, func() error {
		last = f(r.Limits.FreezeLock * time.Duration(min(queueMax, 1+tries/queueStep)))
		return last
	})
}

// A queue for the shard's row is Limits.FreezeLock longer after every queueStep
// tries in vain, and queueMax × Limits.FreezeLock at most: 60 ms with the
// defaults, after some 20 s of trying.
const (
	queueStep = 4
	queueMax  = 4
)
