package edge

import (
	"errors"
	"io"
	"strconv"

	"github.com/valyala/fasthttp"

	"drover/proxy/internal/http1"
)

// outFlush is how much of an answer is gathered before it is written; longer
// pieces are written from where they are.
const outFlush = 4 << 10

// buffer borrows what an answer is put together in.
func (c *conn) buffer() []byte {
	if c.out == nil {
		c.out = c.edge.options.Buffers.Get(2 * outFlush)
	}
	return (*c.out)[:0]
}

// write writes a part of the answer.
func (c *conn) write(p, q []byte) error {
	c.request.replied = true
	_, err := c.accepted.Link.Writev(p, q)
	if err != nil {
		c.closing = true
	}
	return err
}

// interim is client's.
func (c *conn) interim(head *http1.Response) error {
	out := append(c.buffer(), "HTTP/1.1 "...)
	out = append(append(out, head.Line...), "\r\n"...)
	out = appendAnswerLines(out, head, true)
	err := c.write(append(out, "\r\n"...), nil)
	c.request.replied = false // the answer that counts is still to come
	return err
}

// framing is how the end of an answer is told to the client.
type framing uint8

const (
	framedAsIs    framing = iota // by its own length, or it has no body
	framedChunked                // by the last chunk
	framedByClose                // by the connection's end
)

// respond is client's.
func (c *conn) respond() {
	r := &c.request
	a := r.answer
	if a.Head.Status == fasthttp.StatusSwitchingProtocols {
		c.tunnel()
		return
	}
	how := framedAsIs
	if !a.Empty() && (a.Head.Chunked || a.Head.UntilClose) {
		how = framedChunked
		if c.head.Minor == 0 {
			how = framedByClose
		}
	}
	keep := how != framedByClose && c.keeps()
	c.closing = !keep
	out := c.appendAnswer(c.buffer(), how, keep)
	if err := c.relay(out, how); err != nil {
		c.broken(err)
	}
}

// appendAnswer appends the answer's head.
func (c *conn) appendAnswer(out []byte, how framing, keep bool) []byte {
	r := &c.request
	h := r.answer.Head
	out = append(out, "HTTP/1.1 "...)
	out = append(append(out, h.Line...), "\r\n"...)
	out = appendAnswerLines(out, h, how != framedAsIs || h.Chunked || h.Status == fasthttp.StatusNoContent)
	if how == framedChunked || r.up.IsHead && h.Chunked && c.head.Minor == 1 {
		out = append(out, "Transfer-Encoding: chunked\r\n"...)
	}
	out = c.appendKeep(out, keep)
	if r.edge.options.ExposeHeaders {
		out = r.appendExposed(out)
	}
	return append(out, "\r\n"...)
}

// appendKeep says whether the connection goes on, where that is not understood.
func (c *conn) appendKeep(out []byte, keep bool) []byte {
	switch {
	case !keep:
		return append(out, "Connection: close\r\n"...)
	case c.head.Minor == 0:
		return append(out, "Connection: keep-alive\r\n"...)
	default:
		return out
	}
}

// appendAnswerLines appends the lines of an answer that go to the client, as
// they came and in their order.
func appendAnswerLines(out []byte, h *http1.Response, dropLength bool) []byte {
	from, to := 0, 0
	for i, l := range h.Lines {
		if !passesToClient(h, i, dropLength) {
			continue
		}
		if l.Start != to {
			out = append(out, h.Head[from:to]...)
			from = l.Start
		}
		to = l.End
	}
	return append(out, h.Head[from:to]...)
}

// passesToClient says whether a line of an answer goes to the client.
func passesToClient(h *http1.Response, i int, dropLength bool) bool {
	switch h.Lines[i].Kind {
	case http1.Connection, http1.KeepAlive, http1.ProxyConnection, http1.TransferEncoding, http1.Upgrade, http1.Drover, http1.TE:
		return false
	case http1.ContentLength:
		return !dropLength
	default:
		return !h.Named(h.Fields[i].Name)
	}
}

