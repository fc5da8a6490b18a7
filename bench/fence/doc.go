// Command fence measures what the fence costs a write: the CPU time of the
// database server and of the client for each transaction.
//
// Four kinds of transaction change one user's row: none (begin, update, commit,
// by database/sql alone), library (the same by shardlib), trigger (by
// database/sql, on a table with the triggers), both. How:
//
//  1. one MariaDB server is started, with the fence's table and two tables of
//     the same rows, one with the triggers;
//  2. in each round every kind has a turn of the same number of transactions by
//     the same workers, in an order that turns with the rounds;
//  3. before and after a turn the CPU clocks of the server's process and of this
//     one are read.
//
// Medians over the rounds are printed, and the ratio to none: the median of the
// ratios within a round, so that what disturbs a whole round disturbs no ratio.
// Time on the wall is not a figure: CPU time is what a machine has too little
// of, and what others on the machine change least.
package main
