package upstream

import (
	"net"
	"time"

	"github.com/valyala/fasthttp"

	"drover/bucketmap"
	"drover/proxy/internal/passport"
)

// Gate is asked just before a request leaves.
type Gate interface {
	// Enter says whether the request may still go. After true, Leave follows
	// when its head is written.
	Enter() bool
	Leave()
}

// Request is one request to send.
type Request struct {
	// Head appends the request's head for a datacenter, the empty line
	// included, to dst.
	Head func(dst []byte, datacenter bucketmap.Datacenter) []byte
	Body *Body
	// IsHead is a HEAD: its answer has no body whatever its head says.
	IsHead bool
	// Idempotent is a method that may be sent twice (RFC 9110, 9.2.2).
	Idempotent bool
	Gate       Gate
	// Client is where the answer goes, for its deadlines.
	Client net.Conn
	// Header takes the answer's head.
	Header *fasthttp.ResponseHeader
	// Deadline is of the request as a whole.
	Deadline time.Time
	Passport *passport.Passport

	buffer []byte // for head and body, kept between tries
}
