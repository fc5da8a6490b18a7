package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"drover/proxy/internal/config"
)

// newRaw is a client that writes bytes on a connection.
func newRaw(t *testing.T, c net.Conn) raw { return raw{t, c, bufio.NewReader(c)} }

// frames is a client of HTTP/2 that writes frames.
type frames struct {
	*http2.Framer
	t    *testing.T
	conn *tls.Conn
	head bytes.Buffer
	pack *hpack.Encoder
}

func (r *rig) frames(a *authority) *frames {
	r.t.Helper()
	f := &frames{t: r.t, conn: r.shake(a.client(false, "h2"))}
	f.Framer = http2.NewFramer(f.conn, bufio.NewReader(f.conn))
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	f.pack = hpack.NewEncoder(&f.head)
	_, err := io.WriteString(f.conn, http2.ClientPreface)
	if err := errors.Join(err, f.WriteSettings(), f.WriteSettingsAck()); err != nil {
		r.t.Fatal(err)
	}
	return f
}

// request begins a stream; end says that it has no body.
func (f *frames) request(id uint32, end bool, more ...string) error {
	f.head.Reset()
	list := append([]string{":method", "POST", ":scheme", "https", ":authority", "edge.test", ":path", "/"}, more...)
	for i := 0; i < len(list); i += 2 {
		f.pack.WriteField(hpack.HeaderField{Name: list[i], Value: list[i+1]}) //nolint:errcheck // a buffer's
	}
	return f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: f.head.Bytes(), EndStream: end, EndHeaders: true})
}

// status reads until a stream's answer begins, or the stream is reset.
func (f *frames) status(id uint32) string {
	f.t.Helper()
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			f.t.Fatal(err)
		}
		if head, ok := frame.(*http2.MetaHeadersFrame); ok && head.StreamID == id {
			return head.PseudoValue("status")
		}
		if reset, ok := frame.(*http2.RSTStreamFrame); ok && reset.StreamID == id {
			return "reset"
		}
	}
}

// watched is an upstream that answers nothing, and says when its connections
// come to their end. It reads what comes.
type watched struct {
	address      string
	begun, ended chan string // the head's first line
	open         atomic.Int64
	most         atomic.Int64
}

func newWatched(t *testing.T, first string) *watched {
	w := &watched{begun: make(chan string, 10_000), ended: make(chan string, 10_000)}
	w.address = bare(t, func(c net.Conn, r *bufio.Reader) {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		w.most.Store(max(w.most.Load(), w.open.Add(1)))
		io.WriteString(c, first) //nolint:errcheck // the client tells
		w.begun <- line
		io.Copy(io.Discard, r) //nolint:errcheck // until its end
		w.open.Add(-1)
		w.ended <- line
	})
	return w
}

// soon takes what must come at once, which is long before any timeout.
func soon[T any](t *testing.T, what string, from <-chan T) (v T) {
	t.Helper()
	limit := time.NewTimer(patience / 2)
	defer limit.Stop()
	select {
	case v = <-from:
	case <-limit.C:
		t.Fatalf("never: %s", what)
	}
	return v
}

func (r *rig) eventuallyNoUpstreamConnection() {
	r.t.Helper()
	r.eventually("no upstream connection", func() bool { return r.metric("drover_proxy_upstream_connections") == 0 })
}

func TestAStreamThatIsGivenUpFreesItsUpstreamAtOnce(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]string{"thinks": "", "streams": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWatched(t, first)
			r, client := newRig2(t, upstreams("legacy", w.address))
			half, out := io.Pipe()
			go out.Write([]byte("x")) //nolint:errcheck // and no more
			defer out.Close()         //nolint:errcheck // a test's
			for _, body := range []io.Reader{nil, strings.NewReader("whole"), half} {
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() {
					req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+r.clients, body)
					if err == nil {
						err = taken(client.Do(req)).err
					}
					ended <- err
				}()
				soon(t, "the request", w.begun)
				cancel()
				if err := soon(t, "the client's end", ended); !errors.Is(err, context.Canceled) {
					t.Errorf("got %v", err)
				}
				soon(t, "the upstream's end", w.ended)
			}
			r.eventuallyNoUpstreamConnection()
			if n := r.metric("drover_proxy_client_connections_total", `"http2"`); n != 1 {
				t.Errorf("%v connections", n)
			}
		})
	}
}

func TestStreamsThatAreResetAtOnceAreBoundedAndEndTheirConnection(t *testing.T) {
	t.Parallel()
	const resets, streams, tries = 200, 50, 5000
	a := newAuthority(t)
	w := newWatched(t, "")
	r := newRig(t, a.secure(func(c *config.Config) {
		upstreams("legacy", w.address)(c)
		c.Limits.HTTP2Resets, c.Limits.HTTP2Streams = resets, streams
		c.Passport.Sample = 0
	}))
	f := r.frames(a)
	readAll := make(chan struct{})
	go func() {
		defer close(readAll)
		io.Copy(io.Discard, f.conn) //nolint:errcheck // its end is the point
	}()
	before, most := runtime.NumGoroutine(), 0
	sent := 0
	for ; sent < tries; sent++ {
		id := uint32(2*sent + 1)
		if errors.Join(f.request(id, sent%2 == 0), f.WriteRSTStream(id, http2.ErrCodeCancel)) != nil {
			break
		}
		most = max(most, runtime.NumGoroutine()-before)
	}
	soon(t, "the connection's end", readAll)
	r.eventuallyNoUpstreamConnection()
	if n := w.most.Load(); n > streams {
		t.Errorf("%d at the application at once", n)
	}
	if n := r.metric("drover_proxy_requests_total"); n > resets+5*streams {
		t.Errorf("%v requests for %d resets", n, resets)
	}
	t.Logf("%d streams sent, %d goroutines more at most, %v requests", sent, most, r.metric("drover_proxy_requests_total"))
	if n := r.get("ann"); n.err == nil {
		t.Errorf("a listener of TLS answers %v in the clear", n)
	}
}

