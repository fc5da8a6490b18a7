// Package metrics shows to Prometheus what a migrator's moves and promotions
// are doing.
//
// A command (1) makes a registry and declares the metrics in it by New; (2)
// serves it by Listen and Serve, where it was told to; (3) passes every event of
// its engine to Event, of promotions to Promotions.Event, of replicas to
// Replicas.Event. docs/migrator-metrics.md lists the metrics.
//
// The package decides nothing, and nothing that it does can fail a move: a
// server that nobody asks costs a counter an event. Labels come from closed
// sets, never a bucket or a move. Everything here is safe for concurrent use.
package metrics
