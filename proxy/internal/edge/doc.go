// Package edge answers the clients: it is where every request enters.
//
// One request, in this order:
//
//	listener → identity → decision → (hold) → upstream → response → passport
//
//	server.go    connections come in; the orderly end
//	clients.go   who is connected, and how many may be
//	conn.go      a connection of HTTP/1.1: the head, the body, the next request
//	http2.go     a connection of HTTP/2, bridged to the same requests
//	request.go   the state of one request
//	head.go      the head that goes upstream
//	route.go     decision, hold, upstream, until there is an answer
//	reroute.go   an application answered 421
//	respond1.go  the answer to a client of HTTP/1.1, to its last byte
//	refuse.go    what the edge answers by itself
//	tunnel.go    after 101: bytes both ways
//	explain.go   what would be done with a request, without doing it
//
// To the application the edge adds Drover-User, Drover-Bucket,
// Drover-Datacenter, Drover-Route and Drover-Map-Version, says who the client is
// (X-Forwarded-*, or Forwarded), and puts itself into Via; what a client sends
// under a Drover name, in any spelling, is dropped. To the client it adds
// nothing unless told to. Method, target, the other headers and the body pass
// unchanged, byte for byte and in their order, but for what belongs to a
// connection (RFC 9110, 7.6.1). Chunks are framed anew, so that what two readers
// could take in two ways ends here. Answers of 1xx and trailers pass.
//
// The edge never routes by anything but the map's decision, never sends a
// request by a map that is no longer in force, and never sends one again that
// may have been carried out, unless its method allows it. A head that two
// readers could understand in two ways is refused, and the connection closed.
// It buffers nothing beyond the replay buffer and the connections' own buffers,
// and a connection that waits for its next request has none.
//
// A client is gone when it has closed its side, or broken the connection: its
// request's upstream connection is closed at once, whatever it was doing. So a
// client that half-closes before it has its answer does not get one.
//
// An Edge serves any number of connections at once. The state of one request
// is touched by its connection's goroutine only, but for the request's body,
// which is sent by a goroutine of its own while the answer may come already.
package edge
