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
// read, is not newer, has another bucket count, has no home for anybody, sends
// somebody to a datacenter for which this proxy has no upstreams, or moves more
// buckets than its publishers declared and Options.MaxChange allows. The proxy
// then goes on with the map that it has: once it had a good one it never serves
// without. That a store cannot be reached is no refusal: it is a metric of its
// own.
//
// A call of the store that does not come back keeps nobody: Start goes on with
// the last good map, and Run ends without it (see Await).
//
// The last good map is kept on disk in the binary form, whose checksum says
// that it is whole. Keeping it is behind everything else: it waits for nothing
// and nothing waits for it, and while maps come fast some are not kept. It is
// not signed, whatever the store's maps are: who may write to this machine's
// disk may as well replace its configuration.
//
// Options.Cohorts is told of every map before it comes into force, and is kept
// beside the last good map, written before it: see package cohort and
// docs/cohorts.md.
//
// SetUsers adds whitelisted users that this machine has from elsewhere (package
// whitelist) to every map.
//
// Offer, SetUsers, Current, Enter and WaitNewer may be called by any number of
// goroutines, and Current and Enter take no lock. Start and Run are called once
// each.
package routing
