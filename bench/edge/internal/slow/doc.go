// Package slow is clients that are slow: they send a request's head byte by
// byte, or its body, or they read their answer in sips.
//
// A measurement, in this order: (1) Start connects all clients, a third of
// each kind, and begins; (2) it measures somebody else; (3) Stop ends the
// clients and says what became of their requests. A client that the peer cuts
// off connects again.
//
// A client waits 100 to 500 ms between two bytes. The clients never check
// what they are answered but its status: they are there to be in the way.
// Each is one goroutine, cheap at a few steps a second. A Crowd is for one
// goroutine.
package slow
