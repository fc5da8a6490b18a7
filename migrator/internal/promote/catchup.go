package promote

import (
	"context"
	"fmt"
	"time"

	"drover/shardlib/fence"
)

// catchUpReport is how long to wait between two reports of a lag.
const catchUpReport = time.Second

// catchingUp waits until the replica is near the primary: until it applies in
// Limits.CatchUp all that the primary had committed when asked.
func (r *run) catchingUp(ctx context.Context) (State, error) {
	var failingSince time.Time
	for {
		upstream, err := r.to.OneUpstream(ctx)
		if err != nil {
			return "", err
		}
		failure := upstream.Failure()
		if failure != "" { // an errant transaction is what mostly stops a replica
			if err := r.notErrant(ctx); err != nil {
				return "", err
			}
		}
		if failure == "" {
			failingSince = time.Time{}
		} else if failingSince.IsZero() {
			failingSince = time.Now()
		} else if time.Since(failingSince) > r.Limits.Switch { // not at once: it may be connecting again
			return "", fmt.Errorf("%w: %s: %s", ErrReplica, r.to.Name(), failure)
		}
		end, err := r.from.Committed(ctx)
		if err != nil {
			return "", err
		}
		near, err := r.to.Await(ctx, end, r.Limits.CatchUp)
		if err != nil {
			return "", err
		}
		if near {
			break
		}
		applied, err := r.to.Replicated(ctx)
		if err != nil {
			return "", err
		}
		r.report(Event{Move: r.promotion.Record.Move, State: CatchingUp, Behind: applied.Lag(end)})
		if _, err := r.to.Await(ctx, end, catchUpReport); err != nil {
			return "", err
		}
	}
	// It goes on in spite of one that is in nobody's way yet. The preflight has
	// looked, and here may be a long time later.
	if err := r.notErrant(ctx); err != nil {
		return "", err
	}
	// The claim has come over: this is a replica of this very primary, and the
	// fence's table is among what it replicates.
	row, err := shardRow(ctx, r.to)
	if err != nil {
		return "", err
	}
	if row.State != fence.Active || row.Token != r.token || row.Epoch != r.promotion.Epoch {
		return "", fmt.Errorf("%w: %s has caught up, but its row of the shard is %s with move_id %q: it follows another server",
			ErrReplica, r.to.Name(), row.State, row.Token)
	}
	// Again, for one that began since: it must not find itself on a replica.
	if id, err := movesOn(ctx, r.from); err != nil {
		return "", err
	} else if id != "" {
		return "", fmt.Errorf("%w: move %s has buckets on it", ErrBusy, id)
	}
	// Once a run: a step back comes here again.
	if !r.hooked {
		if err := r.hooks(ctx, BeforeFreeze); err != nil {
			return "", err
		}
		r.hooked = true
	}
	return Holding, nil
}

// notErrant makes sure that the replica has nothing that the primary does not
// have. Promoted, it would give that to every other server, or stop them.
func (r *run) notErrant(ctx context.Context) error {
	errant, err := r.to.Errant(ctx, r.from)
	if err != nil || errant.None() {
		return err
	}
	return fmt.Errorf("%w: somebody has written on the replica: %s has %s, which the primary does not have; "+
		"run migrator doctor: it says how to save what was written and make the replica anew; then go on, or abort this promotion",
		ErrErrant, r.to.Name(), errant)
}
