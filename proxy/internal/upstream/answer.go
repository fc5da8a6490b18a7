package upstream

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/valyala/fasthttp"

	"drover/bucketmap"
)

// Answer is an upstream's answer whose head is read. Its body must be closed
// by who got it; closing twice is once.
type Answer struct {
	Datacenter bucketmap.Datacenter // that answered
	Status     int
	// Length is of the body: -1 when only its end tells.
	Length int64

	host     *host
	conn     *conn
	header   *fasthttp.ResponseHeader // takes the trailers
	client   net.Conn
	idle     time.Duration
	deadline time.Time

	chunked    bool
	untilClose bool
	left       int64 // of the body, or of the chunk
	ended      bool
	keep       bool // the connection can be used again once the body is read
	err        error
	closed     bool
}

// begin sets the framing by the answer's head (RFC 9112, 6.3).
func (a *Answer) begin(head bool, keepAlive bool) {
	a.keep = keepAlive
	n := a.header.ContentLength()
	switch {
	case head, a.Status == fasthttp.StatusNoContent, a.Status == fasthttp.StatusNotModified:
		a.ended = true
	case n == -1:
		a.chunked, a.Length = true, -1
	case n >= 0:
		a.Length, a.left = int64(n), int64(n)
		a.ended = n == 0
	default:
		a.untilClose, a.Length, a.keep = true, -1, false
	}
	if a.ended {
		a.finish()
	}
}

// Empty says whether there is no body to come.
func (a *Answer) Empty() bool { return a.ended }

// Err returns why the body broke off, nil when it did not.
func (a *Answer) Err() error { return a.err }

// Complete says whether the body was read to its end.
func (a *Answer) Complete() bool { return a.ended && a.err == nil }

// Buffered says how many bytes can be read without waiting.
func (a *Answer) Buffered() int {
	if a.closed || a.conn == nil {
		return 0
	}
	return a.conn.reader.Buffered()
}

// Read reads the body.
func (a *Answer) Read(p []byte) (int, error) {
	b, err := a.next()
	if err != nil {
		return 0, err
	}
	n := copy(p, b)
	a.took(n)
	return n, nil
}

// SupportsBodyWriteTo makes the server call WriteTo.
func (a *Answer) SupportsBodyWriteTo() bool { return true }

// WriteTo passes the body on as it comes: whatever is here is flushed before
// it waits for more. A client that takes nothing for the idle timeout ends it.
func (a *Answer) WriteTo(w io.Writer) (written int64, err error) {
	flusher, _ := w.(interface{ Flush() error })
	for {
		if flusher != nil && a.Buffered() == 0 && !a.ended {
			if err := a.clientDeadline(); err != nil {
				return written, err
			}
			if err := flusher.Flush(); err != nil {
				return written, err
			}
		}
		b, err := a.next()
		if errors.Is(err, io.EOF) {
			if flusher != nil { // the next request may be here already, and be held
				err = flusher.Flush()
				return written, err
			}
			return written, nil
		}
		if err != nil {
			return written, err
		}
		if err := a.clientDeadline(); err != nil {
			return written, err
		}
		n, err := w.Write(b)
		written += int64(n)
		if err != nil {
			return written, err
		}
		a.took(n)
	}
}

func (a *Answer) clientDeadline() error {
	return a.client.SetWriteDeadline(earliest(time.Now().Add(a.idle), a.deadline))
}

// next returns the body's next bytes, which stay in the connection's buffer
// until took. It waits only when none are there.
func (a *Answer) next() ([]byte, error) {
	if a.err != nil {
		return nil, a.err
	}
	if a.ended {
		return nil, io.EOF
	}
	b, err := a.peek()
	if err != nil && !errors.Is(err, io.EOF) {
		a.err = fmt.Errorf("the answer broke off: %w", err)
		return nil, a.err
	}
	if err != nil {
		a.ended = true
		a.finish()
	}
	return b, err
}

func (a *Answer) peek() ([]byte, error) {
	r := a.conn.reader
	if r.Buffered() == 0 || a.chunked && a.left == 0 {
		if err := a.conn.SetReadDeadline(earliest(time.Now().Add(a.idle), a.deadline)); err != nil {
			return nil, err
		}
	}
	if a.chunked && a.left == 0 {
		size, err := readChunkSize(r)
		if err != nil {
			return nil, err
		}
		if size == 0 {
			if err := a.header.ReadTrailer(r); err != nil {
				return nil, unexpected(err)
			}
			return nil, io.EOF
		}
		a.left = size
	}
	if r.Buffered() == 0 {
		if _, err := r.Peek(1); err != nil {
			if a.untilClose {
				return nil, err // io.EOF is its end
			}
			return nil, unexpected(err)
		}
	}
	n := r.Buffered()
	if !a.untilClose {
		n = int(min(int64(n), a.left))
	}
	return r.Peek(n)
}

// took says that n bytes of what next returned are used.
func (a *Answer) took(n int) {
	if _, err := a.conn.reader.Discard(n); err != nil {
		a.err = err // cannot be: they were peeked
		return
	}
	if a.untilClose {
		return
	}
	a.left -= int64(n)
	if a.left != 0 {
		return
	}
	if !a.chunked {
		a.ended = true
		a.finish()
		return
	}
	if err := readCRLF(a.conn.reader); err != nil {
		a.err = fmt.Errorf("the answer broke off: %w", err)
	}
}

// finish gives the connection back as soon as the last byte is read, before
// the client has it.
func (a *Answer) finish() {
	if a.closed {
		return
	}
	a.closed = true
	a.host.load.Add(-1)
	if a.keep && a.err == nil && a.ended && a.conn.reader.Buffered() == 0 {
		a.host.release(a.conn)
	} else {
		a.host.discard(a.conn)
	}
	a.conn = nil
}

// Close gives the connection back; one whose answer was not read to its end is
// closed.
func (a *Answer) Close() error {
	a.finish()
	return nil
}
