package upstream

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// errLimit is every connection in use for as long as a connect may take.
var errLimit = errors.New("all connections are in use")

const (
	ejectAfter = 3               // failures in a row
	ejectFirst = 1 * time.Second // doubled at each ejection in a row
	ejectMax   = 30 * time.Second
)

// host is one upstream.
type host struct {
	address  string
	settings *Settings
	slots    chan struct{} // one for each connection in use
	load     atomic.Int64  // requests under way
	healthy  prometheus.Gauge
	conns    prometheus.Gauge // of the whole datacenter

	mu struct {
		sync.Mutex
		idle    []*conn // the last used at the end
		closed  bool
		fails   int           // in a row
		backoff time.Duration // of the next ejection
		ejected time.Time     // until
		sick    bool          // by the active check
	}
}

func newHost(address string, settings *Settings, healthy, conns prometheus.Gauge) *host {
	h := &host{address: address, settings: settings, slots: make(chan struct{}, settings.ConnectionsMax), healthy: healthy, conns: conns}
	h.mu.backoff = ejectFirst
	healthy.Set(1)
	return h
}

// acquire returns a connection: the idle one used last, if it is still good,
// unless fresh asks for a new one.
func (h *host) acquire(ctx context.Context, fresh bool) (*conn, error) {
	select {
	case h.slots <- struct{}{}:
	default:
		select {
		case h.slots <- struct{}{}:
		case <-ctx.Done():
			return nil, errLimit
		}
	}
	for !fresh {
		c := h.popIdle()
		if c == nil {
			break
		}
		if c.usable(time.Now(), h.settings.KeepAlive) {
			c.reused = true
			return c, nil
		}
		h.close(c)
	}
	c, err := dial(ctx, h.address, h.settings.HeaderBytes)
	if err != nil {
		<-h.slots
		return nil, err
	}
	h.conns.Inc()
	return c, nil
}

// release takes back a connection on which the next answer can come.
func (h *host) release(c *conn) {
	c.since = time.Now()
	h.mu.Lock()
	keep := !h.mu.closed
	if keep {
		h.mu.idle = append(h.mu.idle, c)
	}
	h.mu.Unlock()
	if !keep {
		h.close(c)
	}
	<-h.slots
}

// discard closes a connection in use.
func (h *host) discard(c *conn) {
	h.close(c)
	<-h.slots
}

func (h *host) close(c *conn) {
	c.Close() // nothing more is expected of it
	h.conns.Dec()
}

func (h *host) popIdle() *conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.mu.idle)
	if n == 0 {
		return nil
	}
	c := h.mu.idle[n-1]
	h.mu.idle[n-1] = nil
	h.mu.idle = h.mu.idle[:n-1]
	return c
}

// closeIdle closes the connections idle for longer than keepAlive.
func (h *host) closeIdle(now time.Time, keepAlive time.Duration) {
	h.mu.Lock()
	n := 0
	for n < len(h.mu.idle) && now.Sub(h.mu.idle[n].since) >= keepAlive {
		n++
	}
	old := append([]*conn(nil), h.mu.idle[:n]...)
	h.mu.idle = append(h.mu.idle[:0], h.mu.idle[n:]...)
	h.mu.Unlock()
	for _, c := range old {
		h.close(c)
	}
}

// shut closes all idle connections, and those in use when they come back.
func (h *host) shut() {
	h.mu.Lock()
	h.mu.closed = true
	h.mu.Unlock()
	h.closeIdle(time.Now(), 0)
}

// up says whether requests should go here.
func (h *host) up(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.mu.sick && !now.Before(h.mu.ejected)
}

// succeeded forgets failures.
func (h *host) succeeded() {
	h.mu.Lock()
	was := h.mu.fails != 0 || h.mu.backoff != ejectFirst
	h.mu.fails, h.mu.backoff, h.mu.ejected = 0, ejectFirst, time.Time{}
	sick := h.mu.sick
	h.mu.Unlock()
	if was && !sick {
		h.healthy.Set(1)
	}
}

// failed counts a failure in a row and ejects the host when there were enough.
// A host that comes back from an ejection is ejected again by its next failure,
// for twice as long.
func (h *host) failed(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.fails++
	if h.mu.fails < ejectAfter || now.Before(h.mu.ejected) {
		return
	}
	h.mu.ejected = now.Add(h.mu.backoff)
	h.mu.backoff = min(2*h.mu.backoff, ejectMax)
	h.healthy.Set(0)
}

// checked takes the result of an active check.
func (h *host) checked(good bool) {
	h.mu.Lock()
	h.mu.sick = !good
	ejected := time.Now().Before(h.mu.ejected)
	h.mu.Unlock()
	switch {
	case !good:
		h.healthy.Set(0)
	case !ejected:
		h.healthy.Set(1)
	}
}
