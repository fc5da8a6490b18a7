package edge

import (
	"drover/proxy/internal/http1"
	"drover/proxy/internal/upstream"
)

// client is who a request came from, and who gets its answer: a connection of
// HTTP/1.1, or a stream of HTTP/2. It is also where the request's body comes
// from.
type client interface {
	upstream.Source
	// interim passes an answer of 1xx on.
	interim(head *http1.Response) error
	// respond passes the request's answer on, to its last byte, and closes it.
	respond()
	// refused answers by the edge itself. body is JSON, or empty.
	refused(f refusal, body []byte)
}
