// Package bucketmap is the routing table that the proxy, the applications and
// the operator's tools share: which bucket is on which shard, and which shard
// is in which datacenter.
//
// A reader, in this order: (1) Watch a Source; (2) refuse what a Guard
// refuses; (3) keep the Snapshot in an atomic pointer; (4) Decide on it, for
// each request; (5) Ack the version that is in force, and its Digest. With 5 before 3, a
// migrator believes that a hold is kept when it is not yet.
//
// A publisher, in this order: (1) Load; (2) Edit the snapshot, which gives a
// Draft; (3) change the draft, and Declare what it moves; (4) Snapshot, which
// checks it; (5) Publish, which is a compare-and-swap on the version; (6) from 1
// again on ErrConflict. Update does all of it.
//
// A codec, in this order: (1) Content, or Diff for a small change; (2) its own
// form of that; (3) Content.Snapshot, or Apply, which check what came in; (4)
// the Digest, which is the same at both ends.
//
// The package never does I/O, keeps nothing between calls and imports the
// standard library alone. It starts no goroutine but one that the making of a
// whitelist waits for. It never looks at a clock: who asks
// for a hold compares its Until. Forms of the map (yaml, binary) and stores
// (file, consul, push) are the folders below.
//
// A Snapshot and a Whitelist are immutable and may be used by any number of
// goroutines; Decide, Lookup and HoldOf allocate nothing and take no lock. A Draft belongs to one
// goroutine. Every Store may be used concurrently; storetest says what it must
// do besides.
package bucketmap
