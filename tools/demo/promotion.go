package main

import (
	"context"
	"fmt"

	"drover/tools/demo/internal/stage"
)

// promotion ends the soak of the batches, and takes shard beta over with
// everybody on it: its replica in the cloud becomes the primary.
func (s *show) promotion() act {
	return act{
		title: fmt.Sprintf("The soaked batches are finished, and shard %s is promoted: its replica in %s becomes the primary.", stage.Beta, stage.Target),
		short: "promotion of " + string(stage.Beta),
		steps: s.options.batches + 1,
		play: func(ctx context.Context, bar *progress) error {
			for i, bucket := range s.bunches {
				bar.step("batch %d is finished: %s forgets it", i+1, stage.Alpha)
				if _, err := s.migrator(ctx, "bucket", "finish", bucket); err != nil {
					return err
				}
				bar.ok()
			}
			buckets, err := s.homes(ctx, stage.Beta)
			if err != nil {
				return err
			}
			bar.step("promote %s with %s", stage.Beta, plural(s.usersIn(buckets), "user"))
			if err := s.aim(ctx, buckets...); err != nil {
				return err
			}
			if _, err := s.migrator(ctx, "shard", "promote", string(stage.Beta), "--to", string(stage.Target), "--why", "the rest at once"); err != nil {
				return err
			}
			bar.ok()
			return nil
		},
	}
}
