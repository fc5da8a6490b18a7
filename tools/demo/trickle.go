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
			buckets, err := s.homes(ctx, stage.Alpha)
			if err != nil {
				return err
			}
			for i := range s.options.trickle {
				b := buckets[i*len(buckets)/s.options.trickle]
				bar.step("bucket %d with its %s", b, plural(len(s.usersOf[b]), "user"))
				if err := s.aim(ctx, b); err != nil {
					return err
				}
				moved, err := s.migrator(ctx, "bucket", "move", fmt.Sprint(b), "--to", string(stage.Gamma), "--why", "a trickle first")
				if err != nil {
					return err
				}
				if moved {
					s.singles = append(s.singles, b)
				}
				bar.ok()
			}
			return nil
		},
	}
}
