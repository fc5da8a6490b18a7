package cases

import . "drover/tools/conformance/internal/script" //nolint:staticcheck // the table is written in the package's words

// targets are about the second word.
func targets() []Case {
	var cases []Case
	for _, r := range []struct{ name, why, target string }{
		{"target-case", "letters keep their case", "/MiXed/Case"},
		{"target-encoded-slash", "%2F is no slash", "/a%2Fb%2fc"},
		{"target-encoded-letter", "%41 is not decoded on the way", "/%41%7e"},
		{"target-double-slash", "slashes are not merged", "//a///b"},
		{"target-dots", "dot segments are the application's", "/a/./b/../c"},
		{"target-empty-query", "an empty query is not no query", "/a?"},
		{"target-root-empty-query", "an empty query is not no query", "/?"},
		{"target-several-question-marks", "only the first one is the query's", "/a?b?c=?"},
		{"target-query-with-slashes", "a query may hold anything of a path", "/a?b=/../c//d"},
		{"target-parameters", "semicolons and commas are a path's", "/a;b=c,d/e;f"},
		{"target-marks", "all unreserved and reserved marks of a path", "/-._~!$&'()*+,;=:@"},
		{"target-plus-and-encoded-space", "neither is changed into the other", "/a+b%20c?d+e%20f"},
		{"target-encoded-crlf", "an encoded line's end stays encoded", "/a%0d%0aX-Evil:%20b"},
		{"target-encoded-percent", "%25 is not decoded on the way", "/%2541"},
		{"target-encoded-utf8", "encoded bytes pass", "/%e2%82%AC"},
	} {
		cases = append(cases, Case{Name: r.name, RFC: "9110 7.7", Why: r.why, Send: Get(r.target), Want: Passed(Got(0, "GET "+r.target+" HTTP/1.1"))})
	}
	for _, r := range []struct{ name, why, target string }{
		{"target-above-root", "pass it as it came, or refuse it", "/../a"},
		{"target-bad-percent", "pass it as it came, or refuse it", "/%zz%"},
		{"target-encoded-nul", "pass it as it came, or refuse it", "/a%00b"},
		{"target-odd-bytes", "bytes that no URL holds: pass them as they came, or refuse them", "/a\"<>^`{|}b"},
		{"target-backslash", "pass it as it came, or refuse it", "/a\\..\\b"},
		{"target-high-bytes", "raw UTF-8: pass it as it came, or refuse it", "/\xe2\x82\xac"},
	} {
		cases = append(cases, Case{Name: r.name, RFC: "9112 3.2", Why: r.why, Send: Get(r.target), Want: passedOrRefused(Got(0, "GET "+r.target+" HTTP/1.1"))})
	}
	cases = append(cases,
		Case{Name: "target-with-fragment", RFC: "9112 3.2", Why: "a target has no fragment: refuse it, or let it mean nothing", Send: Get("/a#b"), Want: passedOrRefused()})
	return append(append(cases, absoluteTargets()...), otherTargets()...)
}

// absolute is a GET with an absolute-form target.
func absolute(target, host string) string { return Head("GET "+target+" HTTP/1.1", host) }

