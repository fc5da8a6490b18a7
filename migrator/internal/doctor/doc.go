// Package doctor compares what the journals, the map and the fences of all
// shards say, and explains every disagreement.
//
// Examine, in this order: (1) loads the map; (2) reads every server of the
// shard list, each shard's rows, records and positions in one consistent
// snapshot; (3) judges what was read; (4) if there is anything to say, pauses,
// looks again and keeps what both looks have found.
//
// The servers are read one beside the other, not at one instant, so a move that
// is under way can look like a disagreement. It looks otherwise a moment later:
// what a finding is about, epochs and tokens included, is its key, and only a
// key that two looks in a row have found is reported. What belongs to a move
// that a live migrator has is no finding at all.
//
// The package changes nothing, on no server and not in the map. It takes no lock
// that a writer could wait for.
//
// A Doctor may be used by one goroutine at a time.
package doctor
