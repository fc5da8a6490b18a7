package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"drover/proxy/internal/config"
)

const switchRequest = "GET /chat HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: abc\r\n\r\n"

const switchAnswer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: xyz\r\n\r\n"

// far is the application's end of a tunnel.
type far struct {
	*net.TCPConn
	*bufio.Reader
	head *http.Request
}

func (f far) Read(p []byte) (int, error) { return f.Reader.Read(p) }

func (f far) WriteTo(w io.Writer) (int64, error) { return f.Reader.WriteTo(w) }

// switching is an upstream that switches protocols, and gives its ends of the
// tunnels. Rest is what it sends right behind its answer.
func switching(t *testing.T, rest string) (string, <-chan far) {
	ends := make(chan far, 16)
	address := bare(t, func(c net.Conn, r *bufio.Reader) {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		io.WriteString(c, switchAnswer+rest) //nolint:errcheck // the client tells
		ends <- far{c.(*net.TCPConn), r, req}
		<-t.Context().Done()
	})
	return address, ends
}

// begun is a tunnel whose client has read the answer's head.
func (c raw) begun() {
	c.t.Helper()
	head := ""
	for !strings.HasSuffix(head, "\r\n\r\n") {
		line, err := c.ReadString('\n')
		if err != nil {
			c.t.Fatalf("after %q: %v", head, err)
		}
		head += line
	}
	for _, line := range []string{"HTTP/1.1 101 Switching Protocols\r\n", "\r\nConnection: Upgrade\r\n", "\r\nUpgrade: websocket\r\n", "\r\nSec-WebSocket-Accept: xyz\r\n"} {
		if strings.Count(head, line) != 1 {
			c.t.Errorf("head %q", head)
		}
	}
}

func mustRead(t *testing.T, r io.Reader, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(r, b); err != nil || string(b) != want {
		t.Fatalf("got %q, %v, want %q", b, err, want)
	}
}

func mustWrite(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
}

func mustEnd(t *testing.T, r io.Reader) {
	t.Helper()
	if b, err := io.ReadAll(r); len(b) != 0 || err != nil {
		t.Fatalf("got %q, %v, want the end", b, err)
	}
}

// keptLong keeps idle upstream connections for longer than any test waits.
func keptLong(address string) func(*config.Config) {
	return func(c *config.Config) {
		upstreams("legacy", address)(c)
		c.Timeouts.UpstreamKeepAlive = 3 * patience
	}
}

// tunnels runs f on a tunnel in the clear, and on one over TLS.
func tunnels(t *testing.T, change func(*config.Config), f func(t *testing.T, r *rig, c raw, o far)) {
	for _, over := range []string{"plain", "tls"} {
		t.Run(over, func(t *testing.T) {
			t.Parallel()
			address, ends := switching(t, "")
			with := func(c *config.Config) {
				keptLong(address)(c)
				if change != nil {
					change(c)
				}
			}
			var r *rig
			var c raw
			if over == "tls" {
				a := newAuthority(t)
				r = newRig(t, a.secure(with))
				conn := r.shake(a.client(false, "http/1.1"))
				conn.SetDeadline(time.Now().Add(patience)) //nolint:errcheck // a test's
				c = newRaw(t, conn)
			} else {
				r = newRig(t, with)
				c = r.dial()
			}
			c.send(switchRequest)
			o := soon(t, "the request", ends)
			c.begun()
			f(t, r, c, o)
			c.Close()
			o.Close() //nolint:errcheck // a test's
			if r.done == nil {
				return // it was stopped, so its metrics are
			}
			r.eventually("the tunnel has ended", func() bool { return r.metric("drover_proxy_tunnels") == 0 })
			r.eventuallyNoUpstreamConnection()
		})
	}
}

