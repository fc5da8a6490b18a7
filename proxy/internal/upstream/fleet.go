package upstream

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"drover/bucketmap"
	"drover/proxy/internal/metrics"
	"drover/proxy/internal/passport"
)

// Settings bound every connection.
type Settings struct {
	Connect, FirstByte, Idle time.Duration
	KeepAlive                time.Duration // of idle connections
	HeaderBytes              int           // of an answer's head
	ConnectionsMax           int           // to one host
}

// Health is the active check of a datacenter's hosts. An empty path checks
// nothing.
type Health struct {
	Path              string
	Interval, Timeout time.Duration
}

// Datacenter says where one is reached.
type Datacenter struct {
	Upstreams []string
	Failover  []bucketmap.Datacenter
	Health    Health
}

// Fleet is every upstream of every datacenter.
type Fleet struct {
	settings Settings
	pools    map[bucketmap.Datacenter]*pool
	health   map[bucketmap.Datacenter]Health
	metrics  *metrics.Metrics
}

// New returns a fleet. It connects to nothing.
func New(datacenters map[bucketmap.Datacenter]Datacenter, settings Settings, m *metrics.Metrics) *Fleet {
	f := &Fleet{settings: settings, pools: map[bucketmap.Datacenter]*pool{}, health: map[bucketmap.Datacenter]Health{}, metrics: m}
	for name, dc := range datacenters {
		p := &pool{datacenter: name, failover: dc.Failover, budget: newBudget(), retries: m.Retries.WithLabelValues(string(name))}
		for _, address := range dc.Upstreams {
			p.hosts = append(p.hosts, newHost(address, &f.settings,
				m.UpstreamHealthy.WithLabelValues(string(name), address), m.UpstreamConns.WithLabelValues(string(name))))
		}
		f.pools[name], f.health[name] = p, dc.Health
		for _, kind := range Kinds() {
			m.UpstreamErrors.WithLabelValues(string(name), string(kind))
		}
		for _, other := range dc.Failover {
			m.Failovers.WithLabelValues(string(name), string(other))
		}
	}
	return f
}

// Datacenters returns the datacenters that have upstreams, sorted.
func (f *Fleet) Datacenters() []bucketmap.Datacenter {
	return slices.Sorted(maps.Keys(f.pools))
}

// Run checks health and closes idle connections until ctx ends; then it closes
// all of them and returns nil.
func (f *Fleet) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for name, p := range f.pools {
		for _, h := range p.hosts {
			group.Go(func() error {
				h.sweep(ctx)
				return nil
			})
			if f.health[name].Path != "" {
				group.Go(func() error {
					h.watch(ctx, f.health[name])
					return nil
				})
			}
		}
	}
	err := group.Wait()
	for _, p := range f.pools {
		for _, h := range p.hosts {
			h.shut()
		}
	}
	return err
}

func (h *host) sweep(ctx context.Context) {
	tick := time.NewTicker(max(h.settings.KeepAlive/4, 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			h.closeIdle(now, h.settings.KeepAlive)
		case <-ctx.Done():
			return
		}
	}
}

// errNoUpstream is a datacenter whose hosts are all ejected.
var errNoUpstream = errors.New("every upstream is ejected")

// Do sends a request to a datacenter, or to those of its failover list when it
// cannot be reached, and returns the answer with its head read. The error is
// ErrMapChanged or an *Error.
func (f *Fleet) Do(ctx context.Context, datacenter bucketmap.Datacenter, r *Request) (*Answer, error) {
	p, ok := f.pools[datacenter]
	if !ok {
		return nil, &Error{KindConnect, datacenter, errors.New("it has no upstreams in the configuration")}
	}
	answer, err := f.inPool(ctx, p, r)
	var failed *Error
	for _, other := range p.failover {
		if !errors.As(err, &failed) || !failed.neverLeft() || ctx.Err() != nil || !r.Body.Rewind() {
			break
		}
		f.metrics.Failovers.WithLabelValues(string(datacenter), string(other)).Inc()
		answer, err = f.inPool(ctx, f.pools[other], r)
	}
	return answer, err
}

// inPool sends a request to one datacenter: once, or twice when that is safe.
func (f *Fleet) inPool(ctx context.Context, p *pool, r *Request) (*Answer, error) {
	p.budget.earn()
	h := p.pick(nil)
	if h == nil {
		return nil, f.failed(p, KindConnect, errNoUpstream)
	}
	answer, tried, err := f.try(ctx, p, h, r, false)
	if err == nil || !tried.again(r) || ctx.Err() != nil || !p.budget.spend() {
		return answer, err
	}
	if h = p.pick(h); h == nil {
		return nil, err
	}
	p.retries.Inc()
	answer, _, err = f.try(ctx, p, h, r, true)
	return answer, err
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

func (f *Fleet) failed(p *pool, kind Kind, err error) *Error {
	f.metrics.UpstreamErrors.WithLabelValues(string(p.datacenter), string(kind)).Inc()
	return &Error{Kind: kind, Datacenter: p.datacenter, Err: err}
}

// try sends a request to one host, once.
func (f *Fleet) try(ctx context.Context, p *pool, h *host, r *Request, fresh bool) (*Answer, tried, error) {
	r.Passport.Stamp(passport.Connecting)
	r.Passport.Attempts++
	r.Passport.Datacenter = p.datacenter
	connect, cancel := context.WithTimeout(ctx, f.settings.Connect)
	c, err := h.acquire(connect, fresh)
	cancel()
	if errors.Is(err, errLimit) {
		return nil, tried{}, f.failed(p, KindLimit, err)
	}
	if err != nil {
		h.failed(time.Now())
		return nil, tried{}, f.failed(p, KindConnect, err)
	}
	h.load.Add(1)
	x := &exchange{fleet: f, pool: p, host: h, conn: c, request: r}
	answer, tried, err := x.run()
	if err == nil {
		h.succeeded()
		return answer, tried, nil
	}
	h.load.Add(-1)
	if errors.Is(err, ErrMapChanged) {
		h.release(c) // nothing was sent on it
		return nil, tried, err
	}
	h.discard(c)
	if !tried.final {
		h.failed(time.Now())
	}
	return nil, tried, err
}
