package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"runtime"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"drover/internal/config"
	proxyconfig "drover/proxy/internal/config"
)

func TestBodyStreams(t *testing.T) {
	t.Parallel()
	for name, framing := range map[string]struct{ head, first, last, end string }{
		"by length": {"Content-Length: 10", "first", "last!", ""},
		"by chunks": {"Transfer-Encoding: chunked", "5\r\nfirst\r\n", "5\r\nlast!\r\n", "0\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil)
			first, rest := make(chan string, 1), make(chan string, 1)
			r.apps[legacy].handle(func(w http.ResponseWriter, req *http.Request) {
				b := make([]byte, len("first"))
				if _, err := io.ReadFull(req.Body, b); err != nil {
					return
				}
				first <- string(b)
				more, err := io.ReadAll(req.Body)
				if err != nil {
					return
				}
				rest <- string(more)
			})
			c := r.dial()
			c.send("POST / HTTP/1.1\r\nHost: h\r\n" + framing.head + "\r\n\r\n" + framing.first)
			if got := <-first; got != "first" { // before the last byte is sent
				t.Fatalf("got %q", got)
			}
			c.send(framing.last + framing.end)
			if got := <-rest; got != "last!" {
				t.Fatalf("got %q", got)
			}
			r.want(c.response("POST"), 200, "")
		})
	}
}

func TestAnswerStreams(t *testing.T) {
	t.Parallel()
	for name, length := range map[string]string{"by length": "10", "by chunks": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil)
			proceed := make(chan struct{})
			r.apps[legacy].handle(func(w http.ResponseWriter, _ *http.Request) {
				if length != "" {
					w.Header().Set("Content-Length", length)
				}
				w.(http.Flusher).Flush()
				<-proceed
				io.WriteString(w, "first") //nolint:errcheck // a test's
				w.(http.Flusher).Flush()
				<-proceed
				io.WriteString(w, "last!") //nolint:errcheck // a test's
			})
			resp, err := r.http.Get("http://" + r.clients + "/") // returns with the head
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			proceed <- struct{}{}
			b := make([]byte, len("first"))
			if _, err := io.ReadFull(resp.Body, b); err != nil || string(b) != "first" {
				t.Fatalf("got %q, %v", b, err)
			}
			proceed <- struct{}{}
			rest, err := io.ReadAll(resp.Body)
			if err != nil || string(rest) != "last!" {
				t.Fatalf("got %q, %v", rest, err)
			}
		})
	}
}

// pattern is n bytes that are not all alike.
type pattern struct{ at, n int64 }

func (p *pattern) Read(b []byte) (int, error) {
	if p.at == p.n {
		return 0, io.EOF
	}
	b = b[:min(int64(len(b)), p.n-p.at)]
	for i := range b {
		b[i] = byte((p.at + int64(i)) * 2654435761 >> 16)
	}
	p.at += int64(len(b))
	return len(b), nil
}

func sum(h hash.Hash, r io.Reader) string {
	n, err := io.Copy(h, r)
	return fmt.Sprintf("%d %x %v", n, h.Sum(nil), err)
}

func heapBytes() int64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}

// watchHeap watches the heap until its result is called, which returns the
// most that was in use.
func watchHeap(t *testing.T) func() int64 {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int64)
	go func() {
		most := int64(0)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			most = max(most, heapBytes())
			<-tick.C
		}
		done <- most
	}()
	return func() int64 {
		cancel()
		return <-done
	}
}

// 32 MiB each way, and 64 MiB with DROVER_SOAK=1.
func TestABigBodyPassesWholeInLittleMemory(t *testing.T) {
	// One of the two bodies, kept, is more than the memory that there may be.
	size := int64(rounds(32, 64)) << 20
	want := sum(sha256.New(), &pattern{n: size})
	for name, length := range map[string]int64{"by length": size, "by chunks": -1} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			got := make(chan string, 1)
			r.apps[legacy].handle(func(w http.ResponseWriter, req *http.Request) {
				got <- sum(sha256.New(), req.Body)
				if length > 0 {
					w.Header().Set("Content-Length", fmt.Sprint(length))
				}
				io.Copy(w, &pattern{n: size}) //nolint:errcheck // a test's
			})
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+r.clients+"/", &pattern{n: size})
			if err != nil {
				t.Fatal(err)
			}
			req.ContentLength = length
			runtime.GC()
			before, peak := heapBytes(), watchHeap(t)
			resp, err := r.http.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if up := <-got; up != want {
				t.Errorf("the application got %s, want %s", up, want)
			}
			if down := sum(sha256.New(), resp.Body); down != want {
				t.Errorf("the client got %s, want %s", down, want)
			}
			if taken := peak() - before; taken > 24<<20 {
				t.Errorf("%d MiB more in use for %d MiB of bodies", taken>>20, 2*size>>20)
			}
		})
	}
}