func TestATunnelPassesBytesBothWays(t *testing.T) {
	t.Parallel()
	tunnels(t, nil, func(t *testing.T, r *rig, c raw, o far) {
		if o.head.Header.Get("Upgrade") != "websocket" || o.head.Header.Get("Connection") != "Upgrade" || o.head.Header.Get("Sec-WebSocket-Key") != "abc" {
			t.Errorf("the application got %v", o.head.Header)
		}
		for range 3 {
			c.send("up\x00\xff\r\n")
			mustRead(t, o, "up\x00\xff\r\n")
			mustWrite(t, o, "down\x00")
			mustRead(t, c, "down\x00")
		}
		if n := r.metric("drover_proxy_tunnels"); n != 1 {
			t.Errorf("%v tunnels", n)
		}
		long := strings.Repeat("0123456789abcdef", 1<<16)
		failed := make(chan error, 1)
		go func() {
			_, err := io.WriteString(o, long)
			failed <- err
		}()
		mustRead(t, c, long)
		if err := <-failed; err != nil {
			t.Error(err)
		}
	})
}

func TestBytesRightBehindTheHeadsPassThroughATunnel(t *testing.T) {
	t.Parallel()
	address, ends := switching(t, "early down")
	r := newRig(t, upstreams("legacy", address))
	c := r.dial()
	c.send(switchRequest + "early up")
	o := soon(t, "the request", ends)
	c.begun()
	mustRead(t, c, "early down")
	mustRead(t, o, "early up")
	o.Close() //nolint:errcheck // a test's
	mustEnd(t, c)
}

func TestAHalfCloseByTheClientPassesAndTheOtherWayGoesOn(t *testing.T) {
	t.Parallel()
	tunnels(t, nil, func(t *testing.T, _ *rig, c raw, o far) {
		c.send("last")
		if err := c.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		mustRead(t, o, "last")
		mustEnd(t, o)
		mustWrite(t, o, "answer")
		mustRead(t, c, "answer")
		o.Close() //nolint:errcheck // the point of the test
		mustEnd(t, c)
	})
}

func TestAHalfCloseByTheApplicationPassesAndTheOtherWayGoesOn(t *testing.T) {
	t.Parallel()
	tunnels(t, nil, func(t *testing.T, _ *rig, c raw, o far) {
		mustWrite(t, o, "last")
		if err := o.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		mustRead(t, c, "last")
		mustEnd(t, c)
		c.send("answer")
		mustRead(t, o, "answer")
		c.Close() // the point of the test
		mustEnd(t, o)
	})
}

// socketOf returns the TCP connection below TLS.
func socketOf(c raw) *net.TCPConn {
	if below, ok := c.Conn.(interface{ NetConn() net.Conn }); ok {
		return below.NetConn().(*net.TCPConn)
	}
	return c.Conn.(*net.TCPConn)
}

func TestAClientThatResetsATunnelClosesTheApplicationsConnection(t *testing.T) {
	t.Parallel()
	tunnels(t, nil, func(t *testing.T, _ *rig, c raw, o far) {
		below := socketOf(c)
		below.SetLinger(0)     //nolint:errcheck // the end tells
		below.Close()          //nolint:errcheck // the point of the test
		io.Copy(io.Discard, o) //nolint:errcheck // until the end, or the deadline
		if _, err := o.TCPConn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Errorf("got %v", err)
		}
	})
}

func TestAnApplicationThatResetsATunnelClosesTheClientsConnection(t *testing.T) {
	t.Parallel()
	tunnels(t, nil, func(t *testing.T, _ *rig, c raw, o far) {
		o.SetLinger(0) //nolint:errcheck // the end tells
		o.Close()      //nolint:errcheck // the point of the test
		if _, err := c.Conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Errorf("got %v", err)
		}
	})
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func TestATunnelWithOneSilentDirectionStaysAndAnIdleOneEnds(t *testing.T) {
	t.Parallel()
	const idle = 500 * time.Millisecond
	tunnels(t, func(c *config.Config) { c.Timeouts.Tunnel = idle }, func(t *testing.T, _ *rig, c raw, o far) {
		for begun := time.Now(); time.Since(begun) < 2*idle; {
			mustWrite(t, o, "tick")
			mustRead(t, c, "tick")
			time.Sleep(idle / 50) // the pace: with a machine that stands still for an idle time this fails
		}
		quiet := time.Now()
		if _, err := c.Conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Errorf("got %v", err)
		}
		if d := time.Since(quiet); d < idle/2 {
			t.Errorf("ended after %s", d)
		}
	})
}

