package edge

import (
	"context"
	"fmt"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"drover/proxy/internal/hold"
	"drover/proxy/internal/identity"
	"drover/proxy/internal/metrics"
	"drover/proxy/internal/passport"
	"drover/proxy/internal/routing"
	"drover/proxy/internal/upstream"
)

// Options are what an Edge works with. All are wanted.
type Options struct {
	Finder *identity.Finder
	// Trusted are the peers whose identity and X-Forwarded-* headers are
	// believed.
	Trusted []netip.Prefix
	Table   *routing.Table
	Holds   *hold.Manager
	Fleet   *upstream.Fleet
	Office  *passport.Office
	Metrics *metrics.Metrics
	Log     *zap.Logger

	ExposeHeaders  bool
	RerouteWaitMax time.Duration
	ReplayBuffer   int
	Limits         Limits
	Timeouts       Timeouts
}

// Limits bound what clients can take.
type Limits struct {
	HeaderBytes int
	Body        int64
	Connections int
}

// Timeouts are the longest waits.
type Timeouts struct {
	Header, Idle, Total, KeepAlive time.Duration
}

// Edge answers requests.
type Edge struct {
	options  Options
	requests sync.Pool
	active   atomic.Int64 // requests whose passport is open
	draining atomic.Bool
	// over ends when requests under way are cut off.
	over context.Context //nolint:containedctx // the edge's own, that no request's context ends
	cut  context.CancelFunc
}

// New returns an edge.
func New(options Options) *Edge {
	e := &Edge{options: options}
	e.requests.New = func() any { return new(request) }
	e.over, e.cut = context.WithCancel(context.Background())
	return e
}

// Handle answers one request.
func (e *Edge) Handle(ctx *fasthttp.RequestCtx) {
	r := e.open(ctx)
	defer func() {
		streaming := r.streaming
		if bug := recover(); bug != nil {
			e.panicked(r, bug)
		}
		if !streaming { // else the stream's Close does it
			e.close(r)
		}
	}()
	if refusal := r.scan(); refusal != nil {
		r.refuse(*refusal)
		return
	}
	r.route()
}

// panicked answers a request that met a bug.
func (e *Edge) panicked(r *request, bug any) {
	e.options.Metrics.Panics.Inc()
	e.options.Log.Error("a request met a bug of the edge", zap.String("bug", fmt.Sprint(bug)), zap.ByteString("stack", debug.Stack()))
	r.leave()
	ctx, streaming, answer := r.ctx, r.streaming, r.answer
	if answer != nil {
		answer.Close() //nolint:errcheck // never fails
	}
	f := refusal{status: fasthttp.StatusInternalServerError, end: passport.EndPanicked,
		what: "internal error", remedy: "see the proxy's log", close: true}
	r.passport.Status, r.passport.End = f.status, f.end
	ctx.Response.Reset() // closes the stream, and with it the request, if there is one
	writeRefusal(ctx, f)
	if !streaming {
		r.passport.Stamp(passport.Responding)
	}
}

func (e *Edge) open(ctx *fasthttp.RequestCtx) *request {
	e.active.Add(1)
	r := e.requests.Get().(*request) //nolint:forcetypeassert // the pool holds nothing else
	r.reset()
	r.edge, r.ctx = e, ctx
	r.passport = e.options.Office.Open()
	r.begun = time.Now()
	r.deadline = r.begun.Add(e.options.Timeouts.Total)
	return r
}

// close ends a request: the last byte of its answer is written, or as good as.
func (e *Edge) close(r *request) {
	if r.passport == nil {
		return
	}
	e.options.Office.Close(r.passport)
	r.passport = nil
	r.ctx = nil
	e.requests.Put(r)
	e.active.Add(-1)
}
