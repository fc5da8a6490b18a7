// Package scene is what all measurements have in common: the map, the 10,000
// users and where each belongs, and the texts of request and answer.
//
// A measurement, in this order: (1) calls New, which gives the same users and
// the same map each time; (2) gives Snapshot to the edge's store and Users to
// the other peers as a table, so that all of them decide alike; (3) sends
// Request with a user's id patched in; (4) checks the answer with Check.
//
// Half of the users are on the whitelist and half go by their bucket, so both
// ways of the edge are walked. User ids have one length: to name another user,
// ten bytes of a request change and nothing is built anew.
//
// The package opens nothing and starts nothing. A Scene is not changed after
// New and may be read by any number of goroutines.
package scene
