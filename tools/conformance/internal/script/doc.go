// Package script plays one case against a proxy: a client and an origin made
// of raw sockets, with the proxy between them.
//
// Run plays a case in this order: (1) the origin gets the case's replies; (2)
// the steps run one after the other: bytes that a client sends, what it waits
// for, what the origin does beyond its replies; (3) every client reads until
// its answers are whole or the connection has ended, and a moment longer, to
// see what should not come; (4) all connections are closed, and the result
// says if a request was still under way; (5) the case's check judges
// what both sides saw.
//
// The origin reads strictly: a request that two readers could understand in
// two ways fails the case, whatever its check says. So does an answer with two
// framings at a client, and bytes behind the last answer.
//
// The package knows no proxy and starts none. An Origin plays one case at a
// time; the checks are pure functions of a Result.
package script
