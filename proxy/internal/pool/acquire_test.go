package pool

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

func TestTheConnectionUsedLastIsUsedNext(t *testing.T) {
	s := newServer(t, "127.0.0.1:0", echo)
	_, p := newPoolOf(t, testSettings(), Datacenter{Upstreams: []string{s.address()}})
	h := p.Pick(nil)
	a, b := acquire(t, h, false), acquire(t, h, false)
	if a.Reused || b.Reused || a.Requests != 1 || a.Host != h {
		t.Errorf("new connections: %+v, %+v", a, b)
	}
	talk(t, a)
	h.Release(a)
	h.Release(b)
	if c := acquire(t, h, false); c != b || !c.Reused || c.Requests != 2 {
		t.Errorf("not the one used last: %+v", c)
	}
	if c := acquire(t, h, false); c != a {
		t.Errorf("not the one left: %+v", c)
	}
	talk(t, a)
}

func TestAConnectionTheHostHasClosedIsNotUsed(t *testing.T) {
	s := newServer(t, "127.0.0.1:0", echo)
	r, p := newPoolOf(t, testSettings(), Datacenter{Upstreams: []string{s.address()}})
	h := p.Pick(nil)
	a, b := acquire(t, h, false), acquire(t, h, false)
	h.Release(a)
	h.Release(b)
	for range 2 {
		(<-s.accepted).Close()
	}
	until(t, "the closes have come", func() bool { return a.Look() != 0 && b.Look() != 0 })
	c := acquire(t, h, false)
	if c == a || c == b || c.Reused {
		t.Fatal("a closed connection was handed out")
	}
	talk(t, c)
	if n := h.opened(); n != 1 {
		t.Errorf("%d places taken, want 1", n)
	}
	if v, _ := r.sample(t, "drover_proxy_upstream_connections", "east"); v != 1 {
		t.Errorf("the gauge says %v connections", v)
	}
}

