package upstream

import (
	"errors"
	"fmt"
	"io"
	"time"

	"drover/proxy/internal/http1"
	"drover/proxy/internal/passport"
	"drover/proxy/internal/pool"
	"drover/proxy/internal/socket"
)

const (
	// interimMax bounds the answers of 1xx before the one that counts.
	interimMax = 16
	// firstBytesMax is how much of a body goes out with its head, in one write.
	firstBytesMax = 16 << 10
	// lateAnswerMax bounds the wait for an answer behind a connection that
	// takes no more of the body.
	lateAnswerMax = time.Second
	// outIdleMax is how large the buffer for a head may stay between requests.
	outIdleMax = 4 << 10
)

// Exchange sends one request after the other. It belongs to one client's
// connection.
type Exchange struct {
	fleet   *Fleet
	request *Request
	pool    *pool.Pool
	host    *pool.Host
	reader  socket.Reader
	head    http1.Response
	out     []byte
	pump    pump
	answer  Answer
	keep    bool // the connection can be used again, as far as we know

	whenSent func() // sent, made once
	entered  bool   // the gate, and not left
	filled   bool   // the first read of the answer is done, with
	fillErr  error
}

// staleMax is how many idle connections may turn out to be closed before a new
// one is made: a restart of the application closes all of them.
const staleMax = 3

// Init makes the exchange send by f.
func (x *Exchange) Init(f *Fleet) {
	x.fleet = f
	if x.whenSent == nil {
		x.whenSent = x.sent
	}
}

// try sends the request to one host, once.
func (x *Exchange) try(p *pool.Pool, h *pool.Host, fresh bool) (tried, error) {
	r := x.request
	x.pool, x.host = p, h
	r.Passport.Stamp(passport.Connecting)
	r.Passport.Attempts++
	r.Passport.Datacenter, r.Passport.Upstream = p.Name(), h.Address()
	for stale := 0; ; stale++ {
		c, err := x.connect(h, fresh || stale == staleMax)
		if err != nil {
			return tried{}, err
		}
		h.Begin()
		t, err := x.run(c)
		switch {
		case err == nil:
			h.Succeeded()
			return t, nil
		case errors.Is(err, socket.ErrStale) && stale < staleMax && r.Body.Rewind():
			x.giveBack(c, false) // nothing was sent on it, and the host is not at fault
			continue
		case errors.Is(err, ErrMapChanged):
			x.giveBack(c, true) // nor here
			return t, err
		}
		x.pump.stop()
		x.giveBack(c, false)
		x.reader.Drop()
		if !t.final {
			h.Failed(time.Now())
		}
		return t, err
	}
}

// giveBack ends the use of a connection.
func (x *Exchange) giveBack(c *pool.Conn, keep bool) {
	x.host.End()
	if x.request.Leash.leave(c) && keep {
		x.host.Release(c)
	} else {
		x.host.Discard(c)
	}
}

// run sends the request on a connection and reads the answer's head.
func (x *Exchange) run(c *pool.Conn) (tried, error) {
	r, f := x.request, x.fleet
	x.pump.err, x.pump.failed = nil, false
	if !r.Leash.take(c) {
		return tried{final: true}, f.failed(x.pool, KindGone, errGone)
	}
	r.Passport.Stamp(passport.Sending)
	if cap(x.out) > outIdleMax {
		x.out = nil
	}
	x.out = r.Head(x.out[:0], x.pool.Name())
	if err := x.firstBytes(); err != nil {
		return tried{final: true}, f.failed(x.pool, KindBody, err)
	}
	c.Socket.SetWriteTimeout(f.settings.Idle)
	c.Socket.SetWriteLimit(r.Deadline)
	c.Socket.SetReadLimit(r.Deadline)
	if !r.Gate.Enter() {
		return tried{}, ErrMapChanged
	}
	x.reader.Init(&c.Link, f.buffers)
	x.entered, x.filled = true, false
	wrote, err := x.send1(c)
	if x.entered {
		x.sent()
	}
	if wrote > 0 {
		r.Body.leaves()
	}
	switch {
	case err != nil && r.Leash.IsCut():
		return tried{left: wrote > 0, final: true}, f.failed(x.pool, KindGone, errGone)
	case errors.Is(err, socket.ErrStale):
		return tried{}, f.stale(x.pool, err)
	case err != nil && wrote == 0: // the upstream closed the connection after we looked
		return tried{}, f.failed(x.pool, KindConnect, err)
	case err == nil && !r.Body.done():
		x.pump.start(x, c)
	}
	x.keep = err == nil
	t, kind, readErr := x.read(c, err)
	if readErr == nil {
		return t, nil
	}
	if err != nil {
		readErr = fmt.Errorf("%w (after: %w)", readErr, err)
	}
	return t, f.failed(x.pool, kind, readErr)
}

// send1 sends the head, and what firstBytes put behind it. When that is all,
// the first of the answer is read with it.
func (x *Exchange) send1(c *pool.Conn) (int, error) {
	switch {
	case c.TLS != nil: // looked at already
		return c.Write(x.out)
	case !x.request.Body.done():
		if c.Reused && c.Look() != socket.LookQuiet {
			return 0, socket.ErrStale
		}
		return c.Write(x.out)
	}
	c.Socket.SetReadTimeout(x.fleet.settings.FirstByte)
	wrote, err := x.reader.SendThenFill(x.out, x.whenSent)
	if x.entered {
		return wrote, err
	}
	x.filled, x.fillErr = err != nil, err
	return wrote, nil
}

