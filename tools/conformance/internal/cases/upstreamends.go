package cases

import (
	"strings"

	. "drover/tools/conformance/internal/script" //nolint:staticcheck // the table is written in the package's words
)

func repeat(text string, n int) string { return strings.Repeat(text, n) }

// upstreamEnds are about an origin that goes away.
func upstreamEnds() []Case {
	post := Post("abc", "Content-Length: 3")
	lone := All(badGateway(), RequestsBetween(0, 1), Heads(1))
	fails := All(Answers(1), Status(0, 502, 503), RequestsBetween(0, 2))
	return []Case{
		{Name: "closed-before-head", RFC: "9110 15.6.3", Why: "no answer is a 502", Send: post, Replies: []Reply{{Then: Close}}, Want: lone},
		{Name: "reset-before-head", RFC: "9110 15.6.3", Why: "no answer is a 502", Send: post, Replies: []Reply{{Then: Reset}}, Want: lone},
		{Name: "reset-at-request-head", RFC: "9110 15.6.3", Why: "a request that is not taken is a 502, and is not sent again", Send: post, Replies: []Reply{{AtOnce: true, Then: Reset}}, Want: lone},
		{Name: "closed-within-status-line", RFC: "9112 8", Why: "half a status line is no answer", Send: post, Replies: []Reply{{AtBody: "HTTP/1.1 2", Then: Close}}, Want: lone},
		{Name: "closed-within-head", RFC: "9112 8", Why: "half a head is no answer", Send: post, Replies: []Reply{{AtBody: ok + "\r\nContent-Le", Then: Close}}, Want: lone},
		{Name: "closed-before-empty-line", RFC: "9112 8", Why: "a head without its empty line is no answer", Send: post, Replies: []Reply{{AtBody: ok + "\r\n" + length2 + "\r\n", Then: Close}}, Want: lone},
		{Name: "closed-within-body", RFC: "9112 8", Why: "the client sees that the body breaks off", Send: post, Replies: then(Close, "ok", ok, "Content-Length: 5"), Want: Any(cut(), badGateway())},
		{Name: "reset-within-body", RFC: "9112 8", Why: "the client sees that the body breaks off", Replies: []Reply{{}},
			Steps: []Step{Send(post), AwaitRequest(1), OriginSends(ok + "\r\nContent-Length: 5\r\n\r\nok"), AwaitText("\r\n\r\nok"), OriginEnds(Reset)}, Want: cut()},
		{Name: "reset-within-chunk", RFC: "9112 8", Why: "the client sees that the body breaks off", Replies: []Reply{{}},
			Steps: []Step{Send(post), AwaitRequest(1), OriginSends(ok + "\r\n" + chunkedA + "\r\n\r\n5\r\nok"), AwaitText("ok"), OriginEnds(Reset)}, Want: Any(cut(), badGateway())},
		{Name: "closed-within-large-body", RFC: "9112 8", Why: "every byte that came, and no more", Send: post, Replies: then(Close, repeat("x", 300_000), ok, "Content-Length: 300001"), Want: cut()},
		{Name: "reset-before-head-of-get", RFC: "9110 9.2.2", Why: "an idempotent request is tried again once, or not", Send: Get("/"), Replies: []Reply{{Then: Reset}}, Want: fails},
		{Name: "other-clients-after-a-failure", RFC: "9110 15.6.3", Why: "one failed answer harms no other client", Replies: []Reply{{Then: Close}, Answer(ok, length2, "", "ok")},
			Steps: []Step{Send(post), AwaitAnswer(0, 1), SendOn(1, Get("/second"))}, Want: All(badGateway(), On(1, All(Status(0, 200), Body(0, "ok"))))},
		{Name: "client-kept-after-a-502", RFC: "9112 9.3", Why: "a 502 is an answer: the connection goes on, or says that it ends", Replies: []Reply{{Then: Close}, Answer(ok, length2, "", "ok")},
			Steps: []Step{Send(Post("abc", "Content-Length: 3")), AwaitAnswer(0, 1), Send(Get("/second"))}, Answers: 2,
			Want: Any(All(Answers(2), Status(0, 502), Status(1, 200), Body(1, "ok")), All(Answers(1), Status(0, 502), Closed()))},
	}
}

