package script

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// partTick is how often a connection's end is looked for at the other side.
const partTick = time.Millisecond

// The states of a connection whose end has been sent and not been acknowledged
// (Linux, include/net/tcp_states.h).
const (
	finWait1 = 4
	lastAck  = 9
	closing  = 11
)

// part ends a connection, and returns once the other side's kernel has seen it,
// at most partMax later: who takes a kept connection after that finds it ended.
func part(conn *net.TCPConn) {
	_ = conn.CloseWrite() // the other side may have reset it
	if raw, err := conn.SyscallConn(); err == nil {
		for began := time.Now(); unacknowledged(raw) && time.Since(began) < partMax; {
			time.Sleep(partTick)
		}
	}
	_ = conn.Close()
}

func unacknowledged(raw interface {
	Control(f func(fd uintptr)) error
}) bool {
	var state uint8
	_ = raw.Control(func(fd uintptr) { // a closed one has state 0
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.SOL_TCP, unix.TCP_INFO); err == nil {
			state = info.State
		}
	})
	return state == finWait1 || state == lastAck || state == closing
}
