package consul

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// scripted is an agent that answers as a test says.
type scripted struct {
	net.Listener
	// answer says what request number n, from 1, is answered, word for word, and
	// whether the connection stays open.
	answer func(n int, r *http.Request) (text string, keep bool)
	group  sync.WaitGroup

	mu          sync.Mutex
	requests    []*http.Request
	connections []net.Conn
}

func newScripted(t *testing.T, answer func(n int, r *http.Request) (string, bool)) *scripted {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s := &scripted{Listener: listener, answer: answer}
	s.group.Go(s.accept)
	t.Cleanup(func() {
		must(t, listener.Close())
		s.mu.Lock()
		for _, conn := range s.connections {
			_ = conn.Close()
		}
		s.mu.Unlock()
		s.group.Wait()
	})
	return s
}

func (s *scripted) accept() {
	for {
		conn, err := s.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.connections = append(s.connections, conn)
		s.mu.Unlock()
		s.group.Go(func() { s.serve(conn) })
	}
}

func (s *scripted) serve(conn net.Conn) {
	defer conn.Close()
	reader := bufio.NewReader(conn)
	for {
		r, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		s.mu.Lock()
		s.requests = append(s.requests, r)
		n := len(s.requests)
		s.mu.Unlock()
		text, keep := s.answer(n, r)
		if _, err := io.WriteString(conn, text); err != nil || !keep {
			return
		}
	}
}

// seen returns how many connections and requests there were.
func (s *scripted) seen() (connections, requests int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.connections), len(s.requests)
}

func (s *scripted) request(i int) *http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[i]
}

// lineTo returns a line of a store.
func lineTo(t *testing.T, o Options) *line {
	t.Helper()
	_, transport, err := newClient(o)
	must(t, err)
	l, err := newLine(o, transport)
	must(t, err)
	t.Cleanup(l.close)
	return l
}

const good = "HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\nContent-Length: 13\r\n\r\n{\"version\":1}"

func TestAValueIsReadHoweverItsLengthIsSaid(t *testing.T) {
	t.Parallel()
	const value, head = `{"version":1}`, "HTTP/1.1 200 OK\r\nx-consul-index: 7\r\n"
	for name, text := range map[string]string{
		"length":            good,
		"chunks":            head + "Transfer-Encoding: chunked\r\n\r\n6\r\n{\"vers\r\n7;x=y\r\nion\":1}\r\n0\r\n\r\n",
		"chunks, a trailer": head + "Trailer: X-A\r\nTransfer-Encoding: chunked\r\n\r\nd\r\n" + value + "\r\n0\r\nX-A: b\r\n\r\n",
		"early hints":       "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + good,
		"then closed":       head + "Connection: close\r\nContent-Length: 13\r\n\r\n" + value,
		"until closed":      head + "\r\n" + value,
		"HTTP/1.0":          "HTTP/1.0 200 OK\r\nX-Consul-Index: 7\r\n\r\n" + value,
	} {
		t.Run(name, func(t *testing.T) {
			keep := !strings.HasPrefix(text, "HTTP/1.0") && !strings.Contains(name, "closed")
			agent := newScripted(t, func(int, *http.Request) (string, bool) { return text, keep })
			l := lineTo(t, Options{Address: agent.Addr().String()})
			for range 3 {
				got, index, err := l.get(within(t), "a/b", "wait=1s", requestMax)
				if err != nil || string(got) != value || index != 7 {
					t.Fatalf("%q, %d, %v", got, index, err)
				}
			}
			want := 3
			if keep {
				want = 1
			}
			if connections, requests := agent.seen(); connections != want || requests != 3 {
				t.Errorf("%d connections for %d requests, want %d for 3", connections, requests, want)
			}
		})
	}
}

func TestAKeyThatIsEmptyIsNotOneThatIsMissing(t *testing.T) {
	t.Parallel()
	for text, missing := range map[string]bool{
		"HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\nContent-Length: 0\r\n\r\n":        false,
		"HTTP/1.1 404 Not Found\r\nX-Consul-Index: 7\r\nContent-Length: 0\r\n\r\n": true,
	} {
		agent := newScripted(t, func(int, *http.Request) (string, bool) { return text, true })
		got, index, err := lineTo(t, Options{Address: agent.Addr().String()}).get(within(t), "a", "", requestMax)
		if err != nil || index != 7 || (got == nil) != missing || len(got) != 0 {
			t.Errorf("%q, %d, %v", got, index, err)
		}
	}
}

