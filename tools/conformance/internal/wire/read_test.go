package wire

import (
	"strings"
	"testing"
)

func TestAMessageIsReadToItsLastByteAndNoFurther(t *testing.T) {
	for _, tc := range []struct {
		name, bytes string
		framing     Framing
		body        string
		whole       bool
		rest        string
	}{
		{"no body", "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET", None, "", true, "GET"},
		{"length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET", Length, "abc", true, "GET"},
		{"length cut", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab", Length, "ab", false, ""},
		{"chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\nX", Chunked, "abc", true, "X"},
		{"chunked cut", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", Chunked, "abc", false, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := Request([]byte(tc.bytes))
			if m.Framing != tc.framing || m.Body != tc.body || m.Whole != tc.whole || len(m.Flaws) != 0 {
				t.Errorf("got %+v", m)
			}
			if m.Whole && tc.bytes[m.Size:] != tc.rest {
				t.Errorf("behind it: %q, want %q", tc.bytes[m.Size:], tc.rest)
			}
		})
	}
}

func TestWhatTwoReadersCouldUnderstandInTwoWaysIsAFlaw(t *testing.T) {
	for _, bytes := range []string{
		"GET / HTTP/1.1\r\nHost: a\nB: c\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
		"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"GET / HTTP/1.1\r\n\r\n",
		"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nB: \x00\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
		"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
	} {
		if m := Request([]byte(bytes)); len(m.Flaws) == 0 {
			t.Errorf("%q has no flaw", bytes)
		}
	}
}

func TestAnAnswersBodyFollowsItsStatusAndTheMethod(t *testing.T) {
	for _, tc := range []struct {
		bytes       string
		head, ended bool
		framing     Framing
		whole       bool
	}{
		{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", true, false, None, true},
		{"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", false, false, None, true},
		{"HTTP/1.1 200 OK\r\n\r\nabc", false, false, Close, false},
		{"HTTP/1.1 200 OK\r\n\r\nabc", false, true, Close, true},
		{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", false, true, Length, false},
		{"HTTP/1.1 101 Switching Protocols\r\n\r\nab", false, false, Tunnel, true},
	} {
		m := Answer([]byte(tc.bytes), tc.head, tc.ended)
		if m.Framing != tc.framing || m.Whole != tc.whole {
			t.Errorf("%q: %v, whole %v; want %v, %v", tc.bytes, m.Framing, m.Whole, tc.framing, tc.whole)
		}
	}
	if m := Answer([]byte("HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n"), false, false); !strings.Contains(strings.Join(m.Flaws, ""), "204") {
		t.Errorf("a 204 with a length has the flaws %q", m.Flaws)
	}
}
