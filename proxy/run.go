package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"drover/bucketmap"
	"drover/internal/admin"
	"drover/internal/logging"
	"drover/proxy/internal/config"
	"drover/proxy/internal/edge"
	"drover/proxy/internal/hold"
	"drover/proxy/internal/identity"
	"drover/proxy/internal/metrics"
	"drover/proxy/internal/passport"
	"drover/proxy/internal/routing"
	"drover/proxy/internal/upstream"
)

// proxy is every part, wired.
type proxy struct {
	config *config.Config
	log    *zap.Logger
	source *source
	table  *routing.Table
	holds  *hold.Manager
	fleet  *upstream.Fleet
	office *passport.Office
	edge   *edge.Edge
	server *edge.Server
	admin  *admin.Server
}

// run serves until ctx ends, then drains. It returns nil after an orderly end.
func run(ctx context.Context, c *config.Config, s surroundings) (err error) {
	log, err := logging.New(s.err, c.Log.Level, c.Log.Format)
	if err != nil {
		return err
	}
	access, closeAccess, err := openAccess(c.AccessLog, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAccess()) }()
	p := &proxy{config: c, log: log, source: newSource(c.Map.Dir)}
	defer func() { err = errors.Join(err, p.source.close()) }()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	p.wire(registry, passport.Options{Slow: c.Passport.Slow, Sample: c.Passport.Sample, Recent: c.Passport.Recent, Out: access})
	if err := p.listen(ctx, registry); err != nil {
		return err
	}
	if s.listening != nil {
		s.listening(p.server.Addr(), p.admin.Addr())
	}
	return p.serve(ctx)
}

// wire makes the parts. Nothing runs yet.
func (p *proxy) wire(registry prometheus.Registerer, passports passport.Options) {
	c := p.config
	names, known := []bucketmap.Datacenter{}, map[bucketmap.Datacenter]bool{}
	datacenters := map[bucketmap.Datacenter]upstream.Datacenter{}
	for text, dc := range c.Datacenters {
		name := bucketmap.Datacenter(text)
		names, known[name] = append(names, name), true
		failover := make([]bucketmap.Datacenter, 0, len(dc.Failover))
		for _, other := range dc.Failover {
			failover = append(failover, bucketmap.Datacenter(other))
		}
		datacenters[name] = upstream.Datacenter{
			Upstreams: dc.Upstreams, Failover: failover,
			Health: upstream.Health{Path: dc.Health.Path, Interval: dc.Health.Interval, Timeout: dc.Health.Timeout},
		}
	}
	m := metrics.New(registry, names)
	passports.Recorder = m
	p.office = passport.NewOffice(passports)
	p.holds = hold.New(hold.Options{
		RequestsMax: c.Hold.RequestsMax, Total: c.Hold.Total, Bytes: int64(c.Hold.Bytes), WaitMax: c.Hold.WaitMax,
		ReactiveMax: c.RerouteWaitMax, ReleaseRate: c.Hold.ReleaseRate, Metrics: m,
	})
	p.table = routing.New(routing.Options{
		Source: p.source, Proxy: c.ID, Datacenters: known, Cache: c.Map.Cache, OnSwap: p.holds.Swap, Metrics: m, Log: p.log,
	})
	p.fleet = upstream.New(datacenters, upstream.Settings{
		Connect: c.Timeouts.Connect, FirstByte: c.Timeouts.FirstByte, Idle: c.Timeouts.Idle,
		KeepAlive: c.Timeouts.UpstreamKeepAlive, HeaderBytes: int(c.Limits.HeaderBytes), ConnectionsMax: c.Limits.UpstreamConnections,
	}, m)
	sources := make([]identity.Source, 0, len(c.Identity))
	for _, id := range c.Identity {
		sources = append(sources, identity.Source{Header: id.Header, Cookie: id.Cookie})
	}
	p.edge = edge.New(edge.Options{
		Finder: identity.New(sources), Trusted: c.Peers(), Table: p.table, Holds: p.holds, Fleet: p.fleet, Office: p.office,
		Metrics: m, Log: p.log, ExposeHeaders: c.ExposeHeaders, RerouteWaitMax: c.RerouteWaitMax, ReplayBuffer: int(c.ReplayBuffer),
		Limits: edge.Limits{HeaderBytes: int(c.Limits.HeaderBytes), Body: int64(c.Limits.Body), Connections: c.Limits.Connections},
		Timeouts: edge.Timeouts{
			Header: c.Timeouts.Header, Idle: c.Timeouts.Idle, Total: c.Timeouts.Total, KeepAlive: c.Timeouts.KeepAlive,
		},
	})
}

// listen opens both listeners, so that an address in use ends the program
// before it has begun.
func (p *proxy) listen(ctx context.Context, gatherer prometheus.Gatherer) error {
	show := func(what func() any) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { admin.WriteJSON(w, what()) })
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", p.config.Listen)
	if err != nil {
		return fmt.Errorf("listen for clients on %s: %w", p.config.Listen, err)
	}
	p.server = edge.NewServer(p.edge, l.(*net.TCPListener)) //nolint:forcetypeassert // opened as tcp
	p.admin, err = admin.Listen(ctx, admin.Options{
		Listen: p.config.Admin.Listen, Token: p.config.Admin.Token, Gatherer: gatherer, Ready: p.ready,
		Handlers: map[string]http.Handler{
			"GET /passports": show(func() any { return p.office.Recent() }),
			"GET /holds":     show(func() any { return p.holds.Status() }),
			"GET /map":       show(func() any { return p.table.Status() }),
		},
	})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	p.log.Info("listening", zap.String("id", p.config.ID), zap.String("clients", l.Addr().String()), zap.String("admin", p.admin.Addr().String()))
	return nil
}

func (p *proxy) ready() error {
	if p.edge.Draining() {
		return errors.New("draining")
	}
	return p.table.Ready()
}

// serve begins the parts, and ends them in the order in which they need one
// another: clients first, then what serves them.
func (p *proxy) serve(ctx context.Context) error {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, failed := errgroup.WithContext(background)
	group.Go(func() error { return p.admin.Serve(failed) })
	group.Go(func() error { return p.holds.Run(failed) })
	group.Go(func() error { return p.fleet.Run(failed) })
	if err := p.table.Start(ctx); err != nil && ctx.Err() == nil {
		stop()
		return errors.Join(err, group.Wait())
	}
	group.Go(func() error { return p.table.Run(failed) })
	group.Go(p.server.Serve)
	select {
	case <-ctx.Done():
		p.log.Info("draining", zap.Duration("timeout", p.config.Drain.Timeout))
	case <-failed.Done():
	}
	d := p.config.Drain
	if rest := p.server.Drain(failed, d.Delay, d.Idle, d.Timeout); rest != 0 {
		p.log.Warn("requests were cut off at the end of the drain", zap.Int("requests", rest))
	}
	stop()
	err := group.Wait()
	if err == nil {
		p.log.Info("drained")
	}
	return err
}
