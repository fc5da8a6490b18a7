package promote

import (
	"context"
	"fmt"
)

// Finish ends a promotion that rests in reversing, without the old primary:
// that is lost, or will be made a replica by hand.
func (e *Engine) Finish(ctx context.Context, p *Promotion, why string) error {
	return e.takeOver(ctx, p, func(r *run) error {
		if p.State() != Reversing {
			return r.failed(fmt.Errorf("%w: only what is reversing can be finished", ErrState), "")
		}
		if _, err := r.ownRow(ctx); err != nil {
			return r.failed(err, "")
		}
		p.Alone = true
		if err := r.release(ctx, r.to, Done, "without the old primary: "+why); err != nil {
			return r.failed(err, "")
		}
		return nil
	})
}