// appendExposed appends the edge's headers when clients may see them.
func (r *request) appendExposed(out []byte) []byte {
	if r.snapshot != nil {
		out = appendString(out, headerDatacenter, string(r.passport.Datacenter))
		out = appendString(out, headerRoute, r.passport.Reason)
		out = appendNumber(out, headerMapVersion, uint64(r.snapshot.Version()))
		if r.decision.HasBucket {
			out = appendNumber(out, headerBucket, uint64(r.decision.Bucket))
		}
	}
	if via := r.edge.options.Via; via != "" {
		out = appendString(out, "Via", "1.1 "+via)
	}
	return out
}

// relay passes the answer's body on, behind what is in out. Whatever is here is
// written before it waits for more.
func (c *conn) relay(out []byte, how framing) error {
	r := &c.request
	a := r.answer
	for {
		data, err := a.Next(len(out) == 0)
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && len(data) == 0 {
			if err := c.write(out, nil); err != nil {
				return err
			}
			out = out[:0]
			r.passport.HeadSent()
			continue
		}
		if err != nil {
			if len(out) != 0 {
				c.write(out, nil) //nolint:errcheck // broken off either way
			}
			return err
		}
		r.passport.BytesOut += int64(len(data))
		if r.mirrored != nil {
			r.mirrored.Body(data)
		}
		if out, err = c.piece(out, data, how); err != nil {
			return err
		}
	}
	if how == framedChunked {
		out = append(out, "0\r\n"...)
		fields, lines := a.Trailers()
		for i, f := range fields {
			if lines[i].Kind == http1.Other {
				out = append(append(out, f.Name...), ": "...)
				out = append(append(out, f.Value...), "\r\n"...)
			}
		}
		out = append(out, "\r\n"...)
	}
	if len(out) == 0 {
		return nil
	}
	return c.write(out, nil)
}

// piece takes a piece of the body: short ones behind what is in out, longer
// ones are written at once.
func (c *conn) piece(out, data []byte, how framing) ([]byte, error) {
	if how == framedChunked {
		out = http1.AppendChunkHead(out, len(data))
	}
	if len(out)+len(data) <= outFlush {
		out = append(out, data...)
	} else {
		if err := c.write(out, data); err != nil {
			return out, err
		}
		out = out[:0]
	}
	if how == framedChunked {
		out = append(out, "\r\n"...)
	}
	return out, nil
}

// broken ends a connection in mid-answer, so that the client sees that it was.
func (c *conn) broken(err error) {
	c.closing, c.lingers = true, false
	if c.request.brokeOff(err) {
		// A reset is the only sign of the break to who reads until the end.
		c.accepted.Link.Socket.Reset() //nolint:errcheck // closed either way
	}
}

// refused is client's.
func (c *conn) refused(f refusal, body []byte) {
	r := &c.request
	if f.status == 0 || r.replied {
		c.closing = true
		return
	}
	keep := !f.close && c.keeps()
	if !keep {
		c.closing = true
		c.lingers = c.lingers || c.head.Length != 0
	}
	out := append(c.buffer(), "HTTP/1.1 "...)
	out = strconv.AppendInt(out, int64(f.status), 10)
	out = append(append(out, ' '), fasthttp.StatusMessage(f.status)...)
	out = append(out, "\r\nContent-Type: application/json\r\n"...)
	out = appendNumber(out, "Content-Length", uint64(len(body)))
	if f.retry {
		out = append(out, "Retry-After: 1\r\n"...)
	}
	out = c.appendKeep(out, keep)
	if r.edge.options.ExposeHeaders {
		out = r.appendExposed(out)
	}
	out = append(out, "\r\n"...)
	if r.passport.Method != fasthttp.MethodHead {
		out = append(out, body...)
	}
	if c.write(out, nil) == nil {
		r.passport.BytesOut = int64(len(body))
	}
}
