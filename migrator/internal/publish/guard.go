package publish

import (
	"context"
	"fmt"

	"drover/bucketmap"
)

// guarded is a store for one Update: what is published has passed the guard.
type guarded struct {
	Store
	guard   bucketmap.Guard
	current *bucketmap.Snapshot // loaded last
}

// Load keeps what it returns, to compare with.
func (g *guarded) Load(ctx context.Context) (*bucketmap.Snapshot, error) {
	current, err := g.Store.Load(ctx)
	g.current = current
	return current, err
}

// Publish is the store's, for what the guard lets through.
func (g *guarded) Publish(ctx context.Context, next *bucketmap.Snapshot, change bucketmap.Change) error {
	if err := check(g.guard, g.current, next); err != nil {
		return err
	}
	return g.Store.Publish(ctx, next, change)
}

// guard is a publisher's, with a bound of its own.
func (p *Publisher) guard(maxChange float64) bucketmap.Guard {
	return bucketmap.Guard{MaxChange: maxChange, Weight: p.Weight}
}

// Check says whether Replace would publish next after current, which is nil
// where no map is. The error is a *bucketmap.RefusedError.
func (p *Publisher) Check(current, next *bucketmap.Snapshot) error {
	return check(p.guard(p.MaxChange), current, next)
}

func check(guard bucketmap.Guard, current, next *bucketmap.Snapshot) error {
	if current != nil && guard.MaxChange != 0 && guard.Weight != nil {
		// Weights that name no bucket of the map would let everything through.
		if _, all := bucketmap.Relocated(next, next, guard.Weight); all == 0 {
			guard.Weight = nil
		}
	}
	return guard.Check(current, next)
}

// Replace publishes a whole map in the place of current, nil for none, if it
// passes Check and nobody was faster. What it moves must be declared, see
// bucketmap.Draft.Declare. It never tries again on a newer map: what was
// checked and shown is this one.
func (p *Publisher) Replace(ctx context.Context, current, next *bucketmap.Snapshot, why string) error {
	if err := p.Check(current, next); err != nil {
		return err
	}
	if err := p.Store.Publish(ctx, next, bucketmap.Change{Who: p.Who, Why: why}); err != nil {
		return fmt.Errorf("publish (%s): %w", why, err)
	}
	return nil
}
