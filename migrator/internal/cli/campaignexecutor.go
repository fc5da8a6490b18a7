package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"drover/bucketmap"
	"drover/migrator/internal/campaign"
	"drover/migrator/internal/journal"
	"drover/migrator/internal/move"
	"drover/migrator/internal/promote"
)

// movers moves the users of a campaign's steps by the engines. Its methods may
// be called by any number of goroutines, each with a step of its own.
type movers struct {
	app *app
	to  bucketmap.Datacenter // the campaign's target
	why string
}

// pastMax bounds what is done past a commit point though the run was
// interrupted: nobody can write until the new home is active.
const pastMax = 30 * time.Second

// Forward moves a step's users to the target.
func (m *movers) Forward(ctx context.Context, s campaign.Step) error {
	switch s.Kind() {
	case campaign.KindBuckets:
		return m.moveTo(ctx, s, s.From, s.To)
	case campaign.KindShards:
		return m.promoteTo(ctx, s, m.to)
	default:
		return m.list(ctx, s, true)
	}
}

// Back takes them home again.
func (m *movers) Back(ctx context.Context, s campaign.Step) error {
	switch s.Kind() {
	case campaign.KindBuckets:
		return m.moveTo(ctx, s, s.To, s.From)
	case campaign.KindShards:
		return m.promoteTo(ctx, s, s.Datacenter)
	default:
		return m.list(ctx, s, false)
	}
}

// Abandon gives up what is under way.
func (m *movers) Abandon(ctx context.Context, s campaign.Step) error {
	switch s.Kind() {
	case campaign.KindBuckets:
		return m.abandonMove(ctx, s)
	case campaign.KindShards:
		r, err := m.openPromotion(ctx, s)
		if err != nil || r == nil {
			return err
		}
		p, err := promote.Load(r)
		if err != nil {
			return err
		}
		err = m.app.promoter(nil).Abort(ctx, p, m.why)
		if errors.Is(err, promote.ErrState) {
			return m.app.promoter(nil).Resume(ctx, p)
		}
		return err
	default:
		return nil // a version of the map is published whole, or not
	}
}

// Default makes the map's default follow the users, or pins it.
func (m *movers) Default(ctx context.Context, to bucketmap.Datacenter, auto bool) error {
	_, err := m.app.publisher().Edit(ctx, "the default of a campaign", func(d *bucketmap.Draft) error {
		was := d.Default
		switch {
		case !auto:
			d.Default = bucketmap.Default{Datacenter: to}
		case !was.Auto || was.Target != to:
			// What is the default now is where the users come from; a default that is
			// the target already stays, pinned: nothing is left for it to follow.
			if was.Datacenter == to {
				return bucketmap.ErrNoEdit
			}
			d.Default = bucketmap.Default{Datacenter: was.Datacenter, Auto: true, Source: was.Datacenter, Target: to}
		}
		if d.Default == was {
			return bucketmap.ErrNoEdit
		}
		return nil
	})
	return err
}

// list puts the step's users on the whitelist, or takes them off.
func (m *movers) list(ctx context.Context, s campaign.Step, on bool) error {
	_, err := m.app.publisher().Edit(ctx, fmt.Sprintf("whitelist of a campaign, %d users", len(s.IDs)), func(d *bucketmap.Draft) error {
		changed := false
		for _, text := range s.IDs {
			id, err := bucketmap.ParseUserID(text)
			if err != nil {
				return err
			}
			switch dc, listed := d.Whitelist[string(id)]; {
			case on && (!listed || dc != m.to):
				d.Whitelist[string(id)] = m.to
				changed = true
			case !on && listed && dc == m.to:
				delete(d.Whitelist, string(id))
				changed = true
			}
		}
		if !changed {
			return bucketmap.ErrNoEdit
		}
		return nil
	})
	return err
}

// openMove finds the open move of exactly these buckets. It is in the journal of
// the shard that its first leg started from.
func (m *movers) openMove(ctx context.Context, s campaign.Step) (*move.Move, error) {
	for _, shard := range []bucketmap.ShardName{s.From, s.To} {
		server, err := m.app.shards.Primary(ctx, shard)
		if err != nil {
			return nil, err
		}
		records, err := journal.Open(server).List(ctx, true)
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			if r.Kind != journal.KindMove {
				continue
			}
			one, err := move.Load(r)
			if err != nil {
				return nil, err
			}
			if slices.Equal(one.Buckets, s.Buckets.Buckets) {
				return one, nil
			}
			if slices.ContainsFunc(one.Buckets, func(b bucketmap.BucketID) bool { return slices.Contains(s.Buckets.Buckets, b) }) {
				return nil, fmt.Errorf("%s is open and has some of buckets %s: end it first, see migrator move show %s", r.Move, s.Buckets, r.Move)
			}
		}
	}
	return nil, nil
}

