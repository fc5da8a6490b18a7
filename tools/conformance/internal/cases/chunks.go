package cases

import (
	"strings"

	. "drover/tools/conformance/internal/script" //nolint:staticcheck // the table is written in the package's words
)

const chunkedLine = "Transfer-Encoding: chunked"

// badBody wants a request whose body breaks off to be no whole request at the
// origin, the connection closed, and no good answer.
func badBody() Check {
	return All(Requests(0), Heads(1), Closed(), Any(Answers(0), All(Answers(1), Status(0, 400, 413, 422, 431, 502))))
}

// chunks are about the framing of a chunked request.
func chunks() []Case {
	post := func(body string) string { return Post(body, chunkedLine) }
	bad := each(badBody(), nil, []row{
		{"chunk-size-word", "9112 7.1", "a size is hexadecimal digits", post("xyz\r\nhello\r\n0\r\n\r\n")},
		{"chunk-size-empty", "9112 7.1", "a size has a digit", post("\r\nhello\r\n0\r\n\r\n")},
		{"chunk-size-negative", "9112 7.1", "a size is digits", post("-5\r\nhello\r\n0\r\n\r\n")},
		{"chunk-size-plus", "9112 7.1", "a size is digits", post("+5\r\nhello\r\n0\r\n\r\n")},
		{"chunk-size-0x", "9112 7.1", "a size is digits", post("0x5\r\nhello\r\n0\r\n\r\n")},
		{"chunk-size-underscore", "9112 7.1", "a size is digits", post("0_5\r\nhello\r\n0\r\n\r\n")},
		{"chunk-size-behind-space", "9112 7.1", "no blank before a size", post(" 5\r\nhello\r\n0\r\n\r\n")},
		{"chunk-size-with-nul", "9112 7.1", "a size is digits", post("5\x00\r\nhello\r\n0\r\n\r\n")},
		{"chunk-size-over-64-bits", "9112 7.1", "2^64+5 is not 5", post("10000000000000005\r\nhello\r\n0\r\n\r\n")},
		{"chunk-size-sign-bit", "9112 7.1", "a size is not negative", post("8000000000000005\r\nhello\r\n0\r\n\r\n")},
		{"chunk-size-all-bits", "9112 7.1", "a size is not -1", post("ffffffffffffffff\r\nhello\r\n0\r\n\r\n")},
		{"chunk-size-comma", "9112 7.1", "a size is one number", post("5,5\r\nhello\r\n0\r\n\r\n")},
		{"chunk-size-ends-in-cr", "9112 7.1", "a bare CR ends no line", post("5\rhello\r\n0\r\n\r\n")},
		{"chunk-without-crlf", "9112 7.1", "CRLF follows a chunk", post("5\r\nhello0\r\n\r\n")},
		{"chunk-too-long", "9112 7.1", "CRLF follows a chunk", post("5\r\nhelloworld\r\n0\r\n\r\n")},
		{"chunk-followed-by-two-bytes", "9112 7.1", "two bytes that are not CRLF", post("5\r\nhelloXX0\r\n\r\n")},
		{"chunk-followed-by-cr-only", "9112 7.1", "CR alone is no CRLF", post("5\r\nhello\r0\r\n\r\n")},
		{"chunk-extension-with-bare-cr", "9112 7.1.1", "a bare CR in an extension", post("5;a=\rb\r\nhello\r\n0\r\n\r\n")},
		{"chunk-last-with-tail", "9112 7.1", "an odd byte behind the last chunk's size", post("5\r\nhello\r\n0x\r\n\r\n")},
	})
	// Whoever is lenient must not pass it on as it came.
	lenient := each(Any(badBody(), Passed(GotBody(0, "hello"))), badBody(), []row{
		{"chunk-size-ends-in-lf", "9112 7.1", "a lenient reader may take LF for CRLF", post("5\nhello\r\n0\r\n\r\n")},
		{"chunk-followed-by-lf", "9112 7.1", "a lenient reader may take LF for CRLF", post("5\r\nhello\n0\r\n\r\n")},
		{"chunk-last-ends-in-lf", "9112 7.1", "a lenient reader may take LF for CRLF", post("5\r\nhello\r\n0\n\r\n")},
		{"chunk-end-in-lf", "9112 7.1", "a lenient reader may take LF for CRLF", post("5\r\nhello\r\n0\r\n\n")},
		{"chunk-extension-ends-in-lf", "9112 7.1.1", "one reader sees a line's end, another one an extension", post("5;a\nhello\r\n0\r\n\r\n")},
		{"chunk-extension-with-nul", "9112 7.1.1", "NUL in an extension", post("5;a=\x00\r\nhello\r\n0\r\n\r\n")},
		{"trailer-without-colon", "9112 7.1.2", "a trailer is a field", post("5\r\nhello\r\n0\r\njunk\r\n\r\n")},
		{"trailer-space-before-colon", "9112 5.1", "a trailer is a field", post("5\r\nhello\r\n0\r\nX-A : b\r\n\r\n")},
		{"trailer-folded", "9112 5.2", "a trailer is a field", post("5\r\nhello\r\n0\r\nX-A: b\r\n c\r\n\r\n")},
		{"trailer-with-nul", "9110 5.5", "a trailer is a field", post("5\r\nhello\r\n0\r\nX-A: b\x00\r\n\r\n")},
		{"trailer-empty-name", "9112 5", "a trailer is a field", post("5\r\nhello\r\n0\r\n: b\r\n\r\n")},
	})
	either := Any(badBody(), Passed(GotBody(0, "hello")))
	rest := []Case{
		{Name: "chunk-size-before-space", RFC: "9112 7.1", Why: "blanks behind a size: padding of old senders", Send: post("5 \r\nhello\r\n0\r\n\r\n"), Want: either},
		{Name: "chunk-size-with-zeros", RFC: "9112 7.1", Why: "leading zeros are digits; too many may be refused", Send: post("0000000000000000000000005\r\nhello\r\n0\r\n\r\n"), Want: either},
		{Name: "chunk-size-in-both-cases", RFC: "9112 7.1", Why: "hexadecimal in any case", Send: post("A\r\n0123456789\r\nb\r\n0123456789a\r\n000\r\n\r\n"), Want: Passed(GotBody(0, "01234567890123456789a"))},
		{Name: "chunk-extension", RFC: "9112 7.1.1", Why: "extensions that are not understood mean nothing", Send: post("5;name=value;other=\"quoted;\"\r\nhello\r\n0;last\r\n\r\n"), Want: Passed(GotBody(0, "hello"))},
		{Name: "chunk-extension-with-request", RFC: "9112 7.1.1", Why: "an extension is no request", Send: post("5;a=GET /evil HTTP/1.1\r\nhello\r\n0\r\n\r\n"), Want: either},
		{Name: "chunks-byte-by-byte", RFC: "9112 7.1", Why: "how a chunk is cut into packets means nothing", Steps: singly(post("5;a=b\r\nhello\r\n3\r\nabc\r\n0\r\nX-A: b\r\n\r\n")), Want: Passed(GotBody(0, "helloabc"))},
		{Name: "chunk-size-over-32-bits", RFC: "9112 7.1", Why: "2^32+5 is not 5: over the limit, or waited for", Send: post("100000005\r\nhello\r\n0\r\n\r\n"), Answers: Nothing, Want: All(Requests(0), Heads(1))},
		{Name: "chunked-body-cut", RFC: "9112 8", Why: "a body that breaks off is no whole request", Steps: []Step{Send(post("5\r\nhel")), HalfClose()}, Answers: Nothing, Want: Requests(0)},
		{Name: "chunked-body-cut-before-last", RFC: "9112 8", Why: "without its last chunk a body is not whole", Steps: []Step{Send(post("5\r\nhello\r\n")), HalfClose()}, Answers: Nothing, Want: Requests(0)},
		{Name: "length-body-cut", RFC: "9112 8", Why: "a body that breaks off is no whole request", Steps: []Step{Send(Post("abc", "Content-Length: 5")), HalfClose()}, Answers: Nothing, Want: Requests(0)},
	}
	for _, line := range []string{"Content-Length: 3", "Transfer-Encoding: gzip", "Host: evil.test", "X-User-Id: evil"} {
		field, value, _ := strings.Cut(line, ": ")
		rest = append(rest, Case{Name: "trailer-" + strings.ToLower(field), RFC: "9110 6.5.1", Why: "what frames, routes or identifies is no trailer", Send: post("5\r\nhello\r\n0\r\n" + line + "\r\n\r\n"),
			Want: Any(badBody(), Passed(GotBody(0, "hello"), GotNoTrailer(0, field), noValue(0, field, value)))})
	}
	return append(append(bad, lenient...), rest...)
}
