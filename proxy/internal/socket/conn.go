package socket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// ErrInterrupted is what a waiting Read or Write returns after Interrupt.
// The TLS layer takes it for temporary, so that it reads on after ResumeRead.
var ErrInterrupted error = interruption{}

type interruption struct{}

func (interruption) Error() string   { return "interrupted" }
func (interruption) Timeout() bool   { return false }
func (interruption) Temporary() bool { return true } // net.Error's

// Conn is a TCP connection. See the package's comment for who may call what.
type Conn struct {
	tcp  *net.TCPConn
	raw  syscall.RawConn
	in   half
	out  half
	look look

	watch watched
}

// New wraps a connection, which is the Conn's from then on.
func New(tcp *net.TCPConn) (*Conn, error) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("take the connection's descriptor: %w", err)
	}
	c := &Conn{tcp: tcp, raw: raw}
	c.in.arm, c.in.enter = tcp.SetReadDeadline, raw.Read
	c.in.call = c.in.tryRead
	c.out.arm, c.out.enter = tcp.SetWriteDeadline, raw.Write
	c.out.call = c.out.tryWrite
	c.look.call = c.look.try
	return c, nil
}

// Dial connects to address, host:port.
func Dial(ctx context.Context, address string) (*Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	conn, err := New(c.(*net.TCPConn)) //nolint:forcetypeassert // dialed as tcp
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return conn, nil
}

// SetReadTimeout bounds each wait of Read from now on; 0 is no bound.
func (c *Conn) SetReadTimeout(d time.Duration) { c.in.timeout = d }

// SetWriteTimeout bounds each wait of Write from now on; 0 is no bound.
func (c *Conn) SetWriteTimeout(d time.Duration) { c.out.timeout = d }

// SetReadLimit is the end of all waits of Read; the zero time is none.
func (c *Conn) SetReadLimit(t time.Time) { c.in.limit = instant(t) }

// SetWriteLimit is the end of all waits of Write; the zero time is none.
func (c *Conn) SetWriteLimit(t time.Time) { c.out.limit = instant(t) }

// Lender lends a buffer to a Read that has something to read, so that a
// connection which waits has none.
type Lender interface {
	// Lend returns the buffer to read into, of one byte at least.
	Lend() []byte
	// Back takes it back: nothing was read, because the connection waits, has
	// ended or failed. So a ReadLent that returns 0 has no buffer.
	Back()
}

// Read reads what is there, up to len(p), waiting for the first byte. The
// error is io.EOF, os.ErrDeadlineExceeded, ErrInterrupted, net.ErrClosed or the
// system's.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if c.in.ready {
		n, err := c.ReadReady(p)
		if n == 0 && err == nil {
			err = os.ErrDeadlineExceeded
		}
		return n, err
	}
	c.in.p, c.in.lender = p, nil
	return c.read()
}

// ReadLent is Read into a buffer that is borrowed once there is something.
func (c *Conn) ReadLent(l Lender) (int, error) {
	c.in.lender = l
	n, err := c.read()
	if n == 0 && c.in.lent {
		l.Back()
	}
	c.in.lender, c.in.lent = nil, false
	return n, err
}

func (c *Conn) read() (int, error) {
	err := c.in.run()
	c.in.p = nil
	if err != nil {
		return 0, err
	}
	if c.in.n == 0 {
		return 0, io.EOF
	}
	return c.in.n, nil
}

// ErrStale is a connection that was closed by its peer, or holds what nobody
// asked for, before anything was sent on it.
var ErrStale = errors.New("the connection is closed or holds unasked bytes")

// SendThenRead writes p as a whole and then reads the first of the answer, into
// a buffer that is borrowed for it. sent is called in between, when all of p is
// written. It looks before it writes: ErrStale says that nothing was sent. So
// one system call does for a look and for a read that comes too early.
func (c *Conn) SendThenRead(p []byte, sent func(), l Lender) (wrote, n int, err error) {
	h := &c.in
	h.first, h.sent, h.wrote, h.lender = p, sent, 0, l
	err = h.run()
	n, rest := h.n, h.first
	if n == 0 && h.lent {
		l.Back()
	}
	h.first, h.sent, h.lender, h.p, h.lent = nil, nil, nil, nil, false
	switch {
	case err != nil:
		return h.wrote, 0, err
	case rest == nil && n == 0:
		return h.wrote, 0, io.EOF
	case rest == nil:
		return h.wrote, n, nil
	}
	more, err := c.Write(rest[h.wrote:])
	if err != nil {
		return h.wrote + more, 0, err
	}
	sent()
	n, err = c.ReadLent(l)
	return len(p), n, err
}

// Write writes p as a whole, waiting as it must.
func (c *Conn) Write(p []byte) (int, error) { return c.Writev(p, nil) }

// Writev writes two slices behind one another, in one system call when the
// system takes them.
func (c *Conn) Writev(p, q []byte) (int, error) {
	if len(p)+len(q) == 0 {
		return 0, nil
	}
	c.out.p, c.out.q = p, q
	err := c.out.run()
	c.out.p, c.out.q = nil, nil
	return c.out.n, err
}

// ReadReady reads what is there without waiting: 0 bytes when nothing is. The
// timeouts play no part.
func (c *Conn) ReadReady(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return c.look.run(c.raw, p)
}

// Interrupt ends the waits of Read and Write, now and for good: the connection
// is of no more use.
func (c *Conn) Interrupt() {
	c.InterruptRead()
	c.InterruptWrite()
}

// InterruptWrite ends the waits of Write, now and for good.
func (c *Conn) InterruptWrite() {
	c.out.interrupted.Store(true)
	c.tcp.SetWriteDeadline(past) //nolint:errcheck // closed already
}

// InterruptRead ends the waits of Read, until ResumeRead.
func (c *Conn) InterruptRead() {
	c.in.interrupted.Store(true)
	// The flag first: who arms a deadline looks at the flag behind it.
	c.tcp.SetReadDeadline(past) //nolint:errcheck // closed already
}

// ResumeRead makes the connection readable again. Nobody may be reading.
func (c *Conn) ResumeRead() {
	c.in.interrupted.Store(false)
	c.in.armed = 0
	c.tcp.SetReadDeadline(time.Time{}) //nolint:errcheck // closed already
}

// CloseWrite tells the peer that nothing more comes.
func (c *Conn) CloseWrite() error { return c.tcp.CloseWrite() }

// Reset closes the connection so that the peer sees it broken, not ended.
func (c *Conn) Reset() error {
	c.tcp.SetLinger(0) //nolint:errcheck // closed already
	return c.tcp.Close()
}

// Close closes the connection.
func (c *Conn) Close() error { return c.tcp.Close() }

// LocalAddr is net.Conn's.
func (c *Conn) LocalAddr() net.Addr { return c.tcp.LocalAddr() }

// RemoteAddr is net.Conn's.
func (c *Conn) RemoteAddr() net.Addr { return c.tcp.RemoteAddr() }

// SetDeadline is net.Conn's: the end of all waits.
func (c *Conn) SetDeadline(t time.Time) error {
	c.SetReadLimit(t)
	c.SetWriteLimit(t)
	return nil
}

// SetReadDeadline is net.Conn's.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.SetReadLimit(t)
	return nil
}

// SetWriteDeadline is net.Conn's.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.SetWriteLimit(t)
	return nil
}
