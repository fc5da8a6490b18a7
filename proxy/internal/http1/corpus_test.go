package http1

import "strings"

const (
	chunkedLine = "Transfer-Encoding: chunked"
	smuggled    = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
)

// corpus is what the fuzzing begins with: valid requests, odd ones, and those
// that two readers have understood in two ways.
func corpus() []string {
	var all []string
	for _, part := range [][]string{corpusLines(), corpusHosts(), corpusFields(), corpusFraming(), corpusChunked(), corpusTrailers()} {
		all = append(all, part...)
	}
	return all
}

func corpusLines() []string {
	all := []string{"", "\r\n", "\r\n\r\n" + get(), "\n" + get(), "\r" + get(), "\r\r\n" + get(),
		browserHead, get() + get() + get(), get() + "\r\n" + get(),
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"GET /\r\n", "GET / HTTP/1.1\nHost: a\n\n", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", "GE\rT / HTTP/1.1\r\n\r\n",
		"GET /" + strings.Repeat("a", 200) + " HTTP/1.1\r\nHost: a\r\n\r\n", "GET /" + strings.Repeat("a", 200),
		strings.Repeat("A", 40) + "/ / HTTP/1.1\r\nHost: a\r\n\r\n", strings.Repeat("A", 40) + "(",
	}
	for _, line := range []string{
		"GET / HTTP/1.0", "GET / HTTP/1.9", "GET / HTTP/2.0", "GET / HTTP/0.9", "GET / HTTP/1.10", "GET / http/1.1",
		"GET / HTTP/1,1", "GET / HTTP/11", "GET  / HTTP/1.1", "GET /  HTTP/1.1", "GET\t/\tHTTP/1.1", "GET / HTTP/1.1 ",
		" GET / HTTP/1.1", "GET /a b HTTP/1.1", "GET /\x7f HTTP/1.1", "GET /\xc3\xa9 HTTP/1.1", "GET /a#b HTTP/1.1",
		"GET /%zz|{}\"<>\\^` HTTP/1.1", "G(T / HTTP/1.1", "get / HTTP/1.1", "GET * HTTP/1.1", "OPTIONS * HTTP/1.1",
		"OPTIONS http://a HTTP/1.1", "OPTIONS http://a/ HTTP/1.1", "OPTIONS http://a?b HTTP/1.1", "CONNECT a:443 HTTP/1.1",
		"CONNECT / HTTP/1.1", "GET a:80 HTTP/1.1", "GET a/b HTTP/1.1", "GET http://a HTTP/1.1", "GET http://a/ HTTP/1.1",
		"GET HTTP://A:80/x?y HTTP/1.1", "GET https://a:443/ HTTP/1.1", "GET http://a:443/ HTTP/1.1", "GET https://a:80/ HTTP/1.1",
		"GET http://a?q HTTP/1.1", "GET http://b/ HTTP/1.1", "GET http:/// HTTP/1.1", "GET http:// HTTP/1.1", "GET http:/a HTTP/1.1",
		"GET http://u@a/ HTTP/1.1", "GET ftp://a/ HTTP/1.1", "GET ://a/ HTTP/1.1", "GET http://a:/ HTTP/1.1", "GET http://[::1]/ HTTP/1.1",
		"GET http://a#f HTTP/1.1", "GET http://a\\@b/ HTTP/1.1", "GET //b/ HTTP/1.1", "GET / HTTP/1.1\x00",
	} {
		all = append(all, message(line), message(line)+smuggled)
	}
	return append(all, "GET / HTTP/1.0\r\n\r\n"+smuggled, "GET http://a/ HTTP/1.0\r\n\r\n", "GET http://a/ HTTP/1.1\r\n\r\n",
		"GET http://A:80/ HTTP/1.1\r\nHost: a:\r\n\r\n", "GET https://a/ HTTP/1.1\r\nHost: a:443\r\n\r\n")
}

