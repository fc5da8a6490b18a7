package main

import (
	"context"
	"fmt"
	"strings"

	"drover/bucketmap"
	"drover/tools/demo/internal/stage"
)

// inBatches moves all that alpha still has. On the way more than half of the
// users have left, and the default follows them: see flip.go.
func (s *show) inBatches() act {
	return act{
		title: fmt.Sprintf("Batches: the rest of %s's buckets, in %d moves.", stage.Alpha, s.options.batches),
		short: "batches of buckets",
		steps: s.options.batches,
		play: func(ctx context.Context, bar *progress) error {
			buckets, err := s.homes(ctx, stage.Alpha)
			if err != nil {
				return err
			}
			for i := range s.options.batches {
				batch := buckets[i*len(buckets)/s.options.batches : (i+1)*len(buckets)/s.options.batches]
				if len(batch) == 0 {
					bar.ok()
					continue
				}
				bar.step("%s with %s", plural(len(batch), "bucket"), plural(s.usersIn(batch), "user"))
				if err := s.aim(ctx, batch...); err != nil {
					return err
				}
				moved, err := s.migrator(ctx, "bucket", "move", ranges(batch), "--to", string(stage.Gamma), "--why", "faster now")
				if err != nil {
					return err
				}
				if moved {
					s.bunches = append(s.bunches, fmt.Sprint(batch[0]))
				}
				bar.ok()
			}
			return nil
		},
	}
}

// ranges writes sorted buckets as the migrator reads them: 0-99,200.
func ranges(buckets []bucketmap.BucketID) string {
	var parts []string
	for first := 0; first < len(buckets); {
		last := first
		for last+1 < len(buckets) && buckets[last+1] == buckets[last]+1 {
			last++
		}
		part := fmt.Sprint(buckets[first])
		if last > first {
			part = fmt.Sprintf("%d-%d", buckets[first], buckets[last])
		}
		parts = append(parts, part)
		first = last + 1
	}
	return strings.Join(parts, ",")
}
