package main

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"drover/proxy/internal/config"
)

// soakBytes names the environment variable that says how long the long bodies
// are, in bytes.
const soakBytes = "DROVER_SOAK_BYTES"

func longBody(t *testing.T) int64 {
	text := os.Getenv(soakBytes)
	if text == "" {
		return int64(rounds(96, 256)) << 20
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", soakBytes, err)
	}
	return n
}

// zeros is n bytes of nothing, as fast as they can be had.
type zeros struct{ n int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.n == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.n)
	z.n -= n
	return int(n), nil
}

func TestMemoryIsFlatHoweverLongTheBodies(t *testing.T) {
	size := longBody(t)
	r := newRig(t, nil)
	up := make(chan int64, 1)
	r.apps[legacy].handle(func(w http.ResponseWriter, req *http.Request) {
		n, _ := io.Copy(io.Discard, req.Body)
		up <- n
		io.Copy(w, &zeros{size}) //nolint:errcheck // the client tells
	})
	runtime.GC()
	before, peak := heapBytes(), watchHeap(t)
	resp, err := r.http.Post("http://"+r.clients, "", unknown{&zeros{size}})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	down, err := io.Copy(io.Discard, resp.Body)
	if sent := <-up; sent != size || down != size || err != nil {
		t.Errorf("%d up, %d down of %d, %v", sent, down, size, err)
	}
	if taken := peak() - before; taken > 24<<20 {
		t.Errorf("%d MiB more in use", taken>>20)
	}
}

func TestAnEarlyAnswerReachesAClientThatReadsOnlyWhenItHasSentAll(t *testing.T) {
	t.Parallel()
	const size = 64 << 20
	for name, answer := range map[string]string{
		"413 by length": "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno",
		"401 by chunks": "HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
	} {
		for _, closes := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", the application closes: ", closes), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, func(c *config.Config) {
					upstreams("legacy", bare(t, func(c net.Conn, r *bufio.Reader) {
						if _, err := http.ReadRequest(r); err != nil {
							return
						}
						io.WriteString(c, answer) //nolint:errcheck // the client tells
						if closes {
							c.(*net.TCPConn).CloseWrite() //nolint:errcheck // a test's
						}
						io.Copy(io.Discard, io.LimitReader(r, 1<<20)) //nolint:errcheck // and no more
						if !closes {
							<-t.Context().Done()
						}
					}))(c)
					c.Timeouts.Linger = patience
				})
				c := r.dial()
				c.send(fmt.Sprintf("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", size))
				if n, err := io.Copy(c.Conn, &zeros{size}); err != nil {
					t.Fatalf("after %d: %v", n, err)
				}
				if got := c.response("POST"); got.body != "no" || !strings.HasPrefix(name, fmt.Sprint(got.status)) {
					t.Errorf("got %v", got)
				}
				mustEnd(t, c)
			})
		}
	}
}

func TestEventsComeOneByOne(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"plain", "http/1.1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			a := newAuthority(t)
			change := a.secure(nil)
			if protocol == "plain" {
				change = nil
			}
			r := newRig(t, change)
			next := make(chan string)
			r.apps[legacy].handle(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				w.(http.Flusher).Flush()
				for event := range next {
					io.WriteString(w, event) //nolint:errcheck // the client tells
					w.(http.Flusher).Flush()
				}
			})
			client, scheme := r.http, "http://"
			if protocol != "plain" {
				client, scheme = r.over(a.client(false, protocol)), "https://"
			}
			resp, err := client.Get(scheme + r.clients)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			for i := range 20 {
				event := fmt.Sprintf("data: %d\n\n", i)
				next <- event
				mustRead(t, resp.Body, event) // before there is another
			}
			close(next)
			mustEnd(t, resp.Body)
		})
	}
}

func TestBothWaysGoOnAtOnce(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"plain", "http/1.1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			a := newAuthority(t)
			change := a.secure(nil)
			if protocol == "plain" {
				change = nil
			}
			r := newRig(t, change)
			r.apps[legacy].handle(func(w http.ResponseWriter, req *http.Request) {
				full := http.NewResponseController(w)
				full.EnableFullDuplex() //nolint:errcheck // HTTP/1 can
				full.Flush()            //nolint:errcheck // the client tells
				b := make([]byte, 100)
				for {
					n, err := req.Body.Read(b)
					w.Write(b[:n]) //nolint:errcheck // the client tells
					full.Flush()   //nolint:errcheck // the client tells
					if err != nil {
						return
					}
				}
			})
			client, scheme := r.http, "http://"
			if protocol != "plain" {
				client, scheme = r.over(a.client(false, protocol)), "https://"
			}
			in, out := io.Pipe()
			resp, err := client.Post(scheme+r.clients, "", in) // returns with the head
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			for i := range 20 {
				text := fmt.Sprint("piece ", i, ";")
				mustWrite(t, out, text)
				mustRead(t, resp.Body, text)
			}
			out.Close() //nolint:errcheck // a test's
			mustEnd(t, resp.Body)
		})
	}
}

