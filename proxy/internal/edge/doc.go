// Package edge answers the clients: it is where every request enters.
//
// One request, in this order:
//
//	listener → identity → decision → (hold) → upstream → response → passport
//
//	scan.go      the head, to the letter, and how its body is framed
//	head.go      the head that goes upstream
//	route.go     decision, hold, upstream, until there is an answer
//	reroute.go   an application answered 421
//	respond.go   the answer to the client, to its last byte
//	refuse.go    what the edge answers by itself
//	server.go    connections, limits, and the orderly end
//
// To the application the edge adds Drover-User, Drover-Bucket,
// Drover-Datacenter, Drover-Route and Drover-Map-Version; what a client sends
// under such a name, in any spelling, is dropped. To the client it adds
// nothing unless told to. Method, target, host, the other headers and the body
// pass unchanged, but for what belongs to a connection (RFC 9110, 7.6.1).
//
// The edge never routes by anything but the map's decision, never sends a
// request by a map that is no longer in force, and never sends one again that
// may have been carried out, unless its method allows it. A head that two
// readers could understand in two ways is refused, and the connection closed.
//
// An Edge serves any number of connections at once. The state of one request
// is touched by its connection's goroutine only.
//
// Known limits: no HTTP/2, no TLS, no protocol upgrades (Upgrade is dropped, so
// the application answers in plain HTTP); trailers of requests are dropped; a
// 1xx answer of the application is not passed on; a client that goes away (or
// closes its sending side) is seen while its request is held and while its
// answer is written, not while the application thinks.
package edge
