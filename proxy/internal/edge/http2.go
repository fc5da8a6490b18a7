package edge

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"

	"drover/proxy/internal/http1"
	"drover/proxy/internal/listen"
	"drover/proxy/internal/passport"
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
	live     sync.Map // *stream

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

func (e *Edge) newHTTP2() *http2.Server {
	return &http2.Server{
		MaxConcurrentStreams: uint32(e.options.Limits.HTTP2Streams), //nolint:gosec // bounded by the configuration
		IdleTimeout:          e.options.Timeouts.KeepAlive,
		WriteByteTimeout:     e.options.Timeouts.Idle,
		ReadIdleTimeout:      e.options.Timeouts.KeepAlive,
	}
}

func (e *Edge) serveHTTP2(accepted *listen.Accepted) {
	s := &session{edge: e, accepted: accepted, peer: peerOf(accepted)}
	s.idle.Store(time.Now().UnixNano())
	s.server = &http.Server{Handler: s, MaxHeaderBytes: e.options.Limits.HeaderBytes, ReadHeaderTimeout: e.options.Timeouts.Header}
	h2 := e.newHTTP2()
	if err := http2.ConfigureServer(s.server, h2); err != nil {
		e.options.Log.Error("a connection of HTTP/2 cannot be served", zap.Error(err))
		return
	}
	address := accepted.Peer.Addr()
	if !e.clients.add(s, address) {
		return
	}
	defer e.clients.remove(s, address)
	link := &accepted.Link
	link.Socket.SetWriteTimeout(e.options.Timeouts.Idle)
	h2.ServeConn(link.TLS, &http2.ServeConnOpts{BaseConfig: s.server, Handler: s})
}

// idleSince is member's.
func (s *session) idleSince() int64 { return s.idle.Load() }

// goAway is member's: GOAWAY, and the end behind the last stream.
func (s *session) goAway() {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	s.server.Shutdown(ended) //nolint:errcheck // it waits for nothing
}

// stop is member's.
func (s *session) stop() { s.accepted.Link.Socket.InterruptRead() }

// cut is member's.
func (s *session) cut() {
	s.live.Range(func(key, _ any) bool {
		key.(*stream).request.leash.Cut() //nolint:forcetypeassert // nothing else is stored
		return true
	})
	s.accepted.Link.Socket.Interrupt()
}

// stream is one request of HTTP/2. It is a client.
type stream struct {
	session  *session
	w        http.ResponseWriter
	r        *http.Request
	head     http1.Request
	text     []byte // the head, as one of HTTP/1.1
	buffer   *[]byte
	request  request
	trailers head2
	closed   bool
}

// head2 is a request's trailers, scanned.
type head2 struct {
	fields []http1.Field
	lines  []http1.Line
}

// ServeHTTP is http.Handler's: one stream.
func (s *session) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := s.edge
	s.streams.Add(1)
	s.idle.Store(0)
	defer func() {
		if s.streams.Add(-1) == 0 {
			s.idle.Store(time.Now().UnixNano())
		}
	}()
	x, ok := e.requests.Get().(*stream)
	if !ok {
		x = &stream{}
	}
	x.session, x.w, x.r, x.closed = s, w, r, false
	x.trailers = head2{}
	x.request.init(e, x, &s.peer)
	x.request.leash.Reset()
	s.live.Store(x, nil)
	unhook := afterDone(r, func() {
		s.reset()
		x.request.leash.Cut()
	})
	x.serve()
	unhook() // after it, nobody cuts the leash any more
	s.live.Delete(x)
	x.session, x.w, x.r = nil, nil, nil
	e.requests.Put(x)
}

