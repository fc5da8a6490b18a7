// Package stage builds what the demo plays on: two datacenters on one machine,
// with real databases, caches, applications and an edge.
//
// Set does everything in this order: (1) builds the programs, and starts the
// databases and caches meanwhile; (2) makes the schema on every shard; (3)
// makes the first map, as an operator would: migrator init; (4) loads the
// users at their homes; (5) puts the triggers on the tables, unless the fence
// is off; (6) lets the replica catch up, and runs migrator check; (7) starts
// the applications and the edge, and waits until they answer.
//
//	legacy: shard alpha, shard beta;    cache, 2 applications
//	cloud:  shard gamma, beta's replica; cache, 2 applications
//
// After it, StartEdge starts one more edge, and Start any program, whose lines a
// Reader hears. Close ends everything, the last started first. If the process dies without
// Close, a watchdog ends what is left.
//
// The package never listens on anything but loopback, and keeps everything
// that it writes in its work folder and in the test servers' folders. Methods
// of Stage may be called concurrently.
package stage
