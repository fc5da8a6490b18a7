package socket

import (
	"io"
	"os"
	"sync"
	"syscall"
	"unsafe"
)

// Look is what a connection holds unread.
type Look uint8

// The looks of a connection.
const (
	LookQuiet  Look = iota // open, nothing to read
	LookBytes              // something to read
	LookClosed             // closed by the peer, or broken
)

// look is a call that never waits. The lock is there because any goroutine may
// look, and makes one of them wait no longer than a system call takes.
type look struct {
	mu   sync.Mutex
	call func(fd uintptr)
	p    []byte
	peek bool
	n    int
	err  error
	b    [1]byte
}

// Look looks at the connection without reading from it and without waiting.
func (c *Conn) Look() Look {
	n, err := c.look.run(c.raw, nil)
	switch {
	case err != nil:
		return LookClosed
	case n == 0:
		return LookQuiet
	default:
		return LookBytes
	}
}

// run reads into p, or looks when p is nil.
func (l *look) run(raw syscall.RawConn, p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.p, l.peek, l.n, l.err = p, p == nil, 0, nil
	if l.peek {
		l.p = l.b[:]
	}
	err := raw.Control(l.call)
	l.p = nil
	if err != nil {
		return 0, err
	}
	return l.n, l.err
}

func (l *look) try(fd uintptr) {
	flags := uintptr(syscall.MSG_DONTWAIT)
	if l.peek {
		flags |= syscall.MSG_PEEK
	}
	n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&l.p[0])), uintptr(len(l.p)), flags, 0, 0)
	switch {
	case errno == syscall.EAGAIN || errno == syscall.EINTR:
	case errno != 0:
		l.err = os.NewSyscallError("recvfrom", errno)
	case n == 0:
		l.err = io.EOF
	default:
		l.n = int(n)
	}
}
