package upstream

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// Look is what a connection holds unread.
type Look uint8

// The looks of a connection.
const (
	LookQuiet  Look = iota // open, nothing to read
	LookBytes              // something to read
	LookClosed             // closed by the peer, or broken
)

// Peek looks at a connection without reading from it and without waiting.
// MSG_PEEK leaves the bytes where they are; the runtime's deadlines play no
// part.
func Peek(raw syscall.RawConn) Look {
	look := LookClosed
	err := raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			look = LookQuiet
		case err == nil && n > 0:
			look = LookBytes
		}
	})
	if err != nil {
		return LookClosed
	}
	return look
}
