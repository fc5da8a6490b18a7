package pool

import (
	"crypto/tls"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Host is one address of a datacenter's.
type Host struct {
	pool    *Pool
	address string
	name    string // as configured
	tls     *tls.Config

	load      atomic.Int64 // requests under way
	sick      atomic.Bool  // by the active checks
	withdrawn atomic.Bool
	ejected   atomic.Int64 // until then; 0: not
	start     atomic.Int64 // of the slow start, which may be to come; 0: none
	clean     atomic.Bool  // a success has nothing to forget

	// These are guarded by pool.mu.
	fails   int           // in a row
	backoff time.Duration // of the next ejection
	healthy prometheus.Gauge

	mu struct {
		sync.Mutex
		idle   []*Conn // the last used at the end
		open   int     // connections being made, idle or in use
		queue  queue   // has somebody only while idle is empty and open is at its limit
		closed bool    // none is kept
	}
}

// Address returns where the host is, IP:port.
func (h *Host) Address() string { return h.address }

// Begin counts a request under way, End one that is over.
func (h *Host) Begin() { h.load.Add(1) }

// End takes back a Begin.
func (h *Host) End() { h.load.Add(-1) }

// Up says whether requests should go here.
func (h *Host) Up(now time.Time) bool { return h.share(h.pool.all.instant(now)) != 0 }

// shareWhole and shareFirst are all of a host's share, and the tenth with which
// it comes back.
const (
	shareWhole = uint64(1) << 32
	shareFirst = shareWhole / 10
)

// share returns how much of what a host gets is this one's; 0 when it is down.
func (h *Host) share(now int64) uint64 {
	if h.sick.Load() || h.withdrawn.Load() || now < h.ejected.Load() {
		return 0
	}
	start, slow := h.start.Load(), h.pool.slowStart
	if start == 0 || now-start >= slow {
		return shareWhole
	}
	part := float64(max(now-start, 0)) / float64(slow)
	return shareFirst + uint64(part*float64(shareWhole-shareFirst))
}

// Succeeded forgets failures, but does not end an ejection: that an answer came
// to what was sent before says little of what comes next.
func (h *Host) Succeeded() {
	if h.clean.Load() {
		return
	}
	p := h.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.all.clock()
	if now < h.ejected.Load() {
		return
	}
	h.fails, h.backoff = 0, p.all.settings.EjectFirst
	h.ejected.Store(0)
	h.clean.Store(true)
	h.shown(now)
}

// Failed counts a failure in a row and ejects the host when there were enough.
// A host that comes back from an ejection is ejected again by its next failure,
// for twice as long.
func (h *Host) Failed(now time.Time) {
	p, settings, at := h.pool, &h.pool.all.settings, h.pool.all.instant(now)
	p.mu.Lock()
	defer p.mu.Unlock()
	h.clean.Store(false)
	h.fails++
	if settings.EjectAfter == 0 || h.fails < settings.EjectAfter || at < h.ejected.Load() || h.withdrawn.Load() {
		return
	}
	if len(p.failover) == 0 && !p.othersUp(h, at) {
		return // a host that fails is more than none
	}
	p.all.log.Warn("host ejected", zap.String("datacenter", string(p.datacenter)), zap.String("upstream", h.address),
		zap.Int("failures", h.fails), zap.Duration("for", h.backoff))
	until := at + int64(h.backoff)
	h.start.Store(until)
	h.ejected.Store(until)
	h.backoff = min(2*h.backoff, settings.EjectMax)
	h.shown(at)
	settings.Counters.Ejected(p.datacenter, h.address)
}

// othersUp says whether a host other than this one is up.
func (p *Pool) othersUp(than *Host, now int64) bool {
	for _, h := range *p.hosts.Load() {
		if h != than && h.share(now) != 0 {
			return true
		}
	}
	return false
}

// checked takes what the active checks say.
func (h *Host) checked(good bool, reason error) {
	p := h.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if h.sick.Load() == !good {
		return
	}
	now := p.all.clock()
	where := []zap.Field{zap.String("datacenter", string(p.datacenter)), zap.String("upstream", h.address)}
	if good {
		h.start.Store(max(now, h.start.Load()))
		p.all.log.Info("host is healthy again", where...)
	} else {
		p.all.log.Warn("host is not healthy", append(where, zap.Error(reason))...)
	}
	h.sick.Store(!good)
	h.shown(now)
}

// show sets the gauge by what is so now: the end of an ejection is no event.
func (h *Host) show(now int64) {
	if h.clean.Load() {
		return
	}
	h.pool.mu.Lock()
	defer h.pool.mu.Unlock()
	h.shown(now)
}

func (h *Host) shown(now int64) {
	up := 0.
	if h.share(now) != 0 {
		up = 1
	}
	h.healthy.Set(up)
}
