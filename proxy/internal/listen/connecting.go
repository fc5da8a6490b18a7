package listen

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// The kernel is asked over netlink (sock_diag(7)) for the connections to a port
// that are in the middle of the handshake.
const (
	diagByFamily  = 20 // SOCK_DIAG_BY_FAMILY
	diagLength    = unix.SizeofNlMsghdr + 56
	diagSynRecv   = 1 << 3
	diagWait      = 1 // s, for the kernel's answer: it comes at once
	diagAnswerMax = 32 << 10
)

// connecting says whether somebody is in the middle of connecting.
func connecting(l net.Listener) (bool, error) {
	tcp, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return false, fmt.Errorf("%v is no TCP address", l.Addr())
	}
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		if some, err := handshakes(family, tcp.Port); some || err != nil {
			return some, err
		}
	}
	return false, nil
}

func handshakes(family byte, port int) (some bool, err error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return false, fmt.Errorf("ask the kernel for handshakes: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: diagWait}); err != nil {
		return false, fmt.Errorf("ask the kernel for handshakes: %w", err)
	}
	if err := unix.Sendto(fd, diagRequest(family, port), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return false, fmt.Errorf("ask the kernel for handshakes: %w", err)
	}
	for answer := make([]byte, diagAnswerMax); ; {
		n, _, err := unix.Recvfrom(fd, answer, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return some, fmt.Errorf("ask the kernel for handshakes: %w", err)
		}
		for b := answer[:n]; len(b) >= unix.SizeofNlMsghdr; {
			length, kind := int(binary.NativeEndian.Uint32(b)), binary.NativeEndian.Uint16(b[4:])
			switch kind {
			case diagByFamily:
				some = true
			case unix.NLMSG_DONE:
				return some, nil
			case unix.NLMSG_ERROR:
				return some, errors.New("ask the kernel for handshakes: it does not say")
			}
			if length < unix.SizeofNlMsghdr {
				break
			}
			b = b[min((length+3)&^3, len(b)):]
		}
	}
}

// diagRequest is a struct inet_diag_req_v2 behind its header.
func diagRequest(family byte, port int) []byte {
	b := make([]byte, diagLength)
	binary.NativeEndian.PutUint32(b, diagLength)
	binary.NativeEndian.PutUint16(b[4:], diagByFamily)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	b[16], b[17] = family, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(b[20:], diagSynRecv)
	binary.BigEndian.PutUint16(b[24:], uint16(port)) //nolint:gosec // a port
	return b
}
