package upstream

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"drover/bucketmap"
	"drover/proxy/internal/http1"
	"drover/proxy/internal/pool"
	"drover/proxy/internal/socket"
)

// Answer is an upstream's answer whose head is read. Its body must be closed
// by who got it; closing twice is once.
type Answer struct {
	// Head's fields alias the exchange's buffer until the first Next.
	Head       *http1.Response
	Datacenter bucketmap.Datacenter // that answered

	exchange *Exchange
	conn     *pool.Conn // nil: given back
	decoder  http1.Decoder
	left     int64 // of a body whose length is known
	given    int   // of the buffer, by the last Next
	ended    bool
	err      error
}

// begin sets the framing by the answer's head.
func (a *Answer) begin(x *Exchange, c *pool.Conn, toHead bool) {
	a.Head, a.Datacenter, a.exchange, a.conn = &x.head, x.pool.Name(), x, c
	a.given, a.ended, a.err = 0, false, nil
	a.left = x.head.Length
	switch {
	case toHead, x.head.Status == 204, x.head.Status == 304, x.head.Status < 200:
		a.ended = true
	case x.head.Chunked:
		a.decoder.TrailerMax, a.decoder.FieldsMax = x.fleet.settings.HeaderBytes, x.fleet.settings.Fields
		a.decoder.Reset()
	case x.head.UntilClose:
	default:
		a.ended = a.left == 0
	}
	if a.ended && x.head.Status >= 200 {
		a.finish()
	}
}

// Empty says whether there is no body to come.
func (a *Answer) Empty() bool { return a.ended && a.given == 0 }

// Err returns why the body broke off, nil when it did not.
func (a *Answer) Err() error { return a.err }

// Complete says whether the body was read to its end.
func (a *Answer) Complete() bool { return a.ended && a.err == nil }

// Trailers are those behind a chunked body, once it is Complete.
func (a *Answer) Trailers() ([]http1.Field, []http1.Line) {
	if !a.Head.Chunked {
		return nil, nil
	}
	return a.decoder.Trailers(), a.decoder.TrailerLines()
}

// Link is the upstream's connection, for who tunnels after a 101. What Rest
// returns was read behind the head.
func (a *Answer) Link() *pool.Conn { return a.conn }

// Rest returns the bytes that came behind the head of a 101.
func (a *Answer) Rest() []byte { return a.exchange.reader.Bytes() }

// Next returns the body's next bytes, which stay until the next call. When none
// are there it waits for some, or returns nothing without wait. io.EOF is the
// body's end; any other error says that it broke off.
func (a *Answer) Next(wait bool) ([]byte, error) {
	r := &a.exchange.reader
	r.Discard(a.given)
	a.given = 0
	for {
		switch {
		case a.err != nil:
			return nil, a.err
		case a.ended:
			return nil, io.EOF
		}
		if r.Buffered() == 0 {
			if !wait {
				return nil, nil
			}
			if err := a.fill(); err != nil {
				if a.Head.UntilClose && errors.Is(err, io.EOF) {
					a.ended = true
					a.finish()
					return nil, io.EOF
				}
				return nil, a.broken(err)
			}
		}
		data, err := a.take(r.Bytes())
		if err != nil {
			return nil, a.broken(err)
		}
		if len(data) != 0 {
			return data, nil
		}
	}
}

// Discard reads away up to max bytes of the body, so that its connection can be
// used again.
func (a *Answer) Discard(max int) {
	for max > 0 {
		data, err := a.Next(true)
		if err != nil {
			return
		}
		max -= len(data)
	}
}

// take takes what is the body's from b.
func (a *Answer) take(b []byte) ([]byte, error) {
	r := &a.exchange.reader
	switch {
	case a.Head.UntilClose:
		a.given = len(b)
		return b, nil
	case !a.Head.Chunked:
		n := int(min(int64(len(b)), a.left))
		a.left -= int64(n)
		a.given = n
		if a.left == 0 {
			a.end(len(b) - n)
		}
		return b[:n], nil
	}
	data, used, err := a.decoder.Feed(b)
	if err != nil {
		return nil, err
	}
	if len(data) == 0 {
		r.Discard(used)
		if a.decoder.Done() {
			a.end(r.Buffered())
		}
		return nil, nil
	}
	a.given = used
	return data, nil
}

// fill waits for more of the body.
func (a *Answer) fill() error {
	x := a.exchange
	size := a.left
	if a.Head.Chunked || a.Head.UntilClose {
		size = -1
	}
	x.reader.Expect(size)
	a.conn.Socket.SetReadTimeout(x.fleet.settings.Idle)
	for {
		err := x.reader.Fill(socket.BufferBody)
		// A client that is still sending may be what the application waits for.
		if err == nil || !timedOut(err) || !x.pump.running() {
			return err
		}
		if deadline := x.request.Deadline; !deadline.IsZero() && time.Now().After(deadline) {
			return err
		}
	}
}

func (a *Answer) broken(err error) error {
	if x := a.exchange; errors.Is(err, socket.ErrInterrupted) && !x.request.Leash.IsCut() {
		// By the pump: the client has broken off its body, though nobody has said
		// yet that it is gone.
		if x.pump.stop(); x.pump.failed {
			x.request.Leash.Cut()
		}
	}
	if a.exchange.request.Leash.IsCut() {
		err = errGone
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	a.err = fmt.Errorf("the answer broke off: %w", err)
	return a.err
}

// end notes the body's last byte; surplus bytes behind it were asked for by
// nobody.
func (a *Answer) end(surplus int) {
	a.ended = true
	if surplus != 0 {
		a.exchange.keep = false
	}
	a.finish()
}

// finish gives the connection back as soon as the last byte is read, before
// the client has it.
func (a *Answer) finish() {
	if a.conn == nil {
		return
	}
	x, c := a.exchange, a.conn
	a.conn = nil
	whole := x.pump.stop()
	x.giveBack(c, x.keep && whole && a.ended && a.err == nil)
}

// Close gives the connection back; one whose answer was not read to its end is
// closed.
func (a *Answer) Close() {
	a.finish()
	r := &a.exchange.reader
	r.Discard(r.Buffered())
	r.Release()
	a.given = 0
}

func timedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
