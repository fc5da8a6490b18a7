package edge

import (
	"io"
	"net"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"drover/proxy/internal/identity"
	"drover/proxy/internal/passport"
	"drover/proxy/internal/upstream"
)

// respond passes the upstream's answer on. Its head is in the response
// already; its body is streamed after the handler has returned.
func (r *request) respond() {
	r.passport.Stamp(passport.Responding)
	r.passport.Status = r.answer.Status
	if r.passport.End == "" {
		r.passport.End = passport.EndAnswered
	}
	r.cleanHeader()
	r.expose()
	r.settleConnection()
	answer := r.answer
	if answer.Empty() {
		return
	}
	if answer.Length < 0 && !r.ctx.Request.Header.IsHTTP11() {
		r.respondUntilClose()
		return
	}
	// From here on the request ends in the stream's Close.
	r.streaming = true
	r.ctx.Response.ImmediateHeaderFlush = answer.Buffered() == 0
	r.ctx.Response.SetBodyStream(&stream{request: r, answer: answer}, int(answer.Length))
}

// cleanHeader takes out of the answer's head what belongs to the upstream's
// connection, and what is between the application and the edge.
func (r *request) cleanHeader() {
	header := &r.ctx.Response.Header
	header.ResetConnectionClose()
	header.SetProtocol(protocol)
	var drop []string // deleting while iterating would skip some
	var lower [64]byte
	for name, value := range header.All() {
		n := lowerName(lower[:0], name)
		switch {
		case string(n) == "trailer" && r.answer.Length < 0:
			// The trailers are passed on, so their announcement is.
		case hopByHop[string(n)], isDrover(n):
			drop = append(drop, string(name))
		}
		if string(n) == "connection" {
			drop = append(drop, r.namedBy(value)...)
		}
	}
	for _, name := range drop {
		header.Del(name)
	}
}

// namedBy returns the answer's headers that its Connection header names, as
// they are spelled.
func (r *request) namedBy(connection []byte) []string {
	var names []string
	for name := range r.ctx.Response.Header.All() {
		if identity.EqualFold(name, fasthttp.HeaderContentLength) {
			continue
		}
		var lower [64]byte
		if upstream.HasToken(protocolName, connection, "connection", string(lowerName(lower[:0], name))) {
			names = append(names, string(name))
		}
	}
	return names
}

var (
	protocol     = []byte("HTTP/1.1")
	protocolName = []byte("connection")
)

// expose adds the edge's headers when clients may see them.
func (r *request) expose() {
	if !r.edge.options.ExposeHeaders {
		return
	}
	header := &r.ctx.Response.Header
	if r.snapshot != nil {
		header.Set(headerDatacenter, string(r.passport.Datacenter))
		header.Set(headerRoute, r.passport.Reason)
		header.Set(headerMapVersion, strconv.FormatUint(uint64(r.snapshot.Version()), 10))
		if r.decision.HasBucket {
			header.Set(headerBucket, strconv.FormatUint(uint64(r.decision.Bucket), 10))
		}
	}
	header.Add("Via", "1.1 "+via)
}

const (
	// leftoverMax is how much of a body that the application did not want is
	// read away, so that the client sees the answer and not a reset.
	leftoverMax  = 256 << 10
	leftoverWait = 500 * time.Millisecond
)

// settleConnection decides whether the client's connection goes on: not when
// the edge is draining, and never behind a body that was not read to its end,
// since its rest would be taken for the next request.
func (r *request) settleConnection() {
	if r.body != nil && !r.body.Finished() {
		r.body.Discard(leftoverMax, leftoverWait)
	}
	if r.edge.draining.Load() || r.closes || r.unread() {
		r.ctx.SetConnectionClose()
	}
}

// unread says whether bytes of the request's body may still be to come.
func (r *request) unread() bool {
	if r.body != nil {
		return !r.body.Finished()
	}
	return r.length != 0
}

// stream is the answer's body on its way to the client.
type stream struct {
	request *request
	answer  *upstream.Answer
	closed  bool
}

func (s *stream) Read(p []byte) (int, error) { return s.answer.Read(p) }

// SupportsBodyWriteTo makes the server call WriteTo, which flushes.
func (s *stream) SupportsBodyWriteTo() bool { return true }

func (s *stream) WriteTo(w io.Writer) (int64, error) { return s.answer.WriteTo(w) }

// Close is called by the server once the body is written, or cannot be.
func (s *stream) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	r := s.request
	r.ended()
	s.answer.Close() //nolint:errcheck // never fails
	r.edge.close(r)
	return nil
}

// ended says how the answer's body ended.
func (r *request) ended() {
	switch {
	case r.answer.Err() != nil:
		r.passport.End = passport.EndTruncated
		r.edge.options.Metrics.UpstreamErrors.WithLabelValues(string(r.answer.Datacenter), string(upstream.KindTruncated)).Inc()
	case !r.answer.Complete() && r.edge.over.Err() != nil:
		r.passport.End = passport.EndShuttingDown
	case !r.answer.Complete():
		r.passport.End = passport.EndClientGone
	}
}

// respondUntilClose passes an answer of unknown length on to a client of
// HTTP/1.0, which knows no chunks: the end of the connection ends it.
func (r *request) respondUntilClose() {
	r.streaming = true
	ctx, answer := r.ctx, r.answer
	ctx.Response.Header.Del(fasthttp.HeaderTransferEncoding)
	ctx.Response.Header.Del(fasthttp.HeaderTrailer)
	ctx.Response.Header.SetContentLength(-2)
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(c net.Conn) {
		s := &stream{request: r, answer: answer}
		defer s.Close() //nolint:errcheck // never fails
		if _, err := c.Write(ctx.Response.Header.Header()); err != nil {
			return
		}
		if _, err := answer.WriteTo(c); err != nil && answer.Err() != nil {
			if tcp, ok := r.up.Client.(*net.TCPConn); ok {
				tcp.SetLinger(0) //nolint:errcheck // a reset is the only sign of a broken-off answer
			}
		}
	})
}
