// Package metrics declares every metric of the edge.
//
// The protocol: (1) New registers them once; (2) they are passed to who
// counts; (3) Request takes each passport at its end. Labels come from closed
// sets (the configured datacenters and upstreams, the reasons, the states, the
// outcomes): never a user, a bucket or a move.
//
// What is counted for every request is kept in counters of this package's own,
// by shards that processors seldom share, and put together when somebody asks:
// one request costs some thirty additions and no lock, no map and no memory.
// What is counted seldom is a plain Prometheus metric.
//
// A request whose user was found, by the whitelist or by a bucket with a home, is
// counted in its user's cohort besides, moved or stayed. The cohort is that of
// the last decision, the datacenter the last one that it was sent to:
//
//	held, re-routed after 421    by the map that let it go on; the waits are in its time
//	failover                     under the datacenter that took it
//	tunnel (101)                 class 1xx, when it ends, by its decision; time to its beginning
//	client gone before the head  class none, time until then; client_gone, where it was not the
//	                             application's turn: a request that still came, or was held
//	client gone after it         the head's class, time until then
//	broken off by application    class 5xx
//	refused by the edge          the class of its answer, once it is decided
//
//	metrics.go    the declarations
//	words.go      the closed sets
//	recorder.go   what is counted of every request
//	histogram.go  histograms with fixed bounds
//
// The package never looks at a request but through its passport. Everything
// may be used by any number of goroutines.
package metrics