func TestAConnectionThatGivesUpMoreThanItsLimitIsClosed(t *testing.T) {
	t.Parallel()
	const resets = 10
	a := newAuthority(t)
	w := newWatched(t, "")
	r := newRig(t, a.secure(func(c *config.Config) {
		upstreams("legacy", w.address)(c)
		c.Limits.HTTP2Resets = resets
	}))
	f := r.frames(a)
	for i := range resets + 1 {
		id := uint32(2*i + 1)
		if err := f.request(id, true); err != nil {
			t.Fatalf("after %d: %v", i, err)
		}
		soon(t, "the request", w.begun) // so the connection was open until here
		if err := f.WriteRSTStream(id, http2.ErrCodeCancel); err != nil {
			t.Fatalf("after %d: %v", i, err)
		}
		soon(t, "its end", w.ended)
	}
	if _, err := io.Copy(io.Discard, f.conn); isTimeout(err) {
		t.Error("the connection is still open")
	}
}

func TestAStreamThatTheApplicationBreaksIsNoReset(t *testing.T) {
	t.Parallel()
	r, client := newRig2(t, func(c *config.Config) {
		upstreams("legacy", bare(t, func(c net.Conn, r *bufio.Reader) {
			if _, _, err := takeRequest(r); err == nil {
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc") //nolint:errcheck // a test's
			}
		}))(c)
		c.Limits.HTTP2Resets = 5
	})
	for range 30 {
		if got := r.fetch(client, "GET", "/", "ann", nil); got.err == nil {
			t.Fatalf("got %v", got)
		}
	}
	if n := r.metric("drover_proxy_client_connections_total", `"http2"`); n != 1 {
		t.Errorf("%v connections: what the application breaks is counted as the client's", n)
	}
}

func TestDrainOverHTTP2LosesNoRequest(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	r := newRig(t, a.secure(func(c *config.Config) {
		c.Drain = config.Drain{Delay: 50 * time.Millisecond, Idle: 100 * time.Millisecond, Timeout: patience}
		c.Passport.Sample = 0
	}))
	var proceed sync.WaitGroup
	proceed.Add(1)
	slowly := make(chan struct{})
	r.apps[legacy].handle(func(w http.ResponseWriter, req *http.Request) {
		io.Copy(io.Discard, req.Body) //nolint:errcheck // the client tells
		if req.URL.Path == "/slow" {
			close(slowly)
			proceed.Wait()
		}
		fmt.Fprint(w, "done")
	})
	slow := make(chan answer, 1)
	go func() {
		slow <- r.fetch(r.over(a.client(false, "h2")), "POST", "/slow", "bob", strings.NewReader("body"))
	}()
	<-slowly
	var clients sync.WaitGroup
	var answered atomic.Int64
	for i := range 8 {
		client := r.over(a.client(false, "h2"))
		clients.Go(func() {
			for n := 0; ; n++ {
				got := r.fetch(client, "POST", "/", fmt.Sprint("u", i, n), strings.NewReader("body"))
				var dialed *net.OpError
				if errors.As(got.err, &dialed) && dialed.Op == "dial" {
					return // nobody listens any more
				}
				if got.err != nil || got.body != "done" {
					t.Errorf("a request was lost: %v", got)
					return
				}
				answered.Add(1)
			}
		})
	}
	r.eventually("load", func() bool { return r.apps[legacy].served.Load() > 200 })
	r.cancel()
	clients.Wait()
	proceed.Done()
	r.want(soon(t, "the slow request's answer", slow), 200, "done")
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if served := r.apps[legacy].served.Load(); served != answered.Load()+1 {
		t.Errorf("%d requests served, %d answered", served, answered.Load()+1)
	}
}

func TestAClientOfHTTP2ThatTakesNothingLosesItsStream(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	r := newRig(t, a.secure(func(c *config.Config) { c.Timeouts.Idle = 200 * time.Millisecond }))
	r.apps[legacy].handle(func(w http.ResponseWriter, _ *http.Request) {
		io.Copy(w, &pattern{n: 64 << 20}) //nolint:errcheck // the client tells
	})
	f := r.frames(a)
	if err := f.request(1, true); err != nil {
		t.Fatal(err)
	}
	for { // it never opens its window
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if reset, ok := frame.(*http2.RSTStreamFrame); ok && reset.StreamID == 1 {
			break
		}
		if end, ok := frame.(*http2.DataFrame); ok && end.StreamEnded() {
			t.Fatal("the stream looks whole")
		}
	}
	r.eventuallyNoUpstreamConnection()
}
