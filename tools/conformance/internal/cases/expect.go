package cases

import . "drover/tools/conformance/internal/script" //nolint:staticcheck // the table is written in the package's words

const goOn = "HTTP/1.1 100 Continue\r\n\r\n"

// expectations are about Expect: 100-continue.
func expectations() []Case {
	head := Head("POST / HTTP/1.1", host, "Content-Length: 3", "Expect: 100-continue")
	final := ok + "\r\n" + length2 + "\r\n\r\nok"
	asked := []Step{Send(head), AwaitText("HTTP/1.1 100"), Send("abc")}
	early := func(status string) []Reply {
		return []Reply{{AtHead: "HTTP/1.1 " + status + "\r\nContent-Length: 5\r\n\r\nearly"}}
	}
	refuses := func(status int) Check {
		return All(Answers(1), Status(0, status), Body(0, "early"), Interim(0), Requests(0))
	}
	return []Case{
		{Name: "continue-before-body", RFC: "9110 10.1.1", Why: "the client hears 100 before it sends the body", Steps: asked, Replies: []Reply{{AtHead: goOn, AtBody: final}}, Want: Passed(GotBody(0, "abc"), Body(0, "ok"), Any(Interim(0, 100), Interim(0, 100, 100))), Drover: Passed(GotBody(0, "abc"), Body(0, "ok"), Interim(0, 100))},
		{Name: "continue-from-the-origin", RFC: "9110 10.1.1", Why: "the expectation is the origin's to meet: it is passed on, and its 100 passed back", Steps: []Step{Send(head), AwaitHead(1), AwaitText("HTTP/1.1 100"), Send("abc")}, Replies: []Reply{{AtHead: goOn, AtBody: final}},
			Want: Passed(GotBody(0, "abc"), Interim(0, 100)), Drover: Passed(GotBody(0, "abc"), Interim(0, 100), GotOnly(0, "Expect", "100-continue"))},
		{Name: "expectation-other-case", RFC: "9110 10.1.1", Why: "the expectation is case-insensitive", Steps: []Step{Send(Head("POST / HTTP/1.1", host, "Content-Length: 3", "EXPECT: 100-Continue")), AwaitText("HTTP/1.1 100"), Send("abc")}, Replies: []Reply{{AtHead: goOn, AtBody: final}}, Want: Passed(GotBody(0, "abc"))},
		{Name: "expectation-chunked", RFC: "9110 10.1.1", Why: "a chunked body may be waited for, too", Steps: []Step{Send(Head("POST / HTTP/1.1", host, chunkedLine, "Expect: 100-continue")), AwaitText("HTTP/1.1 100"), Send(hello)}, Replies: []Reply{{AtHead: goOn, AtBody: final}}, Want: Passed(GotBody(0, "hello"))},
		{Name: "expectation-refused-417", RFC: "9110 15.5.18", Why: "an early 417 reaches the client, which sends no body", Send: head, Replies: early("417 Expectation Failed"), Want: refuses(417)},
		{Name: "expectation-refused-401", RFC: "9110 10.1.1", Why: "an early 401 reaches the client, which sends no body", Send: head, Replies: early("401 Unauthorized"), Want: refuses(401)},
		{Name: "expectation-refused-413", RFC: "9110 10.1.1", Why: "an early 413 reaches the client, which sends no body", Send: head, Replies: early("413 Content Too Large"), Want: refuses(413)},
		{Name: "expectation-early-200", RFC: "9110 10.1.1", Why: "an early 200 reaches the client, which sends no body", Send: head, Replies: early("200 OK"), Want: All(Answers(1), Status(0, 200), Body(0, "early"), Interim(0))},
		{Name: "expectation-refused-and-body-missing", RFC: "9110 10.1.1", Why: "behind a refused expectation the next bytes are the body or a closed connection, never a request", Steps: []Step{Send(head), AwaitAnswer(0, 1), Send("GET /evil HTTP/1.1\r\n" + host + "\r\n\r\n")}, Replies: early("417 Expectation Failed"),
			Want: All(Status(0, 417), noRequestLine("GET /evil HTTP/1.1"))},
		{Name: "expectation-not-waited-for", RFC: "9110 10.1.1", Why: "a client may send the body without waiting", Send: head + "abc", Replies: []Reply{{AtHead: goOn, AtBody: final}}, Want: Passed(GotBody(0, "abc"), Body(0, "ok"))},
		{Name: "expectation-origin-silent", RFC: "9110 10.1.1", Why: "a client that does not wait longer sends its body, and it is passed on", Steps: []Step{Send(head), AwaitHead(1), Send("abc")}, Want: Passed(GotBody(0, "abc"), Body(0, "ok"))},
		{Name: "expectation-without-body", RFC: "9110 10.1.1", Why: "no body, nothing to wait for", Send: Get("/", "Expect: 100-continue"), Want: Any(Passed(Body(0, "ok")), All(Answers(1), Status(0, 400, 417)))},
		{Name: "expectation-in-1.0", RFC: "9110 10.1.1", Why: "a 1.0 client gets no 100", Send: Head("POST / HTTP/1.0", host, "Content-Length: 3", "Expect: 100-continue") + "abc", Want: Passed(GotBody(0, "abc"), Interim(0))},
		{Name: "expectation-unknown", RFC: "9110 10.1.1", Why: "what is not understood is a 417, or the origin's to judge", Send: Post("abc", "Content-Length: 3", "Expect: the-unexpected"), Want: Any(Passed(GotBody(0, "abc")), All(Answers(1), Status(0, 400, 417), Requests(0)))},
		{Name: "expectation-over-the-limit", RFC: "9110 10.1.1", Why: "a body that is known to be too long is not asked for", Send: Head("POST / HTTP/1.1", host, "Content-Length: 2000000", "Expect: 100-continue"), Want: All(Answers(1), Status(0, 413, 417), Interim(0), Requests(0))},
	}
}

