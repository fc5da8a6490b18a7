// Package load is the users of the demo: it sends requests to the edge at a
// steady rate, and checks every answer against the ledger.
//
// A Generator is an open loop: requests are due at times that do not depend on
// how fast the answers come, and a request's wait is measured from the time at
// which it was due. A Job is what companies have besides users: writers that
// go to the applications directly, in both datacenters, around the edge.
//
// A caller (1) makes both; (2) runs Run of each in a goroutine that it waits
// for; (3) calls Heat to say whose buckets are moving; (4) calls Pause before
// it looks at the databases, and Resume after; (5) ends the context.
//
// An answer other than 2xx is an error, whatever the reason. A write that was
// not acknowledged is sent again with the same request id, which the
// application applies once, as a phone would that lost its connection.
//
// The package never corrects a figure afterwards, and never takes a failed
// check back. All methods may be called concurrently, but Pause and Resume in
// turns.
package load
