package promote

import (
	"context"
	"errors"
	"fmt"
	"time"

	"drover/bucketmap"
	"drover/internal/pause"
	"drover/migrator/internal/machine"
	"drover/migrator/internal/publish"
)

// holding asks the proxies to hold the shard's requests, and waits for their
// word.
func (r *run) holding(ctx context.Context) (State, error) {
	r.crash("before_hold", Holding)
	r.tell("map", r.textHold(r.promotion.Detail))
	err := r.Map.Hold(ctx, r.promotion.Record.Move, r.Limits.Hold, []bucketmap.Hold{{Shard: r.promotion.Shard}})
	r.crash("after_hold", Holding)
	if errors.Is(err, publish.ErrNotAcknowledged) {
		return r.stepBack(ctx, setback{SetbackAcknowledgement, err.Error()})
	}
	if err != nil {
		return "", err
	}
	r.stage(ctx)
	return Freezing, nil
}

// stepBack ends the hold, pauses and goes back to catching up. The shard must
// be active and writable on the old primary. Past the tries the promotion is
// given up.
func (r *run) stepBack(ctx context.Context, back setback) (State, error) {
	r.unstage()
	if err := r.Map.Release(ctx, r.promotion.Record.Move); err != nil {
		return "", err
	}
	r.promotion.FrozenAt = time.Time{}
	r.tries++
	r.steppedBack(back.reason)
	r.report(Event{Move: r.promotion.Record.Move, State: r.promotion.State(),
		Note: fmt.Sprintf("stepped back, try %d of %d: %s", r.tries, r.Limits.FreezeTries, back.why)})
	if r.tries >= r.Limits.FreezeTries {
		return "", fmt.Errorf("%w: %d tries, the last: %s", ErrSteppedBack, r.tries, back.why)
	}
	if err := pause.For(ctx, machine.Backoff(r.tries, r.Limits.Backoff, r.Limits.BackoffMax)); err != nil {
		return "", err
	}
	return CatchingUp, nil
}
