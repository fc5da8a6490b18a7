package reference

import (
	"strings"
	"testing"
)

// summary is a result in few words: each request's target, body and trailers.
func summary(r Result) string {
	var b strings.Builder
	for _, q := range r.Requests {
		b.WriteString(q.Target + "=" + q.Body)
		for _, f := range q.Trailers {
			b.WriteString("+" + f.Name + ":" + f.Value)
		}
		if !q.Done {
			b.WriteString("...")
		}
		b.WriteByte(' ')
	}
	if r.Refused {
		b.WriteByte('!')
	}
	return strings.TrimSpace(b.String())
}

func TestConnectionsAreReadByHandTheSame(t *testing.T) {
	const host, coded = "\r\nHost: a\r\n", "Transfer-Encoding: chunked\r\n\r\n"
	for _, test := range []struct{ input, want string }{
		{"", ""},
		{"GET /a HTTP/1.1" + host, ""},
		{"GET /a HTTP/1.1" + host + "\r\n", "/a="},
		{"\r\nGET /a HTTP/1.1" + host + "\r\n\r\nGET /b HTTP/1.0\r\n\r\n", "/a= /b="},
		{"GET /a HTTP/1.1" + host + "\r\n\n", "/a= !"},
		{"POST /a HTTP/1.1" + host + "Content-Length: 5\r\n\r\nhelloGET /b HTTP/1.1" + host + "\r\n", "/a=hello /b="},
		{"POST /a HTTP/1.1" + host + "Content-Length: 5\r\n\r\nhel", "/a=hel..."},
		{"POST /a HTTP/1.1" + host + "Content-Length: x\r\n", "!"},
		{"POST /a HTTP/1.1" + host + "Content-Length: 5\r\n" + coded, "!"},
		{"POST /a HTTP/1.1" + host + coded + "5;x\r\nhello\r\n0\r\nA: b\r\n\r\nGET /b HTTP/1.0\r\n\r\n", "/a=hello+A:b /b="},
		{"POST /a HTTP/1.1" + host + coded + "5 \r\nhello\r\n0\r\n\r\n", "/a=... !"},
		{"POST /a HTTP/1.1" + host + coded + "5\r\nhelloX", "/a=hello... !"},
		{"POST /a HTTP/1.1" + host + coded + "5\r\nhello\r\n0\r\nContent-Length: 1\r\n", "/a=hello... !"},
		{"POST /a HTTP/1.0" + host + coded, "!"},
		{"GET http://b/ HTTP/1.1" + host + "\r\n", "!"},
		{"GET / HTTP/1.1\r\n\r\n", "!"},
		{"GET / HTTP/1.1\r\nHost: [::1]:8\r\n\r\n", "/="},
		{"GET / HTTP/1.1\r\nHost: [::1::]\r\n\r\n", "!"},
	} {
		limits := Limits{RequestLine: 100, Fields: 10, TrailerBytes: 100, TrailerFields: 10}
		if got := summary(New().Parse([]byte(test.input), limits)); got != test.want {
			t.Errorf("Parse(%q) = %s, want %s", test.input, got, test.want)
		}
	}
}
