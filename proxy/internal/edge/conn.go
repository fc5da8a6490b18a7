package edge

import (
	"errors"
	"io"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"drover/proxy/internal/http1"
	"drover/proxy/internal/listen"
	"drover/proxy/internal/metrics"
	"drover/proxy/internal/passport"
	"drover/proxy/internal/socket"
)

// conn is one client's connection of HTTP/1.1. It is a client: one request
// after the other is its own, and what it reads ahead waits.
type conn struct {
	edge     *Edge
	accepted listen.Accepted
	peer     peer
	reader   socket.Reader
	head     http1.Request
	body     body1
	request  request
	out      *[]byte // borrowed while an answer is written
	pinned   *[]byte // a buffer that the request's head is in
	served   int
	closing  bool // after this answer
	lingers  bool // bytes of a body that nobody wants may still come

	// idle is since when no request is under way, in ns; 0: one is; stopping: a
	// drain is about to interrupt the wait for the next, and stopped has.
	idle    atomic.Int64
	stopped atomic.Bool
}

func newConn(e *Edge, accepted listen.Accepted) *conn {
	c := &conn{edge: e, accepted: accepted}
	c.peer = peerOf(&c.accepted)
	c.reader.Init(&c.accepted.Link, e.options.Buffers)
	c.body.init(c)
	c.request.init(e, c, &c.peer)
	return c
}

// serve serves requests until one side has had enough.
func (c *conn) serve() {
	s := c.accepted.Link.Socket
	s.SetWriteTimeout(c.edge.options.Timeouts.Idle)
	s.OnGone(c.request.leash.Cut)
	if len(c.accepted.Prefix) != 0 {
		c.reader.Preset(c.accepted.Prefix)
		c.accepted.Prefix = nil
	}
	for !c.closing && c.next() {
		c.serveOne()
		c.reader.Trim()
		c.idle.Store(time.Now().UnixNano())
	}
	if c.lingers {
		c.linger()
	}
	c.reader.Drop()
}

// next waits for the next request's head and reads it. It says whether there is
// one; if not, the connection is at its end.
func (c *conn) next() bool {
	e := c.edge
	s := c.accepted.Link.Socket
	first := c.served == 0
	if c.reader.Buffered() == 0 {
		s.SetReadLimit(time.Time{})
		s.SetReadTimeout(e.options.Timeouts.KeepAlive)
		if first {
			s.SetReadTimeout(e.options.Timeouts.Header)
		}
		if err := c.reader.Fill(e.options.Limits.HeaderBytes); err != nil {
			if !errors.Is(err, socket.ErrInterrupted) || c.accepted.Link.Look() != socket.LookBytes {
				return false // closed, idle for too long, or a drain's end
			}
			c.goOn()
			if c.reader.Fill(e.options.Limits.HeaderBytes) != nil {
				return false
			}
		}
	}
	c.goOn()
	p := &c.request.passport
	begun := passport.Now()
	e.options.Office.BeginAt(p, begun)
	e.active.Add(1)
	limited := false
	for {
		end, problem := c.head.Scan(c.reader.Bytes(), http1.Limits{Fields: e.options.Limits.Fields, RequestLine: e.options.Limits.RequestLine})
		if problem != nil {
			c.unreadable(malformed(problem))
			return false
		}
		if over := e.options.Limits.HeaderBytes; end > over || end == 0 && c.reader.Buffered() >= over {
			c.headFailed(socket.ErrFull)
			return false
		}
		if end != 0 {
			c.reader.Discard(end)
			return true
		}
		if !limited {
			limited = true
			s.SetReadTimeout(0)
			s.SetReadLimit(time.Now().Add(e.options.Timeouts.Header))
		}
		if err := c.reader.Fill(e.options.Limits.HeaderBytes); err != nil {
			c.headFailed(err)
			return false
		}
	}
}

