// Package shardlib gives an application its users' data: it finds the shard a
// user's data is on, in whichever datacenter that is, and never writes where
// the user's home is not. It keeps a cache beside the data that a reader cannot
// fill with what a writer has replaced.
//
// An application opens one Library for each process and database account, and
// for each request calls Update to write, View to read, or Cached to read by
// way of memcached. What the library does for an Update:
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
//  9. End all calls before Close.
//
// The package never writes to a replica, never commits without the fence's
// consent, never retries what may have been committed, and never takes a map
// older than its own. It does not change the schema: the fence's table is made
// by the migrator, and the account needs SELECT on it.
//
// All methods of Library may be called concurrently; those of a Tx by one
// goroutine at a time.
package shardlib
