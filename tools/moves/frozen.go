package main

import (
	"context"
	"errors"
	"time"

	"drover/bucketmap"
	"drover/internal/pause"
)

// frozenFor is how long a bucket is written while it is frozen: shorter than
// the freeze may take, or the mover steps back.
const frozenFor = 300 * time.Millisecond

// frozenEvery is between two such writes at one end.
const frozenEvery = time.Millisecond

// writeWhileFrozen runs a command and writes between its last look at the
// frozen rows and its commit point. Without that stop the mover's own checks
// find most of what clients without a freeze do, and give the move up.
func (d *driver) writeWhileFrozen(ctx context.Context, bucket bucketmap.BucketID, args ...string) error {
	child, err := d.StartMigrator(ctx, "freezing.before_commit", args...)
	if err != nil {
		return err
	}
	select {
	case <-child.Ended():
		return child.Wait()
	case <-child.Reached():
	}
	// The tail is quick: it would carry most of the writes over after all.
	release, err := d.HoldBack(ctx, bucket)
	if err != nil {
		child.Kill()
		return err
	}
	unwatch := d.Watch(ctx, frozenEvery, bucket)
	err = pause.For(ctx, frozenFor)
	unwatch()
	child.Continue()
	return errors.Join(child.Wait(), err, release())
}
