package cases

import . "drover/tools/conformance/internal/script" //nolint:staticcheck // the table is written in the package's words

// hello is a chunked body, hello, with a request for /evil behind it: who does
// not see the coding takes something else for the next request.
const hello = "5\r\nhello\r\n0\r\n\r\n"

// codings are about Transfer-Encoding.
func codings() []Case {
	post := func(lines ...string) string { return Post(hello, lines...) }
	const chunked = "Transfer-Encoding: chunked"
	refused := each(Refused(400, 422, 501), nil, []row{
		{"coding-gzip", "9112 6.1", "a request's last coding is chunked", post("Transfer-Encoding: gzip")},
		{"coding-gzip-with-length", "9112 6.3", "a request's last coding is chunked", post("Content-Length: 15", "Transfer-Encoding: gzip")},
		{"coding-identity", "9112 7", "identity is no coding any more", post("Transfer-Encoding: identity")},
		{"coding-identity-with-length", "9112 6.3", "identity does not bring the length back", post("Transfer-Encoding: identity", "Content-Length: 15")},
		{"coding-chunked-twice", "9112 6.1", "chunked is applied once", post("Transfer-Encoding: chunked, chunked")},
		{"coding-chunked-then-gzip", "9112 6.3", "chunked is the last one", post("Transfer-Encoding: chunked, gzip")},
		{"coding-chunked-then-identity", "9112 6.3", "chunked is the last one", post("Transfer-Encoding: chunked, identity")},
		{"coding-gzip-then-chunked", "9112 6.1", "a coding that is not understood", post("Transfer-Encoding: gzip, chunked")},
		{"coding-identity-then-chunked", "9112 7", "a coding that is not understood", post("Transfer-Encoding: identity, chunked")},
		{"coding-xchunked", "9112 7", "another token", post("Transfer-Encoding: xchunked")},
		{"coding-chunkedx", "9112 7", "another token", post("Transfer-Encoding: chunkedx")},
		{"coding-chunk", "9112 7", "another token", post("Transfer-Encoding: chunk")},
		{"coding-with-parameter", "9112 7.1", "chunked has no parameters", post("Transfer-Encoding: chunked;q=1")},
		{"coding-quoted", "9112 7", "a coding is no quoted string", post("Transfer-Encoding: \"chunked\"")},
		{"coding-in-apostrophes", "9112 7", "another token", post("Transfer-Encoding: 'chunked'")},
		{"coding-two-words", "9112 7", "no list", post("Transfer-Encoding: gzip chunked")},
		{"coding-behind-control", "9112 7", "a control byte is no blank", post("Transfer-Encoding: \x0bchunked")},
		{"coding-before-control", "9112 7", "a control byte is no blank", post("Transfer-Encoding: chunked\x0c")},
		{"coding-with-nul", "9112 7", "NUL ends nothing", post("Transfer-Encoding: chunked\x00")},
		{"coding-with-high-blank", "9112 7", "a byte over 0x7f is no blank", post("Transfer-Encoding: \xa0chunked")},
		{"coding-space-before-colon", "9112 5.1", "no blank between a name and its colon", post("Transfer-Encoding : chunked")},
		{"coding-tab-before-colon", "9112 5.1", "no blank between a name and its colon", post("Transfer-Encoding\t: chunked")},
		{"coding-space-before-colon-with-length", "9112 5.1", "no blank between a name and its colon", post("Content-Length: 15", "Transfer-Encoding : chunked")},
		{"coding-lines-chunked-gzip", "9112 6.3", "two lines are one list", post(chunked, "Transfer-Encoding: gzip")},
		{"coding-lines-chunked-identity", "9112 6.3", "two lines are one list", post(chunked, "Transfer-Encoding: identity")},
		{"coding-lines-chunked-twice", "9112 6.1", "two lines are one list", post(chunked, chunked)},
		{"coding-lines-chunked-nonsense", "9112 6.3", "two lines are one list", post(chunked, "transfer-encoding: cow")},
		{"coding-in-1.0", "9112 6.1", "HTTP/1.0 knows no codings: its framing is faulty", Head("POST / HTTP/1.0", host, chunked) + hello},
		{"coding-in-1.0-keep-alive", "9112 6.1", "HTTP/1.0 knows no codings: its framing is faulty", Head("POST / HTTP/1.0", host, chunked, "Connection: keep-alive") + hello},
	})
	// How a proxy frames the body anew is its choice; what the body is is not.
	asChunked := Passed(GotBody(0, "hello"))
	lenient := each(Any(Refused(400, 422, 501), asChunked), Refused(400, 501), []row{
		{"coding-then-length", "9112 6.1", "both: an attack, or read by the coding alone", post(chunked, "Content-Length: 15")},
		{"length-then-coding", "9112 6.1", "both: an attack, or read by the coding alone", post("Content-Length: 15", chunked)},
		{"length-short-then-coding", "9112 6.1", "both: an attack, or read by the coding alone", post("Content-Length: 3", chunked)},
		{"length-zero-then-coding", "9112 6.1", "both: an attack, or read by the coding alone", post("Content-Length: 0", chunked)},
		{"coding-upper-case-with-length", "9112 6.1", "both, in any spelling", post("CONTENT-LENGTH: 15", "TRANSFER-ENCODING: CHUNKED")},
		{"coding-folded", "9112 5.2", "a folded line is refused or joined", post("Transfer-Encoding:\r\n chunked")},
		{"coding-folded-by-tab", "9112 5.2", "a folded line is refused or joined", post("Transfer-Encoding:\r\n\tchunked")},
		{"coding-folded-with-length", "9112 5.2", "a folded line is refused or joined", post("Content-Length: 15", "Transfer-Encoding:\r\n chunked")},
		{"coding-behind-bare-lf", "9112 2.2", "whoever takes LF for a line's end sees the coding", post("X-A: b\nTransfer-Encoding: chunked")},
		{"coding-value-behind-bare-lf", "9112 2.2", "a bare LF within the value", post("Transfer-Encoding:\n chunked")},
		{"coding-trailing-comma", "9110 5.6.1", "empty elements of a list mean nothing", post("Transfer-Encoding: chunked,")},
		{"coding-leading-comma", "9110 5.6.1", "empty elements of a list mean nothing", post("Transfer-Encoding: , chunked")},
	})
	valid := Any(Refused(400, 501), asChunked)
	rest := []Case{
		{Name: "coding-tab-before-value", RFC: "9112 5.1", Why: "a tab is a blank", Send: post("Transfer-Encoding:\tchunked"), Want: valid},
		{Name: "coding-blanks-after-value", RFC: "9112 5.1", Why: "blanks around a value are no part of it", Send: post("Transfer-Encoding: chunked \t"), Want: valid},
		{Name: "coding-upper-case", RFC: "9112 7", Why: "codings are case-insensitive", Send: post("TRANSFER-ENCODING: CHUNKED"), Want: asChunked},
		{Name: "coding-plain", RFC: "9112 7.1", Why: "a chunked request passes", Send: post(chunked), Want: asChunked},
		{Name: "coding-with-get", RFC: "9110 9.3.1", Why: "a GET's body is a body", Send: Head("GET / HTTP/1.1", host, chunked) + hello, Want: Any(Passed(GotBody(0, "hello")), Refused(400, 501))},
		{Name: "coding-empty", RFC: "9112 6.1", Why: "an empty list: refuse it, or take it as no coding", Send: Post("", "Transfer-Encoding:"), Want: Any(Refused(400, 501), Passed(GotBody(0, "")))},
		{Name: "coding-with-underscore", RFC: "9110 5.1", Why: "another name: the length counts", Send: post("Transfer_Encoding: chunked", "Content-Length: 15"), Want: Any(Refused(400), Passed(GotBody(0, hello)))},
		{Name: "coding-behind-bare-cr", RFC: "9112 2.2", Why: "a bare CR ends no line: the coding is none", Send: post("Content-Length: 15", "X-A: b\rTransfer-Encoding: chunked"), Want: Any(Refused(400), Passed(GotBody(0, hello))), Drover: Refused()},
		{Name: "coding-indented", RFC: "9112 5.2", Why: "an indented line continues the one before", Send: post("Content-Length: 15", "X-A: b", " Transfer-Encoding: chunked"), Want: Any(Refused(400), Passed(GotBody(0, hello))), Drover: Refused()},
		{Name: "content-coding-chunked", RFC: "9110 8.4", Why: "a content coding frames nothing", Send: post("Content-Length: 15", "Content-Encoding: chunked"), Want: Passed(GotBody(0, hello), GotOnly(0, "Content-Encoding", "chunked"))},
	}
	return append(append(refused, lenient...), rest...)
}

