package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"testing"

	"drover/proxy/internal/config"
)

func TestWhatCouldBeUnderstoodInTwoWaysIsRefusedAndTheConnectionClosed(t *testing.T) {
	t.Parallel()
	for name, request := range map[string]string{
		"length and chunks":  "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"chunks and length":  "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
		"two lengths":        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
		"same length twice":  "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
		"list of lengths":    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3, 3\r\n\r\nabc",
		"signed length":      "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\nabc",
		"other coding":       "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"identity":           "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc",
		"two codings":        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"chunks in 1.0":      "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"space before colon": "POST / HTTP/1.1\r\nHost: h\r\nContent-Length : 3\r\n\r\nabc",
		"space in a name":    "GET / HTTP/1.1\r\nHost: h\r\nX Y: 3\r\n\r\n",
		"folded line":        "GET / HTTP/1.1\r\nHost: h\r\nX-User-Id: a\r\n b\r\n\r\n",
		"bare line feed":     "GET / HTTP/1.1\r\nHost: h\nX-User-Id: a\r\n\r\n",
		"bare end":           "GET / HTTP/1.1\r\nHost: h\n\nGET /x HTTP/1.1\r\nHost: h\r\n\r\n",
		"NUL":                "GET / HTTP/1.1\r\nHost: h\r\nX: a\x00b\r\n\r\n",
		"bare carriage":      "GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n",
		"two hosts":          "GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n",
		"no host":            "GET / HTTP/1.1\r\n\r\n",
		"other host":         "GET http://h/ HTTP/1.1\r\nHost: i\r\n\r\n",
		"empty host":         "GET / HTTP/1.1\r\nHost:\r\n\r\n",
		"CONNECT":            "CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n",
		"no target":          "GET nothing HTTP/1.1\r\nHost: h\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil)
			c := r.dial()
			c.send(request)
			got := c.response("GET")
			if got.status != 400 || !strings.Contains(got.body, `"error"`) {
				t.Errorf("got %v", got)
			}
			if b, err := io.ReadAll(c.Reader); len(b) != 0 {
				t.Errorf("after the refusal came %q, %v", b, err)
			}
			if n := r.apps[legacy].served.Load(); n != 0 {
				t.Errorf("%d requests reached the application", n)
			}
		})
	}
}

func TestTheTargetPassesByteForByte(t *testing.T) {
	t.Parallel()
	targets := make(chan string, 1)
	r := newRig(t, upstreams("legacy", bare(t, func(c net.Conn, r *bufio.Reader) {
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if _, err := textproto.NewReader(r).ReadMIMEHeader(); err != nil {
				return
			}
			targets <- strings.TrimSuffix(line, "\r\n")
			io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n") //nolint:errcheck // a test's
		}
	})))
	c := r.dial()
	for _, target := range []string{
		"/", "/?", "/a?", "/a/../b", "/a//b/./c", "//x", "/%2F%2e%2E/%zz", "/a%20b?c=d%20e+f&&=", "/a;b=c?x?y", "/ä", "/a?b=\"c\"<>|",
	} {
		c.send("GET " + target + " HTTP/1.1\r\nHost: h\r\n\r\n")
		if got, want := <-targets, "GET "+target+" HTTP/1.1"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		r.want(c.response("GET"), 204, "")
	}
	c.send("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n")
	if got := <-targets; got != "OPTIONS * HTTP/1.1" {
		t.Errorf("got %q", got)
	}
	r.want(c.response("OPTIONS"), 204, "")
	c.send("GET http://example.com/a?b HTTP/1.1\r\nHost: example.com\r\n\r\n")
	if got := <-targets; got != "GET /a?b HTTP/1.1" {
		t.Errorf("got %q", got)
	}
	r.want(c.response("GET"), 204, "")
}

