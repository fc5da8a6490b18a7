// Package handover is a proxy that is replaced while clients use it: the
// processes that follow one another, the clients, and an application that notes
// every request.
//
// A measurement, in this order: (1) NewLedger begins the application; (2)
// NewPlace makes a folder and a map, Place.Start starts the first process; (3)
// NewCrowd begins the clients; (4) Process.Replace restarts it hot, or
// Place.Start and Process.End let one follow the other; (5) Crowd.Totals and
// Ledger.Doubled say what it cost; (6) Crowd.Stop, then Process.End.
//
// Each request is a POST with a number of its own, so that one which reaches
// the application twice is seen, and one which is lost too. The clients keep
// their connections, obey Connection: close, look whether a connection has been
// closed before they send, and never send anything twice. A connect that is
// refused is tried again and counted: nothing was sent.
//
// The package never ends a process that it did not start, or that did not
// descend from one. A Place, its processes and a Crowd are for one goroutine.
package handover
