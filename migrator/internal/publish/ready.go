package publish

import (
	"context"
	"fmt"
	"time"
)

// Ready waits until every live proxy runs the newest map. A fleet that is
// behind would acknowledge a hold late, and keep its users waiting meanwhile.
// The error is a *LateError that names those that do not.
func (p *Publisher) Ready(ctx context.Context, limit time.Duration) error {
	snap, err := p.Store.Load(ctx)
	if err != nil {
		return fmt.Errorf("is the fleet ready: %w", err)
	}
	return p.WaitAcks(ctx, snap, limit)
}
