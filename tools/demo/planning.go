package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"drover/bucketmap"
	"drover/tools/demo/internal/stage"
)

// planning rehearses a few moves by hand, which shows how long one takes on this
// machine, and makes the plan by that.
func (s *show) planning() act {
	return act{
		title: "The plan: a few buckets are rehearsed by hand, there and back; then migrator campaign plan, simulate, apply and run.",
		short: "rehearsal and plan",
		steps: s.options.rehearsals + 1,
		play: func(ctx context.Context, bar *progress) error {
			stepTime, err := s.rehearse(ctx, bar)
			if err != nil {
				return err
			}
			bar.step("the plan, with %.1f s a move", stepTime.Seconds())
			p, path, err := s.makePlan(ctx, stepTime)
			if err != nil {
				return err
			}
			if s.forecasted, err = s.forecast(ctx, path); err != nil {
				return err
			}
			if _, err := s.stage.Migrator(ctx, "campaign", "apply", path, "--why", "everybody goes to "+string(stage.Target)); err != nil {
				return err
			}
			s.campaign = newCampaign(s.stage, p)
			if err := s.campaign.order(ctx, "until the first act", "pause"); err != nil {
				return err
			}
			if s.campaign.run, err = s.stage.RunCampaign(s.campaign.heard); err != nil {
				return err
			}
			if err := s.campaign.judged(ctx); err != nil {
				return err
			}
			bar.ok()
			steps := 0
			for _, w := range p.Waves {
				steps += len(w.Steps)
			}
			s.screen.line("   %d waves, %d steps; the simulation says that they take %.0f s", len(p.Waves), steps, s.forecasted.Seconds())
			return nil
		},
	}
}

// rehearse moves buckets by hand, takes them back, and ends their soak. It returns
// the median of how long the moves took.
func (s *show) rehearse(ctx context.Context, bar *progress) (time.Duration, error) {
	buckets, err := s.homes(ctx, stage.Alpha)
	if err != nil {
		return 0, err
	}
	var took []time.Duration
	for i := range s.options.rehearsals {
		b := buckets[(2*i+1)*len(buckets)/(2*s.options.rehearsals)]
		bar.step("bucket %d with its %s goes over, and comes back", b, plural(len(s.usersOf[b]), "user"))
		if err := s.aim(ctx, b); err != nil {
			return 0, err
		}
		began := time.Now()
		moved, err := s.migrator(ctx, "bucket", "move", fmt.Sprint(b), "--to", string(stage.Gamma), "--why", "a rehearsal")
		if err != nil {
			return 0, err
		}
		took = append(took, time.Since(began))
		if moved {
			if err := s.backHome(ctx, b); err != nil {
				return 0, err
			}
		}
		bar.ok()
	}
	slices.Sort(took)
	return took[len(took)/2].Round(time.Millisecond), nil
}

// backHome takes a bucket back, and ends its soak.
func (s *show) backHome(ctx context.Context, b bucketmap.BucketID) error {
	back, err := s.migrator(ctx, "bucket", "return", fmt.Sprint(b), "--why", "a rehearsal")
	if err != nil || !back {
		return err
	}
	_, err = s.migrator(ctx, "bucket", "finish", fmt.Sprint(b), "--why", "the rehearsal is over")
	return err
}
