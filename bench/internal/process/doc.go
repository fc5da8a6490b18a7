// Package process starts the project's own servers as processes of their own,
// knows when and where they listen, and ends them in order.
//
// Start works in this order: (1) the program is started; its log, on standard
// error, is read line by line until it ends, so that the program never waits for
// its reader; (2) Start returns when the log says that it listens, and where;
// a program that ends before that, or takes too long, is an error with the last
// lines of its log. (3) Stop sends SIGTERM, waits, and kills what does not end.
//
// Every Process must be stopped. PID and Address may be used concurrently.
package process
