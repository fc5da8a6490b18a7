package socket

import (
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// base is where instants count from.
var base = time.Now()

// past is a deadline that has been.
var past = time.Unix(1, 0)

// instant gives t in ns since base; 0 for the zero time.
func instant(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(int64(t.Sub(base)), 1)
}

func now() int64 { return int64(time.Since(base)) }

// half is one direction of a connection.
type half struct {
	interrupted atomic.Bool
	call        func(fd uintptr) bool             // made once: one a call would be garbage
	enter       func(func(fd uintptr) bool) error // calls it, and waits while it says false
	arm         func(deadline time.Time) error    // sets the runtime's deadline

	p, q   []byte
	first  []byte // to be sent before the wait of a read; nil: nothing
	sent   func() // called when it was
	wrote  int    // of first
	lender Lender
	lent   bool // p is the lender's
	ready  bool // Read does not wait, interrupted or not: what is not there is a timeout
	n      int
	err    error

	timeout time.Duration // of one wait; 0: none
	limit   int64         // the end of all waits; 0: none
	waiting int64         // the end of this wait; 0: it has not begun
	armed   int64         // the runtime's deadline; 0: none
}

// The runtime's deadline is set later than wanted, by an eighth of the timeout
// but no more than slackMax, so that it stands for many waits: setting it at
// each would cost as much as a system call.
const (
	slackShare = 8
	slackMax   = int64(time.Second)
)

// run makes one call, waiting as long as it may.
func (h *half) run() error {
	h.n, h.err = 0, nil
	for {
		h.waiting = 0
		err := h.enter(h.call)
		if err == nil {
			return h.err
		}
		if h.interrupted.Load() {
			return ErrInterrupted
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		// A deadline of an earlier wait says nothing of this one.
		over := h.waiting != 0 && h.waiting != forever && now() >= h.waiting
		h.armed = 0
		if err := h.arm(time.Time{}); err != nil {
			return err
		}
		if h.interrupted.Load() {
			return ErrInterrupted
		}
		if over {
			return os.ErrDeadlineExceeded
		}
	}
}

// forever is the end of a wait without one.
const forever = int64(1) << 62

// wait prepares to wait. It returns false when there is no time left.
func (h *half) wait() bool {
	if h.waiting != 0 {
		return true // woken for nothing
	}
	if h.interrupted.Load() {
		h.err = ErrInterrupted
		return false
	}
	if h.timeout == 0 && h.limit == 0 {
		h.waiting = forever
		if h.armed != 0 {
			h.set(0)
		}
		return h.err == nil
	}
	at := now()
	end, slack := forever, int64(0)
	if h.timeout != 0 {
		end = at + int64(h.timeout)
		slack = min(int64(h.timeout)/slackShare, slackMax)
	}
	if h.limit != 0 && h.limit < end {
		end, slack = h.limit, 0
	}
	if at >= end {
		h.err = os.ErrDeadlineExceeded
		return false
	}
	h.waiting = end
	if h.armed < end || h.armed > end+slack {
		h.set(end + slack)
	}
	return h.err == nil
}

// set sets the runtime's deadline.
func (h *half) set(at int64) {
	h.armed = at
	var t time.Time
	if at != 0 {
		t = base.Add(time.Duration(at))
	}
	if err := h.arm(t); err != nil {
		h.err = err
		return
	}
	if h.interrupted.Load() { // Interrupt's deadline may just have been overwritten
		h.err = ErrInterrupted
	}
}

// tryRead says whether the read is over.
func (h *half) tryRead(fd uintptr) bool {
	if h.lender != nil {
		h.p, h.lent = h.lender.Lend(), true
	}
	n, errno := rawRead(fd, h.p)
	for errno == syscall.EINTR {
		n, errno = rawRead(fd, h.p)
	}
	if h.first != nil {
		return h.trySend(fd, errno)
	}
	switch errno {
	case 0:
		h.n = n
		return true
	case syscall.EAGAIN:
		if h.lender != nil {
			h.p, h.lent = nil, false
			h.lender.Back()
		}
		return !h.wait()
	default:
		h.err = os.NewSyscallError("read", errno)
		return true
	}
}

// trySend sends what a read has to send first, if nothing was there to be read:
// whatever is there was not asked for. What the system does not take at once is
// for the caller.
func (h *half) trySend(fd uintptr, read syscall.Errno) bool {
	h.p, h.lent = nil, false
	h.lender.Back()
	if read != syscall.EAGAIN {
		h.err = ErrStale
		return true
	}
	n, errno := rawWrite(fd, h.first, nil)
	for errno == syscall.EINTR {
		n, errno = rawWrite(fd, h.first, nil)
	}
	switch {
	case errno == syscall.EAGAIN:
		return true
	case errno != 0:
		h.err = os.NewSyscallError("write", errno)
		return true
	}
	h.wrote = n
	if n < len(h.first) {
		return true
	}
	h.first = nil
	h.sent()
	return !h.wait()
}

// tryWrite says whether the write is over.
func (h *half) tryWrite(fd uintptr) bool {
	for {
		n, errno := rawWrite(fd, h.p, h.q)
		switch errno {
		case 0:
			h.n += n
			h.waiting = 0 // progress: the next wait has its own time
			if n >= len(h.p) {
				h.p, h.q = h.q[n-len(h.p):], nil
			} else {
				h.p = h.p[n:]
			}
			if len(h.p) == 0 {
				return true
			}
		case syscall.EAGAIN:
			return !h.wait()
		case syscall.EINTR:
		default:
			h.err = os.NewSyscallError("write", errno)
			return true
		}
	}
}

// rawRead cannot block: the descriptor does not. So the scheduler need not
// know.
func rawRead(fd uintptr, p []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return int(n), errno
}

func rawWrite(fd uintptr, p, q []byte) (int, syscall.Errno) {
	if len(q) == 0 {
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		return int(n), errno
	}
	if len(p) == 0 {
		return rawWrite(fd, q, nil)
	}
	iov := [2]syscall.Iovec{{Base: &p[0], Len: uint64(len(p))}, {Base: &q[0], Len: uint64(len(q))}}
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&iov)), 2)
	return int(n), errno
}
