package edge

import (
	"net/netip"
	"time"

	"github.com/valyala/fasthttp"

	"drover/bucketmap"
	"drover/proxy/internal/identity"
	"drover/proxy/internal/passport"
	"drover/proxy/internal/routing"
	"drover/proxy/internal/upstream"
)

// request is the state of one request. It is used again for others.
type request struct {
	edge     *Edge
	ctx      *fasthttp.RequestCtx
	passport *passport.Passport
	begun    time.Time
	deadline time.Time

	// By scan.
	headers []identity.Header // alias the connection's buffer
	target  []byte            // as it goes upstream
	host    []byte            // of an absolute target, else empty
	length  int64             // of the body; -1: chunked
	closes  bool              // the client wants its connection closed
	peer    netip.Addr
	trusted bool
	user    []byte
	userErr error

	// By route.
	base     []byte // the head that goes upstream, less what the decision adds
	body     *upstream.Body
	up       upstream.Request
	snapshot *bucketmap.Snapshot // that decided
	decision bucketmap.Decision
	sending  routing.Sending
	inside   bool // between Enter and Leave
	entered  time.Time
	unheld   bool // waited as long as it may: holds are not for it any more

	// By reroute.
	misdirected time.Time // when it was first answered 421
	rerouteEnd  time.Time
	sameMap     int  // how often it was sent again by the same map
	lastTry     bool // it was sent again when the time was up

	streaming bool // the answer's body is still to be written
	answer    *upstream.Answer
}

// reset keeps the buffers.
func (r *request) reset() {
	clear(r.headers)
	*r = request{headers: r.headers[:0], base: r.base[:0], up: r.up}
}

// Enter is upstream.Gate's.
func (r *request) Enter() bool {
	r.sending, r.inside = r.edge.options.Table.Enter(r.snapshot.Version())
	return r.inside
}

// Leave is upstream.Gate's.
func (r *request) Leave() { r.leave() }

func (r *request) leave() {
	if r.inside {
		r.inside = false
		r.sending.Leave()
	}
}