// What is no answer of Consul's is an error, is asked for once, and is not in
// the way of the next.
func TestABadAnswerIsAnErrorAndTheNextIsReadAnew(t *testing.T) {
	t.Parallel()
	const head = "HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\n"
	status := func(code string) string {
		return "HTTP/1.1 " + code + "\r\nX-Consul-Index: 7\r\nLocation: /v1/kv/other\r\nContent-Length: 4\r\n\r\nwhy\n"
	}
	for name, c := range map[string]struct{ text, want string }{
		"no index":           {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "without an index"},
		"no index, no key":   {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "without an index"},
		"an index of words":  {"HTTP/1.1 200 OK\r\nX-Consul-Index: x\r\nContent-Length: 2\r\n\r\n{}", "without an index"},
		"packed":             {head + "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", "gzip"},
		"long":               {head + fmt.Sprintf("Content-Length: %d\r\n\r\n{}", responseMax+1), errResponseMax.Error()},
		"long in one chunk":  {head + fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n{}", responseMax+1), errResponseMax.Error()},
		"cut":                {head + "Content-Length: 20\r\n\r\n{}", io.ErrUnexpectedEOF.Error()},
		"cut in a chunk":     {head + "Transfer-Encoding: chunked\r\n\r\n20\r\n{}", "EOF"},
		"cut after a chunk":  {head + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", "EOF"},
		"cut without length": {head + "\r\n{", "cut off"},
		"cut in the header":  {head, "EOF"},
		"a long header":      {head + "X: " + strings.Repeat("x", lineReadBytes) + "\r\n\r\n", "buffer"},
		"not HTTP":           {"SSH-2.0-OpenSSH\r\n\r\n", "SSH"},
		"two lengths":        {head + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", "Content-Length"},
		"elsewhere":          {status("301 Moved Permanently"), "status 301: why"},
		"elsewhere, GET":     {status("307 Temporary Redirect"), "status 307: why"},
		"no leader":          {status("500 Internal Server Error"), "status 500: why"},
		"too many":           {status("429 Too Many Requests"), "status 429: why"},
		"denied":             {status("403 Forbidden"), "status 403: why"},
		"nothing":            {"HTTP/1.1 204 No Content\r\nX-Consul-Index: 7\r\n\r\n", "status 204"},
		"an error, cut":      {"HTTP/1.1 500 Error\r\nContent-Length: 9\r\n\r\nwhy", "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			agent := newScripted(t, func(n int, _ *http.Request) (string, bool) {
				if n == 1 || n == 3 {
					return c.text, false
				}
				return good, true
			})
			l := lineTo(t, Options{Address: agent.Addr().String()})
			get := func() error {
				_, _, err := l.get(within(t), "a", "", requestMax)
				return err
			}
			for range 2 { // on a connection that is new, and on one that is not
				if err := get(); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v, want %q", err, c.want)
				}
				must(t, get())
			}
			if _, requests := agent.seen(); requests != 4 {
				t.Errorf("%d requests, want 4", requests)
			}
		})
	}
}

