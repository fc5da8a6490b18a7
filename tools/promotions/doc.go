// Package promotions tries every fault and every adversary on promotions of a
// shard, and keeps the record: the last part of docs/faults.md. All of it is in
// the tests.
//
// A world is a shard with a server in each of two datacenters, of which both
// start read-only by their configuration; relays between all programs and the
// servers; a map; and the migrator as it ships, which waits at a crash point
// where a case wants it (tools/internal/program). Clients write all the time:
// through shardlib in both datacenters, past the map straight on both servers
// through fence.CheckWrite and through the triggers alone, and to a table that
// has no fence at all, which read_only alone protects.
//
// For each case, in this order: (1) the fault comes at its point; (2) the
// operator runs migrator resume until it has nothing left to do; (3) map,
// fence, read_only, replication and journal must agree, or else migrator doctor
// says what to do and doing it must make them agree; (4) the clients stop, and
// an independent book is compared with the rows of both servers; (5) what every
// write has seen is searched for two primaries: see judge.
//
// A cell is what was observed, never what was expected: the test compares the
// page with what happened, and -update writes its part of the page anew. That
// nothing is lost, nothing twice, never two primaries and never none for longer
// than 10 s once somebody resumes is asserted for each case.
//
// The package is for tests alone. It ends every process that it started, and
// never listens but on loopback.
package promotions
