// Command replicate measures how long it takes to make a replica of a shard,
// and what the primary's writers feel of it.
//
//	go run ./bench/replicate --size 1024
//
// It (1) starts two MariaDB servers and fills the first with --size megabytes in
// four tables; (2) lets --writers write single rows, one transaction each, at
// --rate in a second all together, for --calm; (3) makes the replica while they
// go on; (4) prints the time that took, with copying, catching up and proving
// apart, and the writers' p50 and p99 before and meanwhile. A replica that does
// not equal its primary fails the run.
//
// Servers, writers and the migrator share the machine: what the writers feel is
// the worst case. The program never listens but on loopback, and ends what it
// started.
package main