// sent notes that the head is written.
func (x *Exchange) sent() {
	x.entered = false
	x.request.Gate.Leave()
	if x.request.Body.done() {
		x.request.Passport.Stamp(passport.Waiting)
	} else {
		x.request.Passport.Stamp(passport.Receiving)
	}
}

// fill reads more of the answer; what came with the sending first.
func (x *Exchange) fill(max int) error {
	if x.filled {
		x.filled = false
		return x.fillErr
	}
	return x.reader.Fill(max)
}

// firstBytes puts behind the head what is there of the body.
func (x *Exchange) firstBytes() error {
	body := x.request.Body
	chunked := body.Length() < 0
	for end := len(x.out) + firstBytesMax; !body.done() && len(x.out) < end; {
		data, err := body.next(false)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if len(data) != 0 {
			if chunked {
				x.out = http1.AppendChunkHead(x.out, len(data))
			}
			x.out = append(x.out, data...)
			if chunked {
				x.out = append(x.out, "\r\n"...)
			}
		}
		if chunked && body.done() {
			x.out = x.appendEnd(x.out)
		}
		if len(data) == 0 && err == nil && !body.done() {
			return nil // no more is there yet
		}
	}
	return nil
}

// read reads the answer's head. After a failed write it does so too: the
// answer may say why.
func (x *Exchange) read(c *pool.Conn, written error) (tried, Kind, error) {
	r := x.request
	wait := x.fleet.settings.FirstByte
	if written != nil {
		wait = min(wait, lateAnswerMax)
	}
	for range interimMax {
		t, kind, err := x.readHead(c, wait)
		if err != nil {
			return t, kind, err
		}
		status := x.head.Status
		switch {
		case status == 101:
			if !r.Upgrade || x.head.Protocol == nil {
				return t, KindMalformed, errHead // nobody asked to switch protocols
			}
			x.keep = false // what comes on it from here on is no HTTP
			x.answer.begin(x, c, false)
			return t, "", nil
		case status >= 200:
			x.keep = x.keep && !x.head.Close && (x.head.Minor == 1 || x.head.KeepAlive) && !x.head.Odd && !x.head.UntilClose
			if x.reader.Buffered() != 0 && (r.IsHead || status == 204 || status == 304) {
				x.keep = false
			}
			x.answer.begin(x, c, r.IsHead)
			return t, "", nil
		}
		if err := r.Interim(&x.head); err != nil {
			return tried{left: true, answer: true, final: true}, KindGone, err
		}
	}
	return tried{left: true, answer: true}, KindMalformed, errHead
}

// errHead is an answer's head that cannot be used.
var errHead = errors.New("the answer's head is malformed or longer than limits.header_bytes")

// readHead reads one head, and takes it off the buffer.
func (x *Exchange) readHead(c *pool.Conn, wait time.Duration) (tried, Kind, error) {
	t := tried{left: true, answer: x.reader.Buffered() != 0}
	c.Socket.SetReadTimeout(wait)
	for {
		if x.reader.Buffered() != 0 {
			end, p := x.head.Scan(x.reader.Bytes(), x.fleet.settings.Fields, x.request.IsHead)
			if p != nil {
				return t, KindMalformed, fmt.Errorf("%w: %w", errHead, p)
			}
			if end > x.fleet.settings.HeaderBytes {
				return t, KindMalformed, errHead
			}
			if end != 0 {
				x.reader.Discard(end)
				return t, "", nil
			}
		}
		err := x.fill(x.fleet.settings.HeaderBytes)
		if err == nil {
			t.answer = true
			continue
		}
		if kind, err := x.unread(c, err, wait, &t); err != nil {
			return t, kind, err
		}
	}
}

// unread says why a head could not be read; nil: it is still worth waiting.
func (x *Exchange) unread(c *pool.Conn, err error, wait time.Duration, t *tried) (Kind, error) {
	r := x.request
	switch {
	case r.Leash.IsCut():
		t.final = true
		return KindGone, errGone
	case errors.Is(err, socket.ErrInterrupted): // by the pump
		x.pump.stop()
		if x.pump.failed {
			t.final = true
			return KindBody, r.Body.Err()
		}
		return KindTimeout, fmt.Errorf("the application takes no more of the body: %w", x.pump.err)
	case timedOut(err):
		t.answer = true
		expired := !r.Deadline.IsZero() && time.Now().After(r.Deadline)
		if expired {
			return KindTimeout, err
		}
		// The time for the first byte begins when all has been sent.
		if x.pump.done != nil {
			if sent := x.pump.sentFor(); sent < wait {
				c.Socket.SetReadTimeout(wait - sent)
				return "", nil
			}
		}
		return KindTimeout, err
	case errors.Is(err, socket.ErrFull):
		return KindMalformed, errHead
	case t.answer:
		return KindMalformed, fmt.Errorf("the answer's head broke off: %w", err)
	default:
		return KindSent, unexpected(err)
	}
}

// unexpected makes an end where none may be an error.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Sending says whether the request's body is still being sent: nobody else may
// touch it then. A last write that is under way is waited for: an answer that
// comes as soon as the body is read must not cost the client its connection.
func (x *Exchange) Sending() bool {
	x.pump.finish()
	return x.pump.running()
}

// StopSending ends the sending of a body that is under way: the answer has come
// before its end. The connection is not used again then.
func (x *Exchange) StopSending() {
	if x.pump.running() {
		x.keep = x.pump.stop() && x.keep
	}
}