func TestARefusedUpgradeIsAnOrdinaryAnswer(t *testing.T) {
	t.Parallel()
	for _, status := range []string{"200 OK", "403 Forbidden"} {
		r := newRig(t, upstreams("legacy", bare(t, func(c net.Conn, r *bufio.Reader) {
			for {
				if _, _, err := takeRequest(r); err != nil {
					return
				}
				io.WriteString(c, "HTTP/1.1 "+status+"\r\nContent-Length: 2\r\n\r\nno") //nolint:errcheck // a test's
			}
		})))
		c := r.dial()
		for range 2 { // the connection goes on
			c.send(switchRequest)
			if got := c.response("GET"); got.body != "no" || status != fmt.Sprint(got.status, " ", http.StatusText(got.status)) {
				t.Errorf("%s: got %v", status, got)
			}
		}
		if n := r.metric("drover_proxy_upstream_connections"); n != 1 {
			t.Errorf("%v upstream connections", n)
		}
	}
}

func TestA101ThatNobodyAskedForIsNoTunnel(t *testing.T) {
	t.Parallel()
	address, _ := switching(t, "")
	r := newRig(t, upstreams("legacy", address))
	if got := r.get("ann"); got.status != 502 {
		t.Errorf("got %v", got)
	}
	r.eventuallyNoUpstreamConnection()
}

func TestAnUpgradeToH2CIsNotPassedOn(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.apps[legacy].handle(func(w http.ResponseWriter, req *http.Request) {
		io.WriteString(w, strings.Join([]string{req.Header.Get("Upgrade"), req.Header.Get("Connection"), req.Header.Get("Http2-Settings")}, "")) //nolint:errcheck // a test's
	})
	for _, protocol := range []string{"h2c", "websocket, h2c", "H2C"} {
		c := r.dial()
		c.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: " + protocol + "\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n")
		r.want(c.response("GET"), 200, "")
	}
}

func TestADrainEndsTunnelsWhenItsTimeIsUp(t *testing.T) {
	t.Parallel()
	const timeout = 300 * time.Millisecond
	tunnels(t, func(c *config.Config) { c.Drain = config.Drain{Idle: time.Millisecond, Timeout: timeout} }, func(t *testing.T, r *rig, c raw, o far) {
		begun := time.Now()
		ended := make(chan error, 1)
		go func() { ended <- r.stop() }()
		pings := 0
		for ; ; pings++ {
			if _, err := io.WriteString(c.Conn, "ping"); err != nil {
				break
			}
			if _, err := io.ReadFull(o, make([]byte, len("ping"))); err != nil {
				break
			}
			time.Sleep(timeout / 10) // the pace; no result depends on it
		}
		if d := time.Since(begun); pings == 0 || d < timeout || d > patience/2 {
			t.Errorf("the tunnel carried %d pings, and ended after %s", pings, d)
		}
		if err := soon(t, "the drain's end", ended); err != nil {
			t.Error(err)
		}
		if _, err := c.Conn.Read(make([]byte, 1)); err == nil || isTimeout(err) || errors.Is(err, syscall.EINVAL) {
			t.Errorf("got %v", err)
		}
	})
}

func TestATunnelsConnectionNeverCarriesAnotherRequest(t *testing.T) {
	t.Parallel()
	address, ends := switching(t, "")
	r := newRig(t, keptLong(address))
	for range 3 {
		c := r.dial()
		c.send(switchRequest)
		o := soon(t, "the request, on a connection of its own", ends)
		c.begun()
		socketOf(c).SetLinger(0) //nolint:errcheck // the end tells
		c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		stop := context.AfterFunc(ctx, func() { o.Close() }) //nolint:errcheck // a test's
		io.Copy(io.Discard, o)                               //nolint:errcheck // until its end
		if !stop() {
			t.Error("the application's connection stays open")
		}
		cancel()
	}
}
