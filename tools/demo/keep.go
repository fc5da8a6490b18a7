package main

import (
	"context"
	"fmt"
	"path/filepath"
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
	if len(s.singles) != 0 {
		bucket = fmt.Sprint(s.singles[0])
	}
	s.screen.line(`
Everything goes on, the load too. To try:

   export M=%q
   $M status
   $M map show | head -20
   $M bucket return %s          # bucket %[2]s goes back to %s; run it again, and it comes
   $M shard promote %s --to %s  # the way back

   curl -i -H 'X-User-Id: 17' %s/1/user/-/profile
   curl -i -H 'X-User-Id: 17' -d '{"request_id":"mine-1","day":"%s","steps":100}' %[6]s/1/user/-/steps
   curl %s/metrics | grep drover_proxy
   curl %[8]s/map

   applications in %s: %s; in %s: %s
   logs, configurations and the map: %s

Ctrl-C ends everything.`,
		migrator, bucket, stage.Source, stage.Beta, stage.Source, s.stage.Proxy, s.ledger.Date(0), s.stage.Admin,
		stage.Source, strings.Join(s.stage.Applications[stage.Source], ", "), stage.Target, strings.Join(s.stage.Applications[stage.Target], ", "),
		filepath.Clean(s.stage.Dir))
	<-ctx.Done()
}