func corpusHosts() []string {
	var all []string
	for _, host := range []string{"", "a", "A.b", "a:80", "a:", ":80", "a:b", "a:80:80", "a:000080", "a:99999", "a b", "a,b", "a/b", "u@a",
		"%41", "%4", "%zz", "a%", "[::1]", "[::1]:80", "[::1]80", "[::1", "[]", "::1", "[::ffff:1.2.3.4]", "[::1.2.3]", "[1:2:3:4:5:6:7:8]",
		"[1:2:3:4:5:6:7:8:9]", "[1:2:3:4:5:6:7::]", "[::2:3:4:5:6:7:8]", "[1::2::3]", "[fe80::1%eth0]", "[fe80::1%25eth0]", "[12345::]",
		"[v1.a:b]", "[V1.a]", "[v.a]", "[v1.]", "[vg.a]", "[%41]", "1.2.3.4", "\xc3\xa9", "a\x00", "a_b~!$&'()*+;=", "[::01.2.3.4]"} {
		all = append(all, "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n", "GET http://"+host+"/ HTTP/1.0\r\n\r\n")
	}
	return append(all, get("Host: a"), get("host: b"), "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost:a\r\n\r\n",
		"GET / HTTP/1.1\r\nHost:\t a \t\r\n\r\n")
}

func corpusFields() []string {
	all := []string{get() + "\r\n\r\n\r\n" + get()}
	for _, line := range []string{
		"A:", "A: ", ":", ": b", "A", "A b: c", "A : b", "A\t: b", " A: b", "\tA: b", "A: b\r\n c", "A: b\nC: d", "A: b\rC: d",
		"A: b\x00c", "A: \x01", "A: \x7f", "A: \x80\xff", "A: \tb\t", "A:b:c", "A(: b", "\xc3\xa9: b", "A: b\r\r", "A\x00: b",
		"Connection: close", "Connection: Keep-Alive", "Connection: a, close ,, keep-alive", "Connection: upgrade\r\nUpgrade: websocket",
		"connection: close\r\nConnection: UPGRADE", "Connection: ,", "Connection: \u212aeep-alive", "Expect: 100-continue", "TE: trailers, gzip",
	} {
		all = append(all, get(line), get(line)+smuggled)
	}
	return append(all, get(strings.Split(strings.Repeat("A: b\n", 15), "\n")[:15]...),
		get(strings.Split(strings.Repeat("A: b\n", 16), "\n")[:16]...))
}

func corpusFraming() []string {
	var all []string
	for _, line := range []string{
		"Content-Length: 0", "Content-Length: 5", "Content-Length: 35", "Content-Length: 005", "Content-Length: +5", "Content-Length: -5",
		"Content-Length: 5 ", "Content-Length: 5 5", "Content-Length: 5, 5", "Content-Length: 0x5", "Content-Length: 5.0", "Content-Length:",
		"Content-Length: 5\r\nContent-Length: 5", "Content-Length: 5\r\nContent-Length: 6", "Content-Length: 999999999999999999",
		"Content-Length: 1000000000000000000", "Content-Length: 18446744073709551621", "Content-Length: 00000000000000000000000005",
		"Content-Length : 5", "Content-Length\x00: 5", "Content_Length: 5", "Content-Length:\t5", "Content-Length: \x0b5", "Content-Length: 5\x00",
		"Content-Length: 5;", "Content-Length: \xb2", chunkedLine, chunkedLine + "\r\nContent-Length: 5", "Content-Length: 5\r\n" + chunkedLine,
		chunkedLine + "\r\n" + chunkedLine, "Transfer-Encoding: CHUNKED", "Transfer-Encoding: xchunked", "Transfer-Encoding: chunked, chunked",
		"Transfer-Encoding: gzip, chunked", "Transfer-Encoding: chunked, identity", "Transfer-Encoding: identity", "Transfer-Encoding:",
		"Transfer-Encoding: \x0bchunked", "Transfer-Encoding: chunked;q=1", "Transfer-Encoding: \"chunked\"", "Transfer-Encoding : chunked",
		"Transfer-Encoding:\tchunked\t", " Transfer-Encoding: chunked", "X: y\r\n Transfer-Encoding: chunked", "X: y\nTransfer-Encoding: chunked",
		"Transfer-Encoding\n: chunked", "Transfer_Encoding: chunked", "Transfer-Encoding: chun\u212aed", "Transfer-Encoding: chunked,",
		"Connection: Content-Length\r\nContent-Length: 5",
	} {
		head := message("POST / HTTP/1.1", line)
		all = append(all, head+"5\r\nhello\r\n0\r\n\r\n"+smuggled, head+"hello"+smuggled, head+"0\r\n\r\n"+smuggled, head+smuggled)
	}
	return append(all, message("POST / HTTP/1.0", chunkedLine)+"0\r\n\r\n", message("POST / HTTP/1.0", "Content-Length: 5")+"hello"+smuggled,
		message("GET / HTTP/1.1", "Content-Length: 5")+"hel", message("HEAD / HTTP/1.1", "Content-Length: 5")+"hello"+smuggled)
}