func absoluteTargets() []Case {
	// either is a request line in origin-form or as it came.
	either := func(origin, absolute string) Check {
		return Any(Got(0, "GET "+origin+" HTTP/1.1"), Got(0, "GET "+absolute+" HTTP/1.1"))
	}
	cases := []Case{
		{Name: "absolute-agrees", RFC: "9112 3.2.2", Why: "absolute-form must be accepted", Send: absolute("http://edge.test/abs?q", host),
			Want: Passed(either("/abs?q", "http://edge.test/abs?q"), GotOnly(0, "Host", "edge.test"))},
		{Name: "absolute-without-path", RFC: "9112 3.2.1", Why: "an empty path is /", Send: absolute("http://edge.test", host),
			Want: Passed(Any(either("/", "http://edge.test"), Got(0, "GET http://edge.test/ HTTP/1.1")))},
		{Name: "absolute-with-query-alone", RFC: "9112 3.2.1", Why: "an empty path before a query is /", Send: absolute("http://edge.test?a=b", host),
			Want: Passed(Any(either("/?a=b", "http://edge.test?a=b"), Got(0, "GET http://edge.test/?a=b HTTP/1.1")))},
		{Name: "absolute-scheme-upper-case", RFC: "9110 4.2.3", Why: "a scheme's case means nothing", Send: absolute("HTTP://edge.test/abs", host),
			Want: Passed(either("/abs", "HTTP://edge.test/abs"))},
		{Name: "absolute-host-other-case", RFC: "9110 4.2.3", Why: "a host's case means nothing", Send: absolute("http://EDGE.test/abs", host),
			Want: passedOrRefused()},
		{Name: "absolute-with-default-port", RFC: "9110 4.2.3", Why: "the default port may be taken as the same authority or not", Send: absolute("http://edge.test:80/abs", host),
			Want: passedOrRefused()},
		{Name: "absolute-https", RFC: "9110 7.4", Why: "a scheme that is not this connection's may be passed or refused", Send: absolute("https://edge.test/abs", host),
			Want: Any(Passed(), Refused(400, 421))},
	}
	return append(cases, each(Refused(400, 421), nil, []row{
		{"absolute-disagrees", "9112 3.2.2", "two names for one request", absolute("http://other.test/abs", host)},
		{"absolute-disagrees-in-port", "9112 3.2.2", "two authorities for one request", absolute("http://edge.test:8080/abs", host)},
		{"absolute-with-userinfo", "9110 4.2.4", "userinfo in an http URL is an error", absolute("http://user@edge.test/abs", host)},
		{"absolute-without-authority", "9110 4.2.1", "an http URL has a host", absolute("http:///abs", host)},
		{"absolute-without-host-line", "9112 3.2", "a 1.1 request without Host is refused, whatever its target", "GET http://edge.test/abs HTTP/1.1\r\n\r\n"},
		{"absolute-one-slash", "9112 3.2.2", "no URL with an authority", absolute("http:/abs", host)},
	})...)
}

func otherTargets() []Case {
	unwanted := All(Answers(1), Status(0, 400, 403, 405, 501), Requests(0))
	cases := []Case{
		{Name: "asterisk-options", RFC: "9112 3.2.4", Why: "pass it, or answer for the whole server", Send: Head("OPTIONS * HTTP/1.1", host),
			Want: Any(Passed(Got(0, "OPTIONS * HTTP/1.1")), All(Answers(1), Status(0, 200, 204, 400, 403, 405, 501), Requests(0)))},
		{Name: "connect", RFC: "9110 9.3.6", Why: "an edge is no tunnel", Send: Head("CONNECT edge.test:443 HTTP/1.1", "Host: edge.test:443"),
			Want: Any(unwanted, Passed()), Drover: unwanted},
		{Name: "connect-to-a-path", RFC: "9112 3.2.3", Why: "CONNECT has authority-form only", Send: Head("CONNECT / HTTP/1.1", host),
			Want: unwanted},
	}
	return append(cases, each(Refused(), nil, []row{
		{"authority-form-with-get", "9112 3.2.3", "authority-form is CONNECT's", Head("GET edge.test:443 HTTP/1.1", host)},
		{"asterisk-with-get", "9112 3.2.4", "asterisk-form is OPTIONS'", Head("GET * HTTP/1.1", host)},
		{"asterisk-with-tail", "9112 3.2.4", "asterisk-form is one byte", Head("OPTIONS *x HTTP/1.1", host)},
		{"target-relative", "9112 3.2.1", "a path begins with /", Head("GET index.html HTTP/1.1", host)},
		{"target-query-alone", "9112 3.2.1", "a path begins with /", Head("GET ?a=b HTTP/1.1", host)},
	})...)
}
