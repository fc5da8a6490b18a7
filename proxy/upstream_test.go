package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"drover/proxy/internal/config"
)

// bare is an upstream that writes bytes: serve is called for each connection.
func bare(t *testing.T, serve func(c net.Conn, r *bufio.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	t.Cleanup(func() {
		l.Close() //nolint:errcheck // a test's
		conns.Wait()
	})
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(patience)) //nolint:errcheck // a test's
				serve(c, bufio.NewReader(c))
			})
		}
	})
	return l.Addr().String()
}

func upstreams(dc string, addresses ...string) func(*config.Config) {
	return func(c *config.Config) {
		d := c.Datacenters[dc]
		d.Upstreams = addresses
		c.Datacenters[dc] = d
	}
}

// takeRequest reads one request, its body too.
func takeRequest(r *bufio.Reader) (*http.Request, string, error) {
	req, err := http.ReadRequest(r)
	if err != nil {
		return nil, "", err
	}
	body, err := io.ReadAll(req.Body)
	return req, string(body), err
}

func TestPostOnStaleConnectionIsNotLost(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{}, 100)
	address := bare(t, func(c net.Conn, r *bufio.Reader) {
		_, body, err := takeRequest(r)
		if err != nil {
			return
		}
		// Keep-alive by its head, and closed all the same.
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		c.Close() // the point of the test
		closed <- struct{}{}
	})
	r := newRig(t, upstreams("legacy", address))
	for i := range 50 {
		body := fmt.Sprint("body ", i)
		r.want(r.do("POST", "/", "ann", strings.NewReader(body)), 200, body)
		<-closed
	}
	if got := r.metric("drover_proxy_upstream_errors_total"); got != 0 {
		t.Errorf("%v errors", got)
	}
}

func TestUpstreamConnectionsAreUsedAgain(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	conns := 0
	address := bare(t, func(c net.Conn, r *bufio.Reader) {
		mu.Lock()
		conns++
		mu.Unlock()
		for {
			if _, _, err := takeRequest(r); err != nil {
				return
			}
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	r := newRig(t, upstreams("legacy", address))
	for range 20 {
		r.want(r.do("POST", "/", "ann", strings.NewReader("x")), 200, "ok")
	}
	mu.Lock()
	defer mu.Unlock()
	if conns != 1 {
		t.Errorf("%d connections for 20 requests", conns)
	}
}

func TestTruncatedUpstreamAnswerIsTruncatedForTheClient(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"by length": "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
		"by chunks": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
		"mid chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, upstreams("legacy", bare(t, func(c net.Conn, r *bufio.Reader) {
				if _, _, err := takeRequest(r); err == nil {
					io.WriteString(c, answer) //nolint:errcheck // a test's
				}
			})))
			c := r.dial()
			c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			got := c.response("GET")
			if got.err == nil || got.status != 200 || got.body != "abc" {
				t.Fatalf("got %v, want a broken-off body", got)
			}
			if _, err := c.ReadByte(); err == nil {
				t.Error("something follows the broken-off answer")
			}
			r.eventually("the passport", func() bool { return strings.Contains(r.out.String(), `"end":"truncated"`) })
		})
	}
}

func TestWhatCannotBeReachedOrMakesNoSenseIs502(t *testing.T) {
	t.Parallel()
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close() //nolint:errcheck // nobody listens there now
	for name, c := range map[string]struct {
		address, answer, kind string
		posts                 int // how often a POST was sent
	}{
		"nobody listens":    {dead.Addr().String(), "", "connect", 0},
		"closed at once":    {"", "", "sent", 1},
		"no HTTP":           {"", "SSH-2.0-x\r\n\r\n", "malformed", 1},
		"two lengths":       {"", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "malformed", 1},
		"switches protocol": {"", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "malformed", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			posts := 0
			address := c.address
			if address == "" {
				address = bare(t, func(conn net.Conn, r *bufio.Reader) {
					if _, _, err := takeRequest(r); err == nil {
						mu.Lock()
						posts++
						mu.Unlock()
						io.WriteString(conn, c.answer) //nolint:errcheck // a test's
					}
				})
			}
			r := newRig(t, upstreams("legacy", address))
			got := r.do("POST", "/", "ann", strings.NewReader("body"))
			if got.status != 502 || !strings.Contains(got.body, `"error"`) || !strings.Contains(got.body, `"remedy"`) {
				t.Fatalf("got %v", got)
			}
			mu.Lock()
			defer mu.Unlock()
			if posts != c.posts {
				t.Errorf("a POST was sent %d times", posts)
			}
			if r.metric("drover_proxy_upstream_errors_total", `kind="`+c.kind+`"`) == 0 {
				t.Errorf("no error of kind %s counted", c.kind)
			}
		})
	}
}

func TestAnAnswerThatDoesNotComeIs504AndNotAskedForAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *config.Config) { c.Timeouts.FirstByte = 50 * time.Millisecond })
	release := make(chan struct{})
	r.apps[legacy].handle(func(http.ResponseWriter, *http.Request) { <-release })
	got := r.get("ann")
	close(release)
	if got.status != 504 || r.apps[legacy].served.Load() != 1 {
		t.Fatalf("got %v after %d tries", got, r.apps[legacy].served.Load())
	}
}

