package socket

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// watched is a connection's place in a Watcher.
type watched struct {
	gone atomic.Bool
	tell atomic.Pointer[func()]
}

// Gone says whether the peer has closed its side, or broken the connection,
// since the Watcher watches it.
func (c *Conn) Gone() bool { return c.watch.gone.Load() }

// OnGone has f called, once, when the peer is gone; at once when it is already.
// It is called by the Watcher's goroutine and must not wait. Another f, or nil,
// takes its place; the old one may still be running.
func (c *Conn) OnGone(f func()) {
	if f == nil {
		c.watch.tell.Store(nil)
		return
	}
	c.watch.tell.Store(&f)
	if c.watch.gone.Load() {
		c.watch.call()
	}
}

func (w *watched) call() {
	if f := w.tell.Swap(nil); f != nil {
		(*f)()
	}
}

// Watcher says of connections that their peer is gone, while nobody reads from
// them. It costs a connection one system call, and a request nothing.
type Watcher struct {
	epoll *os.File

	mu    sync.Mutex
	conns map[int32]*Conn // by number
	next  int32
}

// NewWatcher returns a watcher. Run closes it.
func NewWatcher() (*Watcher, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make an epoll instance (raise the limit of open files): %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return &Watcher{epoll: os.NewFile(uintptr(fd), "epoll"), conns: map[int32]*Conn{}}, nil
}

// Watch watches c until its peer is gone or forget is called, which must be
// before c is closed. A connection is watched once.
func (w *Watcher) Watch(c *Conn) (forget func(), err error) {
	w.mu.Lock()
	for {
		w.next++
		if _, taken := w.conns[w.next]; !taken {
			break
		}
	}
	number := w.next
	w.conns[number] = c
	w.mu.Unlock()
	forget = func() {
		w.mu.Lock()
		delete(w.conns, number)
		w.mu.Unlock()
	}
	var added error
	err = w.control(func(epoll int) {
		err := c.raw.Control(func(fd uintptr) {
			added = unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, int(fd), &unix.EpollEvent{
				Events: unix.EPOLLRDHUP | unix.EPOLLET | unix.EPOLLONESHOT, Fd: number,
			})
		})
		added = errors.Join(added, err)
	})
	if err = errors.Join(err, added); err != nil {
		forget()
		return nil, fmt.Errorf("watch a connection: %w", err)
	}
	return forget, nil
}

func (w *Watcher) control(f func(epoll int)) error {
	raw, err := w.epoll.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) { f(int(fd)) })
}

// Run watches until ctx ends, then closes the watcher and returns nil.
func (w *Watcher) Run(ctx context.Context) error {
	raw, err := w.epoll.SyscallConn()
	if err != nil {
		return errors.Join(err, w.epoll.Close())
	}
	stop := context.AfterFunc(ctx, func() { w.epoll.SetReadDeadline(past) }) //nolint:errcheck // Read ends either way
	defer stop()
	var events [64]unix.EpollEvent
	for ctx.Err() == nil {
		n := 0
		var failed error
		err = raw.Read(func(fd uintptr) bool {
			n, failed = unix.EpollWait(int(fd), events[:], 0)
			if errors.Is(failed, syscall.EINTR) {
				failed = nil
			}
			return n != 0 || failed != nil
		})
		if err = errors.Join(err, failed); err != nil {
			break
		}
		for _, e := range events[:n] {
			w.mu.Lock()
			c := w.conns[e.Fd]
			w.mu.Unlock()
			if c != nil {
				c.watch.gone.Store(true)
				c.watch.call()
			}
		}
	}
	if ctx.Err() != nil {
		err = nil
	}
	return errors.Join(err, w.epoll.Close())
}
