package cases

import . "drover/tools/conformance/internal/script" //nolint:staticcheck // the table is written in the package's words

// hosts are about the Host field.
func hosts() []Case {
	with := func(lines ...string) string { return Head("GET / HTTP/1.1", lines...) }
	refused := each(Refused(), nil, []row{
		{"host-missing", "9112 3.2", "a 1.1 request has a Host", with("X-A: b")},
		{"host-twice", "9112 3.2", "one Host", with(host, "Host: other.test")},
		{"host-twice-the-same", "9112 3.2", "one Host", with(host, host)},
		{"host-twice-in-other-spelling", "9112 3.2", "one Host, however it is spelled", with(host, "hOST: other.test")},
		{"host-with-userinfo", "9112 3.2", "a host has no userinfo", with("Host: user@edge.test")},
		{"host-with-space", "9112 3.2", "no blank within a host", with("Host: edge test")},
		{"host-with-path", "9112 3.2", "a host has no path", with("Host: edge.test/path")},
		{"host-with-query", "9112 3.2", "a host has no query", with("Host: edge.test?a")},
		{"host-with-fragment", "9112 3.2", "a host has no fragment", with("Host: edge.test#a")},
		{"host-list", "9112 3.2", "Host is no list", with("Host: edge.test, other.test")},
		{"host-url", "9112 3.2", "a host has no scheme", with("Host: http://edge.test")},
		{"host-with-two-ports", "9112 3.2", "one port", with("Host: edge.test:80:81")},
		{"host-with-port-name", "9112 3.2", "a port is digits", with("Host: edge.test:http")},
		{"host-with-open-bracket", "9110 7.2", "an IPv6 address is closed", with("Host: [::1")},
		{"host-with-backslash", "9112 3.2", "a backslash is no part of a host", with("Host: edge.test\\a")},
		{"host-with-nul", "9112 3.2", "NUL is no part of a host", with("Host: edge.test\x00.other")},
		{"host-with-control", "9112 3.2", "a control byte is no part of a host", with("Host: edge\x01test")},
		{"host-space-before-colon", "9112 5.1", "no blank between a name and its colon", with("Host : edge.test")},
		{"host-folded", "9112 5.2", "a second line of a Host is no host", with("Host: edge.test\r\n other.test")},
	})
	var cases []Case
	for _, r := range []struct{ name, why, value string }{
		{"host-with-port", "the port is part of it", "edge.test:8080"},
		{"host-with-empty-port", "a port may be empty", "edge.test:"},
		{"host-case", "its case is not changed", "EDGE.Test"},
		{"host-ipv4", "an address is a host", "127.0.0.1:80"},
		{"host-ipv6", "an address in brackets is a host", "[::1]:80"},
		{"host-with-dash-and-dot", "all of a host name's marks", "a-b.c-d.test."},
	} {
		cases = append(cases, Case{Name: r.name, RFC: "9110 7.2", Why: r.why, Send: with("Host: " + r.value), Want: Passed(GotOnly(0, "Host", r.value))})
	}
	cases = append(cases,
		Case{Name: "host-with-blanks-around", RFC: "9110 5.5", Why: "blanks around a value are no part of it", Send: with("Host: \t edge.test \t"), Want: Passed(GotOnly(0, "Host", "edge.test"))},
		Case{Name: "host-empty", RFC: "9110 7.2", Why: "an http URL has a host; a lenient reader may take the empty one", Send: with("Host:"), Want: passedOrRefused(), Drover: Refused()},
		Case{Name: "host-port-too-high", RFC: "9110 4.2.1", Why: "digits, but no port", Send: with("Host: edge.test:99999"), Want: passedOrRefused()},
		Case{Name: "host-underscore", RFC: "3986 3.2.2", Why: "a registered name may hold it", Send: with("Host: my_edge.test"), Want: Passed(GotOnly(0, "Host", "my_edge.test"))},
		Case{Name: "host-high-bytes", RFC: "9110 7.2", Why: "raw UTF-8: pass it as it came, or refuse it", Send: with("Host: \xc3\xa9dge.test"), Want: passedOrRefused()},
		Case{Name: "host-missing-in-1.0", RFC: "9112 3.2", Why: "HTTP/1.0 knew no Host; towards the origin there is one", Send: "GET / HTTP/1.0\r\n\r\n", Want: passedOrRefused()},
		Case{Name: "host-last", RFC: "9110 5.3", Why: "Host may be behind other fields", Send: with("X-A: b", host), Want: Passed(GotOnly(0, "Host", "edge.test"), GotValue(0, "X-A", "b"))},
	)
	return append(refused, cases...)
}
