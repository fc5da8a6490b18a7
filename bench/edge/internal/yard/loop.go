package yard

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// eventsMax is how many events one turn takes; the rest come with the next.
const eventsMax = 512

// handler is what a descriptor's events go to.
type handler interface {
	ready(events uint32)
}

// loop is one epoll descriptor and its handlers. Descriptors are level
// triggered: one read takes a whole message as a rule, and no second one is
// needed to learn that there is no more.
type loop struct {
	epoll    int
	handlers []handler // by descriptor
	events   [eventsMax]unix.EpollEvent
	begin    time.Time
	base     int64 // CLOCK_MONOTONIC at begin, so that other processes' readings compare
}

func newLoop() (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make an epoll descriptor: %w", err)
	}
	base, err := Monotonic()
	if err != nil {
		return nil, errors.Join(err, unix.Close(epoll))
	}
	return &loop{epoll: epoll, begin: time.Now(), base: base}, nil
}

// Monotonic returns CLOCK_MONOTONIC in nanoseconds: one clock for all
// processes of the machine.
func Monotonic() (int64, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0, fmt.Errorf("read the clock: %w", err)
	}
	return ts.Nano(), nil
}

// now is Monotonic without a system call.
func (l *loop) now() int64 { return l.base + int64(time.Since(l.begin)) }

func (l *loop) add(fd int, h handler, events uint32) error {
	for len(l.handlers) <= fd {
		l.handlers = append(l.handlers, nil)
	}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}); err != nil {
		return fmt.Errorf("watch a connection: %w", err)
	}
	l.handlers[fd] = h
	return nil
}

func (l *loop) watch(fd int, events uint32) error {
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}); err != nil {
		return fmt.Errorf("watch a connection: %w", err)
	}
	return nil
}

// close closes a descriptor; the kernel takes it off the epoll descriptor.
func (l *loop) close(fd int) {
	l.handlers[fd] = nil
	_ = unix.Close(fd) // nothing is to be written
}

// turn waits for events, as long as wait and for ever when it is negative, and
// hands them out.
func (l *loop) turn(wait time.Duration) error {
	var timeout *unix.Timespec
	if wait >= 0 {
		ts := unix.NsecToTimespec(int64(wait))
		timeout = &ts
	}
	// epoll_pwait2: a wait in milliseconds would be longer than the time
	// between two requests.
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(l.epoll), uintptr(unsafe.Pointer(&l.events[0])), eventsMax,
		uintptr(unsafe.Pointer(timeout)), 0, 0)
	switch {
	case errno == unix.EINTR:
		return nil
	case errno != 0:
		return fmt.Errorf("wait for events; Linux 5.11 or newer is wanted: %w", errno)
	}
	for _, e := range l.events[:n] {
		if h := l.handlers[e.Fd]; h != nil { // else closed in this turn
			h.ready(e.Events)
		}
	}
	return nil
}

// read and write do one system call on a descriptor that does not block. They
// do not tell the scheduler: there is no other goroutine to run.
func read(fd int, p []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	return int(n), errno
}

func write(fd int, p []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	return int(n), errno
}

// connectMax bounds a connect: a listener whose queue is full drops what comes.
const connectMax = 2 * time.Second

// connect opens a connection to an IPv4 address. It blocks until the kernel at
// the other end has taken it, which on loopback is at once.
func connect(address string) (int, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return -1, fmt.Errorf("a peer's address is 127.0.0.1:PORT: %w", err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("make a socket; raise ulimit -n: %w", err)
	}
	most := unix.NsecToTimeval(int64(connectMax))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &most); err != nil {
		return -1, errors.Join(fmt.Errorf("bound the wait for a connection: %w", err), unix.Close(fd))
	}
	err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	if err == nil {
		err = errors.Join(unix.SetNonblock(fd, true), unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
	}
	if err != nil {
		return -1, errors.Join(fmt.Errorf("connect to %s: %w", address, err), unix.Close(fd))
	}
	return fd, nil
}
