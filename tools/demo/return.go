package main

import (
	"context"
	"fmt"
	"time"

	"drover/bucketmap"
	"drover/tools/demo/internal/stage"
)

// thereAndBack takes a step that still soaks back to where it came from, and then
// over once more: the way back is always open.
func (s *show) thereAndBack() act {
	return act{
		title: fmt.Sprintf("One bucket goes back to %s, and comes again: no copy, the soak kept both ends alike.", stage.Source),
		short: "there and back",
		steps: 2,
		play: func(ctx context.Context, bar *progress) error {
			singles := s.campaign.plan.wave(waveSingles)
			if len(singles.Steps) == 0 {
				return nil
			}
			id, b := singles.id(0), singles.Steps[0].buckets[0]
			bar.step("bucket %d returns to %s", b, stage.Source)
			if err := s.aim(ctx, b); err != nil {
				return err
			}
			if err := s.campaign.order(ctx, "to see that it can", "return", id); err != nil {
				return err
			}
			if err := s.campaign.home(ctx, id); err != nil {
				return err
			}
			if err := s.servedIn(ctx, b, stage.Source, stage.Alpha); err != nil {
				return err
			}
			bar.ok()
			bar.step("bucket %d comes again to %s", b, stage.Target)
			since := time.Now()
			if err := s.campaign.order(ctx, "it has been seen", "resume"); err != nil {
				return err
			}
			if err := s.campaign.movedAgain(ctx, id, since); err != nil {
				return err
			}
			if err := s.campaign.order(ctx, "the act ends", "pause"); err != nil {
				return err
			}
			if err := s.servedIn(ctx, b, stage.Target, stage.Gamma); err != nil {
				return err
			}
			bar.ok()
			return nil
		},
	}
}

// servedIn has one user of a bucket write, and looks where that landed.
func (s *show) servedIn(ctx context.Context, b bucketmap.BucketID, datacenter bucketmap.Datacenter, shard bucketmap.ShardName) error {
	if len(s.usersOf[b]) == 0 {
		return nil // a demo with few users has buckets without any
	}
	user := s.usersOf[b][0]
	served, ok := s.users.Write(ctx, user)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if ok && (served.Datacenter != string(datacenter) || served.Shard != string(shard)) {
		return fmt.Errorf("user %s of bucket %d was served in %s from shard %s: want %s and %s", user.ID(), b, served.Datacenter, served.Shard, datacenter, shard)
	}
	return nil
}
