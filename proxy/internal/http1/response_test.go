package http1

import (
	"strings"
	"testing"
)

func TestAnswersAreFramedByTheirTable(t *testing.T) {
	type framing struct {
		chunked, untilClose, odd bool
		length                   int64
	}
	none := framing{}
	length5 := framing{length: 5}
	chunked := framing{chunked: true, length: -1}
	const five, coded = "Content-Length: 5\r\n", chunkedLine + "\r\n"
	for _, test := range []struct {
		line, fields string
		toHead       bool
		want         framing
	}{
		{"HTTP/1.1 200 OK", five, false, length5},
		{"HTTP/1.1 200 OK", "Content-Length: 0\r\n", false, none},
		{"HTTP/1.1 200 OK", coded, false, chunked},
		{"HTTP/1.1 200 OK", "", false, framing{untilClose: true, length: -1}},
		{"HTTP/1.0 200 OK", "", false, framing{untilClose: true, length: -1}},
		{"HTTP/1.0 200 OK", five, false, length5},
		{"HTTP/1.1 200 OK", five + coded, false, framing{chunked: true, length: -1, odd: true}},
		{"HTTP/1.1 200 OK", coded + five, false, framing{chunked: true, length: -1, odd: true}},
		{"HTTP/1.1 404 Not Found", five, false, length5},
		{"HTTP/1.1 599", "", false, framing{untilClose: true, length: -1}},
		// No body, whatever the fields say (RFC 9112, 6.3, 1).
		{"HTTP/1.1 204 No Content", five, false, none},
		{"HTTP/1.1 204 No Content", coded, false, none},
		{"HTTP/1.1 204 No Content", "", false, none},
		{"HTTP/1.1 100 Continue", "", false, none},
		{"HTTP/1.1 103 Early Hints", five + coded, false, none},
		{"HTTP/1.1 101 Switching Protocols", "", false, none},
		{"HTTP/1.0 204 No Content", coded, false, none},
		// Nor here, but the fields speak of the body that there would be.
		{"HTTP/1.1 304 Not Modified", five, false, length5},
		{"HTTP/1.1 304 Not Modified", coded, false, framing{chunked: true}},
		{"HTTP/1.1 304 Not Modified", "", false, none},
		{"HTTP/1.1 200 OK", five, true, length5},
		{"HTTP/1.1 200 OK", coded, true, framing{chunked: true}},
		{"HTTP/1.1 200 OK", "", true, none},
	} {
		head := test.line + "\r\n" + test.fields + "\r\n"
		var r Response
		n, p := r.Scan([]byte(head+"hello"), 16, test.toHead)
		if p != nil || n != len(head) {
			t.Errorf("Scan(%q) = %d, %v", head, n, p)
			continue
		}
		if got := (framing{r.Chunked, r.UntilClose, r.Odd, r.Length}); got != test.want {
			t.Errorf("%q, to HEAD %v: %+v, want %+v", head, test.toHead, got, test.want)
		}
	}
}

func TestAnswersAreRefusedForTheirProblem(t *testing.T) {
	for _, test := range []struct {
		head string
		want *Problem // nil: accepted
	}{
		{"HTTP/1.1 200 OK\r\n\r\n", nil},
		{"HTTP/1.1 200 \r\n\r\n", nil},
		{"HTTP/1.1 200\r\n\r\n", nil}, // the blank left out
		{"HTTP/1.1 200 \xc3\xa9 t\tb\r\n\r\n", nil},
		{"HTTP/1.0 200 OK\r\n\r\n", nil},
		{"HTTP/1.9 999 OK\r\n\r\n", nil},
		{"HTTP/1.1 2000 OK\r\n", problemStatus},
		{"HTTP/1.1 20 OK\r\n", problemStatus},
		{"HTTP/1.1 099 OK\r\n", problemStatus},
		{"HTTP/1.1  200 OK\r\n", problemStatus},
		{"HTTP/1.1 2x0 OK\r\n", problemStatus},
		{"HTTP/1.1 20\r\n", problemStatus},
		{"HTTP/1.1\r\n", problemStatus},
		{"HTTP/2.0 200 OK\r\n", problemStatus},
		{"HTTP/1.x 200 OK\r\n", problemStatus},
		{"http/1.1 200 OK\r\n", problemStatus},
		{"<html>\r\n", problemStatus},
		{"<html><h", problemStatus},
		{"ICY 200 OK\r\n", problemStatus},
		{"HTTP/1.1 200 a\x00b\r\n", problemStatus},
		{"HTTP/1.1 200 a\rb\r\n", problemStatus},
		{"HTTP/1.1 200 OK\n\n", problemLine},
		{"HTTP/1.1 200 OK\r\n\n", problemLine},
		{"HTTP/1.1 200 OK\r\nA: b\nC: d\r\n", problemLine},
		{"HTTP/1.1 200 OK\r\nA: b\rC", problemLine},
		{"\r\nHTTP/1.1 200 OK\r\n", problemStatus},
		{"HTTP/1.1 200 OK\r\nA : b\r\n", problemField},
		{"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n", problemFold},
		{"HTTP/1.1 200 OK\r\nA: b\x00\r\n", problemValue},
		{"HTTP/1.1 200 OK\r\nA: b\rc\r\n", problemValue},
		{"HTTP/1.1 200 OK\r\nA: b\x01\x7f\r\n\r\n", nil}, // not the edge's affair
		{"HTTP/1.1 200 OK\r\nA:\r\nB:\r\nC:\r\nD:\r\nE:\r\n", problemFields},
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n", problemLengths},
		{"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n", problemLength},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n", problemCoding},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n", problemCoding},
		{"HTTP/1.0 200 OK\r\n" + chunkedLine + "\r\n\r\n", problemOldCoding},
	} {
		n, p := new(Response).Scan([]byte(test.head), 4, false)
		if p != test.want || p == nil && n != len(test.head) {
			t.Errorf("Scan(%q) = %d, %v, want %v", test.head, n, p, test.want)
		}
		for cut := range len(test.head) {
			if n, p := new(Response).Scan([]byte(test.head[:cut]), 4, false); n != 0 || p != nil && test.want == nil {
				t.Errorf("Scan of %d bytes of %q = %d, %v", cut, test.head, n, p)
			}
		}
	}
}

