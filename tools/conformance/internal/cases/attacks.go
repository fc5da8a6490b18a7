package cases

import (
	"fmt"
	"strings"
	"time"

	"drover/tools/conformance/internal/peer"
	. "drover/tools/conformance/internal/script" //nolint:staticcheck // the table is written in the package's words
)

// numbered are so many lines of a format with one number.
func numbered(n int, format string) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = fmt.Sprintf(format, i)
	}
	return lines
}

// floods are about more than a peer should take.
func floods() []Case {
	post := func(body string) string { return Post(body, chunkedLine) }
	long := repeat("a", 64<<10)
	tooLong := Refused(431, 400, 414)
	tooLarge := All(Answers(1), Status(0, 413), Requests(0))
	largest := repeat("x", peer.BodyMax)
	inChunks := func(size, count int) string {
		return repeat(fmt.Sprintf("%x\r\n%s\r\n", size, repeat("x", size)), count) + "0\r\n\r\n"
	}
	either := Any(badBody(), Passed())
	return []Case{
		{Name: "field-too-long", RFC: "6585 5", Why: "a head is bounded", Send: Get("/", "X-Long: "+long), Want: tooLong, Drover: Refused(431)},
		{Name: "field-name-too-long", RFC: "6585 5", Why: "a head is bounded", Send: Get("/", long+": b"), Want: tooLong, Drover: Refused(431)},
		{Name: "head-too-long", RFC: "6585 5", Why: "a head is bounded in all", Send: Get("/", numbered(2000, "X-%d: "+repeat("a", 40))...), Want: tooLong, Drover: Refused(431, 400)},
		{Name: "field-without-end", RFC: "6585 5", Why: "a head is bounded before its end is seen", Send: "GET / HTTP/1.1\r\n" + host + "\r\nX-Long: " + long + long, Want: tooLong, Drover: Refused(431)},
		{Name: "too-many-fields", RFC: "6585 5", Why: "so many lines are refused, or within the head's bound", Send: Get("/", numbered(1000, "X%d: b")...), Want: Any(tooLong, Passed()), Drover: Refused(431, 400)},
		{Name: "target-too-long", RFC: "9110 15.5.15", Why: "a target is bounded", Send: Get("/" + long), Want: tooLong, Drover: Refused(414, 431)},
		{Name: "line-without-end", RFC: "9112 3", Why: "a request line is bounded before its end is seen", Send: "GET /" + long + long, Want: tooLong, Drover: Refused(414, 431)},
		{Name: "method-without-end", RFC: "9112 3", Why: "a method is bounded before its end is seen", Send: repeat("A", 128<<10), Want: Refused(400, 414, 431, 501)},
		{Name: "empty-lines-flood", RFC: "9112 2.2", Why: "empty lines before a request are bounded", Send: repeat("\r\n", 64<<10) + Get("/"), Want: Any(Refused(400, 431), Dropped(), Passed()), Drover: Any(Refused(400, 431), Dropped())},
		{Name: "many-small-chunks", RFC: "9112 7.1", Why: "small chunks are valid", Send: post(inChunks(1, 20_000)), Want: Passed(GotBody(0, repeat("x", 20_000)))},
		{Name: "many-small-chunks-of-an-answer", RFC: "9112 7.1", Why: "small chunks are valid", Send: Get("/"), Replies: []Reply{{AtBody: ok + "\r\n" + chunkedA + "\r\n\r\n" + inChunks(1, 20_000)}}, Want: Passed(Body(0, repeat("x", 20_000)))},
		{Name: "chunk-extension-huge", RFC: "9112 7.1.1", Why: "a recipient limits the length of extensions", Send: post("5;a=" + long + "\r\nhello\r\n0\r\n\r\n"), Want: either, Drover: badBody()},
		{Name: "chunk-extensions-flood", RFC: "9112 7.1.1", Why: "a recipient limits the length of all extensions", Send: post(repeat("1;a="+repeat("b", 200)+"\r\nx\r\n", 5000) + "0\r\n\r\n"), Want: either},
		{Name: "chunk-size-of-many-digits", RFC: "9112 7.1", Why: "a size is bounded before its end is seen", Send: post(repeat("0", 64<<10) + "5\r\nhello\r\n0\r\n\r\n"), Want: either, Drover: badBody()},
		{Name: "trailers-flood", RFC: "9112 7.1.2", Why: "trailers are bounded", Send: post("5\r\nhello\r\n0\r\n" + strings.Join(numbered(5000, "X-%d: "+repeat("a", 40)), "\r\n") + "\r\n\r\n"), Want: either, Drover: badBody()},
		{Name: "trailer-huge", RFC: "9112 7.1.2", Why: "trailers are bounded", Send: post("5\r\nhello\r\n0\r\nX-Long: " + long + "\r\n\r\n"), Want: either, Drover: badBody()},
		{Name: "answer-trailer-huge", RFC: "9112 7.1.2", Why: "trailers are bounded: the answer is cut off or the trailer dropped", Send: Get("/"), Replies: []Reply{{AtBody: ok + "\r\n" + chunkedA + "\r\n\r\n2\r\nok\r\n0\r\nX-Long: " + long + "\r\n\r\n"}}, Want: Any(Passed(Body(0, "ok")), All(Status(0, 200), Cut(0)), badGateway())},
		{Name: "answer-chunk-extension-huge", RFC: "9112 7.1.1", Why: "a recipient limits the length of extensions", Send: Get("/"), Replies: []Reply{{AtBody: ok + "\r\n" + chunkedA + "\r\n\r\n2;a=" + long + "\r\nok\r\n0\r\n\r\n"}}, Want: Any(Passed(Body(0, "ok")), All(Status(0, 200), Cut(0)), badGateway())},
		{Name: "body-of-the-limit", RFC: "9110 15.5.14", Why: "what is allowed passes", Send: Post(largest, fmt.Sprintf("Content-Length: %d", peer.BodyMax)), Want: Passed(GotBody(0, largest))},
		{Name: "body-over-the-limit", RFC: "9110 15.5.14", Why: "a length that is over the limit is refused by itself", Send: Head("POST / HTTP/1.1", host, fmt.Sprintf("Content-Length: %d", peer.BodyMax+1)), Want: tooLarge},
		{Name: "body-over-the-limit-sent", RFC: "9110 15.5.14", Why: "the answer is seen although the body was sent", Send: Post(largest+"x", fmt.Sprintf("Content-Length: %d", peer.BodyMax+1)), Want: tooLarge},
		{Name: "body-far-over-the-limit", RFC: "9110 15.5.14", Why: "no arithmetic on a length overflows", Send: Head("POST / HTTP/1.1", host, "Content-Length: 9223372036854775807"), Want: All(Answers(1), Status(0, 413, 400), Requests(0))},
		{Name: "chunked-body-over-the-limit", RFC: "9110 15.5.14", Why: "a chunked body has the same limit", Send: post(inChunks(64<<10, 17)), Want: Any(tooLarge, badBody())},
		{Name: "chunk-over-the-limit", RFC: "9110 15.5.14", Why: "one chunk has the same limit", Send: post("200000\r\n" + largest + repeat("x", 64<<10)), Want: Any(tooLarge, badBody())},
		{Name: "connection-flood", RFC: "9112 9.5", Why: "silent clients stop no other", Steps: append(silent(10), SendOn(10, Get("/"))), Answers: Nothing, Want: On(10, All(Answers(1), Status(0, 200)))},
	}
}

