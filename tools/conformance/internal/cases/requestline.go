package cases

import . "drover/tools/conformance/internal/script" //nolint:staticcheck // the table is written in the package's words

// passedOrRefused allows a lenient reading, which must reach the origin clean.
func passedOrRefused(more ...Check) Check {
	return Any(Refused(400, 505, 501), Passed(more...))
}

const host = "Host: edge.test"

// requestLines are about the first line.
func requestLines() []Case {
	line := func(line string) string { return Head(line, host) }
	refused := each(Refused(400, 501, 505), nil, []row{
		{"line-starts-with-space", "9112 3", "no method before the first space", line(" / HTTP/1.1")},
		{"line-indented", "9112 2.2", "a space before the request line", line(" GET / HTTP/1.1")},
		{"method-with-parenthesis", "9110 9.1", "a method is a token", line("G(T / HTTP/1.1")},
		{"method-with-nul", "9110 9.1", "a method is a token", line("GE\x00T / HTTP/1.1")},
		{"method-with-colon", "9110 9.1", "a method is a token", line("GET: / HTTP/1.1")},
		{"method-with-high-byte", "9110 9.1", "a method is a token", line("G\xc3\x89T / HTTP/1.1")},
		{"method-alone", "9112 3", "no target, no version", line("GET")},
		{"version-lower-case", "9112 2.3", "the version is case-sensitive", line("GET / http/1.1")},
		{"version-without-minor", "9112 2.3", "a version has two digits", line("GET / HTTP/1.")},
		{"version-without-dot", "9112 2.3", "a version has a dot", line("GET / HTTP/11")},
		{"version-with-tail", "9112 2.3", "nothing follows the minor digit", line("GET / HTTP/1.1x")},
		{"version-two-digit-minor", "9112 2.3", "the minor version is one digit", line("GET / HTTP/1.10")},
		{"version-two-digit-major", "9112 2.3", "the major version is one digit", line("GET / HTTP/01.1")},
		{"version-2", "9110 15.6.6", "a major version that is not spoken here", line("GET / HTTP/2.0")},
		{"version-3", "9110 15.6.6", "a major version that is not spoken here", line("GET / HTTP/3.0")},
		{"version-of-another-protocol", "9112 2.3", "HTTPS is no version's name", line("GET / HTTPS/1.1")},
		{"version-split-by-space", "9112 3", "four words", line("GET / HTTP /1.1")},
		{"version-negative", "9112 2.3", "a sign is no digit", line("GET / HTTP/-1.1")},
		{"sip", "9112 2.3", "another protocol's request", line("OPTIONS sip:edge.test SIP/2.0")},
		{"target-with-space", "9112 3.2", "a space in the target must not be guessed away", line("GET /a b HTTP/1.1")},
		{"target-with-bare-cr", "9112 2.2", "a bare CR is no line's end", line("GET /\r HTTP/1.1")},
		{"target-with-nul", "9112 3.2", "NUL in the target", line("GET /a\x00b HTTP/1.1")},
		{"target-with-control", "9112 3.2", "a control byte in the target", line("GET /a\x01b HTTP/1.1")},
		{"target-with-del", "9112 3.2", "DEL in the target", line("GET /a\x7fb HTTP/1.1")},
		{"target-missing", "9112 3", "two words", line("GET HTTP/1.1")},
		{"line-of-garbage", "9112 3", "no request at all", "garbage\r\n\r\n"},
		{"line-of-nuls", "9112 3", "no request at all", "\x00\x00\x00\x00\r\n\r\n"},
	})
	lenient := each(passedOrRefused(), Refused(), []row{
		{"line-two-spaces-before-target", "9112 3", "one space separates; a lenient reader may take more", line("GET  / HTTP/1.1")},
		{"line-two-spaces-before-version", "9112 3", "one space separates; a lenient reader may take more", line("GET /  HTTP/1.1")},
		{"line-trailing-space", "9112 3", "nothing follows the version; a lenient reader may ignore it", line("GET / HTTP/1.1 ")},
		{"line-tab-before-target", "9112 3", "a tab is no space; a lenient reader may take it for one", line("GET\t/ HTTP/1.1")},
		{"line-tab-before-version", "9112 3", "a tab is no space; a lenient reader may take it for one", line("GET /\tHTTP/1.1")},
		{"line-ends-in-bare-lf", "9112 2.2", "a lenient reader may take LF for CRLF", "GET / HTTP/1.1\n" + host + "\r\n\r\n"},
		{"head-all-in-bare-lf", "9112 2.2", "a lenient reader may take LF for CRLF", "GET / HTTP/1.1\n" + host + "\n\n"},
	})
	rest := []Case{
		{Name: "empty-line-before-request", RFC: "9112 2.2", Why: "at least one CRLF before a request should be ignored", Send: "\r\n" + Get("/"), Want: Passed()},
		{Name: "empty-lines-before-request", RFC: "9112 2.2", Why: "several may be ignored or refused", Send: "\r\n\r\n\r\n\r\n" + Get("/"), Want: passedOrRefused()},
		{Name: "empty-line-between-requests", RFC: "9112 2.2", Why: "old clients send CRLF behind a body", Send: Post("abc", "Content-Length: 3") + "\r\n" + Get("/second"), Answers: 2,
			Want: All(Answers(2), Status(0, 200), Status(1, 200), Requests(2), Got(1, "GET /second HTTP/1.1"))},
		{Name: "method-lower-case", RFC: "9110 9.1", Why: "methods are case-sensitive: pass it as it came or refuse it", Send: line("get / HTTP/1.1"),
			Want: Any(Passed(Got(0, "get / HTTP/1.1")), All(Answers(1), Status(0, 400, 405, 501), Requests(0)))},
		{Name: "method-unknown", RFC: "9110 9.1", Why: "a proxy passes methods that it does not know", Send: line("BREW / HTTP/1.1"), Want: Passed(Got(0, "BREW / HTTP/1.1"))},
		{Name: "method-with-dash", RFC: "9110 9.1", Why: "every token is a method", Send: line("M-SEARCH / HTTP/1.1"), Want: Passed(Got(0, "M-SEARCH / HTTP/1.1"))},
		{Name: "method-of-all-token-bytes", RFC: "9110 5.6.2", Why: "a token may be odd: pass it or refuse it", Send: line("A!#$%&'*+.^_`|~ / HTTP/1.1"),
			Want: Any(Passed(Got(0, "A!#$%&'*+.^_`|~ / HTTP/1.1")), All(Answers(1), Status(0, 400, 405, 501), Requests(0)))},
		{Name: "version-1.2", RFC: "9110 6.2", Why: "a higher minor version is read as 1.1, or refused", Send: line("GET / HTTP/1.2"),
			Want: passedOrRefused(Got(0, "GET / HTTP/1.1"))},
		{Name: "version-0.9-by-number", RFC: "9112 2.3", Why: "HTTP/0.9 has no version in its line", Send: line("GET / HTTP/0.9"),
			Want: Any(Refused(400, 505), Dropped())},
		{Name: "version-missing", RFC: "9112 3", Why: "HTTP/0.9 is no longer spoken", Send: "GET /\r\n\r\n", Want: Any(Refused(400, 505), Dropped())},
		{Name: "tls-hello", RFC: "9112 3", Why: "TLS on a plain port is no request", Send: "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03\r\n\r\n", Want: Any(Refused(), Dropped())},
		{Name: "http2-preface", RFC: "9113 3.4", Why: "a peer that speaks no HTTP/2 refuses; nothing reaches the origin", Send: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Answers: Nothing, Stray: true,
			Want: Requests(0), Drover: All(Requests(0), Closed())},
		{Name: "head-byte-by-byte", RFC: "9112 2.2", Why: "how a head is cut into packets means nothing", Steps: singly(Get("/singly", "X-A: b")), Want: Passed(Got(0, "GET /singly HTTP/1.1"), GotValue(0, "X-A", "b"))},
	}
	return append(append(refused, lenient...), rest...)
}

// singly sends a text one byte a write.
func singly(text string) []Step {
	var steps []Step
	for i := range len(text) {
		steps = append(steps, Send(text[i:i+1]))
	}
	return steps
}
