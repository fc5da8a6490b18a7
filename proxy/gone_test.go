package main

import (
	"fmt"
	"io"
	"net"
	"testing"

	"drover/proxy/internal/config"
)

// eventuallyGone waits until n requests are counted as given up.
func (r *rig) eventuallyGone(n float64) {
	r.t.Helper()
	r.eventually(fmt.Sprint(n, " clients gone"), func() bool { return r.metric("drover_proxy_request_ends_total", "client_gone") == n })
}

func TestAClientThatGoesAwayFreesItsUpstreamAtOnce(t *testing.T) {
	t.Parallel()
	const sse = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
	for name, x := range map[string]struct{ request, first string }{
		"while the application thinks":    {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", ""},
		"while a stream of it is silent":  {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", sse},
		"with half a body by length":      {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf", ""},
		"with half a body by chunks":      {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", ""},
		"with half a body and the answer": {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf", sse},
	} {
		for _, how := range []string{"close", "reset"} {
			for _, over := range []string{"plain", "tls"} {
				t.Run(fmt.Sprint(name, ", ", how, ", ", over), func(t *testing.T) {
					t.Parallel()
					w := newWatched(t, x.first)
					a := newAuthority(t)
					change := upstreams("legacy", w.address)
					if over == "tls" {
						change = a.secure(change)
					}
					r := newRig(t, change)
					c := r.dial()
					if over == "tls" {
						c = newRaw(t, r.shake(a.client(false, "http/1.1")))
					}
					c.send(x.request)
					soon(t, "the request", w.begun)
					if x.first != "" {
						if _, err := c.ReadString('\n'); err != nil {
							t.Fatal(err)
						}
					}
					if how == "reset" {
						socketOf(c).SetLinger(0) //nolint:errcheck // the end tells
					}
					socketOf(c).Close() //nolint:errcheck // the point of the test
					soon(t, "the end at the application", w.ended)
					r.eventuallyNoUpstreamConnection()
					r.eventuallyGone(1)
				})
			}
		}
	}
}

func TestAClientThatGoesAwayInTheQueueLeavesIt(t *testing.T) {
	t.Parallel()
	w := newWatched(t, "")
	r := newRig(t, func(c *config.Config) {
		upstreams("legacy", w.address)(c)
		c.Limits.UpstreamConnections, c.Upstream.QueueTimeout = 1, 3*patience
	})
	first, second, third := r.dial(), r.dial(), r.dial()
	first.send("GET /first HTTP/1.1\r\nHost: h\r\n\r\n")
	soon(t, "the first request", w.begun)
	second.send("GET /second HTTP/1.1\r\nHost: h\r\n\r\n")
	r.eventually("the second waits", func() bool { return r.metric("drover_proxy_client_connections") >= 2 })
	second.Close() // the point of the test
	r.eventuallyGone(1)
	third.send("GET /third HTTP/1.1\r\nHost: h\r\n\r\n")
	first.Close() // which makes place
	soon(t, "the first request's end", w.ended)
	if got := soon(t, "the third request", w.begun); got != "GET /third HTTP/1.1\r\n" {
		t.Errorf("got %q", got)
	}
	third.Close()
	r.eventuallyGone(3)
	r.eventuallyNoUpstreamConnection()
}

func TestClientsOverTheLimitsAreClosed(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		change func(*config.Config)
		why    string
	}{
		"of all":  {func(c *config.Config) { c.Limits.Connections = 3 }, "limit"},
		"of each": {func(c *config.Config) { c.Limits.ConnectionsPerClient = 3 }, "peer_limit"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, x.change)
			ask := func(c raw) answer {
				io.WriteString(c.Conn, "GET / HTTP/1.1\r\nHost: h\r\n\r\n") //nolint:errcheck // the answer tells
				return c.response("GET")
			}
			var open []raw
			for range 3 {
				c := r.dial()
				r.want(ask(c), 200, "legacy")
				open = append(open, c)
			}
			if got := ask(r.dial()); got.err == nil {
				t.Errorf("got %v", got)
			}
			if n := r.metric("drover_proxy_refused_connections_total"); n != 1 {
				t.Errorf("%v refused", n)
			}
			open[0].Close()
			r.eventually("a place", func() bool { return ask(r.dial()).err == nil })
			r.want(ask(open[1]), 200, "legacy")
		})
	}
}

func TestAConnectionIsClosedAfterItsLastRequest(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *config.Config) { c.Limits.RequestsPerConnection = 3 })
	c := r.dial()
	for range 3 {
		c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		r.want(c.response("GET"), 200, "legacy")
	}
	mustEnd(t, c)
	if _, err := net.Dial("tcp", r.clients); err != nil {
		t.Error(err)
	}
}
