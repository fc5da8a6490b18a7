package main

import (
	"context"
	"fmt"

	"drover/tools/demo/internal/ledger"
	"drover/tools/demo/internal/stage"
)

// employees go first, by the whitelist: the applications in the cloud serve
// them, over the network, from databases that are still in legacy.
func (s *show) employees() act {
	return act{
		title: fmt.Sprintf("%d employees go first, by the whitelist: served in %s, their data still in %s.", s.options.employees, stage.Target, stage.Source),
		short: "employees by whitelist",
		steps: 3,
		play: func(ctx context.Context, bar *progress) error {
			if err := s.playWave(ctx, bar, waveWhitelist, func(int, *planStep) string { return "the campaign puts them on the whitelist" }); err != nil {
				return err
			}
			if err := s.stage.UpToDate(ctx); err != nil {
				return err
			}
			users := s.chooseEmployees()
			bar.step("each of them adds steps")
			for _, user := range users {
				served, ok := s.users.Write(ctx, user)
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if ok && (served.Datacenter != string(stage.Target) || served.Shard == string(stage.Gamma)) {
					return fmt.Errorf("employee %s was served in %s from shard %s: want %s, from a shard in %s", user.ID(), served.Datacenter, served.Shard,
						stage.Target, stage.Source)
				}
			}
			bar.ok()
			bar.step("all of them are served in %s, from databases in %s", stage.Target, stage.Source)
			if err := wait(ctx, s.options.calm); err != nil {
				return err
			}
			bar.ok()
			return nil
		},
	}
}

// chooseEmployees spreads them over all users.
func (s *show) chooseEmployees() []ledger.User {
	var users []ledger.User
	for i := range s.options.employees {
		users = append(users, ledger.User(1+i*s.options.users/s.options.employees))
	}
	return users
}
