// Package pool knows the hosts of each datacenter and keeps the connections to
// them.
//
// Pools has a Pool for each datacenter, a Pool a Host for each address. One
// request, in this order: (1) Pool.Earn; (2) Pool.Pick, which gives nil when
// the request should go to Pool.Failover; (3) Host.Begin; (4) Host.Acquire: the
// idle connection used last, if the host has not closed it, else a new one,
// else a place in the host's queue; (5) the exchange, by the caller; (6)
// Host.Release when the next answer can come on the connection, else
// Host.Discard; (7) Host.End, and Host.Succeeded or Host.Failed. A second try
// asks Pool.Spend first, picks with the host that failed as not, and says
// Pool.Retried.
//
// Pick takes the less loaded of two hosts drawn at random among those that are
// up. A host that comes back, or is new, is drawn with a share that grows from
// a tenth to the whole over SlowStart; it takes no request from a host whose
// share is greater, however idle it is.
//
// A host is down while its active checks fail, and while it is ejected: after
// EjectAfter failures in a row, each time for longer. The last host that is up
// is not ejected, unless its datacenter has a failover.
//
// Open connections to one host, those being made, idle or in use, are never
// more than ConnectionsMax. Who finds all of them in use waits, first in first
// out. A connection that comes back goes to the oldest waiter, and no newcomer
// overtakes it.
//
// An upstream is host:port. An IP address is taken as it is. A name is resolved
// by Resolve and again each DNSRefresh, and each of its addresses is a host. An
// address that vanishes takes no new requests; an empty or failed answer
// changes nothing. An address given by two names is one host, known by the
// first of them.
//
// The package never writes a request other than its health checks, never reads
// an answer, never sends anything twice and never reads a file after New.
//
// Everything may be called by any number of goroutines, but a Conn is one
// goroutine's between Acquire and Release or Discard, and Resolve is called
// before Run. Run must run for health, DNS and the closing of idle connections.
package pool