// headFailed ends a connection whose request's head did not come as a whole.
func (c *conn) headFailed(err error) {
	switch {
	case errors.Is(err, socket.ErrFull):
		c.unreadable(refusal{status: 431, end: passport.EndRefused, close: true,
			what: "the request's head is too long", remedy: "send shorter headers, or raise limits.header_bytes"})
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.edge.options.Metrics.Refused(metrics.RefusalHeaderTimeout)
		c.unreadable(refusal{status: 408, end: passport.EndRefused, who: passport.WhoClientTimeout, close: true,
			what: "the request's head did not come in time", remedy: "send the request again"})
	default:
		c.request.passport.Fail(passport.EndClientGone, passport.WhoClient)
		c.end()
	}
}

// unreadable answers what is no request.
func (c *conn) unreadable(f refusal) {
	c.head.Close = true
	c.request.head = &c.head
	c.request.answer = nil
	c.request.snapshot = nil
	c.request.replied = false
	c.request.passport.Path, c.request.passport.Method = nil, methodName(c.head.Method)
	c.lingers = true
	c.request.refuse(f)
	c.end()
}

// serveOne serves the request whose head is in c.head.
func (c *conn) serveOne() {
	r := &c.request
	defer c.end()
	defer func() {
		if bug := recover(); bug != nil {
			c.closing = true
			c.edge.panicked(r, bug)
		}
	}()
	c.served++
	r.passport.Stamp(passport.Identifying)
	r.passport.Protocol = "HTTP/1.1"
	if c.head.Minor == 0 {
		r.passport.Protocol = "HTTP/1.0"
	}
	c.body.begin(&c.head)
	if int64(c.reader.Buffered()) < c.head.Length || c.head.Length < 0 {
		c.pinned = c.reader.Detach() // the head stays where it is while the body comes
	}
	r.begin(&c.head)
	if c.head.Length > c.edge.options.Limits.Body {
		r.refuse(tooLarge)
		return
	}
	r.identify()
	if c.edge.options.Tracer != nil {
		r.beginSpan()
	}
	r.route()
}

// baseIdleMax is how large the buffer for a head may stay between requests.
const baseIdleMax = 4 << 10 // × 10,000 connections = 40 MiB

// end ends a request: the last byte of its answer is written, or as good as.
func (c *conn) end() {
	r := &c.request
	c.reader.Discard(c.body.given)
	c.body.given = 0
	if cap(r.base) > baseIdleMax {
		r.base = nil
	}
	if c.out != nil {
		c.edge.options.Buffers.Put(c.out)
		c.out = nil
	}
	r.passport.BytesIn = r.body.Received()
	if r.traced {
		r.endSpan()
	}
	c.edge.options.Office.End(&r.passport)
	if c.pinned != nil {
		c.edge.options.Buffers.Put(c.pinned)
		c.pinned = nil
	}
	c.edge.active.Add(-1)
}

// keeps says whether the connection goes on behind this answer: not when the
// edge is draining, and never behind a body that was not read to its end, since
// its rest would be taken for the next request.
func (c *conn) keeps() bool {
	r := &c.request
	limit := c.edge.options.Limits.RequestsPerConnection
	switch {
	case c.head.Close, c.head.Minor == 0 && !c.head.KeepAlive, c.edge.draining.Load(), limit != 0 && c.served >= limit:
		return false
	case r.exchange.Sending() || !r.body.Finished():
		c.lingers = true
		return false
	default:
		return true
	}
}

// linger reads away, for a while, what the client is still sending: closing
// with bytes unread would reset the connection, and the client might never see
// its answer.
func (c *conn) linger() {
	link := &c.accepted.Link
	if link.CloseWrite() != nil {
		return
	}
	wait := c.edge.options.Timeouts.Linger
	link.Socket.ResumeRead()
	link.Socket.SetReadTimeout(0)
	link.Socket.SetReadLimit(time.Now().Add(wait))
	buffer := c.edge.options.Buffers.Get(socket.BufferBody)
	defer c.edge.options.Buffers.Put(buffer)
	for !c.edge.over.Load() {
		if _, err := link.Read(*buffer); err != nil {
			return
		}
	}
}