// noRequestLine wants no request with this line at the origin.
func noRequestLine(line string) Check {
	return func(r *Result) error {
		for _, request := range r.Requests {
			if request.Line == line {
				return unwanted("request", line)
			}
		}
		return nil
	}
}

// trailers are about the fields behind a body.
func trailers() []Case {
	chunkedAnswer := func(lines ...string) []Reply {
		return []Reply{{AtBody: Head(ok, append([]string{chunkedA}, lines...)...) + "2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n"}}
	}
	post := func(lines ...string) string {
		return Post("5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n", append(lines, chunkedLine)...)
	}
	dropped := Passed(Body(0, "ok"))
	return []Case{
		{Name: "answer-trailer", RFC: "9110 6.5", Why: "trailers may be dropped; Drover passes them", Send: Get("/", "Connection: TE", "TE: trailers"), Replies: chunkedAnswer("Trailer: X-Sum"), Want: dropped, Drover: Passed(Body(0, "ok"), Trailer(0, "X-Sum", "7"))},
		{Name: "answer-trailer-announced", RFC: "9110 6.6.2", Why: "where trailers pass, their announcement does", Send: Get("/", "TE: trailers", "Connection: TE"), Replies: chunkedAnswer("Trailer: X-Sum"), Want: dropped, Drover: Passed(Field(0, "Trailer", "X-Sum"))},
		{Name: "answer-trailer-not-to-1.0", RFC: "9112 7.1", Why: "a 1.0 client gets neither chunks nor trailers", Send: Head("GET / HTTP/1.0", host), Replies: chunkedAnswer("Trailer: X-Sum"), Want: Passed(Body(0, "ok"), NoField(0, "Transfer-Encoding", "X-Sum"))},
		{Name: "answer-trailer-forbidden", RFC: "9110 6.5.1", Why: "a trailer that frames is dropped, refused, or stays a trailer; it frames nothing", Send: Get("/"), Replies: []Reply{{AtBody: ok + "\r\n" + chunkedA + "\r\n\r\n2\r\nok\r\n0\r\nContent-Length: 9\r\n\r\n"}}, Want: Any(Passed(Body(0, "ok"), NoField(0, "Content-Length")), All(Status(0, 200), Cut(0)), badGateway())},
		{Name: "answer-trailer-malformed", RFC: "9112 7.1.2", Why: "a malformed trailer is dropped, or the answer cut off", Send: Get("/"), Replies: []Reply{{AtBody: ok + "\r\n" + chunkedA + "\r\n\r\n2\r\nok\r\n0\r\nX A : 9\r\n\r\n"}}, Want: Any(Passed(Body(0, "ok"), noTrailers()), All(Status(0, 200), Cut(0)), badGateway())},
		{Name: "request-trailer", RFC: "9110 6.5", Why: "trailers may be dropped; Drover passes them", Send: post("Trailer: X-Sum"), Want: Passed(GotBody(0, "hello")), Drover: Passed(GotBody(0, "hello"), GotTrailer(0, "X-Sum", "7"))},
		{Name: "request-trailer-unannounced", RFC: "9110 6.6.2", Why: "an announcement is not needed", Send: post(), Want: Passed(GotBody(0, "hello")), Drover: Passed(GotBody(0, "hello"), GotTrailer(0, "X-Sum", "7"))},
		{Name: "request-trailer-is-no-field", RFC: "9110 6.5.1", Why: "a trailer is never merged into the head", Send: post(), Want: Passed(GotNo(0, "X-Sum"))},
	}
}

func noTrailers() Check {
	return func(r *Result) error {
		if t := r.Clients[0].Finals[0].Trailers; len(t) != 0 {
			return unwanted("trailer", t[0].Raw)
		}
		return nil
	}
}
