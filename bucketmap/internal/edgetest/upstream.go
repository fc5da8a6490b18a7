package edgetest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

const exchangeWaitMax = 20 * time.Second

// Line is a header line, byte for byte.
type Line struct {
	Name  string
	Value []byte
}

// Seen is what an upstream server was sent.
type Seen struct {
	Upstream string
	Lines    []Line
}

// Get returns all values of a header.
func (s *Seen) Get(name string) (values []string) {
	for _, l := range s.Lines {
		if strings.EqualFold(l.Name, name) {
			values = append(values, string(l.Value))
		}
	}
	return values
}

// Upstream starts a server that answers every request with what it saw of it.
// It reads heads by itself: a library's server would refuse some bytes that
// edges pass. It returns its address.
func Upstream(t testing.TB, name string) string {
	t.Helper()
	var lc net.ListenConfig
	listener, err := lc.Listen(context.Background(), "tcp4", "127.0.0.1:0")
	Must(t, err)
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { serve(ctx, conn, name) })
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = listener.Close() // nobody else closes it
		all.Wait()
	})
	return listener.Addr().String()
}

func serve(ctx context.Context, conn net.Conn, name string) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })() // wakes the reader
	reader := bufio.NewReader(conn)
	for {
		seen := Seen{Upstream: name}
		for first := true; ; first = false {
			text, err := reader.ReadString('\n')
			if err != nil {
				return
			}
			text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
			if text == "" {
				break
			}
			if key, value, _ := strings.Cut(text, ":"); !first {
				seen.Lines = append(seen.Lines, Line{key, []byte(strings.TrimPrefix(value, " "))})
			}
		}
		body, err := json.Marshal(seen)
		if err != nil {
			return
		}
		if _, err := fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
			return
		}
	}
}

// Client is a connection to an edge.
type Client struct {
	conn   net.Conn
	reader *bufio.Reader
}

// Dial connects to an edge. The end of the test closes the connection.
func Dial(t testing.TB, addr string) *Client {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp4", addr)
	Must(t, err)
	t.Cleanup(func() { _ = conn.Close() }) // the edge may have been first
	return &Client{conn, bufio.NewReader(conn)}
}

// Answer is what a client got.
type Answer struct {
	Status int
	Header http.Header
}

// Get sends a request with these header lines. What was seen is nil when the
// edge answered by itself.
func (c *Client) Get(t testing.TB, lines ...Line) (Answer, *Seen) {
	t.Helper()
	var b strings.Builder
	b.WriteString("GET / HTTP/1.1\r\nHost: drover.test\r\n")
	for _, l := range lines {
		b.WriteString(l.Name + ": " + string(l.Value) + "\r\n")
	}
	Must(t, c.conn.SetDeadline(time.Now().Add(exchangeWaitMax)))
	_, err := io.WriteString(c.conn, b.String()+"\r\n")
	Must(t, err)
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		t.Fatalf("%q: %v", b.String(), err)
	}
	body, err := io.ReadAll(response.Body)
	Must(t, err)
	Must(t, response.Body.Close())
	answer := Answer{response.StatusCode, response.Header}
	if answer.Status != http.StatusOK {
		return answer, nil
	}
	var seen Seen
	Must(t, json.Unmarshal(body, &seen))
	return answer, &seen
}
