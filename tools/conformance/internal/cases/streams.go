package cases

import . "drover/tools/conformance/internal/script" //nolint:staticcheck // the table is written in the package's words

// streams are about bytes that must not wait.
func streams() []Case {
	get := Get("/events", "Accept: text/event-stream")
	manual := []Reply{{}}
	events := ok + "\r\nContent-Type: text/event-stream\r\n" + chunkedA + "\r\n\r\n"
	early413 := "HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nearly"
	early401 := "HTTP/1.1 401 Unauthorized\r\nContent-Length: 5\r\n\r\nearly"
	begun := Head("POST / HTTP/1.1", host, "Content-Length: 100000") + repeat("x", 10_000)
	half := repeat("x", 450_000)
	return []Case{
		{Name: "events-one-by-one", RFC: "9112 7.1", Why: "each event is there before the next one is sent", Replies: manual,
			Steps: []Step{Send(get), AwaitRequest(1), OriginSends(events + "7\r\ndata: a\r\n"), AwaitText("data: a"), OriginSends("7\r\ndata: b\r\n"), AwaitText("data: b"), OriginSends("0\r\n\r\n")}, Want: Passed(Body(0, "data: adata: b"))},
		{Name: "events-until-close", RFC: "9112 6.3", Why: "each event is there, without chunks too", Replies: manual,
			Steps: []Step{Send(get), AwaitRequest(1), OriginSends(ok + "\r\n\r\ndata: a"), AwaitText("data: a"), OriginSends("data: b"), AwaitText("data: b"), OriginEnds(Close)}, Want: Passed(Body(0, "data: adata: b"))},
		{Name: "head-before-body", RFC: "9112 6", Why: "an answer's head does not wait for its body", Replies: manual,
			Steps: []Step{Send(get), AwaitRequest(1), OriginSends(events), AwaitText("HTTP/1.1 200"), OriginSends("2\r\nok\r\n0\r\n\r\n")}, Want: Passed(Body(0, "ok"))},
		{Name: "length-body-piecewise", RFC: "9112 6.2", Why: "a body with a length does not wait for its end", Replies: manual,
			Steps: []Step{Send(get), AwaitRequest(1), OriginSends(ok + "\r\nContent-Length: 4\r\n\r\na1"), AwaitText("a1"), OriginSends("b2")}, Want: Passed(Body(0, "a1b2"))},
		{Name: "half-chunk", RFC: "9112 7.1", Why: "what has come of a chunk does not wait for its end", Replies: manual,
			Steps: []Step{Send(get), AwaitRequest(1), OriginSends(events + "6\r\nabc"), AwaitText("abc"), OriginSends("def\r\n0\r\n\r\n")}, Want: Passed(Body(0, "abcdef"))},
		{Name: "upload-piecewise", RFC: "9112 6.2", Why: "what has come of a body reaches the origin",
			Steps: []Step{Send(Post("a1", "Content-Length: 4")), AwaitBody("a1"), Send("b2")}, Want: Passed(GotBody(0, "a1b2"))},
		{Name: "upload-in-chunks", RFC: "9112 7.1", Why: "each chunk reaches the origin before the next one is sent",
			Steps: []Step{Send(Post("2\r\na1\r\n", chunkedLine)), AwaitBody("a1"), Send("2\r\nb2\r\n"), AwaitBody("a1b2"), Send("0\r\n\r\n")}, Want: Passed(GotBody(0, "a1b2"))},
		{Name: "both-ways-at-once", RFC: "9112 9.3", Why: "an answer may begin while the body is still on its way", Replies: manual,
			Steps: []Step{Send(Post("2\r\na1\r\n", chunkedLine)), AwaitBody("a1"), OriginSends(events + "2\r\nr1\r\n"), AwaitText("r1"), Send("2\r\nb2\r\n0\r\n\r\n"), AwaitRequest(1), OriginSends("2\r\nr2\r\n0\r\n\r\n")}, Want: Passed(GotBody(0, "a1b2"), Body(0, "r1r2"))},
		{Name: "early-413", RFC: "9110 15.5.14", Why: "an answer does not wait for the body's end", Steps: []Step{Send(begun), AwaitText("early")}, Replies: []Reply{{AtHead: early413}}, Want: All(Answers(1), Status(0, 413), Body(0, "early"))},
		{Name: "early-401", RFC: "9110 15.5.2", Why: "an answer does not wait for the body's end", Steps: []Step{Send(begun), AwaitText("early")}, Replies: []Reply{{AtHead: early401}}, Want: All(Answers(1), Status(0, 401), Body(0, "early"))},
		{Name: "early-answer-and-close", RFC: "9112 9.6", Why: "an origin may answer early and end its connection", Steps: []Step{Send(begun), AwaitText("early")}, Replies: []Reply{{AtHead: "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 5\r\n\r\nearly", Then: Close}}, Want: All(Answers(1), Status(0, 413), Body(0, "early"))},
		{Name: "early-answer-then-rest", RFC: "9112 9.6", Why: "the rest of a body is never the next request", Steps: []Step{Send(Head("POST / HTTP/1.1", host, "Content-Length: 900000") + half), AwaitText("early"), Send(half)}, Replies: []Reply{{AtHead: early413}}, Want: All(Answers(1), Status(0, 413), Body(0, "early"), Heads(1))},
		{Name: "early-answer-then-next", RFC: "9112 9.3", Why: "behind an early answer and its whole body the next request is read, or the connection is closed", Steps: []Step{Send(Post("ab", "Content-Length: 4")), AwaitText("early"), Send("cd" + Get("/second"))}, Answers: 2, Replies: []Reply{{AtHead: early413}, Answer(ok, length2, "", "ok")},
			Want: Any(All(Answers(2), Status(0, 413), Status(1, 200), Body(1, "ok")), All(Answers(1), Status(0, 413), Closed()))},
	}
}

