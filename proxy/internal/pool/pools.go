package pool

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"drover/bucketmap"
	"drover/proxy/internal/metrics"
)

// Pools is the hosts of every datacenter.
type Pools struct {
	settings Settings
	metrics  *metrics.Metrics
	log      *zap.Logger
	pools    map[bucketmap.Datacenter]*Pool
	names    []bucketmap.Datacenter // sorted

	base   time.Time    // instants count from here
	clock  func() int64 // ns since base, never 0
	random func() uint64
}

// New returns the pools. It reads the files of TLS and connects to nothing; the
// error names every problem. Hosts given by name have no address before Resolve.
func New(datacenters map[bucketmap.Datacenter]Datacenter, settings Settings, m *metrics.Metrics, log *zap.Logger) (*Pools, error) {
	if settings.Counters == nil {
		settings.Counters = uncounted{}
	}
	if settings.Resolver == nil {
		settings.Resolver = net.DefaultResolver
	}
	if log == nil {
		log = zap.NewNop()
	}
	p := &Pools{
		settings: settings, metrics: m, log: log, pools: map[bucketmap.Datacenter]*Pool{},
		names: slices.Sorted(maps.Keys(datacenters)), base: time.Now(), random: rand.Uint64,
	}
	p.clock = func() int64 { return max(int64(time.Since(p.base)), 1) }
	problems := []error{settings.problems()}
	for _, name := range p.names {
		dc := datacenters[name]
		if err := dc.problems(name, datacenters); err != nil {
			problems = append(problems, err)
			continue
		}
		pool, err := newPool(p, name, dc)
		if err != nil {
			problems = append(problems, fmt.Errorf("datacenter %s: %w", name, err))
			continue
		}
		p.pools[name] = pool
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("set up the upstreams: %w", err)
	}
	for _, name := range p.names {
		for _, other := range datacenters[name].Failover {
			p.pools[name].failover = append(p.pools[name].failover, p.pools[other])
		}
		p.pools[name].apply()
	}
	return p, nil
}

func newPool(all *Pools, name bucketmap.Datacenter, dc Datacenter) (*Pool, error) {
	p := &Pool{
		all: all, datacenter: name, health: dc.Health, slowStart: int64(dc.SlowStart),
		budget:  newBudget(all.settings.RetryRatio, all.settings.RetryMin),
		retries: all.metrics.Retries.WithLabelValues(string(name)),
		conns:   all.metrics.UpstreamConns.WithLabelValues(string(name)),
		changed: make(chan struct{}, 1),
	}
	p.hosts.Store(&[]*Host{})
	p.mu.known = map[string]*Host{}
	if dc.TLS != nil {
		var err error
		if p.tls, err = dc.TLS.config(); err != nil {
			return nil, err
		}
	}
	for _, text := range dc.Upstreams {
		u, err := parseUpstream(text)
		if err != nil {
			return nil, err
		}
		s := &source{upstream: u}
		if u.literal.IsValid() {
			s.addresses = append(s.addresses, u.literal)
		} else if all.settings.DNSRefresh == 0 {
			return nil, fmt.Errorf("upstream %q is a name: want dns_refresh more than 0", text)
		}
		p.sources = append(p.sources, s)
	}
	return p, nil
}

// Of returns a datacenter's pool; nil when it has none.
func (p *Pools) Of(datacenter bucketmap.Datacenter) *Pool { return p.pools[datacenter] }

// Datacenters returns the datacenters that have a pool, sorted.
func (p *Pools) Datacenters() []bucketmap.Datacenter { return slices.Clone(p.names) }

// resolvesMax is how many names are looked up at a time by Resolve.
const resolvesMax = 16

// Resolve looks up every name once, before Run. A name that cannot be resolved
// is logged and tried again by Run; its hosts are missing until then.
func (p *Pools) Resolve(ctx context.Context) {
	var group errgroup.Group
	group.SetLimit(resolvesMax)
	for _, name := range p.names {
		pool := p.pools[name]
		for _, s := range pool.sources {
			if s.literal.IsValid() || s.tried {
				continue
			}
			group.Go(func() error {
				pool.resolve(ctx, s)
				return nil
			})
		}
	}
	group.Wait() //nolint:errcheck // none of them fails
}

// sweepMin and sweepMax bound the time between two looks for idle connections
// that are old.
const (
	sweepMin = 10 * time.Millisecond
	sweepMax = time.Second
)

// Run resolves names, at once those that Resolve has not, checks health and
// closes idle connections until ctx ends. Then it closes the idle ones, those
// in use as they come back, and returns nil.
func (p *Pools) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, pool := range p.pools {
		group.Go(func() error {
			pool.keep(ctx)
			return nil
		})
	}
	group.Go(func() error {
		p.sweep(ctx)
		return nil
	})
	err := group.Wait()
	for _, pool := range p.pools {
		pool.close()
	}
	return err
}

func (p *Pools) sweep(ctx context.Context) {
	tick := time.NewTicker(min(max(p.settings.KeepAlive/4, sweepMin), sweepMax))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, pool := range p.pools {
			pool.sweep()
		}
	}
}

// instant is t in ns since base; never 0.
func (p *Pools) instant(t time.Time) int64 { return max(int64(t.Sub(p.base)), 1) }
