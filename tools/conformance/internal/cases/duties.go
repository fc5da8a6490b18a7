package cases

import (
	"fmt"
	"strings"

	. "drover/tools/conformance/internal/script" //nolint:staticcheck // the table is written in the package's words
)

// passing are about what a proxy must leave as it came.
func passing() []Case {
	lines := []string{"X-b: 1", "x-A: 2", "X-C: 3", "X-b: 4", "Accept: */*"}
	blob := strings.Repeat("\x00\xff\r\n\r\nGET / HTTP/1.1\r\n", 8<<10)[:128<<10]
	none := []string{"User-Agent", "Accept", "Accept-Encoding", "Accept-Language", "Content-Type", "Content-Length", "Transfer-Encoding", "Date", "Server", "Cookie", "Authorization", "Range", "Cache-Control", "Pragma", "TE", "Expect", "Upgrade"}
	return []Case{
		{Name: "nothing-made-up", RFC: "9110 7.7", Why: "what a client did not say is not said for it", Send: Get("/"), Want: Passed(GotNo(0, none...))},
		{Name: "nothing-made-up-for-a-body", RFC: "9110 7.7", Why: "what a client did not say is not said for it", Send: Post("abc", "Content-Length: 3"), Want: Passed(GotNo(0, "Content-Type", "User-Agent", "Accept-Encoding", "Transfer-Encoding", "Expect"))},
		{Name: "order-of-same-name", RFC: "9110 5.3", Why: "fields of one name keep their order", Send: Get("/", lines...), Want: Passed(GotAll(0, "X-B", "1, 4"))},
		{Name: "order-of-fields", RFC: "9110 5.3", Why: "fields keep their order", Send: Get("/", lines...), Want: Passed(GotOrderFold(0, lines...))},
		{Name: "spelling-of-names", RFC: "9110 5.1", Why: "names are case-insensitive; Drover passes their spelling", Send: Get("/", lines...), Want: Passed(GotOrderFold(0, lines...)), Drover: Passed(GotOrder(0, lines...))},
		{Name: "duplicates-are-kept", RFC: "9110 5.3", Why: "the same line twice is there twice, or joined", Send: Get("/", "X-A: b", "X-A: b"), Want: Passed(GotAll(0, "X-A", "b, b"))},
		{Name: "cookies-on-two-lines", RFC: "9110 5.3", Why: "no cookie is lost", Send: Get("/", "Cookie: a=1", "Cookie: b=2"), Want: Passed(Any(GotOrderFold(0, "Cookie: a=1", "Cookie: b=2"), GotOnly(0, "Cookie", "a=1; b=2")))},
		{Name: "authorization-passes", RFC: "9110 11.6.2", Why: "Authorization is the origin's", Send: Get("/", "Authorization: Basic YTpi"), Want: Passed(GotOnly(0, "Authorization", "Basic YTpi"))},
		{Name: "range-passes", RFC: "9110 14.2", Why: "a range is the origin's to serve", Send: Get("/", "Range: bytes=0-1", "If-Range: \"x\""), Replies: reply("ok", "HTTP/1.1 206 Partial Content", "Content-Range: bytes 0-1/9", length2),
			Want: All(Status(0, 206), GotOnly(0, "Range", "bytes=0-1"), GotOnly(0, "If-Range", "\"x\""), Field(0, "Content-Range", "bytes 0-1/9"))},
		{Name: "conditions-pass", RFC: "9110 13.1", Why: "conditions are the origin's to judge", Send: Get("/", "If-None-Match: \"x\", W/\"y\""), Want: Passed(GotOnly(0, "If-None-Match", "\"x\", W/\"y\""))},
		{Name: "host-passes", RFC: "9110 7.2", Why: "the origin gets the client's Host", Send: Head("GET / HTTP/1.1", "Host: Some.Edge.test:8080"), Want: Passed(GotOnly(0, "Host", "Some.Edge.test:8080"))},
		{Name: "body-passes-byte-for-byte", RFC: "9110 7.7", Why: "a body is opaque", Send: Post(blob, "Content-Length: 131072"), Want: Passed(GotBody(0, blob))},
		{Name: "answer-body-passes-byte-for-byte", RFC: "9110 7.7", Why: "a body is opaque", Send: Get("/"), Replies: reply(blob, ok, "Content-Length: 131072"), Want: Passed(Body(0, blob))},
		{Name: "content-encoding-passes", RFC: "9110 8.4", Why: "a proxy neither packs nor unpacks", Send: Get("/", "Accept-Encoding: gzip"), Replies: reply("ok", ok, "Content-Encoding: gzip", length2), Want: Passed(Body(0, "ok"), GotOnly(0, "Accept-Encoding", "gzip"))},
		{Name: "cors-preflight-passes", RFC: "9110 9.3.7", Why: "OPTIONS of a path is the application's", Send: Head("OPTIONS /a HTTP/1.1", host, "Origin: http://a.test"), Want: Passed(Got(0, "OPTIONS /a HTTP/1.1"))},
		{Name: "error-answers-pass", RFC: "9110 15.6.1", Why: "the origin's errors are the origin's words", Send: Get("/"), Replies: reply("own words", "HTTP/1.1 500 Internal Server Error", "Content-Length: 9"), Want: All(Answers(1), Status(0, 500), Body(0, "own words"), Kept())},
		{Name: "redirects-pass", RFC: "9110 10.2.2", Why: "a Location is not rewritten", Send: Get("/"), Replies: reply("", "HTTP/1.1 302 Found", "Location: http://other.test/a", "Content-Length: 0"), Want: All(Status(0, 302), Field(0, "Location", "http://other.test/a"))},
	}
}

