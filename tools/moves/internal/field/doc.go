// Package field is where moves are tried: a database on each of two servers, a
// map, a migrator's configuration, and clients that write and read.
//
// The order: (1) New makes the databases, the map and the fence with the
// migrator's own commands; (2) Start starts clients, which note every request
// in the book; (3) the caller moves buckets; (4) Stop stops the clients and
// waits for them; (5) Judge compares the book with both servers, Agree the map
// with the fences and the journals.
//
// The migrator reaches each server through a relay of its own, so that its link
// can be cut while the applications' is whole. The package moves nothing itself.
package field
