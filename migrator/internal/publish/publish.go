// Package publish changes the map for moves and promotions: it asks the
// proxies to hold, waits for their acknowledgements, and publishes new homes.
//
// A caller must (1) Hold and (2) go on only when Hold returned nil; (3) end the
// hold with Home, which publishes the new home, or with Release. A hold whose
// caller died ends at its deadline by itself. PrepareHome between 2 and 3 does
// most of Home's work before users wait for it.
//
// Every map passes a bucketmap.Guard before it is published. What people edit,
// by Edit and Replace, may move MaxChange of the users at most; what a move or a
// promotion publishes follows the databases, and may move what it must. Both
// declare what they move, see bucketmap.Snapshot.Moved. A refusal is a
// *bucketmap.RefusedError, and nothing was published.
//
// No rule of safety depends on this package: a proxy that never heard of a hold
// is refused by the fence. A Publisher is safe for concurrent use.
package publish

import (
	"context"
	"fmt"
	"time"

	"drover/bucketmap"
)

// HoldLimits bound a hold.
type HoldLimits struct {
	// Until is how long proxies keep requests waiting if nobody ends the hold.
	Until time.Duration
	// Ack is how long to wait for every live proxy to say that it holds.
	Ack time.Duration
}

// DefaultHoldLimits leave room for a few tries of a slow commit; a user waits
// at most Until.
func DefaultHoldLimits() HoldLimits {
	return HoldLimits{Until: 3 * time.Second, Ack: 1 * time.Second}
}

// Store is what a Publisher needs of a store.
type Store interface {
	bucketmap.Publisher
	bucketmap.Fleet
}

// Publisher changes the map in one store.
type Publisher struct {
	Store Store
	// Weight gives the users of a bucket; nil counts every bucket as one.
	Weight func(bucketmap.BucketID) uint64
	Who    string
	// MaxChange is the share of the users that Edit and Replace may move between
	// datacenters in one version, 0 to 1. 0: no bound.
	MaxChange float64
}

// Edit publishes a change, and with it what the default follows from. edit may
// run several times; bucketmap.ErrNoEdit from it publishes nothing.
func (p *Publisher) Edit(ctx context.Context, why string, edit func(*bucketmap.Draft) error) (*bucketmap.Snapshot, error) {
	return p.edit(ctx, p.MaxChange, why, edit)
}

func (p *Publisher) edit(ctx context.Context, maxChange float64, why string, edit func(*bucketmap.Draft) error) (*bucketmap.Snapshot, error) {
	store := &guarded{Store: p.Store, guard: p.guard(maxChange)}
	snap, err := bucketmap.Update(ctx, store, bucketmap.Change{Who: p.Who, Why: why}, p.resolved(edit))
	if err != nil {
		return nil, fmt.Errorf("publish (%s): %w", why, err)
	}
	return snap, nil
}

// resolved is an edit, and then the default by it.
func (p *Publisher) resolved(edit func(*bucketmap.Draft) error) func(*bucketmap.Draft) error {
	return func(d *bucketmap.Draft) error {
		if err := edit(d); err != nil {
			return err
		}
		d.ResolveDefault(p.Weight)
		return nil
	}
}

// Hold publishes a map with these holds, which must all carry the same move,
// in the place of the move's earlier ones, and waits until every live proxy
// runs it. On ErrNotAcknowledged the holds are published still: Release them.
func (p *Publisher) Hold(ctx context.Context, move bucketmap.MoveID, limits HoldLimits, holds []bucketmap.Hold) error {
	until := time.Now().Add(limits.Until).UTC().Truncate(time.Millisecond)
	snap, err := p.edit(ctx, 0, fmt.Sprintf("hold for %s", move), func(d *bucketmap.Draft) error {
		d.DropHolds(move)
		for _, h := range holds {
			h.Move, h.Until = move, until
			d.Holds = append(d.Holds, h)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return p.WaitAcks(ctx, snap, limits.Ack)
}

// Release ends the holds of a move without a new home.
func (p *Publisher) Release(ctx context.Context, move bucketmap.MoveID) error {
	_, err := p.edit(ctx, 0, fmt.Sprintf("end the hold for %s", move), func(d *bucketmap.Draft) error {
		if !d.DropHolds(move) {
			return bucketmap.ErrNoEdit
		}
		return nil
	})
	return err
}

// Home publishes what edit changes and ends the holds of the move, in one
// version.
func (p *Publisher) Home(ctx context.Context, move bucketmap.MoveID, edit func(*bucketmap.Draft) error) (*bucketmap.Snapshot, error) {
	return p.edit(ctx, 0, whyHome(move), homeEdit(move, edit))
}

func whyHome(move bucketmap.MoveID) string { return fmt.Sprintf("new home by %s", move) }

func homeEdit(move bucketmap.MoveID, edit func(*bucketmap.Draft) error) func(*bucketmap.Draft) error {
	return func(d *bucketmap.Draft) error {
		d.DropHolds(move)
		return edit(d)
	}
}
