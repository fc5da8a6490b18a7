package main

import (
	"context"
	"fmt"
	"strings"

	"drover/tools/demo/internal/stage"
)

// keep leaves everything running, the load too, and says what can be tried.
func (s *show) keep(ctx context.Context) {
	if err := s.resume(ctx); err != nil {
		return
	}
	migrator := strings.Join(s.stage.MigratorCommand(), " ")
	bucket := "0"
	if s.campaign != nil {
		if singles := s.campaign.plan.wave(waveSingles); len(singles.Steps) != 0 {
			bucket = singles.Steps[0].Buckets
		}
	}
	proxy, today := s.stage.Proxy, s.ledger.Date(0)
	for _, line := range []string{
		"",
		"Everything goes on, the load too. To try:",
		"",
		"   export M='" + migrator + "'",
		"   $M status",
		"   $M campaign status",
		"   $M slo check --empty " + string(stage.Source),
		"   $M map history | head",
		fmt.Sprintf("   $M bucket return %s              # bucket %s goes back to %s; once more, and it comes again", bucket, bucket, stage.Source),
		fmt.Sprintf("   $M shard promote %s --to %s  # %s goes back", stage.Beta, stage.Source, stage.Beta),
		"",
		fmt.Sprintf(`   curl -i -H 'X-User-Id: you' -d '{"request_id":"mine-1","day":"%s","steps":100}' %s/1/user/-/steps`, today, proxy),
		fmt.Sprintf("   curl -i -H 'X-User-Id: you' %s/1/user/-/profile", proxy),
		fmt.Sprintf("   curl -s %s/metrics | grep drover_proxy_requests_total", s.stage.Admin),
		fmt.Sprintf("   curl -s %s/map", s.stage.Admin),
		"",
		fmt.Sprintf("   applications in %s: %s", stage.Source, strings.Join(s.stage.Applications[stage.Source], ", ")),
		fmt.Sprintf("   applications in %s: %s", stage.Target, strings.Join(s.stage.Applications[stage.Target], ", ")),
		"   the console: " + s.stage.Console + " (any name, and the token in " + s.stage.ConsoleToken + ")",
		"   logs, configurations, the plan and the map: " + s.stage.Dir,
		"",
		"Ctrl-C ends everything.",
	} {
		s.screen.line("%s", line)
	}
	<-ctx.Done()
}
