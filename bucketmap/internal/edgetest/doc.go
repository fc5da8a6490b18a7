// Package edgetest tests exports of the map on the real programs: it runs
// them on loopback before upstream servers that tell what they were sent, and
// compares what they did with what the map decides.
//
// A test, in this order: (1) Find the program, which installs it if need be;
// (2) call Replay, Random and Large with a function that exports a map and
// starts the program on it; (3) test by itself what only this edge has.
//
// It never listens on anything but 127.0.0.1, ends every process that it
// started, and leaves nothing behind but unpacked packages in the cache
// folder. A test's functions are called by its own goroutine.
package edgetest
