package edge

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// listener closes without losing who has connected already: closing a listener
// resets the connections that wait in its backlog, so those are accepted
// first. Whoever connects at the very instant is refused or reset before it
// can have sent a request.
type listener struct {
	*net.TCPListener
	stopping atomic.Bool
	closed   chan struct{} // once nothing more will be accepted
}

func newListener(l *net.TCPListener) *listener {
	return &listener{TCPListener: l, closed: make(chan struct{})}
}

const (
	// acceptWait bounds the wait for a connection that is known to be there.
	acceptWait = 10 * time.Millisecond
	// lastAcceptsMax bounds what is accepted after stop: as much as a backlog
	// holds, so that a flood cannot keep the listener open.
	lastAcceptsMax = 4096
)

// Accept returns the next connection, or net.ErrClosed after stop. It is
// called by one goroutine.
func (l *listener) Accept() (net.Conn, error) {
	for last := 0; ; {
		if l.stopping.Load() {
			if last++; last > lastAcceptsMax || !l.waiting() {
				err := l.TCPListener.Close()
				close(l.closed)
				return nil, errors.Join(net.ErrClosed, err)
			}
			if err := l.SetDeadline(time.Now().Add(acceptWait)); err != nil {
				return nil, err
			}
		}
		c, err := l.TCPListener.Accept()
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return c, err
		}
	}
}

// waiting says whether a connection waits to be accepted.
func (l *listener) waiting() bool {
	raw, err := l.SyscallConn()
	if err != nil {
		return false
	}
	ready := 0
	err = raw.Control(func(fd uintptr) {
		ready, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	})
	return err == nil && ready > 0
}

// Close leaves the closing to Accept.
func (l *listener) Close() error {
	l.stop()
	return nil
}

// stop wakes Accept.
func (l *listener) stop() {
	l.stopping.Store(true)
	l.SetDeadline(time.Unix(1, 0)) //nolint:errcheck // Accept sees whatever is wrong with it
}
