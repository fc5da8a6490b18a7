package cases

import (
	"strings"

	. "drover/tools/conformance/internal/script" //nolint:staticcheck // the table is written in the package's words
)

// reply is one answer of the origin: its lines, an empty one, and the body.
func reply(body string, lines ...string) []Reply {
	return []Reply{Answer(append(lines, "", body)...)}
}

// then is reply with an end of the connection.
func then(end End, body string, lines ...string) []Reply {
	r := reply(body, lines...)
	r[0].Then = end
	return r
}

const (
	ok       = "HTTP/1.1 200 OK"
	length2  = "Content-Length: 2"
	chunkedA = "Transfer-Encoding: chunked" // of an answer
)

// badGateway wants 502, and the client's connection in any state.
func badGateway() Check { return All(Answers(1), Status(0, 502)) }

// answerHeads are about the heads of the origin's answers.
func answerHeads() []Case {
	get := Get("/")
	var cases []Case
	for _, r := range []struct{ name, rfc, why, head string }{
		{"status-line-garbage", "9112 4", "no answer at all", "garbage\r\n\r\n"},
		{"status-line-without-status", "9112 4", "a status has three digits", "HTTP/1.1\r\n\r\n"},
		{"status-line-word", "9112 4", "a status has three digits", "HTTP/1.1 abc OK\r\n\r\n"},
		{"status-line-two-digits", "9112 4", "a status has three digits", "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok"},
		{"status-line-four-digits", "9112 4", "a status has three digits", "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok"},
		{"status-line-other-protocol", "9112 4", "another protocol", "ICY 200 OK\r\n\r\nok"},
		{"status-line-lower-case", "9112 2.3", "the version is case-sensitive", "http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"},
		{"status-line-signed", "9112 4", "a sign is no digit", "HTTP/1.1 +20 OK\r\nContent-Length: 2\r\n\r\nok"},
		{"status-line-http2", "9112 2.3", "a major version that is not spoken here", "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok"},
		{"status-0", "9110 15", "below every class", "HTTP/1.1 000 OK\r\nContent-Length: 2\r\n\r\nok"},
		{"answer-name-space-before-colon", "9112 5.1", "removed, or the answer refused", "HTTP/1.1 200 OK\r\nX-A : b\r\nContent-Length: 2\r\n\r\nok"},
		{"answer-name-empty", "9112 5", "dropped, or the answer refused", "HTTP/1.1 200 OK\r\n: b\r\nContent-Length: 2\r\n\r\nok"},
		{"answer-field-without-colon", "9112 5", "dropped, or the answer refused", "HTTP/1.1 200 OK\r\njunk\r\nContent-Length: 2\r\n\r\nok"},
		{"answer-value-with-nul", "9110 5.5", "replaced, or the answer refused", "HTTP/1.1 200 OK\r\nX-A: b\x00c\r\nContent-Length: 2\r\n\r\nok"},
		{"answer-value-with-bare-cr", "9112 2.2", "replaced, or the answer refused", "HTTP/1.1 200 OK\r\nX-A: b\rc\r\nContent-Length: 2\r\n\r\nok"},
		{"answer-folded", "9112 5.2", "joined, or the answer refused", "HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 2\r\n\r\nok"},
		{"answer-head-in-bare-lf", "9112 2.2", "a lenient reader may take LF for CRLF, and writes CRLF", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok"},
		{"status-out-of-classes", "9110 15", "passed as it came, or refused", "HTTP/1.1 799 Odd\r\nContent-Length: 2\r\n\r\nok"},
	} {
		want := badGateway()
		if strings.HasPrefix(r.head, "HTTP/1.1 200") || strings.HasPrefix(r.head, "HTTP/1.1 799") {
			want = Any(badGateway(), All(Answers(1), Status(0, 200, 799), Body(0, "ok")))
		}
		cases = append(cases, Case{Name: r.name, RFC: r.rfc, Why: r.why, Send: get, Replies: []Reply{{AtBody: r.head, Then: Close}}, Want: want})
	}
	long := strings.Repeat("a", 64<<10)
	return append(cases,
		Case{Name: "answer-head-too-large", RFC: "9112 3", Why: "an answer's head is bounded", Send: get, Replies: reply("ok", ok, length2, "X-Long: "+long), Want: badGateway()},
		Case{Name: "answer-head-endless", RFC: "9112 3", Why: "an answer's head is bounded even without an end", Send: get, Replies: []Reply{{AtBody: ok + "\r\nX-Long: " + long + long}}, Want: badGateway()},
		Case{Name: "answer-many-fields", RFC: "9110 5.4", Why: "60 fields are nothing unusual", Send: get, Replies: reply("ok", append([]string{ok, length2}, strings.Split(strings.Repeat("X-A: b,", 60)+"X-End: c", ",")...)...), Want: Passed(Field(0, "X-End", "c"))},
		Case{Name: "reason-phrase", RFC: "9112 4", Why: "a reason may be any text; a proxy may pass it or say its own", Send: get, Replies: reply("ok", "HTTP/1.1 200 Fine, and \"you\"?", length2), Want: Passed(Body(0, "ok"))},
		Case{Name: "reason-phrase-empty", RFC: "9112 4", Why: "a reason may be empty", Send: get, Replies: reply("ok", "HTTP/1.1 200 ", length2), Want: Passed(Body(0, "ok"))},
		Case{Name: "reason-phrase-missing", RFC: "9112 4", Why: "without the blank: read leniently, or refused", Send: get, Replies: reply("ok", "HTTP/1.1 200", length2), Want: Any(Passed(Body(0, "ok")), badGateway())},
		Case{Name: "status-unknown", RFC: "9110 15", Why: "an unknown status of a known class passes", Send: get, Replies: reply("ok", "HTTP/1.1 299 Odd", length2), Want: All(Answers(1), Status(0, 299), Body(0, "ok"))},
		Case{Name: "answer-of-1.0", RFC: "9112 2.5", Why: "an origin of HTTP/1.0 answers; the client gets 1.1", Send: get, Replies: then(Close, "ok", "HTTP/1.0 200 OK", length2), Want: Passed(Body(0, "ok"), Line(0, ok))},
		Case{Name: "answer-set-cookie-lines", RFC: "9110 5.3", Why: "Set-Cookie lines are never joined", Send: get, Replies: reply("ok", ok, "Set-Cookie: a=1; Expires=Thu, 01 Jan 2026 00:00:00 GMT", "Set-Cookie: b=2", length2),
			Want: Passed(Field(0, "Set-Cookie", "a=1; Expires=Thu, 01 Jan 2026 00:00:00 GMT"), Field(0, "Set-Cookie", "b=2"))},
		Case{Name: "answer-keeps-fields", RFC: "9110 7.7", Why: "what an origin says of its content passes unchanged", Send: get, Replies: reply("ok", ok, "Server: origin/1", "Date: Thu, 01 Jan 2026 00:00:00 GMT", "Content-Type: text/odd; a=b", "ETag: W/\"x\"", "Content-Encoding: odd", length2),
			Want: Passed(Field(0, "Server", "origin/1"), Field(0, "Date", "Thu, 01 Jan 2026 00:00:00 GMT"), Field(0, "Content-Type", "text/odd; a=b"), Field(0, "ETag", "W/\"x\""), Field(0, "Content-Encoding", "odd"))},
		Case{Name: "answer-no-content-type-made-up", RFC: "9110 8.3", Why: "a proxy does not guess a content type", Send: get, Replies: reply("ok", ok, length2), Want: Passed(NoField(0, "Content-Type"))},
		Case{Name: "answer-value-high-bytes", RFC: "9110 5.5", Why: "bytes over 0x7f pass as they came", Send: get, Replies: reply("ok", ok, "X-A: \xff\x80", length2), Want: Passed(Field(0, "X-A", "\xff\x80"))},
		Case{Name: "answer-name-spelling", RFC: "9110 5.1", Why: "names are case-insensitive; Drover passes their spelling", Send: get, Replies: reply("ok", ok, "x-Odd-SPELLing: b", length2), Want: Passed(Field(0, "X-Odd-Spelling", "b")), Drover: Passed(Line(0, "x-Odd-SPELLing: b"))},
	)
}
