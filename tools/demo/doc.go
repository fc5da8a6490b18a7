// Command demo shows Drover at work: two datacenters on this machine, 20,000
// users who leave one of them for the other while they go on using the
// product, and a ledger that finds every request that fails and every write
// that is lost.
//
//	go run ./tools/demo              watch it (make demo)
//	go run ./tools/demo --keep       leave everything running at the end
//	go run ./tools/demo --fence off  the same without the fence: it must lose writes
//
// It exits with 0 only when no request failed, no write was lost or applied
// twice, and no read was stale, at 500 requests a second or more; with 1 when
// something of that went wrong or a command failed, and with 130 when it was
// interrupted. By how much the campaign's simulation was off is printed, and
// judged with --forecast-max 0.2: a machine that gets busy changes its pace.
//
// The order of a run: internal/stage builds the programs and starts the
// servers; internal/load sends requests and checks the answers against
// internal/ledger; the plan of a campaign is made (planning.go, plan.go), and
// migrator campaign run moves everybody, a wave an act (campaign.go, waves.go);
// between two acts the campaign is paused, the load too for a moment, and the
// ledger is compared with the databases (show.go); summary.go judges.
//
// It leaves nothing behind, but for the logs of a run that went wrong.
package main
