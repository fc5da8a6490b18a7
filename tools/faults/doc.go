// Package faults tries every bad map and every fault of a store on the real
// programs, and keeps the record: docs/bad-maps.md. All of it is in the tests.
//
// For each fault, in this order: (1) a proxy starts on a good map, version 3,
// and keeps it in its cache; (2) the fault comes while requests go through, and
// what the proxy says of it at its admin server is the column "running"; (3) the
// proxy is killed and starts again with the fault in place, which is the column
// "starting"; (4) an operator publishes the bad map with migrator map push, or a
// good one where the store is what is broken, which is the column "publishing";
// (5) the fault is mended, a good version is published, and the proxy must take
// it. At each step each of four users must get an answer from the datacenter
// that the map in force says.
//
// A cell is what was observed, never what was expected: the test compares the
// page with what happened, and -update writes it anew. That requests are
// answered rightly is asserted for each row, whatever its cells say.
//
// The package is for tests alone. It starts a Consul server through
// tools/testservers, ends every process that it started, and never listens but
// on loopback.
package faults
