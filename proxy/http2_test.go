package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"drover/internal/config"
	proxyconfig "drover/proxy/internal/config"
)

// newRig2 is a rig with TLS, and a client of HTTP/2.
func newRig2(t *testing.T, change func(*proxyconfig.Config)) (*rig, *http.Client) {
	t.Helper()
	a := newAuthority(t)
	r := newRig(t, a.secure(change))
	return r, r.over(a.client(false, "h2"))
}

// unknown hides a reader's length.
type unknown struct{ io.Reader }

func TestBodiesOfHTTP2PassWholeBothWays(t *testing.T) {
	t.Parallel()
	r, client := newRig2(t, nil)
	r.apps[legacy].handle(func(w http.ResponseWriter, req *http.Request) {
		size, err := strconv.ParseInt(req.URL.Query().Get("n"), 10, 64)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("X-Got", sum(sha256.New(), req.Body))
		w.Header().Set("X-Length", fmt.Sprint(req.ContentLength))
		if req.URL.Path == "/known" {
			w.Header().Set("Content-Length", fmt.Sprint(size))
		} else {
			w.(http.Flusher).Flush()
		}
		io.Copy(w, &pattern{n: size}) //nolint:errcheck // the client tells
	})
	for _, size := range []int64{0, 1, 5000, 1 << 20} {
		want := sum(sha256.New(), &pattern{n: size})
		for _, path := range []string{"/known", "/unknown"} {
			target := fmt.Sprintf("%s?n=%d", path, size)
			var body io.Reader = unknown{&pattern{n: size}}
			length := "-1"
			if path == "/known" {
				all, _ := io.ReadAll(body)
				body, length = bytes.NewReader(all), fmt.Sprint(size)
			}
			got := r.fetch(client, "POST", target, "ann", body)
			down := sum(sha256.New(), strings.NewReader(got.body))
			if got.err != nil || got.header.Get("X-Got") != want || down != want || got.header.Get("X-Length") != length {
				t.Errorf("%s: %v: up %s of %s, down %s, want %s", target, got.err, got.header.Get("X-Got"), got.header.Get("X-Length"), down, want)
			}
		}
	}
}

func TestStreamsOfDifferentUsersAreRoutedAlone(t *testing.T) {
	t.Parallel()
	r, client := newRig2(t, nil)
	moved := bucketOf("u1")
	r.publish(moveTo(t, moved, cloud))
	for dc, a := range r.apps {
		a.handle(func(w http.ResponseWriter, req *http.Request) {
			body, _ := io.ReadAll(req.Body)
			fmt.Fprint(w, dc, " ", req.Header.Get("Drover-User"), " ", string(body))
		})
	}
	r.want(r.fetch(client, "GET", "/", "", nil), 200, "legacy  ") // so that there is a connection
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			user, dc := fmt.Sprint("u", i), legacy
			if bucketOf(user) == moved {
				dc = cloud
			}
			for n := range 3 {
				body := fmt.Sprint("body ", i, n)
				if got := r.fetch(client, "POST", "/", user, strings.NewReader(body)); got.body != fmt.Sprintf("%s %s %s", dc, user, body) {
					t.Errorf("user %s got %v", user, got)
				}
			}
		})
	}
	all.Wait()
	if n := r.metric("drover_proxy_client_connections_total", `"http2"`); n > 2 {
		t.Errorf("%v connections", n)
	}
}

func TestTrailersOfHTTP2PassBothWays(t *testing.T) {
	t.Parallel()
	r, client := newRig2(t, nil)
	r.apps[legacy].handle(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		w.Header().Set("Trailer", "X-Down")
		fmt.Fprint(w, string(body), " ", req.Trailer.Get("X-Up"))
		w.Header().Set("X-Down", "down")
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0") // not announced
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+r.clients, unknown{strings.NewReader("body")})
	if err != nil {
		t.Fatal(err)
	}
	req.Trailer = http.Header{"X-Up": {"up"}}
	resp, err := client.Do(req)
	got := taken(resp, err)
	r.want(got, 200, "body up")
	if resp.Trailer.Get("X-Down") != "down" || resp.Trailer.Get("Grpc-Status") != "0" {
		t.Errorf("trailers %v", resp.Trailer)
	}
}

func TestOverHTTP2NothingIsInjectedAndInterimAnswersPass(t *testing.T) {
	t.Parallel()
	r, client := newRig2(t, upstreams("legacy", bare(t, func(c net.Conn, r *bufio.Reader) {
		for {
			req, _, err := takeRequest(r)
			if err != nil {
				return
			}
			head := "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
			switch req.URL.Path {
			case "/204":
				head += "HTTP/1.1 204 No Content\r\nX-Own: 1\r\n\r\n"
			case "/304":
				head += "HTTP/1.1 304 Not Modified\r\nX-Own: 1\r\n\r\n"
			default:
				head += "HTTP/1.1 200 OK\r\nX-Own: 1\r\nContent-Length: 5\r\n\r\n"
				if req.Method != http.MethodHead {
					head += "<htm>"
				}
			}
			io.WriteString(c, head) //nolint:errcheck // a test's
		}
	})))
	for _, x := range []struct {
		method, path, body string
		status             int
	}{{"GET", "/", "<htm>", 200}, {"HEAD", "/", "", 200}, {"GET", "/204", "", 204}, {"GET", "/304", "", 304}} {
		hints := ""
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			hints += fmt.Sprintf("%d %v", code, h)
			return nil
		}})
		req, err := http.NewRequestWithContext(ctx, x.method, "https://"+r.clients+x.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := taken(client.Do(req))
		r.want(got, x.status, x.body)
		if hints != "103 map[Link:[</a>]]" {
			t.Errorf("%s %s: interim %s", x.method, x.path, hints)
		}
		got.header.Del("Content-Length")
		if len(got.header) != 1 || got.header.Get("X-Own") != "1" {
			t.Errorf("%s %s: header %v", x.method, x.path, got.header)
		}
	}
}

