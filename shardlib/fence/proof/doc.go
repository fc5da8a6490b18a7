// Package proof tries whether the trigger fence of a table refuses what it must.
//
// It does not read the triggers, it fires them: every kind of statement against
// every state of a bucket, as an account, on the real table. How, on one
// connection:
//
//  1. a temporary table of the fence's name hides the fence from this
//     connection alone, so that its rows may be given any state, and no lock is
//     taken on the rows that users need;
//  2. a temporary table like the sharded one, which has no triggers, tells the
//     bucket of a row that is made up for the trial;
//  3. each case is a transaction: the made-up row is inserted while its bucket
//     is active, the state is set, the statement is tried, everything is rolled
//     back.
//
// Nothing is left behind: no row, no event in the binary log; a value of
// AUTO_INCREMENT may be skipped. A trial can make a user wait for the few
// milliseconds of its transaction where it inserts beside the user's row.
//
// It never commits, never names a row that it did not insert, and gives up a
// case, untried, rather than wait for more than a second.
//
// A connection is used by one goroutine at a time; different ones by any number.
package proof
