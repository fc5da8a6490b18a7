package edge

import (
	"context"
	"io"
	"log"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/net/http2"

	"drover/proxy/internal/listen"
	"drover/proxy/internal/metrics"
)

// HTTP/2 is golang.org/x/net/http2's: framing, flow control, the bound on
// streams, and the defence against streams that are opened and reset at once.
// A stream's head is written down as one of HTTP/1.1 and goes the way of every
// other request from there on, through the same scanner; only how its body
// comes and how its answer goes are the stream's own.

// session is one connection of HTTP/2.
type session struct {
	edge     *Edge
	accepted *listen.Accepted
	peer     peer
	server   *http.Server // of this connection alone: its Shutdown says GOAWAY
	idle     atomic.Int64
	streams  atomic.Int64
	stops    atomic.Int64 // how often stop was called
	live     sync.Map     // *stream

	resets struct {
		sync.Mutex
		begun time.Time // of the minute
		count int
	}
}

// resetWindow is in which limits.http2_resets are counted.
const resetWindow = time.Minute

// reset counts a stream that its client gave up before its answer. One that
// does so too often only makes work: its connection ends.
func (s *session) reset() {
	limit := s.edge.options.Limits.HTTP2Resets
	if limit == 0 {
		return
	}
	s.resets.Lock()
	defer s.resets.Unlock()
	if now := time.Now(); now.Sub(s.resets.begun) > resetWindow {
		s.resets.begun, s.resets.count = now, 0
	}
	if s.resets.count++; s.resets.count == limit+1 {
		s.accepted.Link.Socket.Interrupt()
	}
}

// quiet is where the HTTP/2 server says what clients do wrong: never more than
// debug, since any client can cause it.
func (e *Edge) quiet() *log.Logger {
	l, err := zap.NewStdLogAt(e.options.Log, zap.DebugLevel)
	if err != nil {
		return log.New(io.Discard, "", 0)
	}
	return l
}

// newHTTP2 leaves writes to the socket's own timeout.
//
//nolint:staticcheck // what replaces it serves listeners, not one connection whose handshake is over
func (e *Edge) newHTTP2() *http2.Server {
	return &http2.Server{
		MaxConcurrentStreams: uint32(e.options.Limits.HTTP2Streams), //nolint:gosec // bounded by the configuration
		IdleTimeout:          e.options.Timeouts.KeepAlive,
		ReadIdleTimeout:      e.options.Timeouts.KeepAlive,
	}
}

func (e *Edge) serveHTTP2(accepted *listen.Accepted) {
	s := &session{edge: e, accepted: accepted, peer: peerOf(accepted)}
	s.idle.Store(time.Now().UnixNano())
	s.server = &http.Server{Handler: s, MaxHeaderBytes: e.options.Limits.HeaderBytes, ReadHeaderTimeout: e.options.Timeouts.Header,
		ErrorLog: e.quiet()}
	h2 := e.newHTTP2()
	if err := http2.ConfigureServer(s.server, h2); err != nil { //nolint:staticcheck // as in newHTTP2
		e.options.Log.Error("a connection of HTTP/2 cannot be served", zap.Error(err))
		return
	}
	address := accepted.Peer.Addr()
	if !e.clients.add(s, address) {
		e.options.Metrics.Refused(metrics.RefusalPeerLimit)
		return
	}
	defer e.clients.remove(s, address)
	link := &accepted.Link
	link.Socket.SetWriteTimeout(e.options.Timeouts.Idle)
	h2.ServeConn(link.TLS, &http2.ServeConnOpts{BaseConfig: s.server, Handler: s}) //nolint:staticcheck // as in newHTTP2
}

// idleSince is member's.
func (s *session) idleSince() int64 { return s.idle.Load() }

// goAway is member's: GOAWAY, and the end behind the last stream.
func (s *session) goAway() {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	s.server.Shutdown(ended) //nolint:errcheck // it waits for nothing
}

// stopsMax is how often a drain asks for the end before it takes it: 100 ms, by
// drainTick, in which a client gets to know of a GOAWAY.
const stopsMax = 20

// stop is member's. One that came when the drain had begun hears of it now.
func (s *session) stop() {
	switch s.stops.Add(1) {
	case 1:
		s.goAway()
	case stopsMax:
		s.accepted.Link.Socket.InterruptRead()
	}
}

// cut is member's.
func (s *session) cut() {
	s.live.Range(func(key, _ any) bool {
		key.(*stream).request.leash.Cut() //nolint:forcetypeassert // nothing else is stored
		return true
	})
	s.accepted.Link.Socket.Interrupt()
}
