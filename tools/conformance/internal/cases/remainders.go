package cases

import (
	"fmt"

	. "drover/tools/conformance/internal/script" //nolint:staticcheck // the table is written in the package's words
)

// noValue wants no field of the name with this value at the origin.
func noValue(i int, name, value string) Check {
	return func(r *Result) error {
		if GotValue(i, name, value)(r) == nil {
			return fmt.Errorf("request %d at the origin has %s: %s", i, name, value)
		}
		return nil
	}
}

// remainders are about where one request ends and the next one begins.
func remainders() []Case {
	evil := Get("/evil")
	sized := func(body string, lines ...string) string {
		return Post(body, append(lines, fmt.Sprintf("Content-Length: %d", len(body)))...)
	}
	inChunk := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(evil), evil)
	one := Passed(GotBody(0, evil))
	either := Any(one, Refused(400, 501))
	closing := All(Answers(1), Status(0, 200), Requests(1), Heads(1), Closed())
	cases := []Case{
		{Name: "body-like-a-request", RFC: "9112 6.3", Why: "a body is never the next request", Send: sized(evil), Want: one},
		{Name: "chunk-like-a-request", RFC: "9112 7.1", Why: "a body is never the next request", Send: Post(inChunk, chunkedLine), Want: one},
		{Name: "get-body-like-a-request", RFC: "9110 9.3.1", Why: "a GET's body is never the next request", Send: Head("GET / HTTP/1.1", host, fmt.Sprintf("Content-Length: %d", len(evil))) + evil, Want: either},
		{Name: "head-body-like-a-request", RFC: "9110 9.3.2", Why: "a HEAD's body is never the next request", Send: Head("HEAD / HTTP/1.1", host, fmt.Sprintf("Content-Length: %d", len(evil))) + evil, Want: either},
		{Name: "options-body-like-a-request", RFC: "9110 9.3.7", Why: "an OPTIONS' body is never the next request", Send: Head("OPTIONS / HTTP/1.1", host, fmt.Sprintf("Content-Length: %d", len(evil))) + evil, Want: either},
		{Name: "trace-body", RFC: "9110 9.3.8", Why: "a TRACE has no body: refuse it, or pass it framed", Send: Head("TRACE / HTTP/1.1", host, fmt.Sprintf("Content-Length: %d", len(evil))) + evil, Want: Any(one, All(Answers(1), Status(0, 400, 403, 405, 501), Requests(0)))},
		{Name: "unknown-method-body-like-a-request", RFC: "9112 6.3", Why: "the framing does not depend on the method", Send: Head("BREW / HTTP/1.1", host, fmt.Sprintf("Content-Length: %d", len(evil))) + evil, Want: either},
		{Name: "connection-names-content-length", RFC: "9110 7.6.1", Why: "the length stays with the body, whatever Connection names", Send: sized(evil, "Connection: Content-Length"), Want: either},
		{Name: "connection-names-transfer-encoding", RFC: "9110 7.6.1", Why: "the framing stays with the body, whatever Connection names", Send: Post(inChunk, "Connection: Transfer-Encoding", chunkedLine), Want: either},
		{Name: "connection-names-host", RFC: "9110 7.6.1", Why: "Host stays, whatever Connection names", Send: Get("/", "Connection: Host"), Want: Any(Refused(), Passed(GotOnly(0, "Host", "edge.test")))},
		{Name: "keep-alive-with-smuggled-length", RFC: "9112 6.1", Why: "CL.TE: what is behind the last chunk is no request", Send: Post("0\r\n\r\n"+evil, fmt.Sprintf("Content-Length: %d", 5+len(evil)), chunkedLine),
			Want: Any(Refused(), closing), Drover: Refused()},
		{Name: "short-length-with-smuggled-chunk", RFC: "9112 6.1", Why: "TE.CL: what is within the chunk is no request", Send: Post(inChunk, "Content-Length: 4", chunkedLine),
			Want: Any(Refused(), All(one, Closed())), Drover: Refused()},
		{Name: "garbage-behind-a-body", RFC: "9112 2.2", Why: "garbage is refused and never reaches the origin", Send: sized("abc") + "junk\r\n\r\n", Answers: 2,
			Want: All(Answers(2), Status(0, 200), Status(1, 400), Requests(1), Heads(1), Closed())},
		{Name: "request-behind-a-refused-one", RFC: "9112 9.3", Why: "behind a broken request nothing is a request", Send: Get("/", "X-A : b") + evil, Want: Refused()},
		{Name: "request-behind-a-bad-chunk", RFC: "9112 7.1", Why: "behind a broken body nothing is a request", Send: Post("5\r\nhelloX\r\n0\r\n\r\n"+evil, chunkedLine), Want: badBody()},
		{Name: "request-behind-close", RFC: "9112 9.6", Why: "behind Connection: close nothing is a request", Send: Get("/", "Connection: close") + evil, Want: closing},
		{Name: "request-behind-close-in-a-list", RFC: "9112 9.6", Why: "close may be one of several", Send: Get("/", "Connection: x-a, CLOSE") + evil, Want: closing},
		{Name: "request-behind-close-on-second-line", RFC: "9112 9.6", Why: "several Connection lines are one list", Send: Get("/", "Connection: keep-alive", "Connection: close") + evil, Want: closing},
		{Name: "request-behind-1.0", RFC: "9112 9.3", Why: "a 1.0 connection ends with its answer", Send: Head("GET / HTTP/1.0", host) + evil, Want: closing},
		{Name: "smuggled-by-encoded-crlf", RFC: "9112 3.2", Why: "an encoded line's end ends no line", Send: Get("/%20HTTP/1.1%0d%0aHost:%20a%0d%0a%0d%0aGET%20/evil"), Want: Passed(Heads(1))},
		{Name: "smuggled-by-header-value", RFC: "9112 2.2", Why: "a bare CR ends no line", Send: Get("/", "X-A: b\r\rGET /evil HTTP/1.1\r\rHost: a"), Want: Any(Refused(), Passed(Heads(1))), Drover: Refused()},
	}
	return cases
}