func (x *stream) serve() {
	r, e := &x.request, x.session.edge
	e.options.Office.Begin(&r.passport)
	e.active.Add(1)
	defer x.end()
	defer func() {
		if bug := recover(); bug != nil {
			e.panicked(r, bug)
		}
	}()
	r.passport.Protocol = "HTTP/2.0"
	if x.text = appendText(x.text[:0], x.r); len(x.text) == 0 {
		r.answer, r.snapshot, r.replied, r.head = nil, nil, false, &x.head
		r.refuse(malformed(&http1.Problem{Status: 400, What: "the request cannot be written as one of HTTP/1.1"}))
		return
	}
	_, problem := x.head.Scan(x.text, http1.Limits{Fields: e.options.Limits.Fields, RequestLine: e.options.Limits.RequestLine})
	r.begin(&x.head)
	switch {
	case problem != nil:
		r.refuse(malformed(problem))
		return
	case x.head.Length > e.options.Limits.Body:
		r.refuse(tooLarge)
		return
	}
	r.identify()
	if e.options.Tracer != nil {
		r.beginSpan()
	}
	r.route()
}

func (x *stream) end() {
	r, e := &x.request, x.session.edge
	r.passport.BytesIn = r.body.Received()
	if r.traced {
		r.endSpan()
	}
	e.options.Office.End(&r.passport)
	if x.buffer != nil {
		e.options.Buffers.Put(x.buffer)
		x.buffer = nil
	}
	e.active.Add(-1)
	if x.closed { // the answer is broken off: the stream must not look complete
		panic(http.ErrAbortHandler)
	}
}

// appendText writes a stream's head down; nothing when that cannot be.
func appendText(b []byte, r *http.Request) []byte {
	target := r.RequestURI
	if target == "" || r.Method == http.MethodConnect || strings.ContainsAny(r.Method+target+r.Host, " \r\n\x00") {
		return nil
	}
	b = append(append(append(b, r.Method...), ' '), target...)
	b = append(b, " HTTP/1.1\r\n"...)
	b = appendString(b, "Host", r.Host)
	for name, values := range r.Header {
		if !httpguts.ValidHeaderFieldName(name) || name == "Content-Length" || name == "Transfer-Encoding" {
			continue // the length is said below, as HTTP/2 counted it
		}
		for _, v := range values {
			b = appendString(b, name, v)
		}
	}
	switch {
	case r.ContentLength > 0:
		b = append(append(b, "Content-Length: "...), strconv.FormatInt(r.ContentLength, 10)...)
		b = append(b, "\r\n"...)
	case r.ContentLength < 0:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case r.Method == "POST" || r.Method == "PUT" || r.Method == "PATCH":
		b = append(b, "Content-Length: 0\r\n"...)
	}
	if len(r.Trailer) != 0 {
		b = append(b, "Trailer: "...)
		for name := range r.Trailer {
			b = append(append(b, name...), ", "...)
		}
		b = append(b[:len(b)-2], "\r\n"...)
	}
	return append(b, "\r\n"...)
}

// Next is upstream.Source's. What is there without waiting nobody can tell of a
// stream.
func (x *stream) Next(wait bool) ([]byte, error) {
	if !wait {
		return nil, nil
	}
	if x.buffer == nil {
		x.buffer = x.session.edge.options.Buffers.Get(4 * outFlush)
	}
	n, err := x.r.Body.Read(*x.buffer)
	if err != nil && !errors.Is(err, io.EOF) && x.request.leash.IsCut() {
		err = io.ErrUnexpectedEOF
	}
	return (*x.buffer)[:n], err
}

// Trailers is upstream.Source's.
func (x *stream) Trailers() ([]http1.Field, []http1.Line) {
	t := &x.trailers
	if t.fields != nil {
		return t.fields, t.lines
	}
	for name, values := range x.r.Trailer {
		for _, v := range values {
			if httpguts.ValidHeaderFieldName(name) && httpguts.ValidHeaderFieldValue(v) {
				t.fields = append(t.fields, http1.Field{Name: []byte(name), Value: []byte(v)})
				t.lines = append(t.lines, http1.Line{Kind: http1.KindOf([]byte(name))})
			}
		}
	}
	return t.fields, t.lines
}

// Interrupt is upstream.Source's. A stream whose answer is over reads no more.
func (x *stream) Interrupt() { x.r.Body.Close() } //nolint:errcheck // ends a Read that waits

// Resume is upstream.Source's.
func (x *stream) Resume() {}

// interim is client's.
func (x *stream) interim(head *http1.Response) error {
	if head.Status == http.StatusContinue {
		return nil // the server says it when the body is read
	}
	h := x.w.Header()
	copyHead(h, head, false)
	x.w.WriteHeader(head.Status)
	clear(h)
	return nil
}