// lengths are about Content-Length.
func lengths() []Case {
	post := func(lines ...string) string { return Post("abc", lines...) }
	refused := each(Refused(400, 413), nil, []row{
		{"length-plus", "9112 6.3", "a length is digits", post("Content-Length: +3")},
		{"length-negative", "9112 6.3", "a length is digits", post("Content-Length: -3")},
		{"length-minus-zero", "9112 6.3", "a length is digits", post("Content-Length: -0")},
		{"length-hexadecimal", "9112 6.3", "a length is decimal", post("Content-Length: 0x3")},
		{"length-two-numbers", "9112 6.3", "a length is one number", post("Content-Length: 3 3")},
		{"length-list-of-different", "9112 6.3", "two lengths", post("Content-Length: 3, 4")},
		{"length-word", "9112 6.3", "a length is digits", post("Content-Length: three")},
		{"length-fraction", "9112 6.3", "a length is digits", post("Content-Length: 3.0")},
		{"length-exponent", "9112 6.3", "a length is digits", post("Content-Length: 3e0")},
		{"length-with-parameter", "9112 6.3", "a length is digits", post("Content-Length: 3;a=b")},
		{"length-quoted", "9112 6.3", "a length is digits", post("Content-Length: \"3\"")},
		{"length-underscore", "9112 6.3", "a length is digits", post("Content-Length: 0_3")},
		{"length-with-nul", "9112 6.3", "NUL ends nothing", post("Content-Length: 3\x00")},
		{"length-with-control", "9112 6.3", "a control byte is no blank", post("Content-Length: \x0b3")},
		{"length-over-63-bits", "9112 6.3", "a length that no integer holds", post("Content-Length: 9223372036854775808")},
		{"length-over-64-bits", "9112 6.3", "2^64+3 is not 3", post("Content-Length: 18446744073709551619")},
		{"length-of-many-digits", "9112 6.3", "a length that no integer holds", post("Content-Length: 99999999999999999999999999999999999")},
		{"length-space-before-colon", "9112 5.1", "no blank between a name and its colon", post("Content-Length : 3")},
		{"length-tab-before-colon", "9112 5.1", "no blank between a name and its colon", post("Content-Length\t: 3")},
		{"lengths-different", "9112 6.3", "two lengths", post("Content-Length: 3", "Content-Length: 0")},
		{"lengths-different-longer-last", "9112 6.3", "two lengths", post("Content-Length: 0", "Content-Length: 3")},
		{"lengths-valid-and-invalid", "9112 6.3", "two lengths", post("Content-Length: 3", "Content-Length: x")},
		{"lengths-in-other-spelling", "9112 6.3", "two lengths, however they are spelled", post("Content-Length: 3", "content-LENGTH: 2")},
	})
	lenient := each(Any(Refused(), Passed(GotBody(0, "abc"), GotOnly(0, "Content-Length", "3"))), Refused(), []row{
		{"length-list-of-the-same", "9112 6.3", "refused, or replaced by one", post("Content-Length: 3, 3")},
		{"length-list-without-blank", "9112 6.3", "refused, or replaced by one", post("Content-Length: 3,3")},
		{"lengths-the-same", "9112 6.3", "refused, or replaced by one", post("Content-Length: 3", "Content-Length: 3")},
		{"length-folded", "9112 5.2", "a folded line is refused or joined", post("Content-Length:\r\n 3")},
		{"length-behind-bare-lf", "9112 2.2", "whoever takes LF for a line's end sees the length", post("X-A: b\nContent-Length: 3")},
		{"length-trailing-comma", "9110 5.6.1", "refused, or replaced by one", post("Content-Length: 3,")},
	})
	return append(append(refused, lenient...),
		Case{Name: "length-over-32-bits", RFC: "9112 6.3", Why: "2^32+3 is not 3", Send: post("Content-Length: 4294967299"), Want: All(Answers(1), Status(0, 400, 413), Requests(0))},
		Case{Name: "length-empty", RFC: "9112 6.3", Why: "no digits: refused, or taken as no length", Send: Post("", "Content-Length:"), Want: Any(Refused(), Passed(GotBody(0, ""))), Drover: Refused()},
		Case{Name: "length-with-leading-zeros", RFC: "9110 8.6", Why: "digits are digits", Send: post("Content-Length: 003"), Want: Any(Refused(), Passed(GotBody(0, "abc")))},
		Case{Name: "length-with-blanks-around", RFC: "9112 5.1", Why: "blanks around a value are no part of it", Send: post("Content-Length: \t3 \t"), Want: Passed(GotBody(0, "abc"))},
		Case{Name: "length-zero", RFC: "9110 8.6", Why: "no body, said", Send: Post("", "Content-Length: 0"), Want: Passed(GotBody(0, ""), GotOnly(0, "Content-Length", "0"))},
		Case{Name: "length-plain", RFC: "9112 6.2", Why: "a request with a length passes with that length", Send: post("Content-Length: 3"), Want: Passed(GotBody(0, "abc"), GotOnly(0, "Content-Length", "3"), GotNo(0, "Transfer-Encoding"))},
		Case{Name: "length-with-get", RFC: "9110 9.3.1", Why: "a GET's body is a body", Send: Head("GET / HTTP/1.1", host, "Content-Length: 3") + "abc", Want: Any(Refused(), Passed(GotBody(0, "abc")))},
		Case{Name: "length-with-delete", RFC: "9110 9.3.5", Why: "a DELETE's body is a body", Send: Head("DELETE / HTTP/1.1", host, "Content-Length: 3") + "abc", Want: Any(Refused(), Passed(GotBody(0, "abc")))},
		Case{Name: "post-without-length", RFC: "9112 6.3", Why: "no framing is no body", Send: Post(""), Want: Any(Refused(411), Passed(GotBody(0, "")))},
	)
}
