package move

import (
	"context"
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

// run is one migrator's work on one leg of one move.
type run struct {
	*Engine
	move     *Move
	journal  *journal.Journal
	from, to *database.Server
	tables   []*database.Table
	token    fence.Token
	tail     *tail // nil until tailing
	verified *tail // the tail that has watched since the verification
	tries    int   // of the freeze
	gated    gateState
}

// Run takes a move that Start made to its rest: soaking, or aborted.
func (e *Engine) Run(ctx context.Context, m *Move) error {
	return e.locked(ctx, m, func(r *run) error { return r.drive(ctx) })
}

// locked takes the journal's lock, sets up the leg and calls f.
func (e *Engine) locked(ctx context.Context, m *Move, f func(*run) error) error {
	home, err := e.Servers.Primary(ctx, m.Record.Home)
	if err != nil {
		return err
	}
	j := journal.Open(home)
	unlock, err := j.Lock(ctx, m.Record.Move)
	if err != nil {
		return err
	}
	defer unlock()
	r := &run{Engine: e, move: m, journal: j, token: m.Record.Token()}
	defer r.stopTail()
	if err := r.setLeg(ctx); err != nil {
		return r.failed(err, "")
	}
	return f(r)
}

// setLeg finds the servers and tables of the leg the move is on.
func (r *run) setLeg(ctx context.Context) error {
	r.stopTail()
	var err error
	if r.from, err = r.Servers.Primary(ctx, r.move.From()); err != nil {
		return err
	}
	if r.to, err = r.Servers.Primary(ctx, r.move.To()); err != nil {
		return err
	}
	snap, err := r.Map.Store.Load(ctx)
	if err != nil {
		return err
	}
	r.tables = r.tables[:0]
	for _, sharded := range r.Tables {
		t, err := r.from.Describe(ctx, sharded, snap.Buckets())
		if err != nil {
			return err
		}
		r.tables = append(r.tables, t)
	}
	return nil
}

// drive takes one step after the other until the move rests. What a step
// returns is an error only when the move can neither go on nor step back.
func (r *run) drive(ctx context.Context) error {
	for {
		step, ok := r.steps()[r.move.State()]
		if !ok {
			return nil // soaking, done, aborted
		}
		next, err := step(ctx)
		if err == nil {
			err = r.enter(ctx, next, "")
		}
		if err != nil {
			if err = r.afterFailure(ctx, err); err != nil {
				return err
			}
		}
	}
}

// steps is what is done in each state; what it returns is the state to enter.
func (r *run) steps() map[State]func(context.Context) (State, error) {
	return map[State]func(context.Context) (State, error){
		Planned:    func(context.Context) (State, error) { return Copying, nil },
		Copying:    r.copying,
		Tailing:    r.tailing,
		Verifying:  r.verifying,
		Holding:    r.holding,
		Freezing:   r.freezing,
		Switching:  r.switching,
		Publishing: r.publishing,
		Returning:  r.returning,
		Aborting:   r.aborting,
	}
}

// settleTime bounds putting things right after a failure, when the context of
// the run may be over.
const settleTime = 10 * time.Second

// afterFailure decides what a failed step means: nil goes on from the state the
// move is in then. A hold or a freeze is ended first, whatever happened, so that
// no user waits for a migrator that has stopped. Rows that differ and a budget
// that is spent abort the move. A lost connection is a step back. Everything
// else ends this run, and another one goes on from the journal.
func (r *run) afterFailure(ctx context.Context, err error) error {
	if s := r.move.State(); s == Holding || s == Freezing {
		settling, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
		settleErr := r.settle(settling)
		cancel()
		if settleErr != nil {
			return r.failed(fmt.Errorf("%w; and ending the freeze: %w", err, settleErr), "")
		}
		if ctx.Err() == nil && r.move.State() == Switching {
			return nil // the commit point was passed after all
		}
		if ctx.Err() == nil && database.ConnectionLost(err) {
			next, backErr := r.stepBack(ctx, err.Error())
			if backErr == nil {
				return r.enter(ctx, next, "")
			}
			err = backErr // that was the last try, perhaps
		}
	}
	if ctx.Err() != nil || !abortable(r.move.State()) || r.move.State() == Aborting ||
		!errors.Is(err, ErrDiffers) && !errors.Is(err, ErrSteppedBack) {
		return r.failed(err, "")
	}
	if enterErr := r.enter(ctx, Aborting, err.Error()); enterErr != nil {
		return fmt.Errorf("%w; and then: %w", err, enterErr)
	}
	next, abortErr := r.aborting(ctx)
	if abortErr != nil {
		return r.failed(fmt.Errorf("%w; and aborting: %w", err, abortErr), "")
	}
	if enterErr := r.enter(ctx, next, err.Error()); enterErr != nil {
		return fmt.Errorf("%w; and then: %w", err, enterErr)
	}
	return r.failed(err, "nothing has changed for the users")
}

// failed wraps err with the place and the way on.
func (r *run) failed(err error, hint string) error {
	var placed *Error
	if errors.As(err, &placed) {
		return err
	}
	if hint == "" && r.move.Record.Open {
		hint = "run migrator resume " + string(r.move.Record.Move)
		if abortable(r.move.State()) {
			hint += ", or migrator abort " + string(r.move.Record.Move)
		}
	}
	return &Error{Move: r.move.Record.Move, State: r.move.State(), Hint: hint, Err: err}
}

// enter journals a state, and only then is the move in it.
func (r *run) enter(ctx context.Context, next State, note string) error {
	from := r.move.State()
	if err := machine.CheckNext(Next, from, next); err != nil {
		return r.failed(err, "this is a bug")
	}
	detail, err := json.Marshal(r.move.Detail)
	if err != nil {
		return r.failed(err, "")
	}
	r.crash("before_journal", next)
	record := *r.move.Record
	record.State, record.Detail = string(next), detail
	record.Open = next != Aborted && (next != Done || !r.move.Purged)
	if err := r.journal.Write(ctx, &record, note); err != nil {
		return r.failed(err, "")
	}
	*r.move.Record = record
	r.crash("after_journal", next)
	r.report(Event{Move: record.Move, State: next, Note: note, Entered: true})
	return nil
}

// crash is the crash point "state.what".
func (r *run) crash(what string, s State) { r.Crash.At(crash.Point(string(s) + "." + what)) }
