package move

import (
	"context"
	"fmt"

	"drover/shardlib/fence"
)

// Finish ends the soak on the operator's word: the buckets cannot go back any
// more without a copy, and the old home's rows are purged in small chunks.
func (e *Engine) Finish(ctx context.Context, m *Move) error {
	return e.takeOver(ctx, m, func(r *run) error {
		if m.State() != Soaking {
			return r.failed(fmt.Errorf("%w: only what is soaking can be finished", ErrState), "")
		}
		// Journaled before the first row is deleted: from here on nobody returns.
		if err := r.enter(ctx, Done, ""); err != nil {
			return err
		}
		return r.purge(ctx)
	})
}

// purge removes what the move left at the old home and frees the buckets for
// other moves.
func (r *run) purge(ctx context.Context) error {
	if err := r.removeRows(ctx, r.from, fence.Moved, Done); err != nil {
		return r.failed(err, "")
	}
	r.crash("before_unclaim", Done)
	if err := r.setRows(ctx, r.to, fence.Active, fence.Active, fence.Token{}); err != nil {
		return r.failed(err, "")
	}
	if err := r.setRows(ctx, r.from, fence.Moved, fence.Moved, fence.Token{}); err != nil {
		return r.failed(err, "")
	}
	if err := r.forget(ctx); err != nil {
		return r.failed(err, "")
	}
	r.crash("after_unclaim", Done)
	r.move.Purged = true
	return r.enter(ctx, Done, "purged")
}
