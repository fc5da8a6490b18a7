// Command stall measures how long a user who writes without a pause cannot
// write while the user's bucket moves: from the last write acknowledged by the
// old home to the first acknowledged by the new one. Meanwhile the users of the
// other buckets write too.
//
//	go run ./bench/stall                 200 moves on loopback
//	go run ./bench/stall --rtt 20ms      with a round trip between the datacenters
//	go run ./bench/stall --rate 0        with no pause between any two writes
//	go run ./bench/stall --holds         what holds make users behind a proxy wait
//	go run ./bench/stall --gate          fails unless the figures are as good as they must be
//
// It works in this order: (1) it starts two durable MariaDB servers, alpha in
// legacy and gamma in cloud, and puts a relay before each for whoever comes from
// the other datacenter, with half a round trip of delay each way; (2) writers
// write through shardlib, in the datacenter where the edge would send their
// request; a checker reads back what the moved bucket's user wrote; (3) the
// migrator as it ships, in legacy, moves one bucket after the other there and
// back; the bucket's writer writes to it alone meanwhile, without a pause; (4) at the end every
// acknowledged request must be at its user's home, once.
//
// The other writers have a pace: --rate writes a second of all together, each
// due at its own time whether those before it are acknowledged or not, and sent
// late when every writer is at work. With --rate 0 they never pause; then sixteen
// writers and two servers take all of a small machine, and the figures are those
// of waiting for a core. So the report says how much of the CPU time was idle:
// below a fifth, believe nothing but the comparison of two runs.
//
// No proxy is there, so no request is held: a refused write waits for the next
// map. A figure has the latency of one write in it. The parts of the stall are
// the migrator's own, from its events. Servers, migrator and writers share this
// machine.
//
// With --holds users write and read their own write back at once, through a
// proxy that is a process of its own, from the sample application in both
// datacenters, over the file store. A bucket, or a batch of 16, moves there and
// back; the table counts the requests that were under way between the first
// hold and the end of the move, each from its first sending to its success. The
// other proxies are simulated: they read the map once for all, and each
// acknowledges it. In the reactive rows the real proxy has a copy of every map
// without its holds, and learns of the freeze by the application's 421; the
// migrator holds the others.
//
// The program never listens but on loopback, and ends what it started.
package main
