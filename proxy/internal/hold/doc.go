// Package hold keeps the requests of a bucket waiting while the bucket changes
// home.
//
// A hold is proactive when the map says so, and reactive when an application
// answered 421 for the bucket. A request, in this order: (1) is decided by a
// map; (2) asks Covers, which is one atomic load when there are no holds;
// (3) waits in Wait; (4) is decided again when the wait ends, however it ends,
// except that after Expired, Full and Shutdown it goes out whatever the map
// says of holds. Swap is called with each new map, after it is in force.
//
// Every wait is bounded: by the hold's own Until, by the longest wait of one
// request, all its holds together. Every queue is bounded: requests per bucket,
// requests in all, bytes in all; a request over a bound is not held. So a
// dead migrator can delay a request, never strand it.
//
// When a hold ends, its requests go out first in first out, at a bounded rate,
// so that the new home is not run over, and no faster than they are sent
// (UnsentMax), so that they do not fill the upstreams' queues. New requests of
// the bucket do not queue behind them.
//
// The counters always balance:
//
//	entered = released + expired + full + client_gone + shutdown + held now
//
// A client that goes away is seen by the ticket's Gone, asked every 100 ms; one
// that sent bytes of a next request before it went is seen only when its wait
// ends.
//
// A Manager may be used by any number of goroutines.
package hold
