package main

import (
	"context"
	"fmt"

	"drover/tools/demo/internal/stage"
)

// trickle moves single buckets, one after the other.
func (s *show) trickle() act {
	return act{
		title: fmt.Sprintf("A trickle: %d single buckets move from %s in %s to %s in %s, each under fire.", s.options.trickle, stage.Alpha, stage.Source,
			stage.Gamma, stage.Target),
		short: "a trickle of buckets",
		steps: s.options.trickle,
		play: func(ctx context.Context, bar *progress) error {
			return s.playWave(ctx, bar, waveSingles, func(_ int, t *planStep) string {
				return fmt.Sprintf("bucket %s with its %s", t.Buckets, plural(t.Users, "user"))
			})
		},
	}
}
