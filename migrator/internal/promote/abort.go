package promote

import (
	"context"
	"fmt"
)

// Abort gives a promotion up if its commit point is not passed.
func (e *Engine) Abort(ctx context.Context, p *Promotion, why string) error {
	return e.takeOver(ctx, p, func(r *run) error {
		if !abortable(p.State()) {
			return r.failed(fmt.Errorf("%w: past the commit point nothing can be aborted", ErrState),
				"run migrator resume "+string(p.Record.Move)+"; when it is done, migrator shard promote goes back")
		}
		if err := r.enter(ctx, Aborting, why); err != nil {
			return r.failed(err, "")
		}
		return r.drive(ctx)
	})
}

// aborting gives the promotion up: the shard stays on the old primary, which
// is active and writable. It may be entered again.
func (r *run) aborting(ctx context.Context) (State, error) {
	if err := r.Map.Release(ctx, r.promotion.Record.Move); err != nil {
		return "", err
	}
	r.hooksAfter(ctx, AfterAbort)
	if err := r.release(ctx, r.from, Aborted, ""); err != nil {
		return "", err
	}
	return Aborted, nil
}
