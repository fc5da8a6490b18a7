package field

import (
	"context"
	"errors"
	"fmt"
	"time"

	"drover/bucketmap"
	"drover/internal/pause"
	"drover/shardlib/fence"
)

// Sabotage is one way to break a rule of ownership, so that a checker can prove
// that it would see it.
type Sabotage string

// The ways.
const (
	None Sabotage = ""
	// NoFence takes the triggers off.
	NoFence Sabotage = "fence"
	// NoFreeze takes the triggers off, and lets the clients do what they do, but
	// for one word: frozen rows pass.
	NoFreeze Sabotage = "freeze"
	// EarlyActivate makes the target's rows active as soon as they are there,
	// before the commit point.
	EarlyActivate Sabotage = "activate"
)

// Sabotages lists the ways.
func Sabotages() []Sabotage { return []Sabotage{NoFence, NoFreeze, EarlyActivate} }

// Sabotage breaks the rule until the clients are stopped. Clients of the
// library would not be fooled: start others alone.
func (f *Field) Sabotage(ctx context.Context, s Sabotage) error {
	switch s {
	case None:
		return nil
	case NoFence:
		return f.removeFence(ctx)
	case NoFreeze:
		f.lax = true
		return f.removeFence(ctx)
	case EarlyActivate:
		ctx = f.started(ctx)
		f.clients.Go(func() { f.activateEarly(ctx) })
		return nil
	}
	return fmt.Errorf("sabotage %q: want one of %q", s, Sabotages())
}

// removeFence takes the triggers off.
func (f *Field) removeFence(ctx context.Context) error {
	for _, e := range f.Ends() {
		for _, table := range []string{f.entry, f.register, f.tally} {
			if err := fence.Remove(ctx, e.root, table); err != nil {
				return err
			}
		}
	}
	return nil
}

var errRefused = errors.New("the bucket is neither active nor frozen here")

// laxCheck is the fence of a client that knows no freeze.
func laxCheck(ctx context.Context, tx execer, bucket bucketmap.BucketID) error {
	var passed int
	err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM (SELECT state FROM drover_fence WHERE bucket = ? LOCK IN SHARE MODE) AS fence "+
		"WHERE state IN ('active', 'frozen')", bucket).Scan(&passed)
	if err == nil && passed != 1 {
		err = errRefused
	}
	return err
}

// HoldBack keeps a bucket's registers locked where the bucket does not live,
// until release is called: nothing can be applied to them meanwhile.
func (f *Field) HoldBack(ctx context.Context, bucket bucketmap.BucketID) (release func() error, err error) {
	home, err := f.Home(ctx, bucket)
	if err != nil {
		return nil, err
	}
	tx, err := f.Other(f.End(home)).root.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	var n int
	err = tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM (SELECT user_id FROM "+f.register+" WHERE bucket = ? FOR UPDATE) AS locked", bucket).Scan(&n)
	if err != nil {
		return nil, errors.Join(err, tx.Rollback())
	}
	return tx.Rollback, nil
}

// activateEarly looks for incoming rows at the new home.
func (f *Field) activateEarly(ctx context.Context) {
	const every = 5 * time.Millisecond
	for ctx.Err() == nil {
		if _, err := f.Gamma.root.ExecContext(ctx, "UPDATE drover_fence SET state = 'active' WHERE state = 'incoming'"); err != nil && ctx.Err() == nil {
			f.fail(fmt.Errorf("activate early: %w", err))
			return
		}
		_ = pause.For(ctx, every) // the loop sees the end
	}
}
