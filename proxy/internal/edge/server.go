package edge

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"go.uber.org/zap"

	"drover/internal/pause"
	"drover/proxy/internal/listen"
	"drover/proxy/internal/metrics"
)

// Server serves an edge's clients on a set of listeners.
type Server struct {
	edge  *Edge
	set   *listen.Set
	conns sync.WaitGroup
	ended chan struct{} // once Serve has
}

// NewServer returns a server for the clients of set.
func NewServer(e *Edge, set *listen.Set) *Server {
	return &Server{edge: e, set: set, ended: make(chan struct{})}
}

// Serve serves until Drain stops the listeners and every connection has ended,
// and returns nil then.
func (s *Server) Serve() error {
	err := s.set.Serve(s.accept)
	close(s.ended)
	s.conns.Wait()
	if err != nil {
		return fmt.Errorf("serve clients: %w", err)
	}
	return nil
}

// accept begins to serve a connection.
func (s *Server) accept(p *listen.Pending) {
	e := s.edge
	if !e.clients.enter() {
		e.options.Metrics.Refused(metrics.RefusalLimit)
		p.Close()
		return
	}
	e.options.Metrics.ClientConns.Inc()
	s.conns.Add(1)
	go func() {
		defer s.conns.Done()
		defer e.clients.leave()
		defer e.options.Metrics.ClientConns.Dec()
		defer e.recovered()
		s.serve(p)
	}()
}

func (s *Server) serve(p *listen.Pending) {
	e := s.edge
	accepted, err := p.Open()
	if err != nil {
		if entry := e.options.Log.Check(zap.DebugLevel, "connection refused"); entry != nil {
			entry.Write(zap.Error(err)) // never more: any client can cause it
		}
		return
	}
	defer func() {
		accepted.Forget()
		accepted.Link.Close() //nolint:errcheck // nothing more is expected of it
	}()
	if accepted.Protocol == "h2" {
		e.options.Metrics.Connected(metrics.TransportHTTP2)
		e.serveHTTP2(&accepted)
		return
	}
	transport := metrics.TransportHTTP1
	if accepted.Link.TLS != nil {
		transport = metrics.TransportTLS
	}
	e.options.Metrics.Connected(transport)
	c := newConn(e, accepted)
	c.idle.Store(time.Now().UnixNano())
	if !e.clients.add(c, accepted.Peer.Addr()) {
		e.options.Metrics.Refused(metrics.RefusalPeerLimit)
		return
	}
	defer e.clients.remove(c, accepted.Peer.Addr())
	c.serve()
}

// recovered keeps a bug from ending more than its own connection.
func (e *Edge) recovered() {
	if bug := recover(); bug != nil {
		e.options.Metrics.Panics.Inc()
		e.options.Log.Error("a connection met a bug of the edge", zap.String("bug", fmt.Sprint(bug)), zap.ByteString("stack", debug.Stack()))
	}
}

// idleSince is member's.
func (c *conn) idleSince() int64 { return c.idle.Load() }

func peerOf(a *listen.Accepted) peer {
	p := peer{address: a.Peer, local: a.Local, trusted: a.Trusted, scheme: a.Scheme}
	p.text = a.Peer.Addr().Unmap().WithZone("").AppendTo(nil)
	return p
}

// Drain ends the service, in this order: (1) every answer says Connection:
// close; (2) after delay, the listeners accept those who connected already and
// close; handedOver says that another process goes on with them; (3) held
// requests go out by the current map; (4) connections are closed once they have
// been idle for idle, so that a client which is about to send its next request
// gets to know first; (5) at the end of timeout the rest is cut off. It returns
// how many requests were.
func (s *Server) Drain(ctx context.Context, handedOver bool, delay, idle, timeout time.Duration) int {
	e := s.edge
	e.draining.Store(true)
	e.options.Metrics.Draining.Set(1)
	e.clients.goAway()
	if !handedOver {
		_ = pause.For(ctx, delay) // what is left to do is done in any case
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	s.set.Stop(handedOver)
	e.options.Holds.Drain()
	select {
	case <-s.ended: // whoever had connected is counted now
	case <-ctx.Done():
	}
	tick := time.NewTicker(drainTick)
	defer tick.Stop()
	for ticks := 0; ; ticks++ {
		if ticks%awayTicks == 0 { // who came in meanwhile must get to know
			e.clients.goAway()
		}
		e.clients.stopIdle(time.Now(), idle)
		if e.clients.count() == 0 && e.active.Load() == 0 {
			return 0
		}
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
		}
		break
	}
	rest := int(e.active.Load())
	e.over.Store(true)
	e.clients.cutAll()
	return rest
}

const (
	// drainTick is how often a drain looks at the connections, awayTicks after
	// how many of these looks clients are told again.
	drainTick = 5 * time.Millisecond
	awayTicks = 40
)