func corpusChunked() []string {
	head := message("POST / HTTP/1.1", chunkedLine)
	var all []string
	for _, size := range []string{
		"5", "05", "000000000000005", "0000000000000005", "A", "a", "5;", "5;a", "5;a=b", "5;a=\"b;c\"", "5 ;a", "5\t ; a = b", "5 ", "5\t", "5 a",
		" 5", "", "+5", "-5", "0x5", "5h", "5,", "5;\x00", "5;\x7f", "5;\xff", "5;\t", "5;a\rb", "5;a\nb", "5\r", "5\n", "fffffffffffffff",
		"ffffffffffffffff", "10000000000000005", "5;" + strings.Repeat("a", 250), "5;" + strings.Repeat("a", 252), "5;" + strings.Repeat("a", 253),
		"5" + strings.Repeat(" ", 254), "5" + strings.Repeat(" ", 260), "5;a=\"\r\nb\"",
	} {
		all = append(all, head+size+"\r\nhello\r\n0\r\n\r\n"+smuggled, head+size)
	}
	for _, body := range []string{
		"5\r\nhello0\r\n\r\n", "5\r\nhello\n0\r\n\r\n", "5\r\nhello\r0\r\n\r\n", "5\r\nhelloX\r\n0\r\n\r\n", "4\r\nhello\r\n0\r\n\r\n",
		"5\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\n\r\n", "5\r\nhello\r\n0\r\n\n", "5\r\nhello\r\n00\r\n\r\n", "5\r\nhello\r\n0;a\r\n\r\n",
		"5\r\nhello\r\n", "5\r\nhello\r", "5\r\nhello", "5\r\nhel", "5\r\n", "5\r", "1\r\na\r\n1\r\nb\r\n0\r\n\r\n", "0\r\n\r\n0\r\n\r\n", "\r\n0\r\n\r\n",
		strings.Repeat("1;"+strings.Repeat("a", 240)+"\r\na\r\n", 68), strings.Repeat("1;"+strings.Repeat("a", 240)+"\r\na\r\n", 70),
		strings.Repeat("1"+strings.Repeat(" ", 240)+";\r\na\r\n", 70),
	} {
		all = append(all, head+body+smuggled)
	}
	return all
}

func corpusTrailers() []string {
	head := message("POST / HTTP/1.1", chunkedLine) + "2\r\nhi\r\n0\r\n"
	var all []string
	for _, trailers := range []string{
		"", "A: b\r\n", "A: b\r\nC: d\r\n", "A: b\n", " A: b\r\n", "A : b\r\n", "A\r\n", ": b\r\n", "A: b\r\n c\r\n", "A: b\rC\r\n", "A: \x00\r\n",
		"Content-Length: 5\r\n", chunkedLine + "\r\n", "Content-Length: x\r\n", "Host: b\r\n", "Connection: close\r\n", "A:\r\nB:\r\nC:\r\nD:\r\n",
		"A:\r\nB:\r\nC:\r\nD:\r\nE:\r\n", "A: " + strings.Repeat("b", 118) + "\r\n", "A: " + strings.Repeat("b", 122) + "\r\n",
		"A: " + strings.Repeat("b", 124) + "\r\n", strings.Repeat("b", 200), "A: b", "A: b\rc", "\r",
	} {
		all = append(all, head+trailers+"\r\n"+smuggled, head+trailers)
	}
	return all
}