// hopByHop are about the fields of one connection.
func hopByHop() []Case {
	return []Case{
		{Name: "connection-named-removed", RFC: "9110 7.6.1", Why: "what Connection names ends here", Send: Get("/", "Connection: X-Hop", "X-Hop: a", "X-End: b"), Want: Passed(GotNo(0, "X-Hop"), GotOnly(0, "X-End", "b"))},
		{Name: "connection-named-in-list-removed", RFC: "9110 7.6.1", Why: "in a list, in any spelling, on any line", Send: Get("/", "Connection: keep-alive,\t x-hop ,x-other", "X-Hop: a", "Connection: X-Third", "X-Other: b", "X-Third: c", "X-End: d"),
			Want: Passed(GotNo(0, "X-Hop", "X-Other", "X-Third"), GotOnly(0, "X-End", "d"))},
		{Name: "connection-named-with-underscore-kept", RFC: "9110 7.6.1", Why: "x_hop is not x-hop", Send: Get("/", "Connection: x_end", "X-End: b"), Want: Passed(GotOnly(0, "X-End", "b"))},
		{Name: "keep-alive-removed", RFC: "9112 C.2.2", Why: "Keep-Alive is of one connection", Send: Get("/", "Connection: keep-alive", "Keep-Alive: timeout=5"), Want: Passed(GotNo(0, "Keep-Alive"), Kept())},
		{Name: "keep-alive-unnamed-removed", RFC: "9110 7.6.1", Why: "also when Connection does not name it", Send: Get("/", "Keep-Alive: timeout=5"), Want: Passed(GotNo(0, "Keep-Alive"))},
		{Name: "proxy-connection-removed", RFC: "9112 C.2.2", Why: "Proxy-Connection is of one connection", Send: Get("/", "Proxy-Connection: keep-alive"), Want: Passed(GotNo(0, "Proxy-Connection"))},
		{Name: "te-removed", RFC: "9110 10.1.4", Why: "TE is of one connection; only TE: trailers may be said anew", Send: Get("/", "Connection: TE", "TE: gzip, trailers"), Want: Passed(Any(GotNo(0, "TE"), GotOnly(0, "TE", "trailers")))},
		{Name: "upgrade-unknown", RFC: "9110 7.8", Why: "another protocol is offered anew, with its Connection, or not at all", Send: Get("/", "Connection: Upgrade", "Upgrade: odd/1"), Want: Passed(Any(GotNo(0, "Upgrade"), gotToken(0, "Connection", "upgrade")))},
		{Name: "client-close-not-passed", RFC: "9112 9.6", Why: "the client's close is not the origin's", Send: Get("/", "Connection: close"), Want: Passed(Closed()), Drover: Passed(Closed(), noValue(0, "Connection", "close"))},
		{Name: "client-close-answered", RFC: "9112 9.6", Why: "the last answer says that it is", Send: Get("/", "Connection: close"), Want: Passed(Closed(), Field(0, "Connection", "close"))},
		{Name: "connection-names-identity", RFC: "9110 7.6.1", Why: "a field that ends here cannot take the user away", Send: Get("/", "X-User-Id: u1", "Connection: x-user-id"), Want: Any(Refused(), Passed(GotOnly(0, "X-User-Id", "u1")))},
		{Name: "connection-names-forwarded-for", RFC: "9110 7.6.1", Why: "whatever Connection names, the origin learns the client", Send: Get("/", "Connection: X-Forwarded-For"), Want: Any(Refused(), Passed(gotLast("X-Forwarded-For", "127.0.0.1")))},
		{Name: "connection-names-cookie", RFC: "9110 7.6.1", Why: "a field of the whole way may be kept or dropped; the request goes on", Send: Get("/", "Cookie: a=1", "Connection: cookie"), Want: Passed()},
		{Name: "connection-empty-elements", RFC: "9110 5.6.1", Why: "empty elements of a list mean nothing", Send: Get("/", "Connection: , ,,keep-alive, "), Want: Passed(Kept())},
		{Name: "connection-nonsense", RFC: "9110 7.6.1", Why: "what is no token names nothing", Send: Get("/", "Connection: @@@"), Want: Any(Refused(), Passed())},
		{Name: "answer-connection-named-removed", RFC: "9110 7.6.1", Why: "what the origin's Connection names ends here", Send: Get("/"), Replies: reply("ok", ok, length2, "Connection: X-Hop", "X-Hop: a", "X-End: b"), Want: Passed(NoField(0, "X-Hop"), Field(0, "X-End", "b"), Body(0, "ok"))},
		{Name: "answer-keep-alive-removed", RFC: "9112 C.2.2", Why: "the origin's Keep-Alive is not the client's", Send: Get("/"), Replies: reply("ok", ok, length2, "Connection: keep-alive", "Keep-Alive: timeout=1234"), Want: Passed(noAnswerValue("Keep-Alive", "timeout=1234"))},
		{Name: "answer-proxy-connection-removed", RFC: "9112 C.2.2", Why: "Proxy-Connection is of one connection", Send: Get("/"), Replies: reply("ok", ok, length2, "Proxy-Connection: keep-alive"), Want: Passed(NoField(0, "Proxy-Connection"))},
		{Name: "answer-upgrade-unasked-removed", RFC: "9110 7.8", Why: "an offer of the origin's connection is not the client's", Send: Get("/"), Replies: reply("ok", ok, length2, "Connection: Upgrade", "Upgrade: h2c"), Want: Passed(NoField(0, "Upgrade"), Body(0, "ok"))},
		{Name: "answer-connection-names-length", RFC: "9110 7.6.1", Why: "the framing stays with the answer, whatever Connection names", Send: Get("/"), Replies: reply("ok", ok, length2, "Connection: Content-Length"), Want: Passed(Body(0, "ok"))},
	}
}

