package listen

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"drover/proxy/internal/socket"
)

// acceptor is a *net.TCPListener.
type acceptor interface {
	net.Listener
	AcceptTCP() (*net.TCPConn, error)
	SetDeadline(t time.Time) error
	SyscallConn() (syscall.RawConn, error)
}

// listener is one listening socket. It closes without losing who has connected
// already: see silence.go.
type listener struct {
	set    *Set
	config Config
	keeper *keeper // nil: plain
	socket acceptor

	state    atomic.Int32
	stopping chan struct{} // closed when state is no longer accepting
}

// The states of a listener.
const (
	accepting int32 = iota
	emptying        // accepts who is connecting, then closes
	leaving         // closes: another process has the socket
)

const (
	// handshakeWait bounds the wait for those who are in the middle of connecting,
	// once nobody new can begin: a round trip to a far client.
	handshakeWait = 300 * time.Millisecond
	// acceptWait is how often it is looked whether somebody is.
	acceptWait = 2 * time.Millisecond
	// lastAcceptsMax bounds what is accepted after that: as much as a backlog
	// holds, so that a flood cannot keep the listener open.
	lastAcceptsMax = 4096
	// The wait after an accept that failed, doubled each time.
	backoffMin = 5 * time.Millisecond
	backoffMax = time.Second
	// warnEvery bounds how often that is said.
	warnEvery = 10 * time.Second
)

func (l *listener) end(handedOver bool) {
	next := emptying
	if handedOver {
		next = leaving
	}
	// The state first: the loop looks at it when the deadline wakes it.
	l.state.Store(next)
	close(l.stopping)
	l.socket.SetDeadline(time.Unix(1, 0)) //nolint:errcheck // the loop sees whatever is wrong with it
}

// loop accepts until the end, and closes the socket.
func (l *listener) loop(serve func(*Pending)) error {
	var backoff time.Duration
	var warned time.Time
	for l.state.Load() == accepting {
		tcp, err := l.socket.AcceptTCP()
		switch {
		case err == nil:
			backoff = 0
			l.hand(tcp, serve)
		case errors.Is(err, os.ErrDeadlineExceeded):
		case errors.Is(err, net.ErrClosed):
			return err
		default:
			backoff = min(max(2*backoff, backoffMin), backoffMax)
			l.set.options.Counters.AcceptError(l.config.Address)
			if time.Since(warned) > warnEvery {
				warned = time.Now()
				l.set.options.Log.Warn("cannot accept, trying again (raise the limit of open files if that is why)",
					zap.String("listener", l.config.Address), zap.Error(err))
			}
			l.pause(backoff)
		}
	}
	var err error
	if l.state.Load() == emptying {
		err = l.empty(serve)
	}
	return errors.Join(err, l.socket.Close())
}

// empty accepts who has connected, or is in the middle of it.
func (l *listener) empty(serve func(*Pending)) error {
	if err := overlook(l.socket); err != nil {
		l.set.options.Log.Warn("clients that connect at this instant may be reset: new ones cannot be kept away",
			zap.String("listener", l.config.Address), zap.Error(err))
	}
	end := time.Now().Add(handshakeWait)
	for range lastAcceptsMax {
		if err := l.socket.SetDeadline(time.Now().Add(acceptWait)); err != nil {
			return err
		}
		tcp, err := l.socket.AcceptTCP()
		switch {
		case err == nil:
			l.hand(tcp, serve)
		case !errors.Is(err, os.ErrDeadlineExceeded): // short of something
			time.Sleep(backoffMin)
			if time.Now().After(end) {
				return nil
			}
		case l.emptied(end):
			return nil
		}
	}
	return nil
}

// emptied says whether nobody waits, and nobody is in the middle of connecting
// or it has been waited for long enough. In this order: who has connected in
// between is seen.
func (l *listener) emptied(end time.Time) bool {
	if some, err := connecting(l.socket); some || err != nil {
		if time.Now().Before(end) {
			return false
		}
	}
	return !l.waiting()
}

func (l *listener) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.stopping:
	}
}

func (l *listener) hand(tcp *net.TCPConn, serve func(*Pending)) {
	l.set.options.Counters.Accepted(l.config.Address)
	c, err := socket.New(tcp)
	if err != nil {
		tcp.Close() //nolint:errcheck // broken already
		return
	}
	serve(&Pending{listener: l, socket: c})
}

// waiting says whether a connection waits to be accepted.
func (l *listener) waiting() bool {
	ready := 0
	err := control(l.socket, func(fd int) (err error) {
		ready, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return err
	})
	return err == nil && ready > 0
}
