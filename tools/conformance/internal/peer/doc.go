// Package peer starts the proxies that the suite judges: Drover, nginx and
// HAProxy, each in front of one origin and set up as a careful operator would.
//
// Start does everything in this order: (1) chooses a free port of loopback; (2)
// writes the configuration into the peer's own folder; (3) starts the program,
// its output in a file of that folder; (4) waits until it answers. End ends the
// program by its process id, in order or else with force, and waits for it.
//
// Every peer has the same limits: HeaderWait for a request's head, BodyMax
// for its body. The package never listens on anything but loopback and ends
// no process that it did not start. A Kind's functions may be called
// concurrently, a Process is its owner's.
package peer