func noAnswerValue(name, value string) Check {
	has := Field(0, name, value)
	return func(r *Result) error {
		if has(r) == nil {
			return unwanted(name, value)
		}
		return nil
	}
}

// unwanted says what was got.
func unwanted(name, value string) error { return fmt.Errorf("got %s: %s", name, value) }

// gotLast wants the list of a name's values at the origin to end in one.
func gotLast(name, last string) Check {
	return func(r *Result) error {
		if len(r.Requests) == 0 {
			return unwanted(name, "of no request")
		}
		if all := strings.Join(r.Requests[0].Values(name), ", "); all != last && !strings.HasSuffix(all, ", "+last) {
			return unwanted(name, all+", which should end in "+last)
		}
		return nil
	}
}

// adding are about what a proxy adds.
func adding() []Case {
	return []Case{
		{Name: "forwarded-for-added", RFC: "7239 4", Why: "the origin learns the client's address", Send: Get("/"), Want: Passed(GotOnly(0, "X-Forwarded-For", "127.0.0.1"))},
		{Name: "forwarded-for-appended", RFC: "7239 4", Why: "behind what a trusted peer said", Send: Get("/", "X-Forwarded-For: 192.0.2.1"), Want: Passed(GotAll(0, "X-Forwarded-For", "192.0.2.1, 127.0.0.1"))},
		{Name: "forwarded-for-appended-to-lines", RFC: "7239 4", Why: "several lines are one list, in order", Send: Get("/", "X-Forwarded-For: 192.0.2.1", "X-A: b", "X-Forwarded-For: 192.0.2.2, 192.0.2.3"), Want: Passed(GotAll(0, "X-Forwarded-For", "192.0.2.1, 192.0.2.2, 192.0.2.3, 127.0.0.1"))},
		{Name: "via-appended", RFC: "9110 7.6.3", Why: "a proxy that adds itself does so behind those before", Send: Get("/", "Via: 1.0 a, 1.1 b"), Want: Passed(viaKept(false)), Drover: Passed(viaKept(true))},
		{Name: "identity-passes", RFC: "9110 7.7", Why: "a trusted peer's user id reaches the origin", Send: Get("/", "X-User-Id: u1"), Want: Passed(GotOnly(0, "X-User-Id", "u1"))},
		{Name: "drover-names-from-outside", RFC: "9110 7.7", Why: "what Drover says to applications no client can say", Send: Get("/", "drover-ROUTE: evil", "Drover-Evil: a"), Want: Passed(), Drover: Passed(noValue(0, "Drover-Route", "evil"), GotNo(0, "Drover-Evil"))},
		{Name: "nothing-shown-to-the-client", RFC: "9110 7.6.3", Why: "an answer carries no word of the inside", Send: Get("/"), Want: Passed(NoField(0, "Drover-Route", "Drover-User", "Drover-Bucket", "Drover-Datacenter", "X-Powered-By"))},
		{Name: "upstream-speaks-1.1", RFC: "9112 2.5", Why: "a proxy says its own version", Send: Head("GET / HTTP/1.0", host), Want: Passed(Got(0, "GET / HTTP/1.1"))},
	}
}

// viaKept wants the Via before to be kept, and when wanted one more behind.
func viaKept(more bool) Check {
	return func(r *Result) error {
		if len(r.Requests) == 0 {
			return unwanted("Via", "of no request")
		}
		const before = "1.0 a, 1.1 b"
		all := strings.Join(r.Requests[0].Values("Via"), ", ")
		if !strings.HasPrefix(all, before) || more && !strings.HasPrefix(all, before+", 1.1 ") {
			return unwanted("Via", all+", which should continue "+before)
		}
		return nil
	}
}
