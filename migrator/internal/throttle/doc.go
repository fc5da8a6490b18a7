// Package throttle keeps the migrator's own writes from hurting the users: who
// writes many rows asks before each chunk, and waits while a server is in
// trouble.
//
// The caller (1) makes a Throttle of gauges and a rate; (2) calls Start; (3)
// calls Wait before each chunk; (4) calls Stop, which waits for the goroutine
// that Start made.
//
// It fails closed. The gauges are looked at by a goroutine of their own, each
// within a time limit; Wait lets nobody through unless all of them were fine in
// the last look, and that look is younger than FreshMax. A server that cannot be
// reached, a replica that has stopped, and a look that hangs are all reasons to
// wait, with a name each.
//
// The package writes to no server. Wait may be called by any number of
// goroutines; a nil Throttle and the zero value let everybody through.
package throttle
