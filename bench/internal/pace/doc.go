// Package pace lets a crowd of workers do so many things a second together, and
// says how much of the machine's CPU time was idle meanwhile.
//
// A worker, in this order: (1) Wait, which takes the next turn and waits until
// it is due; (2) does it. A turn that is late moves none after it: what was not
// done in time is done as soon as somebody can, and the time that it was due is
// what a delay is counted from.
//
// A Pacer may be used by any number of goroutines, an Idle by one at a time.
package pace
