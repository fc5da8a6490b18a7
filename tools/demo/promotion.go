package main

import (
	"context"
	"fmt"

	"drover/tools/demo/internal/stage"
)

// promotion ends the soak of the batches, and takes shard beta over with
// everybody on it: its replica in the cloud becomes the primary. With that the
// campaign ends.
func (s *show) promotion() act {
	return act{
		title: fmt.Sprintf("The soaked batches are finished, and shard %s is promoted: its replica in %s becomes the primary. Then the campaign is done.", stage.Beta, stage.Target),
		short: "promotion of " + string(stage.Beta),
		steps: s.options.batches + 2,
		play: func(ctx context.Context, bar *progress) error {
			batches := s.campaign.plan.wave(waveBatches)
			for i := range batches.Steps {
				if !s.campaign.has(batches.id(i)) {
					continue // without the fence some do not move
				}
				bar.step("batch %d is finished: %s forgets it", i+1, stage.Alpha)
				if _, err := s.migrator(ctx, "bucket", "finish", fmt.Sprint(batches.Steps[i].buckets[0])); err != nil {
					return err
				}
				bar.ok()
			}
			if err := s.playWave(ctx, bar, waveShards, func(_ int, t *planStep) string {
				return fmt.Sprintf("promote %s with %s", t.Shard, plural(t.Users, "user"))
			}); err != nil {
				return err
			}
			bar.step("migrator campaign run ends")
			if err := s.campaign.over(ctx); err != nil {
				return err
			}
			bar.ok()
			return nil
		},
	}
}
