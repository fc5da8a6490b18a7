package upstream

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/valyala/fasthttp"

	"drover/proxy/internal/passport"
)

const (
	// copyMax is how much of a body goes upstream in one write.
	copyMax = 16 << 10 // × 10,000 uploads = 160 MiB at worst
	// interimMax bounds the 1xx answers before the final one; they are dropped.
	interimMax = 16
	// lateAnswerMax is how long an answer may take once writing has failed: the
	// upstream may have answered and closed without reading the body.
	lateAnswerMax = time.Second
)

// exchange is one request on one connection.
type exchange struct {
	fleet   *Fleet
	pool    *pool
	host    *host
	conn    *conn
	request *Request
	// cut says that the answer came, or writing failed, before the body was
	// sent: the connection cannot be used again.
	cut bool
}

func (x *exchange) run() (*Answer, tried, error) {
	r := x.request
	r.buffer = r.Head(r.buffer[:0], x.pool.datacenter)
	if err := x.firstBytes(); err != nil {
		return nil, tried{final: true}, x.fleet.failed(x.pool, KindBody, err)
	}
	if !r.Gate.Enter() {
		r.Body.Rewind() // firstBytes read no more than is kept, or the body is lost
		return nil, tried{final: true}, ErrMapChanged
	}
	r.Passport.Stamp(passport.Sending)
	n, err := x.write(r.buffer)
	r.Gate.Leave()
	if err != nil && n == 0 { // the upstream closed the connection after we looked
		return nil, tried{}, x.fleet.failed(x.pool, KindConnect, err)
	}
	if err == nil {
		err = x.rest()
	}
	if bodyErr := r.Body.Err(); bodyErr != nil {
		return nil, tried{left: true, final: true}, x.fleet.failed(x.pool, KindBody, bodyErr)
	}
	wait := x.fleet.settings.FirstByte
	if err != nil {
		x.cut = true
		wait = min(wait, lateAnswerMax)
	}
	r.Passport.Stamp(passport.Waiting)
	answer, tried, readErr := x.read(wait)
	if readErr != nil && err != nil {
		readErr = fmt.Errorf("%w (after: %w)", readErr, err)
	}
	return answer, tried, readErr
}

// firstBytes puts behind the head what is there of the body, if that is kept
// for another try.
func (x *exchange) firstBytes() error {
	body := x.request.Body
	if body.Length() <= 0 || body.keepMax < copyMax && int64(body.keepMax) < body.Length() {
		return nil
	}
	buffer := x.request.buffer
	have := len(buffer)
	room := int(min(body.Length(), copyMax))
	if cap(buffer)-have < room {
		buffer = append(make([]byte, 0, have+room), buffer...)
	}
	n, err := body.ReadReady(buffer[have : have+room])
	x.request.buffer = buffer[:have+n]
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return err
}

// rest sends what firstBytes did not, as it comes. It stops when the answer is
// there already.
func (x *exchange) rest() error {
	body := x.request.Body
	if body.Length() == 0 {
		return nil
	}
	chunked := body.Length() < 0
	buffer := x.request.buffer
	if cap(buffer) < copyMax {
		buffer = make([]byte, copyMax)
	}
	buffer = buffer[:copyMax]
	x.request.buffer = buffer
	const before, after = 18, 2 // around a chunk: 16 digits and CRLF, CRLF
	for {
		n, err := body.Read(buffer[before : copyMax-after])
		switch {
		case errors.Is(err, io.EOF):
			if chunked {
				_, err = x.write([]byte("0\r\n\r\n"))
				return err
			}
			return nil
		case err != nil:
			return err
		case n == 0:
			continue
		}
		out := buffer[before : before+n]
		if chunked {
			size := appendChunkSize(make([]byte, 0, before), n)
			start := before - len(size)
			copy(buffer[start:], size)
			out = append(buffer[start:before+n], '\r', '\n')
		}
		if Peek(x.conn.raw) != LookQuiet { // answered, or closed: reading will tell
			x.cut = true
			return nil
		}
		if _, err := x.write(out); err != nil {
			return err
		}
	}
}

func (x *exchange) write(p []byte) (int, error) {
	deadline := earliest(time.Now().Add(x.fleet.settings.Idle), x.request.Deadline)
	if err := x.conn.SetWriteDeadline(deadline); err != nil {
		return 0, err
	}
	return x.conn.Write(p)
}

// read reads the answer's head.
func (x *exchange) read(wait time.Duration) (*Answer, tried, error) {
	r, c := x.request, x.conn
	if err := c.SetReadDeadline(earliest(time.Now().Add(wait), r.Deadline)); err != nil {
		return nil, tried{left: true}, x.fleet.failed(x.pool, KindSent, err)
	}
	if _, err := c.reader.Peek(1); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, tried{left: true, answer: true}, x.fleet.failed(x.pool, KindTimeout, err)
		}
		return nil, tried{left: true}, x.fleet.failed(x.pool, KindSent, unexpected(err))
	}
	for range interimMax {
		if err := r.Header.Read(c.reader); err != nil {
			kind := KindMalformed
			switch {
			case errors.Is(err, os.ErrDeadlineExceeded):
				kind = KindTimeout
			case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
				kind = KindSent
			}
			// Not the error itself: it may quote the head.
			return nil, tried{left: true, answer: true}, x.fleet.failed(x.pool, kind, errHead)
		}
		status := r.Header.StatusCode()
		if status >= 100 && status < 200 && status != fasthttp.StatusSwitchingProtocols {
			continue
		}
		if status < 200 || status > 999 {
			break // nobody asked to switch protocols
		}
		return x.answer(status), tried{left: true, answer: true}, nil
	}
	return nil, tried{left: true, answer: true}, x.fleet.failed(x.pool, KindMalformed, errHead)
}

// errHead is an answer's head that cannot be used.
var errHead = errors.New("the answer's head is broken off, malformed or longer than limits.header_bytes")

func (x *exchange) answer(status int) *Answer {
	r := x.request
	a := &Answer{
		Datacenter: x.pool.datacenter, Status: status, host: x.host, conn: x.conn, header: r.Header,
		client: r.Client, idle: x.fleet.settings.Idle, deadline: r.Deadline,
	}
	a.begin(r.IsHead, !x.cut && !closes(r.Header))
	return a
}

// closes says whether the upstream closes the connection after this answer.
// The parser knows "close" alone; here it is a token among others, in any case.
func closes(h *fasthttp.ResponseHeader) bool {
	if h.ConnectionClose() {
		return true
	}
	for name, value := range h.All() {
		if len(name) == len("Connection") && name[0]|0x20 == 'c' && HasToken(name, value, "connection", "close") {
			return true
		}
	}
	return false
}
