package main

import (
	"context"

	"drover/tools/demo/internal/ledger"
	"drover/tools/demo/internal/stage"
)

// playWave plays one wave of the campaign, with the load on the users of the step
// that is next and of the one that was last.
func (s *show) playWave(ctx context.Context, bar *progress, name string, title func(i int, t *planStep) string) error {
	w := s.campaign.plan.wave(name)
	if len(w.Steps) == 0 {
		return nil
	}
	users := make([][]ledger.User, len(w.Steps)+1)
	for i := range w.Steps {
		var err error
		if users[i], err = s.usersOfStep(ctx, &w.Steps[i]); err != nil {
			return err
		}
	}
	s.heat(users[0])
	if err := wait(ctx, s.options.pause); err != nil {
		return err
	}
	bar.step("%s", title(0, &w.Steps[0]))
	return s.campaign.wave(ctx, w, func(i int, failure error) error {
		if failure != nil {
			if s.options.fence != stage.FenceOff {
				return failure
			}
			s.screen.line("   !! %s", failure)
			if err := s.campaign.skip(ctx, w.id(i)); err != nil {
				return err
			}
		}
		s.heat(append(append([]ledger.User{}, users[i]...), users[i+1]...))
		bar.ok()
		if i+1 < len(w.Steps) {
			bar.step("%s", title(i+1, &w.Steps[i+1]))
		}
		return nil
	})
}

// usersOfStep are those whom a step moves.
func (s *show) usersOfStep(ctx context.Context, t *planStep) ([]ledger.User, error) {
	if len(t.IDs) != 0 {
		return s.chooseEmployees(), nil
	}
	buckets := t.buckets
	if t.Shard == string(stage.Beta) {
		var err error
		if buckets, err = s.homes(ctx, stage.Beta); err != nil {
			return nil, err
		}
	}
	var users []ledger.User
	for _, b := range buckets {
		users = append(users, s.usersOf[b]...)
	}
	return users, nil
}
