// Package upstream sends requests to the application servers and brings back
// their answers. Hosts and connections are package pool's.
//
// One request, in this order: (1) a host is picked, of the datacenter that was
// decided; (2) a connection to it; (3) the head is built, with what is there of
// the body; (4) Gate.Enter, which may say that the map has changed; (5) a look
// whether the connection is still good, then the write, then Gate.Leave; (6) the
// rest of the body, by a goroutine of its own (pump.go), as it comes; (7) the
// answer's head, which may come before the body's end; (8) the answer's body,
// by the caller, who closes it.
//
// An exchange never sends a request twice unless the first provably never left
// (no connection, or not one byte written), or it is idempotent, its body is
// kept and not one byte of an answer came. One more try at most, within a budget
// of the requests. So an error of KindSent or KindTimeout means: it is not known
// whether the application has done what was asked. When no host of a datacenter
// can be reached, those of its failover list are tried in order.
//
// An idle connection that the upstream has closed, or on which it sent what
// nobody asked for, is found out before anything is written (send1), and does
// not count as a try.
//
// A body is never buffered beyond the replay buffer and the connection's own
// buffers. An answer that the upstream breaks off gives an error from Next, so
// that the client sees it broken off too.
//
// An Exchange belongs to one client's connection; only its request's Leash may
// be cut by others, at any instant. A Fleet may be used by any number of
// goroutines. Run must run for health checks and for closing idle connections.
package upstream
