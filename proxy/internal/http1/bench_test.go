package http1

import (
	"bytes"
	"testing"
)

// browserHead is a request as a browser sends it: 14 fields.
const browserHead = "GET /api/v1/accounts/4711/messages?limit=50&after=1f3a HTTP/1.1\r\n" +
	"Host: app.example.com\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0\r\n" +
	"Accept: application/json, text/plain, */*\r\n" +
	"Accept-Language: en-US,en;q=0.5\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Referer: https://app.example.com/inbox\r\n" +
	"X-Requested-With: XMLHttpRequest\r\n" +
	"Connection: keep-alive\r\n" +
	"Cookie: session=0f6c2b7e9a4d4c1e8b3a5d7f9e1c2b4a; theme=dark; user=4711\r\n" +
	"Sec-Fetch-Dest: empty\r\n" +
	"Sec-Fetch-Mode: cors\r\n" +
	"Sec-Fetch-Site: same-origin\r\n" +
	"If-None-Match: W/\"5f2a-18c9d7e2b40\"\r\n" +
	"Cache-Control: no-cache\r\n" +
	"\r\n"

const serverHead = "HTTP/1.1 200 OK\r\n" +
	"Server: application/2.4\r\n" +
	"Date: Tue, 03 Mar 2026 09:41:12 GMT\r\n" +
	"Content-Type: application/json; charset=utf-8\r\n" +
	"Content-Length: 4096\r\n" +
	"Connection: keep-alive\r\n" +
	"Cache-Control: private, max-age=0, must-revalidate\r\n" +
	"ETag: W/\"1000-7c4f2f1d8a1e\"\r\n" +
	"Vary: Accept-Encoding, Origin\r\n" +
	"\r\n"

func BenchmarkRequestScan(b *testing.B) {
	head := []byte(browserHead)
	var r Request
	b.ReportAllocs()
	b.SetBytes(int64(len(head)))
	for b.Loop() {
		if n, p := r.Scan(head, Limits{Fields: 256, RequestLine: 8 << 10}); n != len(head) || p != nil {
			b.Fatalf("Scan = %d, %v", n, p)
		}
	}
}

func BenchmarkResponseScan(b *testing.B) {
	head := []byte(serverHead)
	var r Response
	b.ReportAllocs()
	b.SetBytes(int64(len(head)))
	for b.Loop() {
		if n, p := r.Scan(head, 256, false); n != len(head) || p != nil {
			b.Fatalf("Scan = %d, %v", n, p)
		}
	}
}

func BenchmarkDecoder(b *testing.B) {
	var body []byte
	chunk := bytes.Repeat([]byte{'x'}, 4<<10)
	for range 16 {
		body = AppendChunkHead(body, len(chunk))
		body = append(body, chunk...)
		body = append(body, "\r\n"...)
	}
	body = append(body, "0\r\n\r\n"...)
	d := Decoder{TrailerMax: 1 << 10, FieldsMax: 8, Strict: true}
	b.ReportAllocs()
	b.SetBytes(16 * 4 << 10)
	for b.Loop() {
		d.Reset()
		for rest := body; !d.Done(); {
			_, used, err := d.Feed(rest)
			if err != nil {
				b.Fatal(err)
			}
			rest = rest[used:]
		}
	}
}

func BenchmarkAppendChunkHead(b *testing.B) {
	dst := make([]byte, 0, ChunkHeadMax)
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendChunkHead(dst[:0], 16<<10)
	}
}
