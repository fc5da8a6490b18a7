package socket

import (
	"crypto/tls"
	"errors"
	"os"
	"time"
)

// Link is a connection with or without TLS on it. The socket's timeouts hold
// for both.
type Link struct {
	Socket *Conn
	TLS    *tls.Conn // nil: plain

	held byte // taken by Look, to be read first
	has  bool // there is one
}

// hold gives what Look took.
func (l *Link) hold(p []byte) int {
	if !l.has || len(p) == 0 {
		return 0
	}
	p[0], l.has = l.held, false
	return 1
}

// Read reads what is there, waiting for the first byte.
func (l *Link) Read(p []byte) (int, error) {
	if l.TLS == nil {
		return l.Socket.Read(p)
	}
	if n := l.hold(p); n != 0 {
		return n, nil
	}
	return l.TLS.Read(p)
}

// ReadLent is Read into a buffer that is borrowed; with TLS it is borrowed
// while waiting too.
func (l *Link) ReadLent(lender Lender) (int, error) {
	if l.TLS == nil {
		return l.Socket.ReadLent(lender)
	}
	n, err := l.Read(lender.Lend())
	if n == 0 {
		lender.Back()
	}
	return n, err
}

// ReadReady reads what is there without waiting: 0 bytes when nothing is.
func (l *Link) ReadReady(p []byte) (int, error) {
	if l.TLS == nil {
		return l.Socket.ReadReady(p)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if n := l.hold(p); n != 0 {
		return n, nil
	}
	l.Socket.in.ready = true
	n, err := l.TLS.Read(p)
	l.Socket.in.ready = false
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return n, err
}

// Write writes p as a whole.
func (l *Link) Write(p []byte) (int, error) {
	if l.TLS != nil {
		return l.TLS.Write(p)
	}
	return l.Socket.Write(p)
}

// Writev writes two slices behind one another.
func (l *Link) Writev(p, q []byte) (int, error) {
	if l.TLS == nil {
		return l.Socket.Writev(p, q)
	}
	n, err := l.TLS.Write(p)
	if err != nil || len(q) == 0 {
		return n, err
	}
	m, err := l.TLS.Write(q)
	return n + m, err
}

// Look looks at an idle connection. Records that carry no data, such as TLS
// session tickets, are taken in and are nothing to read. With TLS it reads, so
// it is for who may read.
func (l *Link) Look() Look {
	if l.TLS == nil {
		return l.Socket.Look()
	}
	if l.has {
		return LookBytes
	}
	// The socket may be quiet while the TLS layer holds bytes: both are asked.
	var b [1]byte
	n, err := l.ReadReady(b[:])
	switch {
	case n != 0:
		l.held, l.has = b[0], true
		return LookBytes
	case err != nil:
		return LookClosed
	default:
		return LookQuiet
	}
}

// CloseWrite tells the peer that nothing more comes.
func (l *Link) CloseWrite() error {
	if l.TLS != nil {
		return l.TLS.CloseWrite()
	}
	return l.Socket.CloseWrite()
}

// closeNotifyMax bounds the wait for room for TLS's word of the end.
const closeNotifyMax = 100 * time.Millisecond

// Close closes the connection.
func (l *Link) Close() error {
	if l.TLS != nil {
		// Not the limit: the TLS layer sets its own here, of seconds.
		l.Socket.SetWriteTimeout(closeNotifyMax)
		return l.TLS.Close()
	}
	return l.Socket.Close()
}