// goAway is member's: the next answer says Connection: close.
func (c *conn) goAway() {}

// stopping is conn.idle's mark.
const stopping = -1

// stop is member's: it ends the wait for the next request, and nothing else.
func (c *conn) stop() {
	if since := c.idle.Load(); since > 0 && c.idle.CompareAndSwap(since, stopping) {
		c.accepted.Link.Socket.InterruptRead()
		c.stopped.Store(true)
	}
}

// goOn notes that a request has begun. One that was faster than a drain's stop
// takes its interrupt back.
func (c *conn) goOn() {
	if c.idle.Swap(0) != stopping {
		return
	}
	for !c.stopped.Load() {
		runtime.Gosched()
	}
	c.stopped.Store(false)
	c.accepted.Link.Socket.ResumeRead()
}

// cut is member's.
func (c *conn) cut() {
	c.request.leash.Cut()
	c.accepted.Link.Socket.Interrupt()
}

// body1 is the body of a request of HTTP/1.1.
type body1 struct {
	c       *conn
	left    int64 // of a body whose length is known
	chunked bool
	decoder http1.Decoder
	given   int // of the reader's buffer, by the last Next
}

func (b *body1) init(c *conn) {
	b.c = c
	b.decoder.TrailerMax, b.decoder.FieldsMax, b.decoder.Strict = c.edge.options.Limits.HeaderBytes, c.edge.options.Limits.Fields, true
}

func (b *body1) begin(head *http1.Request) {
	b.left, b.chunked, b.given = head.Length, head.Length < 0, 0
	if b.chunked {
		b.decoder.Reset()
	}
}

// Next is upstream.Source's.
func (c *conn) Next(wait bool) ([]byte, error) {
	b := &c.body
	c.reader.Discard(b.given)
	b.given = 0
	for {
		data, err := b.take(c.reader.Bytes())
		if err != nil || len(data) != 0 {
			return data, err
		}
		if !wait {
			before := c.reader.Buffered()
			if err := c.reader.FillReady(); err != nil {
				return nil, unexpected(err)
			}
			if c.reader.Buffered() == before {
				return nil, nil
			}
			continue
		}
		size := b.left
		if b.chunked {
			size = -1
		}
		c.reader.Expect(size)
		s := c.accepted.Link.Socket
		s.SetReadTimeout(c.edge.options.Timeouts.Idle)
		s.SetReadLimit(c.request.bodyEnd)
		if err := c.reader.Fill(socket.BufferBody); err != nil {
			return nil, unexpected(err)
		}
	}
}

// take takes what is the body's of what is there.
func (b *body1) take(there []byte) ([]byte, error) {
	if !b.chunked {
		if b.left == 0 {
			return nil, io.EOF
		}
		n := min(int64(len(there)), b.left)
		b.left -= n
		b.given = int(n)
		return there[:n], nil
	}
	data, used, err := b.decoder.Feed(there)
	switch {
	case err != nil:
		return nil, err
	case len(data) != 0:
		b.given = used
		return data, nil
	}
	b.c.reader.Discard(used)
	if b.decoder.Done() {
		return nil, io.EOF
	}
	return nil, nil
}

// Trailers is upstream.Source's.
func (c *conn) Trailers() ([]http1.Field, []http1.Line) {
	if !c.body.chunked {
		return nil, nil
	}
	return c.body.decoder.Trailers(), c.body.decoder.TrailerLines()
}

// Interrupt is upstream.Source's.
func (c *conn) Interrupt() { c.accepted.Link.Socket.InterruptRead() }

// Resume is upstream.Source's.
func (c *conn) Resume() { c.accepted.Link.Socket.ResumeRead() }

// unexpected makes an end within a message an error.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