// copyHead copies what goes to the client.
func copyHead(to http.Header, h *http1.Response, dropLength bool) {
	for i, l := range h.Lines {
		f := &h.Fields[i]
		switch l.Kind {
		case http1.Connection, http1.KeepAlive, http1.ProxyConnection, http1.TransferEncoding, http1.Upgrade, http1.Drover, http1.TE:
			continue
		case http1.ContentLength:
			if dropLength {
				continue
			}
		default:
			if h.Names && h.Named(f.Name) {
				continue
			}
		}
		name := http.CanonicalHeaderKey(string(f.Name)) // its case is lost anyway
		to[name] = append(to[name], string(f.Value))
	}
	// Nothing of our own: net/http would add these.
	for _, name := range []string{"Date", "Content-Type"} {
		if _, there := to[name]; !there {
			to[name] = nil
		}
	}
}

// respond is client's.
func (x *stream) respond() {
	r := &x.request
	a := r.answer
	h := x.w.Header()
	unknown := a.Head.Chunked || a.Head.UntilClose
	copyHead(h, a.Head, unknown || a.Head.Status == http.StatusNoContent)
	if r.edge.options.ExposeHeaders {
		x.expose(h)
	}
	r.replied = true
	x.w.WriteHeader(a.Head.Status)
	flush := http.NewResponseController(x.w)
	for unsent := true; ; {
		data, err := a.Next(!unsent)
		if errors.Is(err, io.EOF) {
			break
		}
		if unsent = err == nil && len(data) != 0; err == nil && !unsent {
			flush.Flush() //nolint:errcheck // the next write tells
			r.passport.HeadSent()
			continue
		}
		if err == nil {
			_, err = x.w.Write(data)
			r.passport.BytesOut += int64(len(data))
		}
		if err != nil {
			x.broken()
			return
		}
	}
	fields, lines := a.Trailers()
	for i, f := range fields {
		if lines[i].Kind == http1.Other {
			h.Add(http.TrailerPrefix+http.CanonicalHeaderKey(string(f.Name)), string(f.Value))
		}
	}
}

func (x *stream) expose(h http.Header) {
	r := &x.request
	h.Set(headerDatacenter, string(r.passport.Datacenter))
	h.Set(headerRoute, r.passport.Reason)
	h.Set(headerMapVersion, strconv.FormatUint(uint64(r.snapshot.Version()), 10))
	if r.decision.HasBucket {
		h.Set(headerBucket, strconv.FormatUint(uint64(r.decision.Bucket), 10))
	}
	if via := r.edge.options.Via; via != "" {
		h.Add("Via", "1.1 "+via)
	}
}

// broken ends a stream in mid-answer.
func (x *stream) broken() {
	r := &x.request
	x.closed = true
	switch {
	case r.edge.over.Load():
		r.passport.Fail(passport.EndShuttingDown, passport.WhoDrain)
	case r.leash.IsCut() || r.answer.Err() == nil:
		r.passport.Fail(passport.EndClientGone, passport.WhoClient)
	default:
		r.passport.Fail(passport.EndTruncated, passport.WhoServer)
	}
}

// refused is client's.
func (x *stream) refused(f refusal, body []byte) {
	r := &x.request
	if f.status == 0 || r.replied {
		x.closed = true
		return
	}
	r.replied = true
	h := x.w.Header()
	clear(h)
	h["Date"] = nil
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if f.retry {
		h.Set("Retry-After", "1")
	}
	if r.edge.options.ExposeHeaders && r.snapshot != nil {
		x.expose(h)
	}
	x.w.WriteHeader(f.status)
	if r.passport.Method != http.MethodHead {
		x.w.Write(body) //nolint:errcheck // the stream ends either way
	}
}

// afterDone calls f when the request's client is gone, until it is unhooked,
// which waits for an f that is running.
func afterDone(r *http.Request, f func()) (unhook func()) {
	over := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-r.Context().Done():
			f()
		case <-over:
		}
	}()
	return func() {
		close(over)
		<-ended
	}
}