func TestHeadersPassInOrderAndSpelling(t *testing.T) {
	t.Parallel()
	heads := make(chan string, 1)
	r := newRig(t, upstreams("legacy", bare(t, func(c net.Conn, r *bufio.Reader) {
		var head strings.Builder
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			head.WriteString(line)
			if line == "\r\n" {
				break
			}
		}
		heads <- head.String()
		_, _ = io.WriteString(c, "HTTP/1.1 299 Quite Fine\r\nx-lower: 1\r\nX-Twice: a\r\nSet-Cookie: a=b; Path=/\r\nset-cookie: c=d\r\nX-Twice: b\r\n"+
			"Connection: X-Conn, Keep-Alive\r\nX-Conn: gone\r\nKeep-Alive: timeout=5\r\nDate: today\r\nServer: own\r\nContent-Length: 2\r\n\r\nok")
	})))
	c := r.dial()
	c.send("GET /x HTTP/1.1\r\nhOST: Example.COM:80\r\nx-lower: 1\r\nX-Twice: a\r\nCookie: a=1;b=2\r\nX-TWICE: b\r\nUser-Agent:\r\n" +
		"Accept-Encoding:   gzip  \r\nConnection: x-conn, keep-alive\r\nX-Conn: gone\r\nKeep-Alive: 5\r\nTE: trailers\r\nUpgrade: websocket\r\n" +
		"Proxy-Connection: keep-alive\r\nProxy-Authorization: secret\r\n\r\n")
	head := <-heads
	want := "GET /x HTTP/1.1\r\nhOST: Example.COM:80\r\nx-lower: 1\r\nX-Twice: a\r\nCookie: a=1;b=2\r\nX-TWICE: b\r\nUser-Agent:\r\n" +
		"Accept-Encoding:   gzip  \r\nConnection: TE\r\nTE: trailers\r\n"
	if !strings.HasPrefix(head, want) {
		t.Errorf("the application got\n%s\nwant it to begin with\n%s", head, want)
	}
	for _, gone := range []string{"gone", "Keep-Alive", "Upgrade", "Proxy-", "secret"} {
		if strings.Contains(head, gone) {
			t.Errorf("%s reached the application:\n%s", gone, head)
		}
	}
	var got strings.Builder
	for {
		line, err := c.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		got.WriteString(line)
		if line == "\r\n" {
			break
		}
	}
	if !strings.HasPrefix(got.String(), "HTTP/1.1 299 Quite Fine\r\n") {
		t.Errorf("the client got\n%s", got.String())
	}
	for _, line := range []string{"x-lower: 1\r\n", "X-Twice: a\r\n", "X-Twice: b\r\n", ": a=b; Path=/\r\n", ": c=d\r\n", "Date: today\r\n", "Server: own\r\n"} {
		if strings.Count(got.String(), line) != 1 {
			t.Errorf("the client wants %q once:\n%s", line, got.String())
		}
	}
	for _, gone := range []string{"gone", "Keep-Alive", "Connection", "Content-Type"} {
		if strings.Contains(got.String(), gone) {
			t.Errorf("the client got %s:\n%s", gone, got.String())
		}
	}
}

func TestAnswersWithoutABody(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.apps[legacy].handle(func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case "/204":
			w.WriteHeader(http.StatusNoContent)
		case "/304":
			w.Header().Set("Etag", `"x"`)
			w.WriteHeader(http.StatusNotModified)
		case "/empty":
		default:
			w.Header().Set("Content-Length", "5")
			io.WriteString(w, "hello") //nolint:errcheck // a test's
		}
	})
	c := r.dial()
	for _, x := range []struct {
		method, path string
		status       int
		length       string
	}{
		{"HEAD", "/", 200, "5"}, {"GET", "/204", 204, ""}, {"GET", "/304", 304, ""}, {"GET", "/empty", 200, "0"},
		{"HEAD", "/204", 204, ""}, {"HEAD", "/304", 304, ""},
	} {
		c.send(x.method + " " + x.path + " HTTP/1.1\r\nHost: h\r\n\r\n")
		got := c.response(x.method)
		if got.err != nil || got.status != x.status || got.body != "" || got.header.Get("Content-Length") != x.length {
			t.Errorf("%s %s: got %v %v", x.method, x.path, got, got.header)
		}
	}
	c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n") // the connection is still in step
	r.want(c.response("GET"), 200, "hello")
}