func TestTrailersPassBothWays(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.apps[legacy].handle(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Trailer", "X-Down")
		body, _ := io.ReadAll(req.Body)
		fmt.Fprint(w, string(body), req.Trailer.Get("X-Up"), req.Trailer.Get("X-User-Id"), req.Trailer.Get("Drover-User"))
		w.Header().Set("X-Down", "down")
	})
	c := r.dial()
	for range 2 {
		c.send("POST / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nTrailer: X-Up\r\nTransfer-Encoding: chunked\r\n\r\n" +
			"4\r\nbody\r\n0\r\nX-Up: up\r\nX-User-Id: eve\r\nDrover-User: eve\r\n\r\n")
		resp, err := http.ReadResponse(c.Reader, nil)
		got := taken(resp, err)
		r.want(got, 200, "bodyup")
		if resp.Trailer.Get("X-Down") != "down" {
			t.Errorf("trailers %v", resp.Trailer)
		}
	}
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	t.Parallel()
	const n = 20
	r := newRig(t, nil)
	r.publish(moveTo(t, bucketOf("u3"), cloud))
	for dc, a := range r.apps {
		a.handle(func(w http.ResponseWriter, req *http.Request) {
			body, _ := io.ReadAll(req.Body)
			fmt.Fprint(w, dc, req.Header.Get("Drover-User"), string(body))
		})
	}
	c := r.dial()
	text := ""
	for i := range n {
		switch body := fmt.Sprint("body", i); i % 3 {
		case 0:
			text += fmt.Sprintf("POST / HTTP/1.1\r\nHost: h\r\nX-User-Id: u%d\r\nContent-Length: %d\r\n\r\n%s", i, len(body), body)
		case 1:
			text += fmt.Sprintf("POST / HTTP/1.1\r\nHost: h\r\nX-User-Id: u%d\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", i, len(body), body)
		default:
			text += fmt.Sprintf("GET / HTTP/1.1\r\nHost: h\r\nX-User-Id: u%d\r\n\r\n", i)
		}
	}
	c.send(text)
	for i := range n {
		dc, body := legacy, fmt.Sprint("body", i)
		if bucketOf(fmt.Sprint("u", i)) == bucketOf("u3") {
			dc = cloud
		}
		if i%3 == 2 {
			body = ""
		}
		r.want(c.response("POST"), 200, fmt.Sprint(dc, "u", i, body))
	}
}

func TestBytesThatNobodyAskedForReachNobody(t *testing.T) {
	t.Parallel()
	sent := make(chan struct{})
	r := newRig(t, upstreams("legacy", bare(t, func(c net.Conn, r *bufio.Reader) {
		for {
			req, _, err := takeRequest(r)
			if err != nil {
				return
			}
			own := req.URL.Path
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(own), own)
			if own != "/behind" { // in one segment with the answer, or in one of its own
				time.Sleep(time.Duration(len(own)-2) * 10 * time.Millisecond)
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil") //nolint:errcheck // a test's
			sent <- struct{}{}
		}
	})))
	for i := range 30 {
		path := []string{"/a", "/bb", "/behind"}[i%3]
		got := make(chan answer, 1)
		go func() { got <- r.do("GET", path, "ann", nil) }()
		soon(t, "the bytes nobody asked for", sent)
		r.want(<-got, 200, path)
	}
}

func TestAnAnswerThatEndsWithItsConnectionComesInChunks(t *testing.T) {
	t.Parallel()
	r := newRig(t, upstreams("legacy", bare(t, func(c net.Conn, r *bufio.Reader) {
		if _, _, err := takeRequest(r); err == nil {
			io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")                           //nolint:errcheck // a test's
			io.Copy(c, &pattern{n: 1 << 20})                                       //nolint:errcheck // a test's
			io.WriteString(c, "the end, which looks like a head\r\n\r\n0\r\n\r\n") //nolint:errcheck // a test's
		}
	})))
	want := sum(sha256.New(), io.MultiReader(&pattern{n: 1 << 20}, strings.NewReader("the end, which looks like a head\r\n\r\n0\r\n\r\n")))
	c := r.dial()
	for range 2 { // the client's connection goes on
		c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		resp, err := http.ReadResponse(c.Reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(resp.TransferEncoding) != 1 || resp.Close {
			t.Errorf("%v, close %v", resp.TransferEncoding, resp.Close)
		}
		got := sum(sha256.New(), resp.Body)
		resp.Body.Close()
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
