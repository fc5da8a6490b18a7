package pool

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// source is one configured upstream and the addresses it stands for.
type source struct {
	upstream
	addresses []netip.Addr // guarded by the pool's lock; literals never change

	// Of the one goroutine that resolves it.
	tried bool
	fails int           // in a row
	wait  time.Duration // until it is resolved again
}

const (
	// resolveTimeout bounds one look-up.
	resolveTimeout = 5 * time.Second
	// resolveRetry is the wait after a look-up that failed; it doubles up to
	// DNSRefresh.
	resolveRetry = time.Second
	// addressesMax is how many addresses of one name are used, the lowest
	// first: more is not a name for a few application servers.
	addressesMax = 256
)

// resolve looks a name up and takes over its addresses. An answer without any
// is a failure.
func (p *Pool) resolve(ctx context.Context, s *source) {
	bounded, cancel := context.WithTimeout(ctx, resolveTimeout)
	found, err := p.all.settings.Resolver.LookupNetIP(bounded, "ip", s.host)
	cancel()
	if errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	s.tried = true
	refresh := p.all.settings.DNSRefresh
	where := []zap.Field{zap.String("datacenter", string(p.datacenter)), zap.String("upstream", s.text)}
	if err != nil || len(found) == 0 {
		s.wait = min(resolveRetry<<min(s.fails, 16), refresh)
		s.fails++
		if s.fails == 1 {
			p.all.log.Warn("upstream's name not resolved, its addresses stay as they were (check the name and the DNS servers)",
				append(where, zap.Error(err))...)
		}
		return
	}
	if s.fails != 0 {
		p.all.log.Info("upstream's name resolved again", where...)
	}
	s.fails, s.wait = 0, refresh
	addresses := make([]netip.Addr, 0, len(found))
	for _, a := range found {
		addresses = append(addresses, a.Unmap())
	}
	slices.SortFunc(addresses, netip.Addr.Compare)
	addresses = slices.Compact(addresses)
	if len(addresses) > addressesMax {
		addresses = addresses[:addressesMax]
	}
	p.mu.Lock()
	same := slices.Equal(addresses, s.addresses)
	s.addresses = addresses
	p.mu.Unlock()
	if !same {
		p.apply()
	}
}

// apply makes the hosts those that the sources say.
func (p *Pool) apply() {
	p.mu.Lock()
	if p.mu.closed {
		p.mu.Unlock()
		return
	}
	old := *p.hosts.Load()
	var hosts []*Host
	wanted := map[*Host]bool{}
	for _, s := range p.sources {
		for _, a := range s.addresses {
			h := p.host(netip.AddrPortFrom(a, s.port).String(), s)
			if !wanted[h] {
				wanted[h] = true
				hosts = append(hosts, h)
			}
		}
	}
	p.hosts.Store(&hosts)
	var vanished []*Host
	for _, h := range old {
		if !wanted[h] {
			h.withdraw()
			vanished = append(vanished, h)
			p.all.metrics.UpstreamHealthy.DeleteLabelValues(string(p.datacenter), h.address)
			p.all.settings.Counters.Forget(p.datacenter, h.address)
			p.all.log.Info("host has vanished from its name", zap.String("datacenter", string(p.datacenter)), zap.String("upstream", h.address))
		}
	}
	for address, h := range p.mu.known {
		if !wanted[h] && h.opened() == 0 {
			delete(p.mu.known, address)
		}
	}
	p.mu.Unlock()
	for _, h := range vanished {
		h.closeIdle(forever)
	}
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// host returns the host at an address. One that has vanished and comes back is
// the same one while it has connections: the limit is for all of them.
func (p *Pool) host(address string, s *source) *Host {
	h, ok := p.mu.known[address]
	if ok && !h.withdrawn.Load() {
		return h
	}
	if !ok {
		h = &Host{pool: p, address: address, name: s.text, tls: forHost(p.tls, s.host), backoff: p.all.settings.EjectFirst}
		p.mu.known[address] = h
	}
	now := p.all.clock()
	h.healthy = p.all.metrics.UpstreamHealthy.WithLabelValues(string(p.datacenter), address)
	if p.mu.started && len(*p.hosts.Load()) != 0 {
		h.start.Store(now)
		p.all.log.Info("host is new by its name", zap.String("datacenter", string(p.datacenter)), zap.String("upstream", address))
	}
	h.fails, h.backoff = 0, p.all.settings.EjectFirst
	h.ejected.Store(0)
	h.sick.Store(false)
	h.clean.Store(true)
	h.revive()
	h.shown(now)
	return h
}

// keep resolves the pool's names and has its hosts checked until ctx ends.
func (p *Pool) keep(ctx context.Context) {
	p.mu.Lock()
	p.mu.started = true
	p.mu.Unlock()
	var group sync.WaitGroup
	defer group.Wait()
	for _, s := range p.sources {
		if !s.literal.IsValid() {
			group.Go(func() { p.follow(ctx, s) })
		}
	}
	if p.health.Path == "" {
		return
	}
	ends := map[*Host]context.CancelFunc{}
	for {
		hosts := *p.hosts.Load()
		for _, h := range hosts {
			if ends[h] == nil {
				var check context.Context
				check, ends[h] = context.WithCancel(ctx)
				group.Go(func() { h.watch(check) })
			}
		}
		for h, end := range ends {
			if !slices.Contains(hosts, h) {
				end()
				delete(ends, h)
			}
		}
		select {
		case <-p.changed:
		case <-ctx.Done():
			for _, end := range ends {
				end()
			}
			return
		}
	}
}

// follow resolves a name again and again.
func (p *Pool) follow(ctx context.Context, s *source) {
	timer := time.NewTimer(s.wait)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		p.resolve(ctx, s)
		timer.Reset(s.wait)
	}
}
