package move

import (
	"context"
	"errors"
	"fmt"

	"drover/bucketmap"
	"drover/migrator/internal/machine"
	"drover/migrator/internal/publish"
)

// holding waits until the tail is near, asks the proxies to hold the buckets'
// requests, and waits for their word.
func (r *run) holding(ctx context.Context) (State, error) {
	if err := r.startTail(ctx); err != nil {
		return "", err
	}
	if _, all := r.tail.touchedKeys(); !all {
		return r.stepBack(ctx, "too many rows changed since the verification")
	}
	// The gate: a tail that is behind would make the users wait for it.
	waiting, cancel := context.WithTimeout(ctx, r.Limits.Freeze)
	defer cancel()
	end, err := r.from.BinlogPosition(ctx)
	if err != nil {
		return "", err
	}
	if err := r.tail.reach(waiting, end); err != nil {
		if waiting.Err() != nil && ctx.Err() == nil {
			return r.stepBack(ctx, fmt.Sprintf("the tail was more than %s behind", r.Limits.Freeze))
		}
		return "", err
	}
	var holds []bucketmap.Hold
	for _, run := range r.move.Buckets.ranges() {
		holds = append(holds, bucketmap.Hold{First: run[0], Last: run[1]})
	}
	r.crash("before_hold", Holding)
	err = r.Map.Hold(ctx, r.move.Record.Move, r.Limits.Hold, holds)
	r.crash("after_hold", Holding)
	if errors.Is(err, publish.ErrNotAcknowledged) {
		return r.stepBack(ctx, err.Error())
	}
	if err != nil {
		return "", err
	}
	return Freezing, nil
}

// stepBack ends the hold, pauses and goes back to tailing. The buckets must be
// active at the source. Past the tries the move is given up.
func (r *run) stepBack(ctx context.Context, why string) (State, error) {
	if err := r.Map.Release(ctx, r.move.Record.Move); err != nil {
		return "", err
	}
	r.tries++
	r.report(Event{Move: r.move.Record.Move, State: r.move.State(),
		Note: fmt.Sprintf("stepped back, try %d of %d: %s", r.tries, r.Limits.FreezeTries, why)})
	if r.tries >= r.Limits.FreezeTries {
		return "", fmt.Errorf("%w: %d tries, the last: %s", ErrSteppedBack, r.tries, why)
	}
	if err := machine.Pause(ctx, machine.Backoff(r.tries, r.Limits.Backoff, r.Limits.BackoffMax)); err != nil {
		return "", err
	}
	return Tailing, nil
}
