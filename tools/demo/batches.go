package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

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
			looks := errgroup.Group{}
			err := s.playWave(ctx, bar, waveBatches, func(i int, t *planStep) string {
				if i == s.options.batches/2 && s.options.look != nil {
					looks.Go(func() error { return s.options.look(ctx, s.stage.Console, s.stage.ConsoleToken) })
				}
				return fmt.Sprintf("%s with %s", plural(len(t.buckets), "bucket"), plural(t.Users, "user"))
			})
			return errors.Join(err, looks.Wait())
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
