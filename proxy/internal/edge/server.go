package edge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"drover/proxy/internal/identity"
	"drover/proxy/internal/passport"
)

// Server serves an edge's clients on one listener.
type Server struct {
	edge     *Edge
	http     *fasthttp.Server
	listener *listener
	conns    *conns
}

// workerIdleMax is how long an idle goroutine of the server stays.
const workerIdleMax = 10 * time.Second

// writeBufferBytes is of each connection's answers: most fit.
const writeBufferBytes = 8 << 10 // × 10,000 connections = 80 MiB

// NewServer returns a server for the clients of l.
func NewServer(e *Edge, l *net.TCPListener) *Server {
	s := &Server{edge: e, listener: newListener(l), conns: newConns(e.options.Metrics.ClientConns)}
	s.http = &fasthttp.Server{
		Handler:        e.Handle,
		ErrorHandler:   e.unreadable,
		HeaderReceived: headerReceived,
		ExpectHandler:  e.expected,
		ConnState:      s.conns.changed,
		Logger:         quietLogger{e.options.Log},
		Concurrency:    e.options.Limits.Connections,

		ReadBufferSize:        e.options.Limits.HeaderBytes,
		WriteBufferSize:       writeBufferBytes,
		ReadTimeout:           e.options.Timeouts.Header, // of the head; the body has its own deadlines
		WriteTimeout:          e.options.Timeouts.Idle,
		IdleTimeout:           e.options.Timeouts.KeepAlive,
		MaxIdleWorkerDuration: workerIdleMax,
		TCPKeepalive:          true,

		// The bytes of a message pass as they came.
		NoDefaultServerHeader:         true,
		NoDefaultDate:                 true,
		NoDefaultContentType:          true,
		DisableHeaderNamesNormalizing: true,
		DisablePreParseMultipartForm:  true,
		SecureErrorLogMessage:         true,

		StreamRequestBody: true,
		// How much of a body the server reads before the handler runs, despite
		// its name: with more, the handler would wait for a slow client's first
		// 8 KiB. The limit itself is the body's.
		MaxRequestBodySize: 1,
	}
	return s
}

// Addr returns the address that the server listens on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Serve serves until Drain closes the listener, and returns nil then.
func (s *Server) Serve() error {
	if err := s.http.Serve(s.listener); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("serve clients: %w", err)
	}
	return nil
}

// headerReceived makes the server see Expect in any spelling: with header
// names left as they came it looks for one only.
func headerReceived(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	for raw := h.RawHeaders(); len(raw) != 0; {
		var line []byte
		line, raw, _ = bytes.Cut(raw, []byte{'\n'})
		name, value, _ := bytes.Cut(line, []byte{':'})
		if identity.EqualFold(name, fasthttp.HeaderExpect) && identity.EqualFold(bytes.TrimSpace(value), "100-continue") {
			h.Set(fasthttp.HeaderExpect, "100-continue")
			break
		}
	}
	return fasthttp.RequestConfig{}
}

// expected answers Expect: 100-continue. A body that is known to be too long
// is not asked for.
func (e *Edge) expected(ctx *fasthttp.RequestCtx) int {
	if int64(ctx.Request.Header.ContentLength()) > e.options.Limits.Body {
		return fasthttp.StatusRequestEntityTooLarge
	}
	// The deadline of the answer before is still set.
	if err := ctx.Conn().SetWriteDeadline(time.Now().Add(e.options.Timeouts.Idle)); err != nil {
		return fasthttp.StatusExpectationFailed
	}
	return fasthttp.StatusContinue
}

// unreadable answers what is no request.
func (e *Edge) unreadable(ctx *fasthttp.RequestCtx, err error) {
	f := *malformed("the request is not well formed")
	var small *fasthttp.ErrSmallBuffer
	var network net.Error
	switch {
	case errors.As(err, &small):
		f.status, f.what = fasthttp.StatusRequestHeaderFieldsTooLarge, "the request's head is too long"
		f.remedy = "send shorter headers, or raise limits.header_bytes"
	case errors.As(err, &network) && network.Timeout():
		f.status, f.what, f.remedy = fasthttp.StatusRequestTimeout, "the request's head did not come in time", "send the request again"
	}
	writeRefusal(ctx, f)
	// Bare, it is of a connection on which not one byte came: a probe, a client
	// that connects ahead, or one that a drain closed.
	if _, nothing := err.(*net.OpError); nothing { //nolint:errorlint // a wrapped one is another case
		return
	}
	p := e.options.Office.Open()
	p.Status, p.End = f.status, passport.EndRefused
	e.options.Office.Close(p)
}

// Drain ends the service, in this order: (1) every answer says Connection:
// close; (2) after delay, the listener accepts those who connected already and
// closes; (3) held requests go out by the current map; (4) connections are
// closed once they have been idle for idle, so that a client which is about to
// send its next request gets to know first; (5) at the end of timeout the rest
// is cut off. It returns how many requests were.
func (s *Server) Drain(ctx context.Context, delay, idle, timeout time.Duration) int {
	e := s.edge
	e.draining.Store(true)
	e.options.Metrics.Draining.Set(1)
	sleep(ctx, delay)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	s.listener.stop()
	e.options.Holds.Drain()
	select {
	case <-s.listener.closed: // whoever had connected is counted now
	case <-ctx.Done():
	}
	tick := time.NewTicker(drainTick)
	defer tick.Stop()
	for {
		s.conns.closeIdle(time.Now(), idle)
		if s.conns.count() == 0 && e.active.Load() == 0 {
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
	e.cut()
	s.conns.closeAll()
	return rest
}

// drainTick is how often a drain looks at the connections.
const drainTick = 5 * time.Millisecond

// Draining says whether Drain has begun.
func (e *Edge) Draining() bool { return e.draining.Load() }

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// quietLogger takes what the server says of single connections: never more
// than debug, since any client can cause it.
type quietLogger struct{ log *zap.Logger }

// Printf is fasthttp.Logger's.
func (l quietLogger) Printf(format string, args ...any) {
	if entry := l.log.Check(zap.DebugLevel, "connection"); entry != nil {
		entry.Write(zap.String("what", fmt.Sprintf(format, args...)))
	}
}
