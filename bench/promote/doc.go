// Command promote takes a whole shard there and back, again and again, while
// users write through the proxy, and measures how long they cannot.
//
//	go run ./bench/promote                           200 promotions under 1,000 writes a second
//	go run ./bench/promote --promotions 10 --for 1m  fewer, and an end
//	go run ./bench/promote --gate                    fails unless the figures are as good as they must be
//
// It works in this order: (1) it starts two durable MariaDB servers, the
// primary of shard alpha in legacy and its replica by GTID in cloud, the sample
// application in both datacenters, and the proxy before them, with the file
// store; each is a process of its own; (2) writers write, --rate transactions a
// second of all together, each due at its own time whether those before it are
// answered or not, and sent late when every writer is at work: some as users do,
// through the proxy, and --direct of them as a job of the application does, by
// shardlib straight to the shard, since the two processors that this is made for
// cannot carry 1,000 requests a second through all the programs at once;
// (3) the migrator as it ships, one process a promotion, promotes alpha to cloud,
// to legacy, and so on; (4) the writers end, the replica catches up, and what
// was acknowledged is compared with the rows of both servers.
//
// The write stall of a promotion is as users see it: from the last
// acknowledgement of a write that the old primary took to the first of one that
// the new one took. Which server took a write is no answer's word: each row of
// requests has the server_id of who wrote it, by the column's default. At 1,000
// writes a second a stall has 1 ms of chance in it, at 100 a second 10 ms. Its
// parts come from the migrator's events, which have the same clock:
//
//	hold     from the last acknowledgement to the state freezing: the proxy holds
//	freeze   to the commit point: the freeze, read_only, the replica catches up
//	switch   to the new primary writable and journaled
//	publish  to the map published and journaled
//	arrive   to the first acknowledgement: proxy and application have the map
//
// A request is sent once, under an id of its own, and never again; a direct write
// is made again when shardlib says that nothing was done. So what it
// became is one of three: acknowledged; refused, when the application says that
// it has done nothing; or unknown. At the end the acknowledged must be there
// once, the refused not at all, the unknown once or not; a row of a request and
// the sums of its user, made in one transaction, must tell the same; and nothing
// else may be there. A failed request is one that was not acknowledged: the
// proxy holds and sends again, so there must be none.
//
// The report says how much of the CPU time was idle: below a fifth, believe the
// counts and not the times. Servers, programs and writers share this machine.
//
// The program never listens but on loopback, and ends what it started.
package main
