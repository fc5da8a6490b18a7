// Package shardlib gives an application its users' data: it finds the shard a
// user's data is on, in whichever datacenter that is, and never writes where
// the user's home is not. It keeps a cache beside the data that a reader cannot
// fill with what a writer has replaced.
//
// An application opens one Library for each process and database account, and
// for each request calls Update to write, View to read, Cached to read by way
// of memcached, or ViewStale to read a replica that is nearer than the primary.
// What the library does for an Update:
//
//  1. takes the map it has, and from it the user's bucket, shard and datacenter;
//  2. takes a connection to that shard's server there;
//  3. reads the fence (package fence) with a shared lock, which begins the
//     transaction and lasts until it ends, so that the bucket cannot move
//     meanwhile;
//  4. calls the application's function;
//  5. marks the cache keys that the function invalidated;
//  6. commits, and takes the marks away.
//
// What it does for a ViewStale of a user whose home is in another datacenter,
// where the shard list names a server of the shard in the own one:
//
//  1. takes samples of the primary's GTID position, each with the time before
//     it was asked; one serves many reads;
//  2. begins a transaction on the replica, reads the replica's position, and
//     then the fence, which takes the snapshot: one round trip;
//  3. goes on only if the replica has reached a sample that is young enough and
//     every write of the user's that this process or the caller's token knows
//     of, and if the snapshot shows the bucket readable, by an epoch not before
//     the map's, and the shard with the primary that was sampled;
//  4. calls the application's function; where anything fails, runs a View.
//
// The caller has these duties:
//
//  1. Before serving a request that carries Drover-Map-Version, wait with
//     AtLeast until the library's map is as new: the proxies were told of a new
//     home, and this process must not read the old one.
//  2. Give every statement the function's context and its Tx, and no other
//     connection; take no goroutine, Rows or Tx out of the function.
//  3. Never end the transaction by SQL: no COMMIT, ROLLBACK, START TRANSACTION,
//     SET autocommit, LOCK TABLES, and no DDL, which commits. Leave no session
//     state behind either.
//  4. Touch rows of the one user only. Rows of another bucket are not covered
//     by the lock of step 3.
//  5. Invalidate every key whose value the transaction changes.
//  6. Make functions that may run several times (Config.Retries): no effect
//     outside the transaction.
//  7. On ErrOutcomeUnknown, neither report failure nor simply try again. Ask
//     the database, or repeat something that is the same when done twice, as
//     Once is. Every other error means that nothing was committed.
//  8. On ErrNotHome, let the request be sent again by whoever has a newer map:
//     answer 421 with Drover-Map-Version.
//  9. Pass a token (TokenNow, Token) from the answers to a user's writes on to
//     the user's reads by ViewStale, or say that it does not matter there.
//  10. End all calls before Close.
//
// The package reads a replica in ViewStale alone, never writes to one, never
// commits without the fence's consent, never retries what may have been
// committed, and never takes a map older than its own. It does not change the
// schema: the fence's table is made by the migrator, and the account needs
// SELECT on it.
//
// All methods of Library may be called concurrently; those of a Tx by one
// goroutine at a time.
package shardlib
