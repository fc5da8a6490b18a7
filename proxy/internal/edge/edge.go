package edge

import (
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"drover/proxy/internal/hold"
	"drover/proxy/internal/identity"
	"drover/proxy/internal/metrics"
	"drover/proxy/internal/mirror"
	"drover/proxy/internal/passport"
	"drover/proxy/internal/routing"
	"drover/proxy/internal/routing/cohort"
	"drover/proxy/internal/socket"
	"drover/proxy/internal/trace"
	"drover/proxy/internal/upstream"
)

// Options are what an Edge works with. All but Tracer, Cohorts and Mirror are wanted.
type Options struct {
	Finder  *identity.Finder
	Table   *routing.Table
	Holds   *hold.Manager
	Fleet   *upstream.Fleet
	Office  *passport.Office
	Tracer  *trace.Tracer  // nil: traces pass through untouched
	Cohorts *cohort.Set    // nil: requests are of none
	Mirror  *mirror.Mirror // nil: nothing is mirrored
	Metrics *metrics.Metrics
	Buffers *socket.Buffers
	Log     *zap.Logger

	ExposeHeaders  bool
	RerouteWaitMax time.Duration
	ReplayBuffer   int
	Forwarding     Forwarding
	// Via is this proxy's name in Via; empty adds none.
	Via      string
	Limits   Limits
	Timeouts Timeouts
}

// Forwarding says by which headers the application learns of the client.
type Forwarding uint8

// The ways of forwarding.
const (
	ForwardX    Forwarding = iota // X-Forwarded-For, -Proto and -Host
	ForwardRFC                    // Forwarded (RFC 7239)
	ForwardBoth                   // both
)

// Limits bound what clients can take. 0 is no bound where it says so.
type Limits struct {
	HeaderBytes           int
	Fields                int
	RequestLine           int
	Body                  int64
	Connections           int
	ConnectionsPerClient  int // 0: none
	RequestsPerConnection int // 0: none
	HTTP2Streams          int
	HTTP2Resets           int // a minute, of one connection; 0: none
}

// Timeouts are the longest waits.
type Timeouts struct {
	Header, Idle, Body, Total, KeepAlive, Tunnel, Linger time.Duration
}

// Edge answers requests.
type Edge struct {
	options  Options
	requests sync.Pool    // of streams
	active   atomic.Int64 // requests whose passport is open
	draining atomic.Bool
	over     atomic.Bool // requests under way are cut off
	clients  clients
}

// New returns an edge.
func New(options Options) *Edge {
	e := &Edge{options: options}
	e.clients.init(options.Limits.Connections, options.Limits.ConnectionsPerClient)
	return e
}

// Draining says whether Drain has begun.
func (e *Edge) Draining() bool { return e.draining.Load() }

// panicked answers a request that met a bug. Its connection ends.
func (e *Edge) panicked(r *request, bug any) {
	e.options.Metrics.Panics.Inc()
	e.options.Log.Error("a request met a bug of the edge", zap.String("bug", fmt.Sprint(bug)), zap.ByteString("stack", debug.Stack()))
	r.leave()
	if r.answer != nil {
		r.answer.Close()
		r.answer = nil
	}
	r.endMirror()
	r.refuse(refusal{status: 500, end: passport.EndPanicked, what: "internal error", remedy: "see the proxy's log", close: true})
}
