// Command moves proves that a bucket moves under fire and nothing is lost.
//
//	go run ./tools/moves ledger --moves 1000 --writers 16 --buckets 64
//	go run ./tools/moves ledger --rtt 20ms --seed 7
//	go run ./tools/moves ledger --sabotage fence    it must find lost writes
//
// The ledger run starts two durable MariaDB servers, lets the migrator as it
// ships move groups of buckets to and fro, back and home while applications
// write through shardlib and through triggers alone, and compares an
// independent book of every request with the rows on both servers: nothing
// lost, nothing twice, never two owners, no write in an epoch that was over, and
// for each user a history that one register explains. It exits with 0 only then,
// with 1 otherwise, and with 130 when it was interrupted.
//
// The package's tests are the kill matrix: the migrator killed at each of its
// crash points, and at each state a server killed, a link cut, a migrator
// frozen until it was replaced. What happened is docs/faults.md, which
// make docs-faults writes anew.
package main
