package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"drover/bucketmap"
	"drover/proxy/internal/config"
	"drover/proxy/internal/edge"
	"drover/proxy/internal/hold"
	"drover/proxy/internal/identity"
	"drover/proxy/internal/listen"
	"drover/proxy/internal/metrics"
	"drover/proxy/internal/passport"
	"drover/proxy/internal/pool"
	"drover/proxy/internal/routing"
	"drover/proxy/internal/routing/cohort"
	"drover/proxy/internal/socket"
	"drover/proxy/internal/trace"
	"drover/proxy/internal/upstream"
)

// wire makes the parts from the configuration. Nothing runs yet, and no socket
// is opened.
func (p *proxy) wire(registry prometheus.Registerer) error {
	c := p.config
	names, known := []bucketmap.Datacenter{}, map[bucketmap.Datacenter]bool{}
	for text := range c.Datacenters {
		name := bucketmap.Datacenter(text)
		names, known[name] = append(names, name), true
	}
	p.metrics = metrics.New(registry, names)
	if err := p.wireOffice(); err != nil {
		return err
	}
	p.holds = hold.New(hold.Options{
		RequestsMax: c.Hold.RequestsMax, Total: c.Hold.Total, Bytes: int64(c.Hold.Bytes), WaitMax: c.Hold.WaitMax,
		ReactiveMax: c.RerouteWaitMax, ReleaseRate: c.Hold.ReleaseRate,
		UnsentMax: max(min(c.Upstream.Queue, c.Limits.UpstreamConnections)/2, 1), Metrics: p.metrics,
	})
	if err := p.wireReceiver(); err != nil {
		return err
	}
	p.source.receiver, p.source.pushed = p.receiver, c.Map.Store == config.StorePush
	p.wireCohorts()
	p.table = routing.New(routing.Options{
		Source: p.source, Proxy: p.id, Datacenters: known, MaxChange: c.Map.MaxChange, Cache: c.Map.Cache,
		OnSwap: p.holds.Swap, Cohorts: p.cohorts, Metrics: p.metrics, Log: p.log,
	})
	p.wireUsers()
	if err := p.wireFleet(); err != nil {
		return err
	}
	finder, err := identity.New(identitySources(c.Identity), identity.Options{Observer: tokenObserver{p.metrics, p.log}})
	if err != nil {
		return err
	}
	p.finder = finder
	if err := p.wireMirror(); err != nil {
		return err
	}
	p.edge = edge.New(edge.Options{
		Finder: finder, Table: p.table, Holds: p.holds, Fleet: p.fleet, Office: p.office, Tracer: p.tracer, Mirror: p.mirror, Cohorts: p.cohorts,
		Metrics: p.metrics, Buffers: &p.buffers, Log: p.log,
		ExposeHeaders: c.ExposeHeaders, RerouteWaitMax: c.RerouteWaitMax, ReplayBuffer: int(c.ReplayBuffer),
		Forwarding: forwarding(c.Forwarded), Via: c.Via,
		Limits: edge.Limits{
			HeaderBytes: int(c.Limits.HeaderBytes), Fields: c.Limits.Headers, RequestLine: int(c.Limits.RequestLine),
			Body: int64(c.Limits.Body), Connections: c.Limits.Connections, ConnectionsPerClient: c.Limits.ConnectionsPerClient,
			RequestsPerConnection: c.Limits.RequestsPerConnection, HTTP2Streams: c.Limits.HTTP2Streams, HTTP2Resets: c.Limits.HTTP2Resets,
		},
		Timeouts: edge.Timeouts{
			Header: c.Timeouts.Header, Idle: c.Timeouts.Idle, Body: c.Timeouts.Body, Total: c.Timeouts.Total,
			KeepAlive: c.Timeouts.KeepAlive, Tunnel: c.Timeouts.Tunnel, Linger: c.Timeouts.Linger,
		},
	})
	return nil
}

// wireCohorts makes the memory of who was just moved; nil for none.
func (p *proxy) wireCohorts() {
	window := p.config.Cohort.Window
	p.metrics.CohortWindow.Set(window.Seconds())
	if window != 0 {
		p.cohorts = cohort.New(cohort.Options{Window: window})
	}
}

func (p *proxy) wireOffice() error {
	c := p.config
	options := passport.Options{Slow: c.Passport.Slow, Sample: c.Passport.Sample, Recent: c.Passport.Recent, Recorder: p.metrics}
	p.access.Configure(&options)
	p.office = passport.NewOffice(options)
	if c.Trace.OTLPEndpoint == "" {
		return nil
	}
	tracer, err := trace.New(trace.Options{
		Endpoint: c.Trace.OTLPEndpoint, Ratio: c.Trace.Sample, Service: c.Trace.Service, Instance: p.id, Dropped: p.metrics.SpanDrops,
	})
	p.tracer = tracer
	return err
}

