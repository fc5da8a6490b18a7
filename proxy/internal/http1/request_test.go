package http1

import (
	"bytes"
	"strings"
	"testing"
)

var testLimits = Limits{Fields: 64, RequestLine: 8 << 10}

// scanCut scans a head as it comes, byte by byte: every beginning of it says
// that more is to come, or refuses as the whole does.
func scanCut(t *testing.T, head string, r *Request) (int, *Problem) {
	t.Helper()
	whole, problem := r.Scan([]byte(head), testLimits)
	for cut := range len(head) {
		n, p := new(Request).Scan([]byte(head[:cut]), testLimits)
		switch {
		case n != 0:
			t.Errorf("Scan of %d bytes of %q = %d, want 0", cut, head, n)
		case p != nil && problem == nil:
			t.Errorf("Scan of %d bytes of %q: %v, which as a whole is well formed", cut, head, p)
		}
	}
	return whole, problem
}

func TestRequestsAreRefusedForTheirProblem(t *testing.T) {
	for _, test := range []struct {
		head string
		want *Problem // nil: accepted
	}{
		// Lines (RFC 9112, 2.2).
		{"GET / HTTP/1.1\nHost: a\r\n\r\n", problemLine},
		{"GET / HTTP/1.1\r\nHost: a\n\r\n", problemLine},
		{"GET / HTTP/1.1\r\nHost: a\r\n\n", problemLine},
		{"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", problemLine},
		{"\rGET / HTTP/1.1", problemLine},
		{"GET / HTTP/1.1\r\nHost: a\rb", problemLine},
		// The request line (RFC 9112, 3).
		{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", nil},
		{"M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n", nil},
		{"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", problemRequest},
		{" GET / HTTP/1.1\r\nHost: a\r\n\r\n", problemRequest},
		{"GET\r\n", problemRequest},
		{"GET /\r\n", problemRequest},
		{"GET  / HTTP/1.1\r\n", problemRequest},
		{"GET /  HTTP/1.1\r\n", problemRequest},
		{"GET / HTTP/1.1 \r\n", problemRequest},
		{"GET /a b HTTP/1.1\r\n", problemRequest},
		{"GET /a\tb HTTP/1.1\r\n", problemRequest},
		{"GET /\x00 HTTP/1.1\r\n", problemRequest},
		{"GET /\x7f HTTP/1.1\r\n", problemRequest},
		{"GET /a#b HTTP/1.1\r\n", problemRequest},
		{"\x16\x03\x01", problemRequest}, // TLS
		{"GET / HTTP/1.11\r\n", problemRequest},
		{"GET / http/1.1\r\n", problemRequest},
		{"GET / HTTP/1\r\n", problemRequest},
		{"GET / HTTP/a.1\r\n", problemRequest},
		{"GET / HTTP/1.a\r\n", problemRequest},
		{"GET / HTTP/2.0\r\n", problemVersion},
		{"GET / HTTP/0.9\r\n", problemVersion},
		{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", problemVersion},
		{"GET / HTTP/1.7\r\nHost: a\r\n\r\n", nil},
		// Targets (RFC 9112, 3.2).
		{"CONNECT a:443 HTTP/1.1\r\n", problemConnect},
		{"GET * HTTP/1.1\r\n", problemTarget},
		{"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", nil},
		{"GET a:443 HTTP/1.1\r\n", problemTarget},
		{"GET ftp://a/ HTTP/1.1\r\n", problemTarget},
		{"GET http://u@a/ HTTP/1.1\r\n", problemTarget},
		{"GET http:///a HTTP/1.1\r\n", problemTarget},
		{"GET http://a:x/ HTTP/1.1\r\n", problemTarget},
		// Fields (RFC 9112, 5).
		{"GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n", problemField},
		{"GET / HTTP/1.1\r\nHost: a\r\nA\r\n", problemField},
		{"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n", problemField},
		{"GET / HTTP/1.1\r\nHost: a\r\nA(: b\r\n", problemField},
		{"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n", problemFold},
		{"GET / HTTP/1.1\r\n\tHost: a\r\n", problemFold},
		{"GET / HTTP/1.1\r\nA: b\x00\r\n", problemValue},
		{"GET / HTTP/1.1\r\nA: \x1f\r\n", problemValue},
		{"GET / HTTP/1.1\r\nA: b\x7fc\r\n", problemValue},
		{"GET / HTTP/1.1\r\nA: b\rc\r\n", problemValue},
		{"GET / HTTP/1.1\r\nHost: a\r\nA: \t\xc3\xa9\tb\t\r\n\r\n", nil},
		// Framing (RFC 9112, 6).
		{get("Content-Length: 5"), nil},
		{get("Content-Length: 000000000000000000000005"), nil},
		{get("Content-Length: 999999999999999999"), nil},
		{get("Content-Length: 1000000000000000000"), problemLength},
		{get("Content-Length: 9223372036854775808"), problemLength},
		{get("Content-Length:"), problemLength},
		{get("Content-Length: +5"), problemLength},
		{get("Content-Length: -5"), problemLength},
		{get("Content-Length: 5, 5"), problemLength},
		{get("Content-Length: 0x5"), problemLength},
		{get("Content-Length: 5\r\ncontent-length: 5"), problemLengths},
		{get("Content-Length: 5", chunkedLine), problemLengths},
		{get(chunkedLine, "Content-Length: 5"), problemLengths},
		{get(chunkedLine), nil},
		{get("transfer-encoding:\tCHUNKED "), nil},
		{get(chunkedLine, chunkedLine), problemCoding},
		{get("Transfer-Encoding: gzip, chunked"), problemCoding},
		{get("Transfer-Encoding: chunked, identity"), problemCoding},
		{get("Transfer-Encoding:"), problemCoding},
		{message("POST / HTTP/1.0", chunkedLine), problemOldCoding},
		// Host (RFC 9112, 3.2).
		{"GET / HTTP/1.1\r\n\r\n", problemHost},
		{"GET / HTTP/1.1\r\nHost:\r\n\r\n", problemHost},
		{get("Host: a"), problemHost},
		{"GET / HTTP/1.0\r\n\r\n", nil},
		{"GET / HTTP/1.0\r\nHost: a b\r\n\r\n", problemHost},
		{message("GET http://b/ HTTP/1.1"), problemHostTarget},
		{message("GET http://a:443/ HTTP/1.1"), problemHostTarget},
		{message("GET https://a:80/ HTTP/1.1"), problemHostTarget},
	} {
		n, p := scanCut(t, test.head, new(Request))
		switch {
		case p != test.want:
			t.Errorf("Scan(%q): %v, want %v", test.head, p, test.want)
		case p == nil && n != len(test.head):
			t.Errorf("Scan(%q) = %d, want %d", test.head, n, len(test.head))
		case p != nil && n != 0:
			t.Errorf("Scan(%q) = %d with a problem", test.head, n)
		}
	}
}

func TestRequestsBeyondALimitAreRefused(t *testing.T) {
	limits := Limits{Fields: 3, RequestLine: len("GET /aaaa HTTP/1.1")}
	for _, test := range []struct {
		head   string
		status int // 0: accepted
	}{
		{"GET /aaaa HTTP/1.1\r\nHost: a\r\n\r\n", 0},
		{"\r\n\r\nGET /aaaa HTTP/1.1\r\nHost: a\r\n\r\n", 0},
		{"GET /aaaaa HTTP/1.1\r\nHost: a\r\n\r\n", 414},
		{"GET /aaaaaaaaaaaaaaaaaaaaaaaaaaa", 414},
		{"GET /aaaa HTTP/1.1\r\nHost: a\r\nB: b\r\nC: c\r\n\r\n", 0},
		{"GET /aaaa HTTP/1.1\r\nHost: a\r\nB: b\r\nC: c\r\nD: d\r\n", 431},
	} {
		n, p := new(Request).Scan([]byte(test.head), limits)
		switch {
		case test.status == 0 && (p != nil || n != len(test.head)):
			t.Errorf("Scan(%q) = %d, %v", test.head, n, p)
		case test.status != 0 && (p == nil || p.Status != test.status):
			t.Errorf("Scan(%q): %+v, want status %d", test.head, p, test.status)
		}
		for cut := 0; cut < len(test.head) && test.status == 0; cut++ {
			if n, p := new(Request).Scan([]byte(test.head[:cut]), limits); n != 0 || p != nil {
				t.Errorf("Scan of %d bytes of %q = %d, %v", cut, test.head, n, p)
			}
		}
	}
}

func TestEmptyLinesBeforeARequestAreSkipped(t *testing.T) {
	head := "\r\n\r\n" + get("A: b")
	var r Request
	n, p := scanCut(t, head, &r)
	if p != nil || n != len(head) {
		t.Fatalf("Scan = %d, %v", n, p)
	}
	if got, want := string(r.Head), head[4:]; got != want {
		t.Errorf("Head = %q, want %q", got, want)
	}
	if l := r.Lines[0]; string(r.Head[l.Start:l.End]) != "Host: a\r\n" {
		t.Errorf("the first line is %q", r.Head[l.Start:l.End])
	}
}

func TestHostsAreHeldToTheirGrammar(t *testing.T) {
	valid := []string{"a", "A.b-c_d~", "a:80", "a:", "a:65535", "1.2.3.4:80", "%41b", "!$&'()*+;=", "a,b", "[::1]", "[::1]:8080", "[::1]:",
		"[::ffff:1.2.3.4]", "[2001:DB8::a]", "[1:2:3:4:5:6:7::]", "[v1.a:b]", "[Vf.~]"}
	invalid := []string{"", ":80", "a:b", "a:80:80", "a:123456", "a b", "a/b", "a?b", "u@a", "%4", "%zz", "a%", "[", "[]", "[::1", "[::1]80", "[::1]:x",
		"::1", "[1.2.3.4]", "[::1::]", "[12345::]", "[fe80::1%25eth0]", "[fe80::1%eth0]", "[v.a]", "[v1.]", "[v1a]", "[vg.a]", "[v1.%41]",
		"\xc3\xa9", "a\\b", "[a]", "[" + strings.Repeat("1:", 200) + "]"}
	for i, host := range append(valid, invalid...) {
		want := i < len(valid)
		var r Request
		n, p := r.Scan([]byte("GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n"), testLimits)
		if (n != 0 && p == nil) != want {
			t.Errorf("Host: %s: %d, %v, want accepted %v", host, n, p, want)
		}
		if want && string(r.Host) != host {
			t.Errorf("Host = %q, want %q", r.Host, host)
		}
		if strings.ContainsAny(host, "/?") {
			continue // a path begins there
		}
		n, p = r.Scan([]byte("GET http://"+host+"/ HTTP/1.0\r\n\r\n"), testLimits)
		if (n != 0 && p == nil) != want {
			t.Errorf("http://%s/: %d, %v, want accepted %v", host, n, p, want)
		}
		if want && string(r.Host) != host {
			t.Errorf("of an absolute target, Host = %q, want %q", r.Host, host)
		}
	}
}

func TestAbsoluteTargetsGiveTheirPathAndHost(t *testing.T) {
	for _, test := range []struct{ line, host, wantPath, wantHost string }{
		{"GET http://a HTTP/1.1", "a", "/", "a"},
		{"GET http://a/b?c HTTP/1.1", "a", "/b?c", "a"},
		{"GET http://a?c HTTP/1.1", "a", "/?c", "a"},
		{"GET HTTP://a/ HTTP/1.1", "a", "/", "a"},
		{"GET http://A/ HTTP/1.1", "a", "/", "A"},
		{"GET http://a:80/ HTTP/1.1", "a", "/", "a:80"},
		{"GET http://a/ HTTP/1.1", "a:80", "/", "a"},
		{"GET http://a:/ HTTP/1.1", "a:80", "/", "a:"},
		{"GET https://a:443/ HTTP/1.1", "a", "/", "a:443"},
		{"GET http://[::1]/ HTTP/1.1", "[::1]:80", "/", "[::1]"},
		{"GET http://a:81/ HTTP/1.1", "a:81", "/", "a:81"},
		{"GET http://a//b HTTP/1.1", "a", "//b", "a"},
		{"GET http://a/http://b HTTP/1.1", "a", "/http://b", "a"},
		{"OPTIONS http://a HTTP/1.1", "a", "*", "a"},
		{"OPTIONS http://a/ HTTP/1.1", "a", "/", "a"},
		{"OPTIONS http://a?b HTTP/1.1", "a", "/?b", "a"},
		{"GET /http://b HTTP/1.1", "a", "/http://b", "a"},
		{"GET //b HTTP/1.1", "a", "//b", "a"},
	} {
		var r Request
		if _, p := r.Scan([]byte(test.line+"\r\nHost: "+test.host+"\r\n\r\n"), testLimits); p != nil {
			t.Errorf("%s: %v", test.line, p)
			continue
		}
		if string(r.Path) != test.wantPath || string(r.Host) != test.wantHost {
			t.Errorf("%s: path %q of %q, want %q of %q", test.line, r.Path, r.Host, test.wantPath, test.wantHost)
		}
		if _, target, _ := strings.Cut(test.line, " "); string(r.Target)+" HTTP/1.1" != target {
			t.Errorf("%s: target %q", test.line, r.Target)
		}
	}
}

func TestConnectionIsAListOfOptions(t *testing.T) {
	for _, test := range []struct {
		lines                           []string
		close, keepAlive, upgrade, name bool
	}{
		{nil, false, false, false, false},
		{[]string{"Connection: close"}, true, false, false, false},
		{[]string{"Connection: Close"}, true, false, false, false},
		{[]string{"Connection: keep-alive"}, false, true, false, false},
		{[]string{"Connection: Keep-Alive, Upgrade"}, false, true, true, false},
		{[]string{"Connection: ,, close\t, "}, true, false, false, false},
		{[]string{"Connection: upgrade", "connection: close"}, true, false, true, false},
		{[]string{"Connection: x-a"}, false, false, false, true},
		{[]string{"Connection: closed"}, false, false, false, true},
		{[]string{"Connection:"}, false, false, false, false},
		{[]string{"Connection: \u212aeep-alive"}, false, false, false, true},
		{[]string{"Proxy-Connection: close"}, false, false, false, false},
	} {
		var r Request
		if _, p := r.Scan([]byte(get(test.lines...)), testLimits); p != nil {
			t.Fatal(p)
		}
		if r.Close != test.close || r.KeepAlive != test.keepAlive || r.Upgrading != test.upgrade || r.Names != test.name {
			t.Errorf("%q: close %v, keep-alive %v, upgrade %v, names %v", test.lines, r.Close, r.KeepAlive, r.Upgrading, r.Names)
		}
	}
}

func TestConnectionNamesFieldsButNoneOfFramingAndRouting(t *testing.T) {
	var r Request
	head := get("Connection: close, X-A ,host,content-length", "Connection: transfer-encoding, Drover-User, \u212aey")
	if _, p := r.Scan([]byte(head), testLimits); p != nil {
		t.Fatal(p)
	}
	for name, want := range map[string]bool{"x-a": true, "X-A": true, "close": true, "x-b": false, "x": false, "Key": false,
		"Host": false, "Content-Length": false, "Transfer-Encoding": false, "Drover-User": false} {
		if got := r.Named([]byte(name)); got != want {
			t.Errorf("Named(%s) = %v", name, got)
		}
	}
	if _, p := r.Scan([]byte(get("Connection: close")), testLimits); p != nil || r.Named([]byte("close")) {
		t.Errorf("close is taken for the name of a field: %v", p)
	}
}

func TestFieldsThatAProxyActsOnAreRead(t *testing.T) {
	for _, test := range []struct {
		head          string
		wait, trailer bool
		protocol      string // "-": none
	}{
		{get(), false, false, "-"},
		{get("Expect: 100-continue"), true, false, "-"},
		{get("expect: 100-Continue"), true, false, "-"},
		{get("Expect: 200-ok"), false, false, "-"},
		{message("POST / HTTP/1.0", "Expect: 100-continue"), false, false, "-"},
		{get("TE: trailers"), false, true, "-"},
		{get("TE: deflate;q=0.5 ,Trailers"), false, true, "-"},
		{get("TE: deflate", "TE: trailers"), false, true, "-"},
		{get("TE: trailersx"), false, false, "-"},
		{get("Upgrade: websocket"), false, false, "-"},
		{get("Upgrade: websocket", "Connection: Upgrade"), false, false, "websocket"},
		{get("Upgrade:", "Connection: Upgrade"), false, false, "-"},
		{message("GET / HTTP/1.0", "Upgrade: websocket", "Connection: Upgrade"), false, false, "-"},
	} {
		var r Request
		if _, p := r.Scan([]byte(test.head), testLimits); p != nil {
			t.Fatal(p)
		}
		protocol := "-"
		if r.Protocol != nil {
			protocol = string(r.Protocol)
		}
		if r.Continue != test.wait || r.Trailers != test.trailer || protocol != test.protocol {
			t.Errorf("%q: continue %v, trailers %v, protocol %s", test.head, r.Continue, r.Trailers, protocol)
		}
	}
}

func TestLinesGiveBackTheBytesOfTheHead(t *testing.T) {
	var r Request
	head := "\r\n" + browserHead
	if _, p := r.Scan([]byte(head), testLimits); p != nil {
		t.Fatal(p)
	}
	line, _, _ := strings.Cut(browserHead, "\r\n")
	if got := giveBack(&r.head, len(line)+2); got != browserHead {
		t.Errorf("the lines give\n%q\nfor\n%q", got, browserHead)
	}
	if len(r.Fields) != 14 || string(r.Fields[13].Name) != "Cache-Control" || string(r.Fields[13].Value) != "no-cache" {
		t.Errorf("fields: %q", r.Fields)
	}
	if r.Lines[0].Kind != Host || r.Lines[8].Kind != Cookie || r.Lines[13].Kind != Other {
		t.Errorf("kinds: %v", r.Lines)
	}
}

// giveBack puts a head together from its first line, its lines and the empty one.
func giveBack(h *head, first int) string {
	var b bytes.Buffer
	b.Write(h.Head[:first])
	for _, l := range h.Lines {
		b.Write(h.Head[l.Start:l.End])
	}
	b.WriteString("\r\n")
	return b.String()
}

func TestARequestIsScannedIntoAgain(t *testing.T) {
	var r Request
	if _, p := r.Scan([]byte(message("POST http://a/b HTTP/1.1", chunkedLine, "Expect: 100-continue", "TE: trailers",
		"Connection: close, upgrade, x", "Upgrade: p")), testLimits); p != nil {
		t.Fatal(p)
	}
	if _, p := r.Scan([]byte("GET / HTTP/1.0\r\n\r\n"), testLimits); p != nil {
		t.Fatal(p)
	}
	if r.Host != nil || r.Length != 0 || r.HasLength || r.Continue || r.Trailers || r.Close || r.Upgrading || r.Names || r.Protocol != nil ||
		len(r.Fields) != 0 || len(r.Lines) != 0 || r.Minor != 0 {
		t.Errorf("something of the request before is left: %+v", r)
	}
}

func TestScanAllocatesNothing(t *testing.T) {
	var r Request
	var answer Response
	request, response := []byte(browserHead), []byte(serverHead)
	if n := testing.AllocsPerRun(100, func() {
		_, p := r.Scan(request, testLimits)
		_, q := answer.Scan(response, 64, false)
		if p != nil || q != nil {
			t.Fatal(p, q)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
