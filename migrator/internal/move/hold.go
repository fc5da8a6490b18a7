package move

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"drover/bucketmap"
	"drover/internal/pause"
	"drover/migrator/internal/machine"
	"drover/migrator/internal/publish"
)

// holding waits until the gate is open, asks the proxies to hold the buckets'
// requests, and waits for their word.
func (r *run) holding(ctx context.Context) (State, error) {
	if err := r.startTail(ctx); err != nil {
		return "", err
	}
	if why, err := r.gate(ctx); err != nil {
		return "", err
	} else if why != "" {
		return r.closed(ctx, why)
	}
	var holds []bucketmap.Hold
	for _, run := range r.move.Buckets.ranges() {
		holds = append(holds, bucketmap.Hold{First: run[0], Last: run[1]})
	}
	r.crash("before_hold", Holding)
	err := r.Map.Hold(ctx, r.move.Record.Move, r.Limits.Hold, holds)
	r.crash("after_hold", Holding)
	if errors.Is(err, publish.ErrNotAcknowledged) {
		return r.stepBack(ctx, err.Error())
	}
	if err != nil {
		return "", err
	}
	return Freezing, nil
}

// closed steps back because of the gate. A try that was not made harms nobody,
// so while long transactions keep the gate closed, and for Limits.GateWait at
// most, it does not count against Limits.FreezeTries.
func (r *run) closed(ctx context.Context, why string) (State, error) {
	if r.gated.since.IsZero() || time.Since(r.gated.since) > r.Limits.GateWait {
		return r.stepBack(ctx, why)
	}
	r.gated.times++
	return r.pause(ctx, r.gated.times, fmt.Sprintf("the gate is closed: %s", why))
}

// stepBack ends the hold, pauses and goes back to tailing. The buckets must be
// active at the source. Past the tries the move is given up.
func (r *run) stepBack(ctx context.Context, why string) (State, error) {
	r.tries++
	if r.tries >= r.Limits.FreezeTries {
		if err := r.Map.Release(ctx, r.move.Record.Move); err != nil {
			return "", err
		}
		return "", fmt.Errorf("%w: %d tries, the last: %s", ErrSteppedBack, r.tries, why)
	}
	return r.pause(ctx, r.tries, fmt.Sprintf("stepped back, try %d of %d: %s", r.tries, r.Limits.FreezeTries, why))
}

// pause ends the hold, says why, and waits before the next try.
func (r *run) pause(ctx context.Context, try int, note string) (State, error) {
	if err := r.Map.Release(ctx, r.move.Record.Move); err != nil {
		return "", err
	}
	r.report(Event{Move: r.move.Record.Move, State: r.move.State(), Note: note})
	longest := machine.Backoff(try, r.Limits.Backoff, r.Limits.BackoffMax)
	// Half of it is chance, so that two moves that were in one another's way are
	// not again.
	if err := pause.For(ctx, longest/2+rand.N(longest/2+1)); err != nil {
		return "", err
	}
	return Tailing, nil
}
