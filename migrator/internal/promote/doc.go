// Package promote takes a whole shard to another datacenter by making its
// replica there the primary.
//
// The protocol, one file a step: the preflight looks for everything that could
// say no (preflight.go); the shard's row gets this promotion's token
// (replicate.go); the replica catches up (catchup.go); the proxies hold the
// shard (hold.go); the shard's row is frozen, the old primary becomes
// read-only, the replica applies all that was committed, and the row changes
// from frozen to moved on the old primary, which is the commit point
// (freeze.go); the replica applies that too, stops replicating, and becomes
// active, one epoch up, and writable (switch.go); the map is published
// (publishing.go); and the old primary becomes a replica of the new one, so
// that going back is the same promotion the other way (reverse.go).
//
// A caller must (1) Preflight and refuse on a finding that refuses; (2) Start
// or Load a promotion; (3) Run or Resume it until it rests in done or aborted.
// One that cannot reach the old primary stays in reversing: its users are
// served; Resume tries again, and Finish ends it without the old primary.
//
// Why no write is lost: a write commits only under a shared lock of the shard's
// row while it is active and names this server. The freeze needs that row
// alone, so every such write is in the old primary's binlog before the
// position that the replica must reach before the commit point. What strangers
// write, past the fence, read_only refuses; who may write in spite of it, the
// preflight refuses, and a position that moved after the freeze makes the
// promotion step back.
//
// Why never two primaries: a row that is active is so for one server_id, and it
// becomes active for the new one only after the commit point, at which it is
// moved for the old one. A copy of the row that a replica has refuses there.
//
// Why the shard is never stranded: the old primary is read-only only while its
// row is frozen or moved. The freeze goes row first, then read_only; stepping
// back goes read_only first, then the row; so a row that is active says that
// all is undone. Before the commit point both are undone by whatever ends the
// freeze, an interrupt too; after a kill, by Resume.
//
// Where the journal is: before the commit point on the old primary, and from
// the moment that the new primary is writable on the new one. The commit point
// journals the state switching in its own transaction. After it nothing is ever
// written on the old primary: it would be an errant transaction, with which it
// could not become a replica. Which of the two servers to trust on resume, the
// shard's rows say: see side.
//
// Engine may be used by any number of goroutines, one a promotion.
package promote