func TestAnAcknowledgementThatIsNeitherTakenNorRefusedIsAnError(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"true": "true", "true\n": "true", "false": "false", "": "error", "untrue": "error"} {
		agent := newScripted(t, func(int, *http.Request) (string, bool) {
			return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text), true
		})
		got, err := lineTo(t, Options{Address: agent.Addr().String()}).acquire(within(t), "a", "s", []byte("v"), requestMax)
		if said := fmt.Sprint(got); err == nil && said != want || err != nil && want != "error" {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

// A connection that the agent closed meanwhile costs no error, of either
// request. One that it never answers on does, after one try more.
func TestAClosedConnectionIsReplacedOnce(t *testing.T) {
	t.Parallel()
	closing := true
	var mu sync.Mutex
	agent := newScripted(t, func(n int, r *http.Request) (string, bool) {
		mu.Lock()
		defer mu.Unlock()
		if !closing {
			return "", false
		}
		if r.Method == http.MethodPut {
			return "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue", n%2 == 0
		}
		return good, n%2 == 0
	})
	l := lineTo(t, Options{Address: agent.Addr().String()})
	const rounds = 10
	for range rounds {
		_, _, err := l.get(within(t), "a", "", requestMax)
		must(t, err)
		got, err := l.acquire(within(t), "a", "s", []byte("v"), requestMax)
		if err != nil || !got {
			t.Fatalf("%v, %v", got, err)
		}
	}
	if connections, requests := agent.seen(); connections != rounds+1 || requests != 2*rounds {
		t.Errorf("%d connections and %d requests, want %d and %d", connections, requests, rounds+1, 2*rounds)
	}
	mu.Lock()
	closing = false
	mu.Unlock()
	before, _ := agent.seen()
	for range 2 {
		if _, _, err := l.get(within(t), "a", "", requestMax); !errors.Is(err, io.EOF) {
			t.Errorf("%v, want EOF", err)
		}
	}
	// The first has the old connection and a new one, the second a new one.
	if after, requests := agent.seen(); after != before+2 || requests != 2*rounds+3 {
		t.Errorf("%d connections and %d requests more, want 2 and 3", after-before, requests-2*rounds)
	}
}

func TestARequestEndsWithItsContextAndItsLimit(t *testing.T) {
	t.Parallel()
	silent := make(chan struct{})
	asked := make(chan struct{}, 10)
	agent := newScripted(t, func(n int, _ *http.Request) (string, bool) {
		asked <- struct{}{}
		if n%2 == 0 {
			<-silent
		}
		return good, true
	})
	t.Cleanup(func() { close(silent) })
	l := lineTo(t, Options{Address: agent.Addr().String()})
	get := func(ctx context.Context, limit time.Duration) error {
		_, _, err := l.get(ctx, "a", "", limit)
		return err
	}
	must(t, get(within(t), requestMax))
	<-asked
	ctx, cancel := context.WithCancelCause(within(t))
	stop := errors.New("enough")
	go func() { <-asked; cancel(stop) }()
	if err := get(ctx, time.Hour); !errors.Is(err, stop) {
		t.Errorf("%v, want the context's cause", err)
	}
	must(t, get(within(t), requestMax))
	if err := get(within(t), time.Millisecond); err == nil || !strings.Contains(err.Error(), "no answer within 1ms") {
		t.Errorf("%v", err)
	}
	if err := get(ctx, time.Hour); !errors.Is(err, stop) && !errors.Is(err, context.Canceled) {
		t.Errorf("%v of a context that is over", err)
	}
	must(t, get(within(t), requestMax))
}

// What goes past Consul's client has the same address, datacenter, namespace,
// partition and token. Not parallel: the client reads the environment.
func TestARequestIsTheOneThatConsulsClientWouldSend(t *testing.T) {
	t.Setenv("CONSUL_NAMESPACE", "n&s")
	t.Setenv("CONSUL_PARTITION", "part")
	t.Setenv("CONSUL_HTTP_TOKEN", "of the environment")
	file := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(file, []byte("first\n"), 0o600))
	agent := newScripted(t, func(int, *http.Request) (string, bool) { return good, true })
	for _, o := range []Options{
		{Address: agent.Addr().String()},
		{Address: "http://" + agent.Addr().String() + "/gate way/%2f", Datacenter: "dc 1", Token: "t"},
		{Address: agent.Addr().String(), TokenFile: file},
	} {
		for i, token := range []string{"first", "second"} {
			if o.TokenFile != "" {
				must(t, os.WriteFile(file, []byte(token+strings.Repeat("\n", i)), 0o600))
			}
			client, transport, err := newClient(o)
			must(t, err)
			_, _, err = client.KV().Get("a/b", nil)
			if err == nil {
				t.Error("the client took what is no answer in JSON")
			}
			transport.CloseIdleConnections()
			_, _, err = lineTo(t, o).get(within(t), "a/b", "", requestMax)
			must(t, err)
			_, requests := agent.seen()
			want, got := agent.request(requests-2), agent.request(requests-1)
			query := got.URL.Query()
			if _, raw := query["raw"]; !raw {
				t.Errorf("%v does not ask for the bare value", got.URL)
			}
			delete(query, "raw")
			same := query.Encode() == want.URL.Query().Encode() && got.URL.EscapedPath() == want.URL.EscapedPath() &&
				got.Host == want.Host && got.Header.Get("X-Consul-Token") == want.Header.Get("X-Consul-Token")
			if !same {
				t.Errorf("%s of %v, %q, want %s of %v, %q", got.URL, got.Host, got.Header, want.URL, want.Host, want.Header)
			}
			if o.TokenFile != "" && got.Header.Get("X-Consul-Token") != token {
				t.Errorf("the token %q, want %q", got.Header.Get("X-Consul-Token"), token)
			}
		}
	}
}

func TestALineKnowsEveryKindOfAddress(t *testing.T) {
	for address, want := range map[string][2]string{ // where it connects, and the host that it names
		"x":                        {"x:80", "x"},
		"x:1":                      {"x:1", "x:1"},
		"[::1]:8500":               {"[::1]:8500", "[::1]:8500"},
		"http://[fe80::1%25lo]:85": {"[fe80::1%lo]:85", "[fe80::1]:85"},
		"https://x":                {"x:443", "x"},
		"https://bücher.example":   {"xn--bcher-kva.example:443", "xn--bcher-kva.example"},
		"unix:///run/consul.sock":  {"localhost:80", "localhost"},
	} {
		l := lineTo(t, Options{Address: address})
		if got := [2]string{l.address, string(l.head.Host())}; got != want {
			t.Errorf("%s: %q, want %q", address, got, want)
		}
		if (l.tls != nil) != strings.HasPrefix(address, "https") {
			t.Errorf("%s: TLS %v", address, l.tls)
		}
	}
}
