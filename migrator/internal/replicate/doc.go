// Package replicate makes the replica of a shard in another datacenter, or
// adopts one that replicates already, and proves that it equals the primary.
//
// The protocol, one file a step: both servers are looked at (check.go, and
// adopt.go for a replica that is there); the replica, an empty server, becomes
// read-only and gets a mark that says what is made there (mark.go); sessions of
// the primary open one consistent snapshot, of which the position is known
// (snapshot.go); the definitions are written (schema.go, define.go) and the
// rows copied (dump.go, chunk.go); the replica follows the primary by GTID from
// the snapshot's position on, until it has caught up (follow.go); and every
// chunk of every table is compared at one position (prove.go, checksum.go). Then
// the mark is dropped.
//
// A caller must (1) make an Engine; (2) call Preflight and refuse on a result
// that refuses; (3) call Run, again after a failure, until it returns no error.
//
// Where the copy comes from is a Method. There is one, Dump: a logical copy over
// SQL connections. It needs no file access, no lock of the whole server, and no
// program but this one. A physical backup (mariabackup) would be another; it
// needs access to the files of both servers and is not made here: restore it by
// hand, let the server follow, and Run adopts it.
//
// What is kept on the primary: nothing. It sees reading sessions with a snapshot,
// and then a replica. What a dead process left there ends with its connections.
//
// What is kept on the replica: a database drover_replicating with one row, the
// mark. It names the databases that were made, before they are made, and the
// token of the run: each chunk is written in a transaction that has read the
// token, so that a run which was replaced and wakes up writes nothing. A run
// that finds the mark in copying begins anew, for a snapshot ends with its
// sessions; later ones go on where the last one ended. A server with data that
// no mark names is never touched.
//
// Nothing that is written on the replica is in its binlog, which begins, like
// that of a restored backup, at the snapshot's position: it has no transaction
// that its primary does not have.
//
// An Engine runs one replica at a time; a second run for the same server, here
// or elsewhere, is refused while the first one lives.
package replicate
