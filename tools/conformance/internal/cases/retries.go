package cases

import (
	"fmt"

	. "drover/tools/conformance/internal/script" //nolint:staticcheck // the table is written in the package's words
)

// retries are about requests that are sent again, or must not be.
func retries() []Case {
	get, post := Get("/first"), Post("abc", "Content-Length: 3")
	good := Answer(ok, length2, "", "ok")
	gone := []Reply{good, {Then: Close}, good}
	both := All(Answers(2), Status(0, 200), Status(1, 200), Requests(2), Heads(2))
	after := func(how End, text string) []Step {
		return []Step{Send(get), AwaitAnswer(0, 1), OriginEnds(how), Send(text)}
	}
	one := func(text string) []Step { return []Step{Send(get), AwaitAnswer(0, 1), Send(text)} }
	// A proxy that ends the client's connection instead leaves the choice to it.
	refusedTwice := All(Answers(2), Status(0, 200), Status(1, 502), Heads(2))
	silently := All(Answers(1), Status(0, 200), Heads(2), Closed())
	putRequest := Head("PUT /p HTTP/1.1", host, "Content-Length: 3", "X-A: b") + "abc"
	alone := All(Answers(1), Status(0, 502, 503), Heads(1))
	return []Case{
		{Name: "idle-close-then-post", RFC: "9112 9.3.1", Why: "a connection that the origin has closed is not used: the POST goes out once, on a new one", Steps: after(Close, post), Answers: 2, Want: both},
		{Name: "idle-reset-then-post", RFC: "9112 9.3.1", Why: "a connection that the origin has reset is not used: the POST goes out once, on a new one", Steps: after(Reset, post), Answers: 2, Want: both},
		{Name: "idle-close-then-get", RFC: "9112 9.3.1", Why: "a connection that the origin has closed is not used", Steps: after(Close, Get("/second")), Answers: 2, Want: both},
		{Name: "idle-close-then-upload", RFC: "9112 9.3.1", Why: "a large body goes out once, on a new connection", Steps: after(Close, Post(repeat("x", 200_000), "Content-Length: 200000")), Answers: 2, Want: All(both, GotBody(1, repeat("x", 200_000)))},
		{Name: "idle-close-then-other-client", RFC: "9112 9.3.1", Why: "the next client's POST goes out once, on a new connection", Steps: []Step{Send(get), AwaitAnswer(0, 1), OriginEnds(Close), SendOn(1, post)}, Want: All(Requests(2), Heads(2), On(1, Status(0, 200)))},
		{Name: "post-unanswered-on-a-kept-connection", RFC: "9110 9.2.2", Why: "a POST that the origin may have carried out is not sent again", Steps: one(post), Answers: 2, Replies: gone, Want: Any(refusedTwice, silently), Drover: refusedTwice},
		{Name: "patch-unanswered-on-a-kept-connection", RFC: "9110 9.2.2", Why: "PATCH is not idempotent", Steps: one(Head("PATCH /p HTTP/1.1", host, "Content-Length: 3") + "abc"), Answers: 2, Replies: gone, Want: Any(refusedTwice, silently), Drover: refusedTwice},
		{Name: "unknown-method-unanswered", RFC: "9110 9.2.2", Why: "what is not known to be idempotent is not", Steps: one(Head("BREW /p HTTP/1.1", host)), Answers: 2, Replies: gone, Want: Any(refusedTwice, silently), Drover: refusedTwice},
		{Name: "post-unanswered", RFC: "9110 9.2.2", Why: "one POST, one request", Send: post, Replies: []Reply{{Then: Close}}, Want: alone},
		{Name: "post-without-body-unanswered", RFC: "9110 9.2.2", Why: "one POST, one request, also without a body", Send: Post("", "Content-Length: 0"), Replies: []Reply{{Then: Close}}, Want: alone},
		{Name: "post-answer-cut-in-head", RFC: "9110 9.2.2", Why: "half an answer is no reason to send again", Send: post, Replies: []Reply{{AtBody: "HTTP/1.1 200 OK\r\nX-", Then: Close}}, Want: alone},
		{Name: "get-unanswered-on-a-kept-connection", RFC: "9110 9.2.2", Why: "a GET may be sent again, once", Steps: one(Get("/second")), Answers: 2, Replies: gone, Want: All(Answers(2), Status(0, 200), Status(1, 200, 502), Heads(3)), Drover: All(Answers(2), Status(1, 200), Heads(3))},
		{Name: "get-sent-again-unchanged", RFC: "9110 9.2.2", Why: "the second try is the same request", Steps: one(Get("/second?a=%2F", "X-A: b")), Answers: 2, Replies: gone, Want: Any(silently, All(Answers(2), Status(1, 200, 502), Heads(3), sameAgain()))},
		{Name: "put-sent-again-with-its-body", RFC: "9110 9.2.2", Why: "the second try has the whole body", Steps: one(putRequest), Answers: 2, Replies: gone, Want: Any(silently, All(Answers(2), Status(1, 200, 502), Heads(3), sameAgain()))},
		{Name: "get-never-answered", RFC: "9110 9.2.2", Why: "one GET is at most two requests", Send: get, Replies: []Reply{{Then: Close}}, Want: All(Answers(1), Status(0, 502, 503), Heads(2))},
		{Name: "get-reset-always", RFC: "9110 9.2.2", Why: "one GET is at most two requests", Send: get, Replies: []Reply{{Then: Reset}}, Want: All(Answers(1), Status(0, 502, 503), Heads(2))},
		{Name: "get-answer-cut-in-body", RFC: "9110 9.2.2", Why: "what has begun to be answered is not sent again", Send: get, Replies: []Reply{then(Close, "ok", ok, "Content-Length: 5")[0], good}, Want: All(Any(cut(), badGateway()), Heads(1))},
		{Name: "error-is-an-answer", RFC: "9110 15.6.4", Why: "a 503 of the origin is passed, and not tried again", Send: get, Replies: []Reply{Answer("HTTP/1.1 503 Service Unavailable", "Retry-After: 9", length2, "", "no"), good}, Want: All(Answers(1), Status(0, 503), Field(0, "Retry-After", "9"), Heads(1))},
		{Name: "connections-are-reused", RFC: "9112 9.3", Why: "a good connection to the origin is kept", Steps: one(Get("/second")), Answers: 2, Want: All(both, conns(1))},
		{Name: "connection-that-ends-is-not-reused", RFC: "9112 9.6", Why: "an origin that says close gets no further request there", Steps: one(post), Answers: 2, Replies: []Reply{Answer(ok, length2, "Connection: close", "", "ok"), good}, Want: All(both, conns(2))},
		{Name: "origin-of-1.0-is-not-reused", RFC: "9112 9.3", Why: "an origin of HTTP/1.0 ends its connection", Steps: one(post), Answers: 2, Replies: []Reply{Answer("HTTP/1.0 200 OK", length2, "", "ok"), good}, Want: All(both, conns(2))},
	}
}

// conns wants so many connections to the origin.
func conns(n int) Check {
	return func(r *Result) error {
		if r.Conns != n {
			return fmt.Errorf("the origin got %d connections, want %d", r.Conns, n)
		}
		return nil
	}
}

// sameAgain wants the second and the third request at the origin, if there is
// one, to be the same.
func sameAgain() Check {
	return func(r *Result) error {
		if len(r.Requests) > 2 && (r.Requests[1].Raw != r.Requests[2].Raw || r.Requests[1].Body != r.Requests[2].Body) {
			return fmt.Errorf("sent again as %q with the body %.40q, first as %q with the body %.40q",
				r.Requests[2].Raw, r.Requests[2].Body, r.Requests[1].Raw, r.Requests[1].Body)
		}
		return nil
	}
}