func TestAGetIsTriedOnceMoreAndAPostIsNot(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	seen := map[string]int{}
	address := bare(t, func(c net.Conn, r *bufio.Reader) {
		req, body, err := takeRequest(r)
		if err != nil {
			return
		}
		mu.Lock()
		seen[req.Method]++
		n := seen[req.Method]
		mu.Unlock()
		if n > 1 {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}
	})
	r := newRig(t, upstreams("legacy", address))
	r.want(r.get("ann"), 200, "")
	r.want(r.do("PUT", "/", "ann", strings.NewReader("put")), 200, "put")
	if got := r.do("POST", "/", "ann", strings.NewReader("post")); got.status != 502 {
		t.Fatalf("got %v", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if seen["GET"] != 2 || seen["PUT"] != 2 || seen["POST"] != 1 {
		t.Errorf("tries: %v", seen)
	}
}

func TestADeadUpstreamCostsNoRequest(t *testing.T) {
	t.Parallel()
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close() //nolint:errcheck // nobody listens there now
	r := prepareRig(t, nil)
	upstreams("legacy", dead.Addr().String(), r.apps[legacy].address())(r.config)
	r.publishFirst()
	r.start()
	for range 50 {
		r.want(r.do("POST", "/", "ann", strings.NewReader("x")), 200, "legacy")
	}
	if got := r.metric("drover_proxy_upstream_healthy", dead.Addr().String()); got != 0 {
		t.Error("the dead upstream is not ejected")
	}
	if got := r.metric("drover_proxy_upstream_errors_total", `kind="connect"`); got > 5 {
		t.Errorf("the dead upstream was tried %v times", got)
	}
}

func TestAnUnreachableDatacenterFailsOver(t *testing.T) {
	t.Parallel()
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close() //nolint:errcheck // nobody listens there now
	r := newRig(t, func(c *config.Config) {
		c.Datacenters["legacy"] = config.Datacenter{Upstreams: []string{dead.Addr().String()}, Failover: []string{"cloud"}}
	})
	route := make(chan string, 1)
	r.apps[cloud].handle(func(w http.ResponseWriter, req *http.Request) {
		route <- req.Header.Get("Drover-Route") + " " + req.Header.Get("Drover-Datacenter")
		io.Copy(w, req.Body) //nolint:errcheck // a test's
	})
	for range 10 {
		r.want(r.do("POST", "/", "ann", strings.NewReader("body")), 200, "body")
		if got := <-route; got != "failover cloud" {
			t.Fatalf("route %q", got)
		}
	}
	if got := r.metric("drover_proxy_failovers_total", `from="legacy"`, `to="cloud"`); got != 10 {
		t.Errorf("%v failovers", got)
	}
	r.eventually("10 requests by failover", func() bool {
		return r.metric("drover_proxy_requests_total", `datacenter="cloud"`, `reason="failover"`) == 10
	})
	if got := r.metric("drover_proxy_upstream_errors_total", `kind="connect"`); got > 10+6 {
		t.Errorf("%v errors: an ejected datacenter is tried each time", got)
	}
}

func TestAFailedHealthCheckTakesAnUpstreamOut(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	sick := true
	var served int
	other := bare(t, func(c net.Conn, r *bufio.Reader) {
		for {
			req, _, err := takeRequest(r)
			if err != nil {
				return
			}
			mu.Lock()
			status := 200
			if req.URL.Path == "/healthz" {
				if sick {
					status = 503
				}
			} else {
				served++
			}
			mu.Unlock()
			fmt.Fprintf(c, "HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n", status)
		}
	})
	r := prepareRig(t, nil)
	r.config.Datacenters["legacy"] = config.Datacenter{
		Upstreams: []string{other, r.apps[legacy].address()},
		Health:    config.Health{Path: "/healthz", Interval: 10 * time.Millisecond, Timeout: time.Second},
	}
	r.publishFirst()
	r.start()
	r.eventually("it is out", func() bool { return r.metric("drover_proxy_upstream_healthy", other) == 0 })
	mu.Lock()
	served = 0
	mu.Unlock()
	for range 30 {
		r.want(r.get("ann"), 200, "legacy")
	}
	mu.Lock()
	if served != 0 {
		t.Errorf("a sick upstream got %d requests", served)
	}
	sick = false
	mu.Unlock()
	r.eventually("it is back", func() bool { return r.metric("drover_proxy_upstream_healthy", other) == 1 })
	r.eventually("it is used", func() bool {
		r.get("ann")
		mu.Lock()
		defer mu.Unlock()
		return served > 0
	})
}

func TestConnectionsToAnUpstreamAreBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *config.Config) {
		c.Limits.UpstreamConnections = 2
		c.Timeouts.Connect = 300 * time.Millisecond
	})
	release := make(chan struct{})
	entered := make(chan struct{}, 10)
	r.apps[legacy].handle(func(http.ResponseWriter, *http.Request) {
		entered <- struct{}{}
		<-release
	})
	one, two := r.later("GET", "ann", ""), r.later("GET", "ann", "")
	<-entered
	<-entered
	if got := r.get("ann"); got.status != 503 {
		t.Errorf("got %v", got)
	}
	close(release)
	r.want(<-one, 200, "")
	r.want(<-two, 200, "")
}
