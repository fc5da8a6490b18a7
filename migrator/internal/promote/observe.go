package promote

import (
	"context"
	"errors"
	"time"

	"drover/migrator/internal/database"
)

// Observer is told what metrics are made of. Its methods are called from the
// goroutine that runs the promotion, so from several with several promotions,
// and must not wait for anything.
type Observer interface {
	// SteppedBack says why a promotion went back to catching up.
	SteppedBack(Setback)
	// Stalled says for how long a shard could not be written, and what ended it.
	Stalled(StallEnd, time.Duration)
	// Hooked says how a hook ended and how long it took.
	Hooked(HookPoint, HookOutcome, time.Duration)
	// Compared says how many transactions a failover's old primary, which is
	// back, has that the new one does not have: they are lost, if nobody saves
	// them.
	Compared(transactions uint64)
}

// Setback is why a promotion went back from holding or freezing.
type Setback string

// The setbacks.
const (
	SetbackAcknowledgement Setback = "acknowledgement" // a proxy did not acknowledge the hold
	SetbackTransaction     Setback = "transaction"     // an open transaction writes on the shard
	SetbackStatement       Setback = "statement"       // a statement that the fence does not know would not end
	SetbackWritable        Setback = "writable"        // somebody made the old primary writable, or restarted it
	SetbackStrayWrite      Setback = "stray_write"     // somebody wrote in spite of read_only
	SetbackReplica         Setback = "replica"         // the replica had not applied all in time
	SetbackMap             Setback = "map"             // others publish all the time
	SetbackBudget          Setback = "budget"          // Limits.Freeze was over
	SetbackConnection      Setback = "connection"      // a connection was lost
)

// Setbacks lists them.
func Setbacks() []Setback {
	return []Setback{SetbackAcknowledgement, SetbackTransaction, SetbackStatement, SetbackWritable, SetbackStrayWrite,
		SetbackReplica, SetbackMap, SetbackBudget, SetbackConnection}
}

// setback is a setback with its words for people; the zero value is none.
type setback struct {
	reason Setback
	why    string
}

// StallEnd is what ended a time in which a shard could not be written.
type StallEnd string

// The ends of stalls.
const (
	StallSwitched    StallEnd = "switched"     // the map names the new primary
	StallSteppedBack StallEnd = "stepped_back" // the freeze was undone
)

// StallEnds lists them.
func StallEnds() []StallEnd { return []StallEnd{StallSwitched, StallSteppedBack} }

// HookOutcome is how a hook ended.
type HookOutcome string

// The outcomes of hooks.
const (
	HookDone   HookOutcome = "done"
	HookFailed HookOutcome = "failed"
	HookKilled HookOutcome = "killed" // it took longer than it may, or the freeze was over
)

// HookOutcomes lists them.
func HookOutcomes() []HookOutcome { return []HookOutcome{HookDone, HookFailed, HookKilled} }

// outcomeOf is the outcome of a hook's run that ended with err.
func outcomeOf(err error) HookOutcome {
	switch {
	case err == nil:
		return HookDone
	case errors.Is(err, errHookKilled):
		return HookKilled
	}
	return HookFailed
}

// run calls the hook and says how that ended, and how long it took.
func (h Hook) run(ctx context.Context, in hookInput) hookEnded {
	began := time.Now()
	output, err := h.call(ctx, in)
	return hookEnded{hook: h, output: output, err: err, took: time.Since(began)}
}

func (e *Engine) observeHook(h hookEnded) {
	if e.Observer != nil {
		e.Observer.Hooked(h.hook.At, outcomeOf(h.err), h.took)
	}
}

func (e *Engine) steppedBack(s Setback) {
	if e.Observer != nil {
		e.Observer.SteppedBack(s)
	}
}

// stallEnded tells of the stall that began with the freeze. It is the migrators'
// clock: a promotion that another machine resumed is as wrong as their clocks
// differ.
func (r *run) stallEnded(end StallEnd) {
	began := r.promotion.FrozenAt
	if began.IsZero() && end == StallSteppedBack && r.promotion.State() == Freezing {
		began = r.promotion.Record.Since // of a run that died
	}
	r.promotion.FrozenAt = time.Time{}
	if r.Observer == nil || began.IsZero() {
		return
	}
	r.Observer.Stalled(end, max(0, time.Since(began)))
}

// compared tells what a failover's old primary has alone: what comes after all
// that the new one had of it. Sequence numbers count transactions, so it may say
// too many where the primary left some out, never none where there are some.
func (r *run) compared(errant database.Errant) {
	if r.Observer == nil || !r.promotion.Lost {
		return
	}
	frozen, err := database.ParseTransactions(r.promotion.Frozen)
	if err != nil {
		frozen = database.Transactions{} // then what the servers say counts
	}
	r.Observer.Compared(errant.Count(frozen))
}
