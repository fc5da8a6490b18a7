package listen

import (
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestWhoBeginsToConnectWhileAListenerClosesFindsTheNextOne(t *testing.T) {
	first := openOnly(t, Options{Listeners: []Config{{Address: "127.0.0.1:0"}}, ReusePort: true})
	early, err := net.Dial("tcp", first.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	accepted, err := first.listeners[0].socket.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	if err := overlook(first.listeners[0].socket); errors.Is(err, unix.EPERM) {
		// Not every kernel lets every user: then who begins to connect may be
		// reset, and who has connected is untouched all the same.
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		untouched(t, accepted, early)
		return
	} else if err != nil {
		t.Fatal(err)
	}
	late := connectNow(t, first.Addrs()[0].(*net.TCPAddr).Port)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := open(t, Options{Listeners: []Config{{Address: first.Addrs()[0].String()}}, ReusePort: true})
	if a := second.next(t); a.err != nil || int(a.Peer.Port()) != late {
		t.Fatalf("from port %d: %+v", late, a)
	}
	untouched(t, accepted, early)
}

// untouched checks that a connection outlived its listener, and its filter.
func untouched(t *testing.T, accepted, early net.Conn) {
	t.Helper()
	if _, err := accepted.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	early.SetDeadline(time.Now().Add(patience)) //nolint:errcheck // the read says it
	if n, err := early.Read(make([]byte, 2)); n != 1 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
}

// connectNow begins to connect: its SYN is sent, and has come, when it returns.
// It gives the port that it connects from.
func connectNow(t *testing.T, port int) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) }) //nolint:errcheck // the test's end
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); !errors.Is(err, unix.EINPROGRESS) {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return name.(*unix.SockaddrInet4).Port
}
