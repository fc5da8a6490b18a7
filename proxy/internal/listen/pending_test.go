package listen

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestAPlainConnectionIsWhatTCPSays(t *testing.T) {
	for trusted, networks := range map[bool][]netip.Prefix{true: loopback, false: {netip.MustParsePrefix("10.0.0.0/8")}} {
		r := open(t, Options{Listeners: []Config{{Address: "127.0.0.1:0"}}, Trusted: networks, Watcher: watcher(t)})
		c := r.dial(t)
		a := r.next(t)
		if a.err != nil || a.Peer.String() != c.LocalAddr().String() || a.Local.String() != r.address() ||
			a.Trusted != trusted || a.Scheme != "http" || a.Protocol != "http/1.1" || len(a.Prefix) != 0 {
			t.Fatalf("%+v", a)
		}
		gone := make(chan struct{})
		a.Link.Socket.OnGone(func() { close(gone) })
		c.Close() //nolint:errcheck // the peer goes
		select {
		case <-gone:
		case <-time.After(patience):
			t.Fatal("the watcher does not watch")
		}
	}
}

func TestTheHeaderSaysWhoTheClientIs(t *testing.T) {
	networks := append([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, loopback...)
	for name, c := range map[string]struct {
		b       []byte
		peer    string // empty: the TCP peer
		trusted bool
	}{
		"trusted":   {wire(t, 1, "192.0.2.7:5000", "10.0.0.1:443"), "192.0.2.7:5000", true},
		"untrusted": {wire(t, 2, "198.51.100.7:5000", "10.0.0.1:443"), "198.51.100.7:5000", false},
		"mapped":    {wire(t, 2, "[2001:db8::1]:1", "[2001:db8::2]:2"), "[2001:db8::1]:1", false},
		"unknown":   {[]byte("PROXY UNKNOWN\r\n"), "", false},
		"balancer":  {v2(0x20, 0, ""), "", true},
		"long":      {v2(0x20, 0, strings.Repeat("x", v2BodyMax)), "", true},
	} {
		t.Run(name, func(t *testing.T) {
			r := open(t, Options{Listeners: []Config{{Address: "127.0.0.1:0", ProxyProtocol: ProxyAny}}, Trusted: networks})
			for _, piece := range []int{1, 7, 1 << 20} {
				conn := r.dial(t)
				b := append(append([]byte{}, c.b...), "GET "...)
				for len(b) > 0 {
					n := min(piece, len(b))
					if _, err := conn.Write(b[:n]); err != nil {
						t.Fatal(err)
					}
					b = b[n:]
				}
				a := r.next(t)
				peer := c.peer
				if peer == "" {
					peer = conn.LocalAddr().String()
				}
				if a.err != nil || a.Peer.String() != peer || a.Trusted != c.trusted {
					t.Fatalf("%+v", a)
				}
				rest := make([]byte, 4-len(a.Prefix))
				for n := 0; n < len(rest); {
					m, err := a.Link.Read(rest[n:])
					if err != nil {
						t.Fatal(err)
					}
					n += m
				}
				if got := string(a.Prefix) + string(rest); got != "GET " {
					t.Fatalf("behind the header: %q", got)
				}
			}
		})
	}
}

func TestAHeaderThatMayNotBeClosesTheConnection(t *testing.T) {
	for name, c := range map[string]struct {
		trusted []netip.Prefix
		send    string
		end     bool
		reason  string
		want    error
	}{
		"untrusted peer": {[]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, "PROXY UNKNOWN\r\n", false, ReasonUntrusted, ErrUntrusted},
		"no header":      {loopback, "GET / HTTP/1.1\r\n\r\n", false, ReasonHeader, ErrHeader},
		"none in time":   {loopback, "", false, ReasonTimeout, os.ErrDeadlineExceeded},
		"half in time":   {loopback, "PROXY TCP4 1", false, ReasonTimeout, os.ErrDeadlineExceeded},
		"closed":         {loopback, "PROXY TCP4 1", true, ReasonClosed, io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			var reason atomic.Value
			r := open(t, Options{
				Listeners: []Config{{Address: "127.0.0.1:0", ProxyProtocol: ProxyV1}}, Trusted: c.trusted, Header: 50 * time.Millisecond,
				Counters: Counters{Failed: func(_, why string) { reason.Store(why) }},
			})
			conn := r.dial(t)
			io.WriteString(conn, c.send) //nolint:errcheck // may be closed already
			if c.end {
				conn.CloseWrite() //nolint:errcheck // as above
			}
			if a := r.next(t); !errors.Is(a.err, c.want) || reason.Load() != c.reason {
				t.Fatalf("%v, reason %v", a.err, reason.Load())
			}
			conn.SetReadDeadline(time.Now().Add(patience)) //nolint:errcheck // the read says it
			if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("the connection is not closed: %v", err)
			}
		})
	}
}

func TestAnInterruptEndsOpen(t *testing.T) {
	set := openOnly(t, Options{Listeners: []Config{{Address: "127.0.0.1:0", ProxyProtocol: ProxyV1}}, Trusted: loopback, Header: time.Hour})
	pending := make(chan *Pending, 1)
	ended := make(chan error, 1)
	go func() { ended <- set.Serve(func(p *Pending) { pending <- p }) }()
	c, err := net.Dial("tcp", set.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := <-pending
	go p.Interrupt()
	if _, err := p.Open(); err == nil {
		t.Error("opened without a header")
	}
	set.Stop(false)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}