// planted are about bytes of the origin that no request asked for.
func planted() []Case {
	good := ok + "\r\n" + length2 + "\r\n\r\nok"
	evil := "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
	second := Get("/second")
	// Both clients get their own answer.
	own := All(Answers(1), Body(0, "ok"), On(1, All(Answers(1), Status(0, 200), Body(0, "ok"))))
	two := []Step{Send(Get("/first")), AwaitAnswer(0, 1), SendOn(1, second)}
	one := []Step{Send(Get("/first")), AwaitAnswer(0, 1), Send(second)}
	same := All(Answers(2), Status(0, 200), Body(0, "ok"), Status(1, 200), Body(1, "ok"))
	return []Case{
		{Name: "answer-behind-an-answer", RFC: "9112 6.3", Why: "a second answer in one write is nobody's", Steps: two, Replies: []Reply{{AtBody: good + evil}, {AtBody: good}}, Want: own},
		{Name: "answer-behind-an-answer-same-client", RFC: "9112 6.3", Why: "a second answer in one write is nobody's", Steps: one, Answers: 2, Replies: []Reply{{AtBody: good + evil}, {AtBody: good}}, Want: same},
		{Name: "bytes-behind-an-answer", RFC: "9112 6.3", Why: "bytes behind a body are nobody's", Steps: two, Replies: []Reply{{AtBody: good + "junk"}, {AtBody: good}}, Want: own},
		{Name: "bytes-behind-a-last-chunk", RFC: "9112 7.1", Why: "bytes behind a last chunk are nobody's", Steps: two, Replies: []Reply{{AtBody: ok + "\r\n" + chunkedA + "\r\n\r\n2\r\nok\r\n0\r\n\r\n" + evil}, {AtBody: good}}, Want: own},
		{Name: "body-behind-a-204", RFC: "9112 6.3", Why: "a 204 has no body; bytes behind it are nobody's", Steps: two, Replies: []Reply{{AtBody: "HTTP/1.1 204 No Content\r\n\r\n" + evil}, {AtBody: good}},
			Want: All(Answers(1), Status(0, 204), On(1, All(Answers(1), Body(0, "ok"))))},
		{Name: "body-behind-a-304", RFC: "9112 6.3", Why: "a 304 has no body; bytes behind it are nobody's", Steps: two, Replies: []Reply{{AtBody: "HTTP/1.1 304 Not Modified\r\nContent-Length: 43\r\n\r\n" + evil}, {AtBody: good}},
			Want: All(Answers(1), Status(0, 304), On(1, All(Answers(1), Body(0, "ok"))))},
		{Name: "body-behind-a-head", RFC: "9110 9.3.2", Why: "an answer to HEAD has no body; bytes behind it are nobody's", Replies: []Reply{{AtBody: ok + "\r\nContent-Length: 43\r\n\r\n" + evil}, {AtBody: good}},
			Steps: []Step{Send(Head("HEAD /first HTTP/1.1", host)), AwaitAnswer(0, 1), SendOn(1, second)}, Want: All(Answers(1), Status(0, 200), On(1, All(Answers(1), Body(0, "ok"))))},
		{Name: "answer-on-an-idle-connection", RFC: "9112 9.2", Why: "an answer that was planted on an idle connection is nobody's", Replies: []Reply{{AtBody: good}},
			Steps: []Step{Send(Get("/first")), AwaitAnswer(0, 1), OriginSends(evil), SendOn(1, second)}, Want: own},
		{Name: "byte-on-an-idle-connection", RFC: "9112 9.2", Why: "a byte that was planted on an idle connection is no status line's", Replies: []Reply{{AtBody: good}},
			Steps: []Step{Send(Get("/first")), AwaitAnswer(0, 1), OriginSends("H"), SendOn(1, second)}, Want: own},
		{Name: "interim-on-an-idle-connection", RFC: "9112 9.2", Why: "a 1xx that was planted is not the next client's", Replies: []Reply{{AtBody: good}},
			Steps: []Step{Send(Get("/first")), AwaitAnswer(0, 1), OriginSends("HTTP/1.1 103 Early Hints\r\nLink: </evil>\r\n\r\n"), SendOn(1, second)}, Want: All(own, On(1, Interim(0)))},
		{Name: "timeout-answer-on-an-idle-connection", RFC: "9110 15.5.9", Why: "a 408 of an origin that closes is not the next client's", Replies: []Reply{{AtBody: good}},
			Steps: []Step{Send(Get("/first")), AwaitAnswer(0, 1), OriginSends("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), OriginEnds(Close), SendOn(1, second)}, Want: own},
	}
}
