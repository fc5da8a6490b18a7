package cases

import (
	"errors"
	"strings"

	. "drover/tools/conformance/internal/script" //nolint:staticcheck // the table is written in the package's words
)

// cut wants a good status and a body that is seen to break off.
func cut() Check { return All(Answers(1), Status(0, 200), Cut(0), Closed()) }

// answerBodies are about the framing of the origin's answers.
func answerBodies() []Case {
	get := Get("/")
	large := strings.Repeat("0123456789abcdef", 32<<10) // 512 KiB
	var cases []Case
	for _, r := range []struct {
		name, rfc, why string
		replies        []Reply
	}{
		{"answer-lengths-different", "9112 6.3", "an answer with two lengths is refused", reply("okok", ok, length2, "Content-Length: 4")},
		{"answer-length-list-of-different", "9112 6.3", "an answer with two lengths is refused", reply("okok", ok, "Content-Length: 2, 4")},
		{"answer-length-word", "9112 6.3", "a length is digits", reply("ok", ok, "Content-Length: two")},
		{"answer-length-negative", "9112 6.3", "a length is digits", reply("ok", ok, "Content-Length: -2")},
		{"answer-length-plus", "9112 6.3", "a length is digits", reply("ok", ok, "Content-Length: +2")},
		{"answer-length-over-64-bits", "9112 6.3", "2^64+2 is not 2", reply("ok", ok, "Content-Length: 18446744073709551618")},
	} {
		cases = append(cases, Case{Name: r.name, RFC: r.rfc, Why: r.why, Send: get, Replies: r.replies, Want: badGateway()})
	}
	// An answer that breaks off is seen to, or is a 502 if nothing was passed yet.
	for _, r := range []struct{ name, why, body string }{
		{"answer-chunk-size-word", "a size is hexadecimal digits", "2\r\nok\r\nxyz\r\nok\r\n0\r\n\r\n"},
		{"answer-chunk-size-negative", "a size is digits", "2\r\nok\r\n-2\r\nok\r\n0\r\n\r\n"},
		{"answer-chunk-size-over-64-bits", "2^64+2 is not 2", "2\r\nok\r\n10000000000000002\r\nok\r\n0\r\n\r\n"},
		{"answer-chunk-too-long", "CRLF follows a chunk", "2\r\nok\r\n2\r\nokok\r\n0\r\n\r\n"},
		{"answer-chunk-cut", "a chunk that breaks off", "2\r\nok\r\n5\r\nok"},
		{"answer-chunk-last-missing", "without its last chunk an answer is not whole", "2\r\nok\r\n"},
	} {
		cases = append(cases, Case{Name: r.name, RFC: "9112 8", Why: r.why, Send: get, Replies: then(Close, r.body, ok, chunkedA), Want: Any(cut(), badGateway(), All(Answers(0), Closed())), Drover: Any(cut(), badGateway())})
	}
	one := Passed(Body(0, "ok"))
	return append(cases,
		Case{Name: "answer-coding-and-length", RFC: "9112 6.3", Why: "the coding alone counts, or the answer is refused; never both on", Send: get, Replies: reply("2\r\nok\r\n0\r\n\r\n", ok, "Content-Length: 12", chunkedA), Want: Any(badGateway(), Passed(Body(0, "ok"), NoField(0, "Content-Length")))},
		Case{Name: "answer-length-and-coding", RFC: "9112 6.3", Why: "the coding alone counts, or the answer is refused; never both on", Send: get, Replies: reply("2\r\nok\r\n0\r\n\r\n", ok, chunkedA, "Content-Length: 2"), Want: Any(badGateway(), Passed(Body(0, "ok"), NoField(0, "Content-Length")))},
		Case{Name: "answer-lengths-the-same", RFC: "9112 6.3", Why: "replaced by one, or refused", Send: get, Replies: reply("ok", ok, length2, length2), Want: Any(badGateway(), one)},
		Case{Name: "answer-coding-twice", RFC: "9112 6.1", Why: "chunked is applied once", Send: get, Replies: then(Close, "2\r\nok\r\n0\r\n\r\n", ok, chunkedA, chunkedA), Want: Any(badGateway(), one)},
		Case{Name: "answer-coding-unknown", RFC: "9112 6.1", Why: "a coding that is not understood: refused, or until the close", Send: get, Replies: then(Close, "ok", ok, "Transfer-Encoding: odd"), Want: Any(badGateway(), cut(), Passed())},
		Case{Name: "answer-chunked", RFC: "9112 7.1", Why: "a chunked answer passes", Send: get, Replies: reply("2\r\nok\r\n3;a=b\r\nabc\r\n0\r\n\r\n", ok, chunkedA), Want: Passed(Body(0, "okabc"), Kept())},
		Case{Name: "answer-empty-chunked", RFC: "9112 7.1", Why: "a chunked answer may be empty", Send: get, Replies: reply("0\r\n\r\n", ok, chunkedA), Want: Passed(Body(0, ""), Kept())},
		Case{Name: "answer-length-zero", RFC: "9112 6.3", Why: "an answer may be empty", Send: get, Replies: reply("", ok, "Content-Length: 0"), Want: Passed(Body(0, ""), Field(0, "Content-Length", "0"), Kept())},
		Case{Name: "answer-until-close", RFC: "9112 6.3", Why: "an answer without framing ends with its connection", Send: get, Replies: then(Close, "ok until close", ok), Want: Passed(Body(0, "ok until close"))},
		Case{Name: "answer-until-close-empty", RFC: "9112 6.3", Why: "an answer without framing may be empty", Send: get, Replies: then(Close, "", ok), Want: Passed(Body(0, ""))},
		Case{Name: "answer-until-close-large", RFC: "9112 6.3", Why: "to its last byte", Send: get, Replies: then(Close, large, ok), Want: Passed(Body(0, large))},
		Case{Name: "answer-until-reset", RFC: "9112 8", Why: "a reset is no end of an answer without framing",
			Steps: []Step{Send(get), AwaitRequest(1), OriginSends(ok + "\r\n\r\nok"), AwaitText("ok"), OriginEnds(Reset)}, Replies: []Reply{{}}, Want: Any(cut(), All(Answers(1), Status(0, 200), Closed(), abrupt()))},
		Case{Name: "answer-large", RFC: "9112 6.2", Why: "to its last byte", Send: get, Replies: reply(large, ok, "Content-Length: 524288"), Want: Passed(Body(0, large), Kept())},
		Case{Name: "answer-with-connection-close", RFC: "9112 9.6", Why: "the origin's close is not the client's", Send: get, Replies: then(Close, "ok", ok, length2, "Connection: close"), Want: Passed(Body(0, "ok"), Kept())},
	)
}

// abrupt wants the connection to have been reset: the only way to tell a cut
// answer that has no framing.
func abrupt() Check {
	return func(r *Result) error {
		if !r.Clients[0].Reset {
			return errors.New("the connection ended in order, want a reset: the answer was cut off")
		}
		return nil
	}
}
