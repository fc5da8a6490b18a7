package pool

import (
	"crypto/tls"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"drover/bucketmap"
)

// Pool is one datacenter's hosts.
type Pool struct {
	all        *Pools
	datacenter bucketmap.Datacenter
	failover   []*Pool
	health     Health
	slowStart  int64 // ns
	tls        *tls.Config
	budget     *budget
	retries    prometheus.Counter
	conns      prometheus.Gauge
	sources    []*source
	changed    chan struct{} // the hosts are others; one word is enough

	hosts atomic.Pointer[[]*Host] // those that may be picked; never changed in place

	// mu guards what changes seldom: who the hosts are and how they stand. It
	// is taken before a host's own lock.
	mu struct {
		sync.Mutex
		known   map[string]*Host // by address; withdrawn ones until their connections are closed
		started bool             // a host that comes from now on is new
		closed  bool
	}
}

// Name returns the datacenter.
func (p *Pool) Name() bucketmap.Datacenter { return p.datacenter }

// Failover returns the pools to try, in order, when this one cannot be reached.
// It is not to be changed.
func (p *Pool) Failover() []*Pool { return p.failover }

// Hosts returns the hosts that there are now. It is not to be changed.
func (p *Pool) Hosts() []*Host { return *p.hosts.Load() }

// Earn counts a request for the budget of second tries.
func (p *Pool) Earn() { p.budget.earn() }

// Spend takes a second try from the budget, if there is one.
func (p *Pool) Spend() bool { return p.budget.spend() }

// Retried counts a second try made.
func (p *Pool) Retried() { p.retries.Inc() }

// Pick returns the host for a request, other than not when another is up. With
// none up it returns one all the same, since all down is more often our mistake
// than theirs; but nil when the datacenter has a failover, or no host at all.
func (p *Pool) Pick(not *Host) *Host {
	hosts := *p.hosts.Load()
	now := p.all.clock()
	a := p.draw(hosts, now, not, nil)
	if a == nil {
		return p.pickDown(hosts, now, not)
	}
	if len(hosts) == 1 {
		return a
	}
	// Who has not its whole share yet would be the idler one of every pair, and
	// get far more than its share.
	b := p.draw(hosts, now, not, a)
	if b != nil && b.load.Load() < a.load.Load() && b.share(now) >= a.share(now) {
		return b
	}
	return a
}

func (p *Pool) pickDown(hosts []*Host, now int64, not *Host) *Host {
	switch {
	case not != nil && not.share(now) != 0:
		return not
	case len(p.failover) != 0 || len(hosts) == 0:
		return nil
	}
	a, b := hosts[p.die(len(hosts))], hosts[p.die(len(hosts))]
	if a == not || b.load.Load() < a.load.Load() && b != not {
		return b
	}
	return a
}

// die returns 0 to n-1.
func (p *Pool) die(n int) int { return int((p.all.random() >> 32) * uint64(n) >> 32) }

// drawsMax bounds the draws that miss. With three hosts of four down, one
// request in ten looks at all hosts instead.
const drawsMax = 8

// draw returns a host by share, other than these two; nil when no other is up.
func (p *Pool) draw(hosts []*Host, now int64, not, other *Host) *Host {
	for range drawsMax {
		if len(hosts) == 0 {
			return nil
		}
		// One number is both: which host, and whether its share is hit.
		x := p.all.random()
		h := hosts[(x>>32)*uint64(len(hosts))>>32]
		if h != not && h != other && x&0xffffffff < h.share(now) {
			return h
		}
	}
	return p.drawAmongAll(hosts, now, not, other)
}

// drawAmongAll is draw when most of the hosts are down.
func (p *Pool) drawAmongAll(hosts []*Host, now int64, not, other *Host) *Host {
	total := uint64(0)
	for _, h := range hosts {
		if h != not && h != other {
			total += h.share(now)
		}
	}
	if total == 0 {
		return nil
	}
	left := p.all.random() % total
	var last *Host
	for _, h := range hosts {
		if h == not || h == other {
			continue
		}
		s := h.share(now)
		if s == 0 {
			continue
		}
		if last = h; left < s {
			break
		}
		left -= s
	}
	return last
}

// sweep closes old idle connections and shows which hosts are up.
func (p *Pool) sweep() {
	now := p.all.clock()
	for _, h := range *p.hosts.Load() {
		h.closeIdle(now - int64(p.all.settings.KeepAlive))
		h.show(now)
	}
}

// close withdraws every host for good.
func (p *Pool) close() {
	p.mu.Lock()
	p.mu.closed = true
	known := p.mu.known
	p.mu.known = nil
	p.mu.Unlock()
	for _, h := range known {
		h.withdraw()
		h.closeIdle(forever)
	}
}
