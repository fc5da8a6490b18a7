// Package observability has no code. Its tests keep configs/alerts,
// configs/grafana and docs/runbooks right: every expression parses, and names
// metrics, labels and values that the programs have (docs/metrics.md); every
// alert has a runbook, and a test in which it fires and one in which it does not;
// every dashboard is one that Grafana 11 takes.
//
// That the commands of the runbooks exist is a test of migrator/internal/cli.
package observability
