// Package upstream sends requests to the application servers and brings back
// their answers.
//
// A Fleet has a pool for each datacenter, a pool a host for each upstream. One
// request, in this order: (1) a host is picked, the less loaded of two drawn
// at random among those not ejected; (2) a connection: an idle one that the
// upstream has not closed, else a new one; (3) Gate.Enter, which may say that
// the map has changed; (4) the head, and what is there of the body, in one
// write; (5) Gate.Leave; (6) the rest of the body as it comes; (7) the answer's
// head; (8) the answer's body, by the caller, who closes it.
//
// The fleet never sends a request twice unless the first provably never left
// (no connection, or not one byte written), or it is idempotent, its body is kept and not one byte of
// an answer came. One more try at most, within a budget of 20 % of requests.
// So an error of KindSent or KindTimeout means: it is not known whether the
// application has done what was asked.
//
// When no host of a datacenter can be reached, those of its failover list are
// tried in order. Ejection is per host, after failures in a row, with a
// growing time out; never are all hosts of a datacenter ejected, unless there
// is a failover.
//
// An idle connection is looked at before it is used, without reading from it:
// one that the upstream has closed is dropped, so that a POST does not pay for
// it. Idle connections are closed by us before the upstream would.
//
// A body is never buffered beyond the replay buffer and the connection's own
// buffers. An answer that the upstream breaks off gives an error from Read, so
// that the client sees it broken off too.
//
// A Fleet may be used by any number of goroutines; a Request and an Answer by
// one. Run must run for health checks and for closing idle connections.
package upstream
