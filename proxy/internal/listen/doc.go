// Package listen is where clients come in: the listening sockets, the PROXY
// header and TLS.
//
// A program, in this order: (1) Open, which opens all listeners or none; (2) Run,
// in a goroutine, for certificates that change; (3) Serve, which hands over a
// Pending for each connection; (4) Pending.Open in the connection's own
// goroutine, which reads the PROXY header, then shakes hands, each in bounded
// time, and gives an Accepted; (5) Accepted.Forget, then Link.Close; (6) Stop.
//
// A PROXY header is believed from a trusted TCP peer alone; from any other the
// connection is closed. Where a header is wanted there must be one. A header
// that names no client (UNKNOWN, a Unix socket) leaves the peer's address and
// takes the trust away: who is behind it is not known. LOCAL is the balancer
// itself, and trusted as such.
//
// Stop ends a listener without resetting who has connected already, in this
// order: (1) the kernel overlooks who only begins to connect, and will try again
// by itself; (2) who waits in the backlog, or is in the middle of the handshake,
// is accepted; (3) the listener closes. When the socket lives on in another
// process that one accepts them.
//
// The package never reads a request, and never ends an accept loop because the
// system is short of something: it waits, in bounded time, and goes on.
//
// Addrs, Stop and Reload may be called by any goroutine; Serve and Run by one
// each; a Pending and an Accepted belong to one goroutine, but for Interrupt.
package listen