func TestAnAnswersLineAndFieldsAreAsTheyCame(t *testing.T) {
	var r Response
	n, p := r.Scan([]byte(serverHead+"{}"), 16, false)
	if p != nil || n != len(serverHead) {
		t.Fatalf("Scan = %d, %v", n, p)
	}
	first := strings.Index(serverHead, "\r\n") + 2
	if got := giveBack(&r.head, first); got != serverHead {
		t.Errorf("the lines give\n%q\nfor\n%q", got, serverHead)
	}
	if string(r.Line) != "200 OK" || r.Status != 200 || r.Minor != 1 || !r.KeepAlive || r.Length != 4096 {
		t.Errorf("%+v", r)
	}
	for _, head := range []string{"HTTP/1.1 404\r\n\r\n", "HTTP/1.1 404 \r\n\r\n"} {
		if _, p := r.Scan([]byte(head), 16, false); p != nil {
			t.Fatal(p)
		}
		if want := head[9 : len(head)-4]; string(r.Line) != want || r.Status != 404 || r.KeepAlive || !r.UntilClose {
			t.Errorf("%q: %q, %+v", head, r.Line, r)
		}
	}
}

func TestOnly101SwitchesToAProtocol(t *testing.T) {
	for _, test := range []struct{ head, want string }{
		{"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "websocket"},
		{"HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n", ""},
		{"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade:\r\n\r\n", ""},
		{"HTTP/1.1 204 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", ""},
		{"HTTP/1.1 103 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", ""},
		{"HTTP/1.1 426 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n", ""},
	} {
		var r Response
		if _, p := r.Scan([]byte(test.head), 16, false); p != nil {
			t.Fatal(p)
		}
		if string(r.Protocol) != test.want || (r.Protocol == nil) != (test.want == "") {
			t.Errorf("%q: protocol %q, want %q", test.head, r.Protocol, test.want)
		}
	}
}

// FuzzResponse: no head brings the scanner down, and one that is accepted is
// given back byte for byte.
func FuzzResponse(f *testing.F) {
	for _, head := range []string{serverHead, "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 404\r\nA:\r\n\r\n", "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\n" + chunkedLine +
		"\r\n\r\n0\r\n\r\n", "HTTP/1.1 200 OK\nA: b\n\n", "HTTP/1.1 101 x\r\nConnection: upgrade, a\r\nUpgrade: b\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" + chunkedLine + "\r\n\r\n", "HTTP/1.1 304 \r\nA: \x01\r\n\r\n", "\x15\x03\x01\x00\x02\x02\x50"} {
		f.Add([]byte(head), false)
	}
	f.Fuzz(func(t *testing.T, b []byte, toHead bool) {
		var r, again Response
		n, p := r.Scan(b, 16, toHead)
		if n == 0 || p != nil {
			if n != 0 {
				t.Fatalf("%d bytes read with a problem: %v", n, p)
			}
			return
		}
		first := strings.Index(string(b), "\r\n") + 2
		if got := giveBack(&r.head, first); got != string(b[:n]) || string(r.Head) != got {
			t.Errorf("the lines give %q for %q", got, b[:n])
		}
		for cut := range n {
			if m, p := again.Scan(b[:cut], 16, toHead); m != 0 || p != nil {
				t.Fatalf("Scan of %d bytes of %q = %d, %v", cut, b[:n], m, p)
			}
		}
		if r.Chunked && r.UntilClose || r.Length < -1 || r.Length == -1 && !r.Chunked && !r.UntilClose {
			t.Errorf("%q: two framings, or none: %+v", b[:n], r)
		}
	})
}
