package main

import (
	"context"
	"fmt"

	"drover/tools/demo/internal/stage"
)

// thereAndBack takes a bucket that still soaks back to where it came from, and
// then over once more: the way back is always open.
func (s *show) thereAndBack() act {
	return act{
		title: fmt.Sprintf("One bucket goes back to %s, and comes again: no copy, the soak kept both ends alike.", stage.Source),
		short: "there and back",
		steps: 2,
		play: func(ctx context.Context, bar *progress) error {
			if len(s.singles) == 0 {
				return nil
			}
			b := s.singles[0]
			for _, home := range []struct{ datacenter, shard string }{
				{string(stage.Source), string(stage.Alpha)}, {string(stage.Target), string(stage.Gamma)},
			} {
				bar.step("bucket %d returns to %s", b, home.datacenter)
				if err := s.aim(ctx, b); err != nil {
					return err
				}
				returned, err := s.migrator(ctx, "bucket", "return", fmt.Sprint(b), "--why", "to see that it can")
				if err != nil || !returned {
					return err
				}
				if len(s.usersOf[b]) == 0 {
					bar.ok()
					continue // a demo with few users has buckets without any
				}
				user := s.usersOf[b][0]
				served, ok := s.users.Write(ctx, user)
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if ok && (served.Datacenter != home.datacenter || served.Shard != home.shard) {
					return fmt.Errorf("user %s of bucket %d was served in %s from shard %s: want %s and %s", user.ID(), b, served.Datacenter, served.Shard,
						home.datacenter, home.shard)
				}
				bar.ok()
			}
			return nil
		},
	}
}