// partings are about a client that goes away.
func partings() []Case {
	get, post := Get("/"), Post("abc", "Content-Length: 3")
	manual := []Reply{{}}
	begun := ok + "\r\n" + chunkedA + "\r\n\r\n2\r\nok\r\n"
	none := RequestsBetween(0, 1)
	return []Case{
		{Name: "client-closes-while-origin-thinks", RFC: "9112 9.5", Why: "the origin need not work for nobody", Steps: []Step{Send(get), AwaitRequest(1), Leave(), AwaitGone()}, Replies: manual, Answers: Nothing, Want: none},
		{Name: "client-resets-while-origin-thinks", RFC: "9112 9.5", Why: "the origin need not work for nobody", Steps: []Step{Send(get), AwaitRequest(1), LeaveByReset(), AwaitGone()}, Replies: manual, Answers: Nothing, Want: none},
		{Name: "client-closes-after-post", RFC: "9112 9.5", Why: "behind a whole body, too", Steps: []Step{Send(post), AwaitRequest(1), Leave(), AwaitGone()}, Replies: manual, Answers: Nothing, Want: none},
		{Name: "client-closes-within-answer", RFC: "9112 9.5", Why: "nobody reads the rest", Steps: []Step{Send(get), AwaitRequest(1), OriginSends(begun), AwaitText("ok"), Leave(), AwaitGone()}, Replies: manual, Answers: Nothing, Want: none},
		{Name: "client-resets-within-answer", RFC: "9112 9.5", Why: "nobody reads the rest", Steps: []Step{Send(get), AwaitRequest(1), OriginSends(begun), AwaitText("ok"), LeaveByReset(), AwaitGone()}, Replies: manual, Answers: Nothing, Want: none},
		{Name: "client-closes-within-body", RFC: "9112 8", Why: "the origin sees that the body breaks off", Steps: []Step{Send(Post("abc", "Content-Length: 9")), AwaitBody("abc"), Leave(), AwaitGone()}, Answers: Nothing, Want: All(Heads(1), GotCut(0))},
		{Name: "client-resets-within-body", RFC: "9112 8", Why: "the origin sees that the body breaks off", Steps: []Step{Send(Post("abc", "Content-Length: 9")), AwaitBody("abc"), LeaveByReset(), AwaitGone()}, Answers: Nothing, Want: All(Heads(1), GotCut(0))},
		{Name: "client-closes-within-chunk", RFC: "9112 8", Why: "the origin sees that the body breaks off", Steps: []Step{Send(Post("5\r\nhel", chunkedLine)), AwaitBody("hel"), Leave(), AwaitGone()}, Answers: Nothing, Want: All(Heads(1), GotCut(0))},
		{Name: "client-resets-between-chunks", RFC: "9112 8", Why: "the origin sees that the body breaks off", Steps: []Step{Send(Post("5\r\nhello\r\n", chunkedLine)), AwaitBody("hello"), LeaveByReset(), AwaitGone()}, Answers: Nothing, Want: All(Heads(1), GotCut(0))},
		{Name: "client-closes-within-head", RFC: "9112 8", Why: "half a head is no request", Steps: []Step{Send("GET / HTTP/1.1\r\n" + host + "\r\n"), Leave()}, Answers: Nothing, Want: Heads(0)},
		{Name: "client-ends-its-side", RFC: "9112 9.6", Why: "a client that ends its side may still be read to, or be gone", Steps: []Step{Send(get), HalfClose()}, Want: Any(Passed(Body(0, "ok"), Closed()), All(Answers(0), Closed()), All(Status(0, 400, 408, 499, 502), Closed()))},
		{Name: "client-ends-its-side-between", RFC: "9112 9.6", Why: "an idle connection that ends is closed", Steps: []Step{Send(get), AwaitAnswer(0, 1), HalfClose(), AwaitClosed()}, Want: Passed(Body(0, "ok"), Closed())},
		{Name: "others-stay-when-one-leaves", RFC: "9112 9.5", Why: "one client's end harms no other", Steps: []Step{SendOn(1, get), AwaitRequest(1), Send(get), AwaitRequest(2), LeaveByReset(), SendOn(2, get)}, Replies: []Reply{{AtBody: ok + "\r\n" + length2 + "\r\n\r\nok"}, {}, {AtBody: ok + "\r\n" + length2 + "\r\n\r\nok"}},
			Want: All(On(1, Body(0, "ok")), On(2, Body(0, "ok")))},
	}
}
