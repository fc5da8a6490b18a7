package upstream

import (
	"time"

	"drover/bucketmap"
	"drover/proxy/internal/http1"
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
	// Trailer says whether a trailer may go on. The lines come from Body.
	Trailer func(http1.Field, http1.Kind) bool
	// Interim passes an answer of 1xx on to the client; an error ends the
	// request.
	Interim func(*http1.Response) error
	Body    *Body
	// IsHead is a HEAD: its answer has no body whatever its head says.
	IsHead bool
	// Idempotent is a method that may be sent twice (RFC 9110, 9.2.2).
	Idempotent bool
	// Upgrade is a request that 101 may answer.
	Upgrade bool
	Gate    Gate
	Leash   *Leash
	// Deadline is of the request as a whole.
	Deadline time.Time
	Passport *passport.Passport
}
