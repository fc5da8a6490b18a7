package main

import (
	"context"

	"drover/tools/demo/internal/stage"
)

// calm is how things were before: what the other acts are to be compared with.
func (s *show) calm() act {
	return act{
		title: "As it was: everybody is served in " + string(stage.Source) + ".",
		short: "as it was",
		steps: 1,
		play: func(ctx context.Context, bar *progress) error {
			bar.step("the load alone")
			if err := wait(ctx, s.options.calm); err != nil {
				return err
			}
			bar.ok()
			return nil
		},
	}
}