func TestABodyOverTheLimitIs413(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *proxyconfig.Config) { c.Limits.Body = 100 * config.KiB })
	long := strings.Repeat("x", 101<<10)
	c := r.dial()
	c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 103424\r\n\r\n")
	c.send("x")
	if got := c.response("POST"); got.status != 413 {
		t.Errorf("by length: got %v", got)
	}
	if got := r.do("POST", "/", "ann", io.MultiReader(strings.NewReader(long))); got.status != 413 {
		t.Errorf("by chunks: got %v", got)
	}
	r.want(r.do("POST", "/", "ann", strings.NewReader(long[:100<<10])), 200, "legacy")
}

func TestABodyThatTheClientBreaksOffDoesNotReachTheApplicationWhole(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"by length": "Content-Length: 10\r\n\r\nabc",
		"by chunks": "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil)
			got := make(chan error, 1)
			r.apps[legacy].handle(func(_ http.ResponseWriter, req *http.Request) {
				_, err := io.ReadAll(req.Body)
				got <- err
			})
			c := r.dial()
			c.send("POST / HTTP/1.1\r\nHost: h\r\n" + text)
			r.eventually("the request is there", func() bool { return r.apps[legacy].served.Load() == 1 })
			c.Close() // the point of the test
			if err := <-got; err == nil {
				t.Error("the application took the broken-off body for a whole one")
			}
		})
	}
}

func TestAnEarlyAnswerReachesTheClientAndTheRestOfTheBodyIsNoRequest(t *testing.T) {
	t.Parallel()
	address := bare(t, func(c net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err == nil { // and not its body
			io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno") //nolint:errcheck // a test's
			io.Copy(io.Discard, r)                                                     //nolint:errcheck // a test's
		}
	})
	r := newRig(t, upstreams("legacy", address))
	c := r.dial()
	evil := "GET /evil HTTP/1.1\r\nHost: h\r\n\r\n"
	c.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
	go func() {
		for range 1000 { // until the proxy closes
			if _, err := fmt.Fprintf(c.Conn, "%x\r\n%s\r\n", len(evil), evil); err != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	got := c.response("POST")
	if got.status != 403 || got.body != "no" || got.header.Get("Connection") != "close" && !strings.Contains(fmt.Sprint(got.header), "close") {
		// net/http takes Connection out of the header
		if got.status != 403 || got.body != "no" {
			t.Fatalf("got %v", got)
		}
	}
	if b, err := io.ReadAll(c.Reader); len(b) != 0 {
		t.Errorf("after the answer came %q, %v", b, err)
	}
}

func TestExpect100Continue(t *testing.T) {
	t.Parallel()
	for _, expect := range []string{"Expect: 100-continue", "expect: 100-Continue"} {
		r := newRig(t, func(c *proxyconfig.Config) { c.Limits.Body = 1000 })
		seen := make(chan http.Header, 1)
		r.apps[legacy].handle(func(w http.ResponseWriter, req *http.Request) {
			seen <- req.Header
			io.Copy(w, req.Body) //nolint:errcheck // a test's
		})
		c := r.dial()
		c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n" + expect + "\r\n\r\n")
		line, err := c.ReadString('\n')
		if err != nil || line != "HTTP/1.1 100 Continue\r\n" {
			t.Fatalf("%s: got %q, %v", expect, line, err)
		}
		if _, err := c.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		c.send("body")
		r.want(c.response("POST"), 200, "body")
		if h := <-seen; h.Get("Expect") == "" {
			t.Error("Expect did not reach the application, whose word 100 is")
		}
		c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n" + expect + "\r\n\r\n")
		if got := c.response("POST"); got.status != 413 {
			t.Errorf("got %v", got)
		}
	}
}

func TestBodyOfAHeldRequestStaysWithTheClient(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.publish(holdBucket(bucketOf("ann"), patience))
	body := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB, over the replay buffer
	got := make(chan answer, 1)
	r.apps[cloud].handle(func(w http.ResponseWriter, req *http.Request) {
		b, err := io.ReadAll(req.Body)
		fmt.Fprint(w, err == nil && bytes.Equal(b, body))
	})
	go func() { got <- r.do("POST", "/", "ann", bytes.NewReader(body)) }()
	r.eventuallyHeld(1)
	if held := r.metric("drover_proxy_held_bytes"); held <= 0 || held > 4<<10 {
		t.Errorf("%v bytes held", held)
	}
	r.publish(moveTo(t, bucketOf("ann"), cloud))
	r.want(<-got, 200, "true")
}
