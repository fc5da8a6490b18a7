// Package routing keeps the map in force at the edge.
//
// A Table, in this order: (1) Start loads the last good map from this proxy's
// own disk, then the store's; (2) Run watches the store, and for each map that
// arrives: checks it, swaps the pointer, tells OnSwap (which moves held
// requests on), waits until no request is still being sent by the map before,
// and acknowledges.
//
// So an acknowledgement of version V says: every request sent upstream from
// now on was decided by V or a later map, and its holds. That is what a move
// relies on when it freezes a bucket. It needs the sender's help: a request is
// sent between Enter and Leave, and Enter refuses one that was decided by a
// map no longer in force, which then decides again.
//
// A map is refused, with a reason in the acknowledgement, when it cannot be
// read, is not newer, has another bucket count, or sends somebody to a
// datacenter for which this proxy has no upstreams. The proxy then goes on
// with the map that it has: once it had a good one it never serves without.
//
// Current, Enter and WaitNewer may be called by any number of goroutines, and
// Current and Enter take no lock. Start and Run are called once each.
package routing