func TestAConnectionWithBytesNobodyAskedForIsNotUsed(t *testing.T) {
	s := newServer(t, "127.0.0.1:0", echo)
	_, p := newPoolOf(t, testSettings(), Datacenter{Upstreams: []string{s.address()}})
	h := p.Pick(nil)
	a := acquire(t, h, false)
	h.Release(a)
	if _, err := (<-s.accepted).Write([]byte("HTTP/1.1 200 OK\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	until(t, "the bytes have come", func() bool { return a.Look() != 0 })
	if c := acquire(t, h, false); c == a {
		t.Error("it was handed out")
	}
}

func TestFreshIsANewConnectionAndTheOldestIdleOneMakesPlace(t *testing.T) {
	s := newServer(t, "127.0.0.1:0", echo)
	settings := testSettings()
	settings.ConnectionsMax = 2
	_, p := newPoolOf(t, settings, Datacenter{Upstreams: []string{s.address()}})
	h := p.Pick(nil)
	a, b := acquire(t, h, false), acquire(t, h, false)
	h.Release(a)
	h.Release(b)
	c := acquire(t, h, true)
	if c == a || c == b || c.Reused {
		t.Error("not a new one")
	}
	if n := h.opened(); n != 2 {
		t.Errorf("%d are open, want 2", n)
	}
	if d := acquire(t, h, false); d != b {
		t.Error("the one used last made place, not the oldest")
	}
}

func TestAnIdleConnectionIsClosedAfterKeepAlive(t *testing.T) {
	s := newServer(t, "127.0.0.1:0", echo)
	settings := testSettings()
	settings.KeepAlive = 40 * time.Millisecond
	r, p := newPoolOf(t, settings, Datacenter{Upstreams: []string{s.address()}})
	h := p.Pick(nil)
	c := acquire(t, h, false)
	r.run(t)
	h.Release(c)
	until(t, "it is closed", func() bool { open, _, _ := s.counts(); return open == 0 && h.opened() == 0 })
}

func TestAConnectionIdleForTooLongIsNotUsedEvenWhenNobodySweeps(t *testing.T) {
	s := newServer(t, "127.0.0.1:0", echo)
	r, p := newPoolOf(t, testSettings(), Datacenter{Upstreams: []string{s.address()}})
	now := time.Now()
	r.clock = func() int64 { return r.instant(now) }
	h := p.Pick(nil)
	a := acquire(t, h, false)
	h.Release(a)
	now = now.Add(long - 1)
	if b := acquire(t, h, false); b != a {
		t.Error("one within keep-alive was not used")
	}
	h.Release(a)
	now = now.Add(long)
	if b := acquire(t, h, false); b == a {
		t.Error("one past keep-alive was used")
	}
}

func TestAKeepAliveOfNothingKeepsNoConnection(t *testing.T) {
	s := newServer(t, "127.0.0.1:0", echo)
	settings := testSettings()
	settings.KeepAlive = 0
	_, p := newPoolOf(t, settings, Datacenter{Upstreams: []string{s.address()}})
	h := p.Pick(nil)
	h.Release(acquire(t, h, false))
	if n := h.opened(); n != 0 {
		t.Errorf("%d are open", n)
	}
}

func TestAConnectionThatCannotBeMadeIsAConnectErrorAndFreesItsPlace(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	settings := testSettings()
	settings.ConnectionsMax = 1
	_, p := newPoolOf(t, settings, Datacenter{Upstreams: []string{address}})
	h := p.Pick(nil)
	for range 3 {
		_, err := h.Acquire(nil, time.Time{}, false)
		if failed := wantConnectError(t, err); failed.Address != address || failed.Limit {
			t.Errorf("got %+v", failed)
		}
	}
	if n := h.opened(); n != 0 {
		t.Errorf("%d places are taken", n)
	}
}

// deaf returns the address of a server that never answers, so that a
// handshake with it hangs.
func deaf(t *testing.T) string {
	t.Helper()
	return newServer(t, "127.0.0.1:0", func(c net.Conn) {
		io.Copy(io.Discard, c) //nolint:errcheck // ends with the connection
	}).address()
}

func TestARequestsOwnLimitIsNotTheHostsFailure(t *testing.T) {
	_, p := newPoolOf(t, testSettings(), Datacenter{Upstreams: []string{deaf(t)}, TLS: &TLS{InsecureSkipVerify: true}})
	h := p.Pick(nil)
	_, err := h.Acquire(nil, time.Now().Add(20*time.Millisecond), false)
	if failed := wantConnectError(t, err); !failed.Limit {
		t.Errorf("got %+v", failed)
	}
	if n := h.opened(); n != 0 {
		t.Errorf("%d places are taken", n)
	}
}

func TestAClientThatLeavesEndsTheConnect(t *testing.T) {
	_, p := newPoolOf(t, testSettings(), Datacenter{Upstreams: []string{deaf(t)}, TLS: &TLS{InsecureSkipVerify: true}})
	h := p.Pick(nil)
	c := &client{}
	result := make(chan error, 1)
	go func() {
		_, err := h.Acquire(c, time.Time{}, false)
		result <- err
	}()
	until(t, "it connects", c.listening)
	c.leave()
	if err := <-result; !errors.Is(err, ErrGone) {
		t.Errorf("got %v", err)
	}
	if n := h.opened(); n != 0 {
		t.Errorf("%d places are taken", n)
	}
}

func TestAConnectListensToTheClientNoLongerThanItLasts(t *testing.T) {
	s := newServer(t, "127.0.0.1:0", echo)
	_, p := newPoolOf(t, testSettings(), Datacenter{Upstreams: []string{s.address()}})
	who := &client{}
	if _, err := p.Pick(nil).Acquire(who, time.Time{}, false); err != nil || who.listening() {
		t.Errorf("%v, listening %v", err, who.listening())
	}
}

func TestEveryConnectionIsClosedAtTheEndThoseInUseWhenTheyComeBack(t *testing.T) {
	s := newServer(t, "127.0.0.1:0", echo)
	r, p := newPoolOf(t, testSettings(), Datacenter{Upstreams: []string{s.address()}})
	h := p.Pick(nil)
	a, b := acquire(t, h, false), acquire(t, h, false)
	until(t, "both are accepted", func() bool { open, _, _ := s.counts(); return open == 2 })
	stop := r.run(t)
	h.Release(a)
	stop()
	until(t, "the idle one is closed", func() bool { open, _, _ := s.counts(); return open == 1 })
	talk(t, b)
	h.Release(b)
	until(t, "the other is closed", func() bool { open, _, _ := s.counts(); return open == 0 })
	if v, _ := r.sample(t, "drover_proxy_upstream_connections", "east"); v != 0 {
		t.Errorf("the gauge says %v connections", v)
	}
}
