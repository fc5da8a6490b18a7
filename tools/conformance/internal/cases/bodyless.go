package cases

import (
	"fmt"
	"time"

	. "drover/tools/conformance/internal/script" //nolint:staticcheck // the table is written in the package's words
)

// bodyless are about answers that have no body.
func bodyless() []Case {
	head := Head("HEAD / HTTP/1.1", host)
	next := Get("/second")
	second := Answer(ok, length2, "", "ok")
	// then is a second request on the same connection: it shows that the first
	// answer ended where it should.
	both := func(status int) Check {
		return All(Answers(2), Status(0, status), Body(0, ""), Status(1, 200), Body(1, "ok"))
	}
	return []Case{
		{Name: "head-with-length", RFC: "9110 9.3.2", Why: "an answer to HEAD keeps its length and has no body", Send: head + next, Answers: 2, Replies: []Reply{Answer(ok, "Content-Length: 12345", "", ""), second}, Want: All(both(200), Field(0, "Content-Length", "12345"))},
		{Name: "head-chunked", RFC: "9112 6.3", Why: "an answer to HEAD may say chunked and has no body", Send: head + next, Answers: 2, Replies: []Reply{Answer(ok, chunkedA, "", ""), second}, Want: both(200)},
		{Name: "head-without-framing", RFC: "9112 6.3", Why: "an answer to HEAD ends with its head", Send: head + next, Answers: 2, Replies: []Reply{Answer(ok, "", ""), second}, Want: both(200)},
		{Name: "head-method-passes", RFC: "9110 9.3.2", Why: "a HEAD stays a HEAD", Send: head, Want: Passed(Got(0, "HEAD / HTTP/1.1"), Field(0, "Content-Length", "2"))},
		{Name: "head-of-1.0", RFC: "9110 9.3.2", Why: "a 1.0 client's HEAD has no body either", Send: Head("HEAD / HTTP/1.0", host), Want: Passed(Body(0, ""), Closed())},
		{Name: "head-error", RFC: "9110 9.3.2", Why: "an error to HEAD has no body", Send: Head("HEAD / HTTP/1.1", host, "X-A : b"), Want: All(Answers(1), Status(0, 400), Closed(), Requests(0))},
		{Name: "no-content", RFC: "9110 15.3.5", Why: "a 204 has no body", Send: Get("/") + next, Answers: 2, Replies: []Reply{Answer("HTTP/1.1 204 No Content", "", ""), second}, Want: All(both(204), NoField(0, "Transfer-Encoding", "Content-Length"))},
		{Name: "no-content-with-length-0", RFC: "9110 8.6", Why: "a 204 declares no length; what the origin said in error is not passed", Send: Get("/") + next, Answers: 2, Replies: []Reply{Answer("HTTP/1.1 204 No Content", "Content-Length: 0", "", ""), second}, Want: All(both(204), NoField(0, "Transfer-Encoding")), Stray: true, Drover: All(both(204), NoField(0, "Transfer-Encoding", "Content-Length"))},
		{Name: "not-modified", RFC: "9110 15.4.5", Why: "a 304 has no body", Send: Get("/") + next, Answers: 2, Replies: []Reply{Answer("HTTP/1.1 304 Not Modified", "ETag: \"x\"", "", ""), second}, Want: All(both(304), Field(0, "ETag", "\"x\""), NoField(0, "Transfer-Encoding"))},
		{Name: "not-modified-with-length", RFC: "9110 8.6", Why: "a 304 may say the length that a 200 would have", Send: Get("/") + next, Answers: 2, Replies: []Reply{Answer("HTTP/1.1 304 Not Modified", "Content-Length: 12345", "", ""), second}, Want: both(304), Drover: All(both(304), Field(0, "Content-Length", "12345"))},
		{Name: "reset-content", RFC: "9110 15.3.6", Why: "a 205 has an empty body", Send: Get("/") + next, Answers: 2, Replies: []Reply{Answer("HTTP/1.1 205 Reset Content", "Content-Length: 0", "", ""), second}, Want: both(205)},
	}
}

// oldClients are about clients of HTTP/1.0.
func oldClients() []Case {
	old := func(lines ...string) string { return Head("GET / HTTP/1.0", append([]string{host}, lines...)...) }
	chunked := []Reply{{AtBody: ok + "\r\n" + chunkedA + "\r\n\r\n2\r\nok\r\n3\r\nabc\r\n0\r\n\r\n"}}
	return []Case{
		{Name: "old-client-closes", RFC: "9112 9.3", Why: "a 1.0 connection ends with its answer", Send: old(), Want: Passed(Body(0, "ok"), Closed())},
		{Name: "old-client-no-chunks", RFC: "9112 7.1", Why: "a 1.0 client is never sent chunks", Send: old(), Replies: chunked, Want: Passed(Body(0, "okabc"), NoField(0, "Transfer-Encoding"), Closed())},
		{Name: "old-client-keep-alive", RFC: "9112 C.2.2", Why: "a 1.0 client may ask to keep the connection; a proxy may do so", Send: old("Connection: keep-alive"), Want: Passed(Body(0, "ok"), Any(Closed(), All(Kept(), Field(0, "Connection", "keep-alive"))))},
		{Name: "old-client-keep-alive-no-chunks", RFC: "9112 C.2.2", Why: "an answer without a length ends a 1.0 connection", Send: old("Connection: keep-alive"), Replies: chunked, Want: Passed(Body(0, "okabc"), NoField(0, "Transfer-Encoding"), Closed())},
		{Name: "old-client-keep-alive-and-close", RFC: "9112 9.3", Why: "close counts before keep-alive", Send: old("Connection: keep-alive, close"), Want: Passed(Closed())},
		{Name: "old-client-until-close", RFC: "9112 6.3", Why: "an answer without framing ends with the connection", Send: old(), Replies: then(Close, "ok", ok), Want: Passed(Body(0, "ok"), Closed())},
		{Name: "old-client-cut", RFC: "9112 8", Why: "with a length a 1.0 client sees that a body breaks off", Send: old(), Replies: then(Close, "ok", ok, "Content-Length: 5"), Want: Any(cut(), badGateway())},
		{Name: "old-client-post", RFC: "9112 6.3", Why: "a 1.0 body has a length", Send: Head("POST / HTTP/1.0", host, "Content-Length: 3") + "abc", Want: Passed(GotBody(0, "abc"), Closed())},
		{Name: "new-client-until-close-stays", RFC: "9112 9.3", Why: "a 1.1 client gets chunks, or a close that ends the answer", Send: Get("/"), Replies: then(Close, "ok", ok), Want: Passed(Body(0, "ok")), Drover: Passed(Body(0, "ok"), Field(0, "Transfer-Encoding", "chunked"), Kept())},
	}
}

