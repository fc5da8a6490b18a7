package listen

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// With TCP_DEFER_ACCEPT a handshake ends with the first byte, and not before.
func deferAccepts(t *testing.T, set *Set) {
	t.Helper()
	if err := control(set.listeners[0].socket, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.SOL_TCP, unix.TCP_DEFER_ACCEPT, 10)
	}); err != nil {
		t.Fatal(err)
	}
}

func dialSet(t *testing.T, set *Set) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", set.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestWhoIsInTheMiddleOfConnectingIsSeen(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::]:0"} {
		set, other := openOnly(t, Options{Listeners: []Config{{Address: address}}}), openOnly(t, Options{Listeners: []Config{{Address: address}}})
		deferAccepts(t, set)
		want := func(set *Set, want bool) {
			t.Helper()
			if got, err := connecting(set.listeners[0].socket); got != want || err != nil {
				t.Fatalf("%s: %v, %v; want %v", address, got, err, want)
			}
		}
		want(set, false)
		c := dialSet(t, set)
		want(set, true)
		want(other, false)
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		accepted, err := set.listeners[0].socket.Accept()
		if err != nil {
			t.Fatal(err)
		}
		accepted.Close()
		want(set, false)
		for _, s := range []*Set{set, other} {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestWhoIsInTheMiddleOfConnectingIsAcceptedBeforeTheListenerCloses(t *testing.T) {
	set := openOnly(t, Options{Listeners: []Config{{Address: "127.0.0.1:0"}}})
	deferAccepts(t, set)
	c := dialSet(t, set)
	set.Stop(false)
	time.AfterFunc(handshakeWait/5, func() { c.Write([]byte("x")) }) //nolint:errcheck // the other end says it
	accepted := 0
	if err := set.Serve(func(p *Pending) {
		accepted++
		p.Close()
	}); err != nil {
		t.Fatal(err)
	}
	if accepted != 1 {
		t.Fatalf("%d accepted", accepted)
	}
}

func TestAHandshakeThatDoesNotEndKeepsNoListenerOpen(t *testing.T) {
	set := openOnly(t, Options{Listeners: []Config{{Address: "127.0.0.1:0"}}})
	deferAccepts(t, set)
	dialSet(t, set)
	set.Stop(false)
	begun := time.Now()
	if err := set.Serve(func(*Pending) { t.Error("accepted") }); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begun); d < handshakeWait || d > patience/2 {
		t.Errorf("took %v", d)
	}
}