func TestAHostThatIsSaidTwiceTheSameIsOneHost(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	r := newRig(t, a.secure(nil))
	for host, status := range map[string]string{"edge.test": "200", "other.test": "reset"} {
		f := r.frames(a)
		if err := f.request(1, true, "host", host); err != nil {
			t.Fatal(err)
		}
		if got := f.status(1); got != status {
			t.Errorf("host %s: got %s", host, got)
		}
	}
}

func TestAPostOverHTTP2IsReroutedAlsoWhileItsBodyStillComes(t *testing.T) {
	t.Parallel()
	refused := make(chan struct{}, 8)
	r, client := newRig2(t, upstreams("legacy", bare(t, func(c net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		// Before it has the body.
		io.WriteString(c, "HTTP/1.1 421 Misdirected Request\r\nDrover-Map-Version: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n") //nolint:errcheck // a test's
		refused <- struct{}{}
		io.Copy(io.Discard, r) //nolint:errcheck // until its end
	})))
	r.apps[cloud].handle(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		fmt.Fprint(w, "cloud ", string(body), err)
	})
	for _, whole := range []bool{true, false} {
		in, out := io.Pipe()
		got := make(chan answer, 1)
		go func() { got <- r.fetch(client, "POST", "/", "ann", in) }()
		io.WriteString(out, "first ") //nolint:errcheck // the answer tells
		if whole {
			io.WriteString(out, "last") //nolint:errcheck // the answer tells
			out.Close()                 //nolint:errcheck // the answer tells
		}
		soon(t, "the 421", refused)
		r.publish(moveTo(t, bucketOf("ann"), cloud))
		if !whole {
			r.eventually("the request is at its new home", func() bool { return r.apps[cloud].served.Load() == 2 })
			io.WriteString(out, "last") //nolint:errcheck // the answer tells
			out.Close()                 //nolint:errcheck // the answer tells
		}
		r.want(<-got, 200, "cloud first last<nil>")
		r.publish(moveTo(t, bucketOf("ann"), legacy))
	}
}

func TestABodyOverTheLimitIs413OverHTTP2(t *testing.T) {
	t.Parallel()
	r, client := newRig2(t, func(c *proxyconfig.Config) { c.Limits.Body = 100 * config.KiB })
	long := strings.Repeat("x", 101<<10)
	for _, body := range []io.Reader{strings.NewReader(long), unknown{strings.NewReader(long)}} {
		if got := r.fetch(client, "POST", "/", "ann", body); got.status != 413 {
			t.Errorf("got %v", got)
		}
	}
	r.want(r.fetch(client, "POST", "/", "ann", strings.NewReader(long[:100<<10])), 200, "legacy")
}

func TestABodyOfHTTP2ThatStopsComingIs408(t *testing.T) {
	t.Parallel()
	r, client := newRig2(t, func(c *proxyconfig.Config) { c.Timeouts.Idle = 100 * time.Millisecond })
	in, out := io.Pipe()
	defer out.Close() //nolint:errcheck // a test's
	if got := r.fetch(client, "POST", "/", "ann", in); got.status != 408 {
		t.Errorf("got %v", got)
	}
}

func TestAnAnswerThatBreaksOffIsAnErrorOfItsStreamAlone(t *testing.T) {
	t.Parallel()
	r, client := newRig2(t, upstreams("legacy", bare(t, func(c net.Conn, r *bufio.Reader) {
		req, _, err := takeRequest(r)
		if err != nil {
			return
		}
		switch req.URL.Path {
		case "/chunks":
			io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n") //nolint:errcheck // a test's
		case "/length":
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc") //nolint:errcheck // a test's
		default:
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") //nolint:errcheck // a test's
		}
	})))
	for range 20 {
		for _, path := range []string{"/chunks", "/length"} {
			got := r.fetch(client, "GET", path, "ann", nil)
			var broken http2.StreamError
			if !errors.As(got.err, &broken) {
				t.Errorf("%s: got %v", path, got)
			}
		}
		r.want(r.fetch(client, "GET", "/", "ann", nil), 200, "ok")
	}
	if n := r.metric("drover_proxy_client_connections_total", `"http2"`); n != 1 {
		t.Errorf("%v connections", n)
	}
	if n := r.metric("drover_proxy_request_ends_total", "truncated"); n != 40 {
		t.Errorf("%v are counted as broken off", n)
	}
}

func TestAClientOfHTTP2ThatGoesWhileItIsHeldIsCounted(t *testing.T) {
	t.Parallel()
	r, client := newRig2(t, nil)
	r.publish(holdBucket(bucketOf("ann"), patience))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+r.clients, nil)
		if err == nil {
			req.Header.Set("X-User-Id", "ann")
			err = taken(client.Do(req)).err
		}
		ended <- err
	}()
	r.eventuallyHeld(1)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	r.eventuallyHeld(0)
	r.eventually("its end", func() bool { return r.metric("drover_proxy_request_ends_total", "client_gone") == 1 })
	r.publish(endHold)
	r.want(r.fetch(client, "GET", "/", "ann", nil), 200, "legacy")
	if n := r.apps[legacy].served.Load(); n != 1 {
		t.Errorf("%d reached the application", n)
	}
}
