// Package pairs lends pairs of MariaDB servers to the tests of a package. To
// start two servers takes longer than most of these tests.
//
// A Lender's user, in this order: (1) take a pair, first of all that a test
// does; (2) do with both servers as it likes, kill them too; (3) end, which gives
// the pair back after everything that the test has registered later for its own
// end; (4) close the Lender after the last test.
//
// A pair that was lent before is as new: nobody is connected, there is no database
// but the server's own, no replication, an empty binlog, and no transaction in
// any GTID. What a test may leave behind and this package does not take back
// (settings, accounts, routines) is compared with what the servers began with: a
// pair that differs, that is down, that cannot be emptied, or whose test failed, is
// ended and never lent again.
//
// A Lender may be used by any number of tests at once, a pair by one.
package pairs
