package script

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// startRelay starts a proxy of the simplest kind: every byte of a client goes
// to the origin through a change, and every byte of the origin back.
func startRelay(t *testing.T, origin string, change func(string) string) string {
	t.Helper()
	var lc net.ListenConfig
	listener, err := lc.Listen(context.Background(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var waits sync.WaitGroup
	t.Cleanup(waits.Wait)
	t.Cleanup(func() { listener.Close() }) //nolint:errcheck // a test's
	waits.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp4", origin)
			if err != nil {
				client.Close()
				return
			}
			waits.Go(func() {
				buffer := make([]byte, readBytes)
				for {
					n, err := client.Read(buffer)
					io.WriteString(server, change(string(buffer[:n]))) //nolint:errcheck // a test's
					if err != nil {
						server.Close()
						return
					}
				}
			})
			waits.Go(func() {
				io.Copy(client, server) //nolint:errcheck // a test's
				client.Close()
			})
		}
	})
	return listener.Addr().String()
}

// play runs a case behind a relay.
func play(t *testing.T, c Case, change func(string) string) (*Result, error) {
	t.Helper()
	origin, err := Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(origin.Close)
	return Run(&c, startRelay(t, origin.Addr(), change), origin, false)
}

func unchanged(text string) string { return text }

func TestAFaithfulRelayPasses(t *testing.T) {
	for _, c := range []Case{
		{Name: "get", Send: Get("/a", "X-A: b"), Want: Passed(Got(0, "GET /a HTTP/1.1", "X-A: b"), Body(0, "ok"), Kept(), Heads(1))},
		{Name: "head", Send: Head("HEAD / HTTP/1.1", "Host: a"), Want: Passed(Body(0, ""), Field(0, "content-length", "2"))},
		{Name: "pipeline", Send: Get("/0") + Post("abc", "Content-Length: 3"), Answers: 2, Want: All(Answers(2), Requests(2), GotBody(1, "abc"))},
		{Name: "interim", Send: Get("/"), Replies: []Reply{{AtHead: "HTTP/1.1 103 Early Hints\r\n\r\n", AtBody: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}}, Want: Passed(Interim(0, 103))},
		{Name: "cut", Send: Get("/"), Replies: []Reply{{AtBody: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", Then: Close}}, Want: All(Answers(1), Cut(0), Closed())},
		{Name: "steps", Steps: []Step{Send(Post("a", "Content-Length: 2")), AwaitBody("a"), Send("b"), AwaitRequest(1), OriginSends("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), AwaitAnswer(0, 1)}, Replies: []Reply{{}}, Want: Passed(GotBody(0, "ab"))},
		{Name: "leave", Steps: []Step{Send(Get("/")), AwaitRequest(1), Leave(), AwaitGone()}, Replies: []Reply{{}}, Answers: Nothing, Want: Requests(1)},
	} {
		t.Run(c.Name, func(t *testing.T) {
			if result, err := play(t, c, unchanged); err != nil {
				t.Errorf("%v\n%v", err, result)
			}
		})
	}
}

func TestAnUnfaithfulRelayFails(t *testing.T) {
	replace := func(old, with string) func(string) string {
		return func(text string) string { return strings.ReplaceAll(text, old, with) }
	}
	for _, tc := range []struct {
		name, want string
		change     func(string) string
		check      Check
	}{
		{"target", "no line", replace("/a", "/b"), Passed(Got(0, "GET /a HTTP/1.1"))},
		{"field removed", "X-A is []", replace("X-A: b\r\n", ""), Passed(GotOnly(0, "X-A", "b"))},
		{"field added", "want none", replace("X-A: b\r\n", "X-A: b\r\nX-B: c\r\n"), Passed(GotNo(0, "X-B"))},
		{"order", "where it belongs", replace("X-A: b\r\nX-C: d\r\n", "X-C: d\r\nX-A: b\r\n"), Passed(GotOrder(0, "X-A: b", "X-C: d"))},
		{"sent twice", "whole requests", func(text string) string { return text + text }, Requests(1)},
		{"two framings", "ambiguous", replace("X-A: b\r\n", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"), Requests(1)},
		{"bare LF", "ambiguous", replace("X-A: b\r\n", "X-A: b\n"), Requests(1)},
		{"not refused", "status 200", unchanged, Refused()},
		{"not closed", "is kept", unchanged, All(Answers(1), Closed())},
		{"neither", "none of the allowed", unchanged, Any(Refused(), Dropped())},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := play(t, Case{Send: Get("/a", "X-A: b", "X-C: d"), Want: tc.check}, tc.change)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestWhatTheProxyMayStillSendIsToldAtTheCasesEnd(t *testing.T) {
	result, err := play(t, Case{Send: Get("/"), Want: Answers(1)}, unchanged)
	if err != nil || result.Unsettled {
		t.Errorf("answered: %v, unsettled %v", err, result.Unsettled)
	}
	result, err = play(t, Case{Send: Post("a", "Content-Length: 9"), Answers: Nothing, Want: Answers(0)}, unchanged)
	if err != nil || !result.Unsettled {
		t.Errorf("under way: %v, unsettled %v", err, result.Unsettled)
	}
}