// pipelines are about several requests at once on one connection.
func pipelines() []Case {
	many := func(n int) (text string, replies []Reply, want Check) {
		checks := []Check{Answers(n), Requests(n)}
		for i := range n {
			text += Get(fmt.Sprintf("/%d", i), fmt.Sprintf("X-User-Id: u%d", i))
			body := repeat("x", i*i*37) + fmt.Sprint(i)
			replies = append(replies, Answer(ok, fmt.Sprintf("Content-Length: %d", len(body)), "", body))
			checks = append(checks, Status(i, 200), Body(i, body), Got(i, fmt.Sprintf("GET /%d HTTP/1.1", i)), GotValue(i, "X-User-Id", fmt.Sprintf("u%d", i)))
		}
		return text, replies, All(checks...)
	}
	two, twoReplies, twoWant := many(2)
	ten, tenReplies, tenWant := many(10)
	hundred, hundredReplies, hundredWant := many(60)
	mixed := Post("abc", "Content-Length: 3") + Head("HEAD /1 HTTP/1.1", host) + Post(hello, chunkedLine) + Get("/3")
	return []Case{
		{Name: "pipeline-of-two", RFC: "9112 9.3.2", Why: "answers come in the order of the requests", Send: two, Answers: 2, Replies: twoReplies, Want: twoWant},
		{Name: "pipeline-of-ten", RFC: "9112 9.3.2", Why: "of different users and lengths", Send: ten, Answers: 10, Replies: tenReplies, Want: tenWant},
		{Name: "pipeline-of-sixty", RFC: "9112 9.3.2", Why: "more than one read holds", Send: hundred, Answers: 60, Replies: hundredReplies, Want: hundredWant},
		{Name: "pipeline-of-kinds", RFC: "9112 9.3.2", Why: "lengths, chunks and no bodies, mixed", Send: mixed, Answers: 4, Replies: []Reply{Answer(ok, length2, "", "r0"), Answer(ok, length2, "", ""), {AtBody: ok + "\r\n" + chunkedA + "\r\n\r\n2\r\nr2\r\n0\r\n\r\n"}, Answer(ok, length2, "", "r3")},
			Want: All(Answers(4), Requests(4), Body(0, "r0"), Body(1, ""), Body(2, "r2"), Body(3, "r3"), GotBody(0, "abc"), GotBody(2, "hello"))},
		{Name: "pipeline-byte-by-byte", RFC: "9112 9.3.2", Why: "how requests are cut into packets means nothing", Steps: singly(Get("/0") + Get("/1")), Answers: 2, Want: All(Answers(2), Requests(2), Body(0, "ok"), Body(1, "ok"))},
		{Name: "pipeline-with-a-broken-one", RFC: "9112 9.3.2", Why: "those before the broken one are answered, those behind it are not", Send: Get("/0") + Get("/1", "X-A : b") + Get("/2"), Answers: 2, Want: All(Answers(2), Status(0, 200), Status(1, 400), Requests(1), Closed())},
		{Name: "pipeline-first-slow", RFC: "9112 9.3.2", Why: "a second answer never overtakes the first", Replies: []Reply{{}, Answer(ok, length2, "", "r1")}, Answers: 2,
			Steps: []Step{Send(Get("/0") + Get("/1")), AwaitRequest(1), Pause(50 * time.Millisecond), OriginSends(ok + "\r\n" + length2 + "\r\n\r\nr0")}, Want: All(Answers(2), Body(0, "r0"), Body(1, "r1"))},
		{Name: "pipeline-cut-answer", RFC: "9112 9.3.2", Why: "behind an answer that breaks off there is none", Send: Get("/0") + Get("/1"), Replies: []Reply{then(Close, "ok", ok, "Content-Length: 5")[0], Answer(ok, length2, "", "r1")}, Want: Any(All(Answers(1), Status(0, 200), Cut(0), Closed()), All(Status(0, 502)))},
		{Name: "requests-one-after-the-other", RFC: "9112 9.3", Why: "a connection serves many requests", Answers: 3,
			Steps: []Step{Send(Get("/0")), AwaitAnswer(0, 1), Send(Post("abc", "Content-Length: 3")), AwaitAnswer(0, 2), Send(Get("/2"))}, Want: All(Answers(3), Requests(3), Kept())},
	}
}