// moveTo brings a step's buckets to a shard: by the move that is open, or by a
// new one.
func (m *movers) moveTo(ctx context.Context, s campaign.Step, from, to bucketmap.ShardName) error {
	engine := m.app.engine(nil)
	one, err := m.openMove(ctx, s)
	if err != nil {
		return err
	}
	if one != nil {
		if err := m.toRest(ctx, one, to); err != nil {
			return err
		}
		switch {
		case one.State() == move.Soaking && one.To() == to:
			return nil
		case one.State() == move.Soaking:
			return m.finish(ctx, one, engine.Return(ctx, one))
		}
		// It was given up, or is over: the map says where the buckets are.
	}
	at, err := m.at(ctx, s, to)
	if err != nil || at {
		return err
	}
	plan := move.Plan{Buckets: s.Buckets.Buckets, Target: to, Who: m.app.env.Who, Why: m.why}
	source, err := engine.Source(ctx, plan)
	if err != nil {
		return err
	}
	if source != from {
		return fmt.Errorf("buckets %s are on %s, and the campaign's plan has them on %s", s.Buckets, source, from)
	}
	if err := m.app.preflightMove(ctx, source, plan); err != nil {
		return err
	}
	if one, err = engine.Start(ctx, plan); err != nil {
		return err
	}
	return m.finish(ctx, one, engine.Run(ctx, one))
}

// toRest finishes an open move that goes to a shard, and gives up one that goes
// the other way and may still be.
func (m *movers) toRest(ctx context.Context, one *move.Move, to bucketmap.ShardName) error {
	if one.State() == move.Soaking {
		return nil
	}
	engine := m.app.engine(nil)
	if one.To() != to {
		if err := engine.Abort(ctx, one, m.why); !errors.Is(err, move.ErrState) {
			return err
		}
	}
	return m.finish(ctx, one, engine.Resume(ctx, one))
}

// at says whether all buckets of a step are on a shard.
func (m *movers) at(ctx context.Context, s campaign.Step, shard bucketmap.ShardName) (bool, error) {
	snap, err := m.app.store.Load(ctx)
	if err != nil {
		return false, err
	}
	for _, b := range s.Buckets.Buckets {
		if home, ok := snap.Home(b); !ok || home.Name != shard {
			return false, nil
		}
	}
	return true, nil
}

// finish goes on past a commit point when the run was interrupted there.
func (m *movers) finish(ctx context.Context, one *move.Move, err error) error {
	if err == nil || one.State() != move.Switching && one.State() != move.Publishing {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pastMax)
	defer cancel()
	return m.app.engine(nil).Resume(ctx, one)
}

// abandonMove gives a move up, or finishes it past its commit point.
func (m *movers) abandonMove(ctx context.Context, s campaign.Step) error {
	one, err := m.openMove(ctx, s)
	if err != nil || one == nil || one.State() == move.Soaking {
		return err
	}
	engine := m.app.engine(nil)
	err = engine.Abort(ctx, one, m.why)
	if errors.Is(err, move.ErrState) {
		return engine.Resume(ctx, one)
	}
	return err
}

// openPromotion finds the open promotion of a shard, or nil.
func (m *movers) openPromotion(ctx context.Context, s campaign.Step) (*journal.Record, error) {
	for _, dc := range []bucketmap.Datacenter{s.Datacenter, m.to} {
		server, err := m.app.shards.In(s.Shard, dc)
		if err != nil {
			return nil, err
		}
		records, err := journal.Open(server).List(ctx, true)
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			if r.Kind == journal.KindPromotion {
				return r, nil
			}
		}
	}
	return nil, nil
}

// promoteTo makes a shard live in a datacenter.
func (m *movers) promoteTo(ctx context.Context, s campaign.Step, to bucketmap.Datacenter) error {
	shard := s.Shard
	engine := m.app.promoter(nil)
	r, err := m.openPromotion(ctx, s)
	if err != nil {
		return err
	}
	if r != nil {
		p, err := promote.Load(r)
		if err != nil {
			return err
		}
		if p.Shard != shard {
			return fmt.Errorf("%s is a promotion of %s in the journal of %s", r.Move, p.Shard, shard)
		}
		// One that goes the other way is finished too, and then the shard goes back:
		// nothing is ever left between.
		if err := engine.Resume(ctx, p); err != nil {
			return err
		}
	}
	snap, err := m.app.store.Load(ctx)
	if err != nil {
		return err
	}
	if lives, _ := snap.Shard(shard); lives.Datacenter == to {
		return nil
	}
	plan := promote.Plan{Shard: shard, Target: to, Who: m.app.env.Who, Why: m.why}
	results, err := engine.Preflight(ctx, plan)
	if err != nil {
		return err
	}
	if err := m.app.refuseOn(results); err != nil {
		return err
	}
	p, err := engine.Start(ctx, plan)
	if err != nil {
		return err
	}
	return engine.Run(ctx, p)
}
