// Package fence refuses a write to a bucket whose home is elsewhere.
//
// Each shard has one table, drover_fence, with a row for each bucket that
// lives or lived there and one row, bucket -1, for the shard as a whole. A
// write commits only in a transaction that has read both rows with a shared
// lock and found both active.
//
// A writer must, in this order: (1) begin; (2) Check; (3) write; (4) commit.
// With 2 after 3, a write can slip in behind a freeze. Who installs triggers
// (Install with tables) gets the same from the server for writers in any
// language.
//
// A mover must change rows with Transition alone: a compare-and-swap on the
// state and on the token of the move, so that a mover which was replaced can
// do no harm when it wakes.
//
// The shard's row names, by server id, the server that is its primary. A
// replica holds the same row by replication, and refuses by it: a row that is
// active there is active for another server.
//
// The package never looks at a map, a cache or a clock. Everything in it may be
// used by any number of goroutines; a transaction by one at a time.
package fence
