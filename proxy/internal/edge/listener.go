package edge

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// listener closes without losing who has connected already: closing a listener
// resets the connections that wait in its backlog, so those are accepted first.
type listener struct {
	*net.TCPListener
	stopping atomic.Bool
}

// backlogWait is how long the backlog must have been empty.
const backlogWait = 10 * time.Millisecond

// Accept returns the next connection, or net.ErrClosed after stop.
func (l *listener) Accept() (net.Conn, error) {
	for {
		if l.stopping.Load() {
			if err := l.SetDeadline(time.Now().Add(backlogWait)); err != nil {
				return nil, err
			}
		}
		c, err := l.TCPListener.Accept()
		if err == nil {
			return c, nil
		}
		if l.stopping.Load() && errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, errors.Join(net.ErrClosed, l.TCPListener.Close())
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, err
		}
	}
}

// Close leaves the closing to Accept.
func (l *listener) Close() error {
	l.stop()
	return nil
}

func (l *listener) stop() {
	l.stopping.Store(true)
	l.SetDeadline(time.Now().Add(backlogWait)) //nolint:errcheck // Accept sets it again, and sees the error
}
