package cases

import . "drover/tools/conformance/internal/script" //nolint:staticcheck // the table is written in the package's words

// interims are about 1xx answers.
func interims() []Case {
	hints := "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
	processing := "HTTP/1.1 102 Processing\r\n\r\n"
	final := ok + "\r\n" + length2 + "\r\n\r\nok"
	get := Get("/")
	oldGet := Head("GET / HTTP/1.0", host)
	return []Case{
		{Name: "early-hints", RFC: "9110 15.2", Why: "a proxy passes 1xx answers on", Send: get, Replies: []Reply{{AtBody: hints + final}},
			Want: Passed(Interim(0, 103), InterimField(0, "Link", "</a.css>; rel=preload"), Body(0, "ok"))},
		{Name: "early-hints-at-once", RFC: "8297 2", Why: "a hint is there before its answer", Replies: []Reply{{}},
			Steps: []Step{Send(get), AwaitRequest(1), OriginSends(hints), AwaitText("103"), OriginSends(final)}, Want: Passed(Interim(0, 103), Body(0, "ok"))},
		{Name: "processing", RFC: "9110 15.2", Why: "a proxy passes 1xx answers on", Send: get, Replies: []Reply{{AtBody: processing + final}}, Want: Passed(Interim(0, 102), Body(0, "ok"))},
		{Name: "several-interim-answers", RFC: "9110 15.2", Why: "any number of 1xx answers may come", Send: get, Replies: []Reply{{AtBody: processing + hints + hints + final}}, Want: Passed(Interim(0, 102, 103, 103), Body(0, "ok"))},
		{Name: "interim-not-to-1.0", RFC: "9110 15.2", Why: "a 1.0 client knows no 1xx", Send: oldGet, Replies: []Reply{{AtBody: processing + hints + final}}, Want: Passed(Interim(0), Body(0, "ok"))},
		{Name: "continue-unasked", RFC: "9110 15.2.1", Why: "a 100 that nobody waits for may be passed or dropped", Send: get, Replies: []Reply{{AtBody: "HTTP/1.1 100 Continue\r\n\r\n" + final}}, Want: Passed(Body(0, "ok"))},
		{Name: "interim-with-length", RFC: "9112 6.3", Why: "a 1xx has no body, whatever it declares", Send: get, Replies: []Reply{{AtBody: "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n" + final}}, Stray: true, Want: Any(Passed(Body(0, "ok")), badGateway())},
		{Name: "interim-and-no-answer", RFC: "9110 15.2", Why: "a 1xx is no answer", Send: get, Replies: []Reply{{AtBody: hints, Then: Close}}, Want: Any(All(Answers(1), Status(0, 500, 502, 503, 504)), All(Answers(0), Closed())), Drover: Any(badGateway(), All(Answers(0), Closed()))},
		{Name: "switching-unasked", RFC: "9110 15.2.2", Why: "nobody asked for another protocol", Send: get, Replies: []Reply{{AtBody: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: odd\r\nConnection: Upgrade\r\n\r\nodd", Then: Close}}, Want: badGateway()},
		{Name: "interim-flood", RFC: "9110 15.2", Why: "endless 1xx answers are bounded or passed; the final one or a 502 comes", Send: get, Replies: []Reply{{AtBody: repeat(processing, 2000) + final}}, Want: Any(All(Answers(1), Status(0, 200)), badGateway(), All(Answers(0), Closed()))},
	}
}
