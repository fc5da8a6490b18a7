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
//	metrics.go    the declarations
//	words.go      the closed sets
//	recorder.go   what is counted of every request
//	histogram.go  histograms with fixed bounds
//
// The package never looks at a request but through its passport. Everything
// may be used by any number of goroutines.
package metrics