// silent are clients, from 0, that send half a head.
func silent(n int) []Step {
	var steps []Step
	for i := range n {
		steps = append(steps, SendOn(i, "GET / HTTP/1.1\r\nHost: e"))
	}
	return steps
}

// slownesses are about who takes his time.
func slownesses() []Case {
	timedOut := Any(Refused(408), Dropped())
	good := Answer(ok, length2, "", "ok")
	other := On(1, All(Answers(1), Status(0, 200), Body(0, "ok")))
	const gap = peer.HeaderWait / 4
	trickle := []Step{Send("GET / HTTP/1.1\r\n" + host)}
	for range 8 {
		trickle = append(trickle, Pause(gap), Send("\r\nX-A: b"))
	}
	return []Case{
		{Name: "slow-body-stops-no-other", RFC: "9112 9.5", Why: "one client's slow body is its own matter", Steps: []Step{Send(Post("a", "Content-Length: 9")), SendOn(1, Get("/")), AwaitAnswer(1, 1)}, Answers: Nothing, Want: other},
		{Name: "slow-head-stops-no-other", RFC: "9112 9.5", Why: "one client's slow head is its own matter", Steps: []Step{Send("GET / HT"), SendOn(1, Get("/")), AwaitAnswer(1, 1)}, Answers: Nothing, Want: other},
		{Name: "slow-answer-stops-no-other", RFC: "9112 9.5", Why: "one slow answer is its own client's matter", Steps: []Step{Send(Get("/0")), AwaitRequest(1), SendOn(1, Get("/1")), AwaitAnswer(1, 1)}, Answers: Nothing, Replies: []Reply{{}, good}, Want: other},
		{Name: "slow-body-is-not-timed-as-a-head", RFC: "9110 15.5.9", Why: "a body has its own time", Steps: []Step{Send(Post("a", "Content-Length: 2")), Pause(peer.HeaderWait + 300*time.Millisecond), Send("b")}, Want: Passed(GotBody(0, "ab"))},
		{Name: "slow-origin-is-not-timed-as-a-head", RFC: "9110 15.6.5", Why: "an origin has its own time", Steps: []Step{Send(Get("/")), AwaitRequest(1), Pause(peer.HeaderWait + 300*time.Millisecond), OriginSends(ok + "\r\n" + length2 + "\r\n\r\nok")}, Replies: []Reply{{}}, Want: Passed(Body(0, "ok"))},
		{Name: "idle-connection-is-kept", RFC: "9112 9.5", Why: "between requests a client has more time than for a head", Steps: []Step{Send(Get("/")), AwaitAnswer(0, 1), Pause(peer.HeaderWait + 300*time.Millisecond), Send(Get("/second"))}, Answers: 2, Want: All(Answers(2), Status(1, 200))},
		{Name: "slow-line", RFC: "9110 15.5.9", Why: "a request line that does not come in time", Send: "GET / HT", Want: timedOut},
		{Name: "slow-head", RFC: "9110 15.5.9", Why: "a head that does not come in time", Send: "GET / HTTP/1.1\r\n" + host + "\r\n", Want: timedOut},
		{Name: "slow-head-drop-by-drop", RFC: "9110 15.5.9", Why: "the time is for the whole head, not for each of its bytes", Steps: trickle, Want: timedOut},
		{Name: "slow-second-head", RFC: "9110 15.5.9", Why: "the second head has the same time", Steps: []Step{Send(Get("/")), AwaitAnswer(0, 1), Send("GET /second HT"), AwaitClosed()}, Want: All(Status(0, 200), Requests(1), Closed())},
		{Name: "silent-connection", RFC: "9112 9.5", Why: "a client that sends nothing is not kept for ever", Steps: []Step{Send(""), AwaitClosed()}, Answers: Nothing, Want: Any(Refused(408), Dropped())},
	}
}
