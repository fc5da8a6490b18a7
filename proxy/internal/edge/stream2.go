package edge

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"

	"drover/proxy/internal/http1"
)

// stream is one request of HTTP/2. It is a client.
type stream struct {
	session  *session
	w        http.ResponseWriter
	r        *http.Request
	head     http1.Request
	text     []byte // the head, as one of HTTP/1.1
	body     body2
	request  request
	trailers head2
	closed   bool // the answer is broken off: it must not look complete

	stall *time.Timer // bounds how long a write waits for its client
	mu    struct {
		sync.Mutex
		writing bool
	}
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
	if e.draining.Load() {
		s.goAway()
	}
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
	cut := make(chan struct{})
	unhook := context.AfterFunc(r.Context(), func() {
		defer close(cut)
		s.reset()
		x.request.leash.Cut()
	})
	x.body.begin(e, r.Body)
	x.serve()
	x.body.end()
	if !unhook() {
		<-cut // after it, nobody cuts the leash any more
	}
	s.live.Delete(x)
	x.session, x.w, x.r = nil, nil, nil
	broken := x.closed
	e.requests.Put(x)
	if broken {
		panic(http.ErrAbortHandler)
	}
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
	e.active.Add(-1)
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
		if name == "Host" && len(values) == 1 && strings.EqualFold(values[0], r.Host) {
			continue // said twice; what differs is refused
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
	case r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch:
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

// Next is upstream.Source's.
func (x *stream) Next(wait bool) ([]byte, error) { return x.body.next(wait, x.request.bodyEnd) }

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

// Interrupt is upstream.Source's.
func (x *stream) Interrupt() { x.body.interrupt() }

// Resume is upstream.Source's.
func (x *stream) Resume() { x.body.resume() }

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
	for i := range h.Lines {
		if !passesToClient(h, i, dropLength) {
			continue
		}
		f := &h.Fields[i]
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
	for unsent := true; ; {
		data, err := a.Next(!unsent)
		if errors.Is(err, io.EOF) {
			break
		}
		if unsent = err == nil && len(data) != 0; err == nil && !unsent {
			x.write(nil) //nolint:errcheck // the next write tells
			r.passport.HeadSent()
			continue
		}
		if err == nil {
			if r.mirrored != nil {
				r.mirrored.Body(data)
			}
			err = x.write(data)
			r.passport.BytesOut += int64(len(data))
		}
		if err != nil {
			x.broken(err)
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

// write writes a piece of the answer; nothing is what waits to be sent. A client
// that takes none of it for timeouts.idle loses its stream.
func (x *stream) write(data []byte) (err error) {
	idle := x.session.edge.options.Timeouts.Idle
	x.setWriting(true)
	if x.stall == nil {
		x.stall = time.AfterFunc(idle, x.stalled)
	} else {
		x.stall.Reset(idle)
	}
	if data != nil {
		_, err = x.w.Write(data)
	} else {
		err = http.NewResponseController(x.w).Flush()
	}
	x.stall.Stop()
	x.setWriting(false)
	return err
}

func (x *stream) setWriting(writing bool) {
	x.mu.Lock()
	x.mu.writing = writing
	x.mu.Unlock()
}

// stalled ends a write that waits.
func (x *stream) stalled() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.mu.writing { // and so the stream is still ours
		http.NewResponseController(x.w).SetWriteDeadline(time.Unix(1, 0)) //nolint:errcheck // the write tells
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
func (x *stream) broken(err error) {
	x.closed = true
	x.request.brokeOff(err)
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
