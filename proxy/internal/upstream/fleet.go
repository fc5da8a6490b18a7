package upstream

import (
	"context"
	"errors"
	"time"

	"drover/bucketmap"
	"drover/proxy/internal/metrics"
	"drover/proxy/internal/pool"
	"drover/proxy/internal/socket"
)

// Settings bound every exchange.
type Settings struct {
	FirstByte, Idle time.Duration
	HeaderBytes     int // of an answer's head, and of its trailers
	Fields          int // header lines of either
}

// Fleet is every upstream of every datacenter.
type Fleet struct {
	settings Settings
	pools    *pool.Pools
	buffers  *socket.Buffers
	metrics  *metrics.Metrics
}

// New returns a fleet on these pools. It connects to nothing.
func New(pools *pool.Pools, settings Settings, buffers *socket.Buffers, m *metrics.Metrics) *Fleet {
	for _, dc := range pools.Datacenters() {
		for _, kind := range Kinds() {
			m.UpstreamErrors.WithLabelValues(string(dc), string(kind))
		}
		for _, other := range pools.Of(dc).Failover() {
			m.Failovers.WithLabelValues(string(dc), string(other.Name()))
		}
	}
	return &Fleet{settings: settings, pools: pools, buffers: buffers, metrics: m}
}

// Resolve resolves the upstreams' names, once, before the first request. What
// fails is tried again by Run.
func (f *Fleet) Resolve(ctx context.Context) { f.pools.Resolve(ctx) }

// Run checks health, resolves names and closes idle connections until ctx
// ends; then it closes all of them and returns nil.
func (f *Fleet) Run(ctx context.Context) error { return f.pools.Run(ctx) }

// errNoUpstream is a datacenter whose hosts are all ejected.
var errNoUpstream = errors.New("every upstream is ejected")

// Do sends a request to a datacenter, or to those of its failover list when it
// cannot be reached, and returns the answer with its head read, which is valid
// until the exchange's next Do. The error is ErrMapChanged or an *Error.
func (x *Exchange) Do(datacenter bucketmap.Datacenter, r *Request) (*Answer, error) {
	f := x.fleet
	p := f.pools.Of(datacenter)
	if p == nil {
		return nil, &Error{KindConnect, datacenter, errors.New("it has no upstreams in the configuration")}
	}
	x.request = r
	if !r.Body.Rewind() {
		return nil, x.fleet.failed(p, KindBody, r.Body.Err())
	}
	err := x.inPool(p)
	for _, other := range p.Failover() {
		if err == nil || !neverLeft(err) || r.Leash.IsCut() || !r.Body.Rewind() {
			break
		}
		f.metrics.Failovers.WithLabelValues(string(datacenter), string(other.Name())).Inc()
		err = x.inPool(other)
	}
	if err != nil {
		return nil, err
	}
	return &x.answer, nil
}

// inPool sends the request to one datacenter: once, or twice when that is safe.
func (x *Exchange) inPool(p *pool.Pool) error {
	p.Earn()
	h := p.Pick(nil)
	if h == nil {
		return x.fleet.failed(p, KindConnect, errNoUpstream)
	}
	tried, err := x.try(p, h, false)
	if err == nil || !tried.again(x.request) || x.request.Leash.IsCut() || !p.Spend() {
		return err
	}
	if h = p.Pick(h); h == nil {
		return err
	}
	p.Retried()
	x.request.Passport.Retries++
	_, err = x.try(p, h, true)
	return err
}

// tried says how far a failed try came.
type tried struct {
	left   bool // something may have reached the application
	answer bool // something came back, or it took too long to
	final  bool // not the upstream's fault
}

func (t tried) again(r *Request) bool {
	if t.final {
		return false
	}
	return (!t.left || r.Idempotent && !t.answer) && r.Body.Rewind()
}

func (f *Fleet) failed(p *pool.Pool, kind Kind, err error) *Error {
	f.metrics.UpstreamErrors.WithLabelValues(string(p.Name()), string(kind)).Inc()
	return &Error{Kind: kind, Datacenter: p.Name(), Err: err}
}

// stale is a connection that was not good when it was to be used. It is not
// counted: that is what idle connections come to.
func (f *Fleet) stale(p *pool.Pool, err error) *Error {
	return &Error{Kind: KindConnect, Datacenter: p.Name(), Err: err}
}