func (p *proxy) wireFleet() error {
	c := p.config
	datacenters := map[bucketmap.Datacenter]pool.Datacenter{}
	for text, dc := range c.Datacenters {
		failover := make([]bucketmap.Datacenter, 0, len(dc.Failover))
		for _, other := range dc.Failover {
			failover = append(failover, bucketmap.Datacenter(other))
		}
		d := pool.Datacenter{
			Upstreams: dc.Upstreams, Failover: failover, SlowStart: dc.SlowStart,
			Health: pool.Health{
				Path: dc.Health.Path, Host: dc.Health.Host, Interval: dc.Health.Interval, Timeout: dc.Health.Timeout,
				HealthyAfter: dc.Health.HealthyAfter, UnhealthyAfter: dc.Health.UnhealthyAfter,
			},
		}
		if dc.TLS.Enabled {
			d.TLS = &pool.TLS{
				ServerName: dc.TLS.ServerName, CA: dc.TLS.CA, Cert: dc.TLS.Cert, Key: dc.TLS.Key,
				MinVersion: tlsVersion(dc.TLS.MinVersion), InsecureSkipVerify: dc.TLS.InsecureSkipVerify,
			}
		}
		datacenters[bucketmap.Datacenter(text)] = d
	}
	u := c.Upstream
	pools, err := pool.New(datacenters, pool.Settings{
		Connect: c.Timeouts.Connect, KeepAlive: c.Timeouts.UpstreamKeepAlive, ConnectionsMax: c.Limits.UpstreamConnections,
		Queue: u.Queue, QueueTimeout: u.QueueTimeout, DNSRefresh: u.DNSRefresh,
		EjectAfter: u.EjectAfter, EjectFirst: u.EjectFirst, EjectMax: u.EjectMax, RetryRatio: u.RetryRatio, RetryMin: u.RetryMin,
		Unlooked: true, Counters: poolCounters{p.metrics},
	}, p.metrics, p.log)
	if err != nil {
		return err
	}
	p.fleet = upstream.New(pools, upstream.Settings{
		FirstByte: c.Timeouts.FirstByte, Idle: c.Timeouts.Idle, HeaderBytes: int(c.Limits.HeaderBytes), Fields: c.Limits.Headers,
	}, &p.buffers, p.metrics)
	return nil
}

func identitySources(list []config.Identity) []identity.Source {
	sources := make([]identity.Source, 0, len(list))
	for _, id := range list {
		s := identity.Source{Header: id.Header, Cookie: id.Cookie, Query: id.Query, Bucket: id.Bucket}
		if id.Path != "" {
			s.Path = &identity.PathSource{Pattern: id.Path}
		}
		if j := id.JWT; j != nil {
			cache := j.Cache
			if cache == 0 {
				cache = -1 // none
			}
			s.JWT = &identity.JWTSource{
				Header: j.Header, Cookie: j.Cookie, Claim: j.Claim, URL: j.JWKSURL, File: j.JWKSFile, Algorithms: j.Algorithms,
				Issuer: j.Issuer, Audience: j.Audience, Leeway: j.Leeway, Refresh: j.Refresh, ExpOptional: !j.RequireExp, Cache: cache,
			}
		}
		sources = append(sources, s)
	}
	return sources
}

func forwarding(word string) edge.Forwarding {
	switch word {
	case config.ForwardedStandard:
		return edge.ForwardRFC
	case config.ForwardedBoth:
		return edge.ForwardBoth
	default:
		return edge.ForwardX
	}
}

func tlsVersion(word string) uint16 {
	if word == config.TLS13 {
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}

// listeners says where clients are listened for.
func (p *proxy) listeners(watcher *socket.Watcher) listen.Options {
	c := p.config
	o := listen.Options{
		Trusted: c.Peers(), TrustMTLS: c.TrustMTLS, ReusePort: c.ReusePort, Backlog: c.Backlog,
		Handshake: c.Timeouts.TLSHandshake, Header: c.Timeouts.Header, Sockets: p.sockets, Watcher: watcher, Log: p.log,
		Counters: listen.Counters{Failed: func(_, reason string) { p.metrics.Refused(refusalOf(reason)) }},
	}
	for _, l := range c.AllListeners() {
		one := listen.Config{Address: l.Address, ProxyProtocol: l.ProxyProtocol, HTTP2: l.HTTP2}
		if t := l.TLS; t != nil {
			one.TLS = &listen.TLSConfig{
				Reload: t.ReloadInterval, MinVersion: tlsVersion(t.MinVersion), ClientCA: t.ClientCA,
				ClientAuth: clientAuth(t.ClientAuth), SessionTickets: t.SessionTickets,
			}
			for _, pair := range t.Certificates {
				one.TLS.Certificates = append(one.TLS.Certificates, listen.Pair{Cert: pair.Cert, Key: pair.Key})
			}
		}
		o.Listeners = append(o.Listeners, one)
	}
	return o
}

func clientAuth(word string) tls.ClientAuthType {
	switch word {
	case config.ClientAuthRequest:
		return tls.VerifyClientCertIfGiven
	case config.ClientAuthRequire:
		return tls.RequireAndVerifyClientCert
	default:
		return tls.NoClientCert
	}
}

// adminTLS returns the admin server's TLS, nil for none.
func adminTLS(c config.AdminTLS) (*tls.Config, error) {
	if c.Cert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, fmt.Errorf("admin.tls: %w", err)
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if c.ClientCA == "" {
		return t, nil
	}
	text, err := os.ReadFile(c.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("admin.tls.client_ca: %w", err)
	}
	t.ClientCAs = x509.NewCertPool()
	if !t.ClientCAs.AppendCertsFromPEM(text) {
		return nil, errors.New("admin.tls.client_ca: no certificate in " + c.ClientCA)
	}
	t.ClientAuth = tls.RequireAndVerifyClientCert
	return t, nil
}
