package edge

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"drover/proxy/internal/upstream"
)

// conns knows every client's connection, and since when it is idle, so that a
// drain can close those that are.
type conns struct {
	gauge prometheus.Gauge

	mu   sync.RWMutex               // guards the map, not what it points to
	open map[net.Conn]*atomic.Int64 // idle since, in ns; 0: a request is under way
}

func newConns(gauge prometheus.Gauge) *conns {
	return &conns{gauge: gauge, open: map[net.Conn]*atomic.Int64{}}
}

// changed is fasthttp's ConnState hook.
func (c *conns) changed(conn net.Conn, state fasthttp.ConnState) {
	switch state {
	case fasthttp.StateNew:
		since := &atomic.Int64{}
		since.Store(time.Now().UnixNano())
		c.mu.Lock()
		c.open[conn] = since
		c.mu.Unlock()
		c.gauge.Inc()
	case fasthttp.StateActive:
		c.of(conn).Store(0)
	case fasthttp.StateIdle:
		c.of(conn).Store(time.Now().UnixNano())
	case fasthttp.StateClosed, fasthttp.StateHijacked:
		c.mu.Lock()
		_, known := c.open[conn]
		delete(c.open, conn)
		c.mu.Unlock()
		if known {
			c.gauge.Dec()
		}
	}
}

func (c *conns) of(conn net.Conn) *atomic.Int64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if since, ok := c.open[conn]; ok {
		return since
	}
	return new(atomic.Int64)
}

func (c *conns) count() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.open)
}

// closeIdle closes the connections that have been idle for that long and hold
// no request unread.
func (c *conns) closeIdle(now time.Time, idle time.Duration) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for conn, since := range c.open {
		at := since.Load()
		if at == 0 || now.Sub(time.Unix(0, at)) < idle || unreadBytes(conn) {
			continue
		}
		conn.Close() // the server sees it closed
	}
}

func (c *conns) closeAll() {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for conn := range c.open {
		conn.Close() // the server sees it closed
	}
}

func unreadBytes(conn net.Conn) bool {
	s, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := s.SyscallConn()
	return err == nil && upstream.Peek(raw) == upstream.LookBytes
}
