package listen

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// A listener that closes resets who has connected and is not accepted yet, and
// who is in the middle of the handshake. So, before it closes, the kernel is
// told to overlook who only begins to connect: such a client tries again by
// itself, and finds the next process, or nobody. Those in the middle come
// through, and are accepted.

// tcpFlags is where a TCP header has its flags; a client that begins to connect
// sends SYN without ACK.
const (
	tcpFlags = 13
	tcpSYN   = 0x02
	tcpACK   = 0x10
	passAll  = 0xffffffff
)

// overlook makes the kernel drop every SYN to a listening socket. Established
// connections inherit the filter, and see no SYN.
func overlook(l acceptor) error {
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: tcpFlags},
		{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: tcpSYN | tcpACK},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 1, K: tcpSYN},
		{Code: unix.BPF_RET | unix.BPF_K, K: passAll},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	return control(l, func(fd int) error {
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	})
}

func control(l syscall.Conn, do func(fd int) error) error {
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = do(int(fd)) }); err != nil {
		return err
	}
	return failed
}