func TestInterimAnswersAndAnswersOfHTTP10(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		answer, body string
		interim      []int
	}{
		"103 before 200": {"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: y\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok", []int{103, 103}},
		"until close":    {"HTTP/1.1 200 OK\r\n\r\nuntil the end", "until the end", nil},
		"HTTP/1.0":       {"HTTP/1.0 200 OK\r\n\r\nuntil the end", "until the end", nil},
		"extensions":     {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX-Trailer: z\r\n\r\n", "abc", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, upstreams("legacy", bare(t, func(c net.Conn, r *bufio.Reader) {
				if _, _, err := takeRequest(r); err == nil {
					io.WriteString(c, x.answer) //nolint:errcheck // a test's
				}
			})))
			c := r.dial()
			for range 2 {
				c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
				for _, status := range x.interim {
					r.want(c.response("GET"), status, "")
				}
				r.want(c.response("GET"), 200, x.body)
			}
		})
	}
}

func TestAClientOfHTTP10GetsNoChunks(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.apps[legacy].handle(func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		io.WriteString(w, "hello") //nolint:errcheck // a test's
	})
	c := r.dial()
	c.send("GET / HTTP/1.0\r\n\r\n")
	all, err := io.ReadAll(c.Reader)
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ := strings.Cut(string(all), "\r\n\r\n")
	if body != "hello" || strings.Contains(head, "chunked") || !strings.Contains(head, "Connection: close") {
		t.Errorf("got %q", all)
	}
	r.eventually("the request has ended", func() bool { return r.metric("drover_proxy_request_ends_total", "answered") == 1 })
	r.apps[legacy].handle(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "short") })
	c = r.dial()
	for range 2 {
		c.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
		r.want(c.response("GET"), 200, "short")
	}
}

func TestAClientsCloseIsHonouredInAnySpelling(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	for _, value := range []string{"close", "Close", "te, close"} {
		c := r.dial()
		c.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: " + value + "\r\n\r\n")
		r.want(c.response("GET"), 200, "legacy")
		if b, err := io.ReadAll(c.Reader); err != nil || len(b) != 0 {
			t.Errorf("%s: %q, %v", value, b, err)
		}
	}
}

func TestAnUpstreamsCloseDoesNotCloseTheClient(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.apps[legacy].handle(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		fmt.Fprint(w, "ok")
	})
	c := r.dial()
	for range 3 {
		c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		r.want(c.response("GET"), 200, "ok")
	}
}

func TestAHeadOverTheLimitIs431(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	c := r.dial()
	c.send("GET / HTTP/1.1\r\nHost: h\r\nX-Secret: " + strings.Repeat("s", 20<<10))
	if got := c.response("GET"); got.status != 431 {
		t.Errorf("got %v", got)
	}
	c = r.dial()
	c.send("GET / HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("a:b\r\n", 300) + "\r\n")
	if got := c.response("GET"); got.status != 431 {
		t.Errorf("got %v", got)
	}
}

func TestTheLimitOfAHeadIsExact(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *config.Config) { c.Limits.HeaderBytes = 5000 })
	for over, status := range map[int]int{0: 200, 1: 431} {
		c := r.dial()
		const rest = "GET / HTTP/1.1\r\nHost: h\r\nX: \r\n\r\n"
		c.send("GET / HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("x", 5000-len(rest)+over) + "\r\n\r\n")
		if got := c.response("GET"); got.status != status {
			t.Errorf("%d bytes over: %v", over, got)
		}
	}
}

func TestASlowHeadIs408(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *config.Config) { c.Timeouts.Header = 50e6 })
	c := r.dial()
	c.send("GET / HTTP/1.1\r\nHost")
	if got := c.response("GET"); got.status != 408 {
		t.Errorf("got %v", got)
	}
}
