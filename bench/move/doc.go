// Command move measures how fast the migrator copies buckets and applies
// changes, beside what people do without it.
//
//	go run ./bench/move
//
// It works in this order: (1) it starts two MariaDB servers, with the settings
// that a shard must have, and fills the source with rows of 1,000 buckets; (2) in
// each round, for the same 100 buckets, one after the other: the built migrator
// moves them (the figure is from entering copying to entering verifying: copy
// and tail, from its own events); mariadb-dump --single-transaction --where is
// piped into mariadb; and LOAD DATA reads a file with the rows that is written
// just before. (3) Still in the round, the buckets' new home gets a backlog of
// transactions of ten row changes each, four updates, three deletes and three
// inserts, and the move returns: from entering tailing to entering verifying is
// the time that the tail took for the backlog. (4) It prints the medians of the
// rounds, and what the programs took of the processors. The three take turns at being first.
//
// Every round checks that what arrived is what was sent, by checksum; what
// differs fails the run. Servers, programs and this one share the machine: a
// busy machine makes all slower, and the ratio says more than the times.
//
// The program never listens but on loopback, and ends what it started.
package main
