package pool

import (
	"context"
	"crypto/tls"
	"errors"
	"time"

	"drover/proxy/internal/socket"
)

// Conn is a connection to a host, used by one request at a time. Its timeouts
// and limits are those that the last user set; a new one has none. It is closed
// by Host.Discard, not by its Close.
type Conn struct {
	socket.Link
	Host     *Host
	Reused   bool // it has carried a request before
	Requests int  // this one included

	since int64 // of its last use
}

// usable says whether a request can be sent on an idle connection. Bytes that
// nobody asked for make it as useless as a close.
func (c *Conn) usable() bool {
	all := c.Host.pool.all
	if all.clock()-c.since >= int64(all.settings.KeepAlive) {
		return false
	}
	return c.TLS == nil && all.settings.Unlooked || c.Look() == socket.LookQuiet
}

func (c *Conn) again() *Conn {
	c.Reused = true
	c.Requests++
	return c
}

// close closes the connection, whose place stays taken.
func (c *Conn) close() {
	c.Close() //nolint:errcheck // nothing more is expected of it
	c.Host.pool.conns.Dec()
}

// connect makes a connection in a place that the caller has taken.
func (h *Host) connect(client Client, limit time.Time) (*Conn, error) {
	began := time.Now()
	end, short := began.Add(h.pool.all.settings.Connect), false
	if !limit.IsZero() && limit.Before(end) {
		end, short = limit, true
	}
	timed, cancel := context.WithDeadline(context.Background(), end)
	defer cancel()
	ctx, abandon := context.WithCancelCause(timed)
	defer abandon(nil)
	if client != nil {
		client.OnGone(func() { abandon(ErrGone) })
		defer client.OnGone(nil)
	}
	c, err := h.dial(ctx)
	if err == nil {
		h.pool.conns.Inc()
		return c, nil
	}
	h.freed()
	if errors.Is(context.Cause(ctx), ErrGone) {
		return nil, ErrGone
	}
	return nil, &ConnectError{Address: h.address, Limit: short && !time.Now().Before(end), Err: err}
}

// dial makes a connection that is in nobody's count.
func (h *Host) dial(ctx context.Context) (*Conn, error) {
	s, err := socket.Dial(ctx, h.address)
	if err != nil {
		return nil, err
	}
	c := &Conn{Link: socket.Link{Socket: s}, Host: h, Requests: 1}
	if h.tls == nil {
		return c, nil
	}
	t := tls.Client(s, h.tls)
	// HandshakeContext closes the socket when ctx ends.
	if err := t.HandshakeContext(ctx); err != nil {
		s.Close() //nolint:errcheck // closed already, or of no use
		return nil, err
	}
	c.TLS = t
	return c, nil
}
