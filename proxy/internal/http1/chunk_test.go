package http1

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// decoding is what came of a chunked body.
type decoding struct {
	data     string
	trailers []string
	done     bool
	used     int // bytes, once done
	refused  bool
	err      error
}

func (d decoding) same(other decoding) bool {
	return d.data == other.data && d.done == other.done && d.used == other.used && d.refused == other.refused &&
		slices.Equal(d.trailers, other.trailers)
}

// decode feeds pieces to a decoder.
func decode(d *Decoder, pieces ...[]byte) (got decoding) {
	d.Reset()
	read := 0
	for _, piece := range pieces {
		piece = slices.Clone(piece) // it may not be kept
		for rest := piece; len(rest) != 0; {
			data, used, err := d.Feed(rest)
			got.data += string(data)
			if err != nil {
				got.refused, got.err = true, err
				return got
			}
			if d.Done() {
				got.done, got.used = true, read+used
				for _, f := range d.Trailers() {
					got.trailers = append(got.trailers, fmt.Sprintf("%s=%s", f.Name, f.Value))
				}
				return got
			}
			if len(data) == 0 && used != len(rest) {
				got.err = fmt.Errorf("%d of %d bytes used for nothing", used, len(rest))
				return got
			}
			rest, read = rest[used:], read+used
		}
		clear(piece)
	}
	return got
}

func newDecoder(strict bool) *Decoder {
	return &Decoder{TrailerMax: 64, FieldsMax: 3, Strict: strict}
}

// decodeCut is decode, compared with that of the body cut in two at every place,
// and byte by byte.
func decodeCut(t *testing.T, d *Decoder, body string) decoding {
	t.Helper()
	want := decode(d, []byte(body))
	bytewise := make([][]byte, len(body))
	for cut := range len(body) {
		bytewise[cut] = []byte(body[cut : cut+1])
		if got := decode(d, []byte(body[:cut]), []byte(body[cut:])); !got.same(want) {
			t.Errorf("%q cut at %d: %+v, want %+v", body, cut, got, want)
		}
	}
	if got := decode(d, bytewise...); !got.same(want) {
		t.Errorf("%q byte by byte: %+v, want %+v", body, got, want)
	}
	return want
}

func TestChunkedBodiesAreDecodedAtEveryCut(t *testing.T) {
	for _, test := range []struct {
		body, data string
		trailers   []string
	}{
		{"0\r\n\r\n", "", nil},
		{"5\r\nhello\r\n0\r\n\r\n", "hello", nil},
		{"2\r\nhe\r\n003\r\nllo\r\n000\r\n\r\n", "hello", nil},
		{"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789", nil},
		{"000000000000005\r\nhello\r\n0\r\n\r\n", "hello", nil},
		{"4\r\n\r\n0\r\r\n0\r\n\r\n", "\r\n0\r", nil},
		{"5;a\r\nhello\r\n0;b=c\r\n\r\n", "hello", nil},
		{"5 ; a = \"b;c\"\r\nhello\r\n0\t;\r\n\r\n", "hello", nil},
		{"5;\xff\t\r\nhello\r\n0\r\n\r\n", "hello", nil},
		{"1\r\na\r\n0\r\nA: b\r\nC:\t d \r\n\r\n", "a", []string{"A=b", "C=d"}},
		{"0\r\nA:\r\nB:\r\nC:\r\n\r\n", "", []string{"A=", "B=", "C="}},
		{"0\r\nA: " + strings.Repeat("b", 57) + "\r\n\r\n", "", []string{"A=" + strings.Repeat("b", 57)}},
	} {
		for _, strict := range []bool{true, false} {
			got := decodeCut(t, newDecoder(strict), test.body+"5\r\nGET /")
			if got.err != nil || !got.done || got.data != test.data || got.used != len(test.body) || !slices.Equal(got.trailers, test.trailers) {
				t.Errorf("%q: %+v", test.body, got)
			}
		}
	}
}

func TestMalformedChunkedBodiesAreRefused(t *testing.T) {
	for _, body := range []string{
		"\r\n", "\n", ";a\r\n", " 5\r\n", "g\r\n", "-5\r\n", "+5\r\n", "0x5\r\n", "5,\r\n", "5 5\r\n", "5\n", "5\rX", "5;a\n", "5;a\rb", "5;\x00", "5;\x7f",
		"0000000000000005", "fffffffffffffffff",
		"5\r\nhello0", "5\r\nhello\n", "5\r\nhello\rX", "5\r\nhelloo", "4\r\nhello", "5\r\nhello\r\n\r\n",
		"0\r\n\n", "0\r\nA: b\n", "0\r\nA\r\n", "0\r\n A: b\r\n", "0\r\nA : b\r\n", "0\r\nA: b\r\n c\r\n", "0\r\nA: \x00\r\n", "0\r\nA: b\rc\r\n",
		"0\r\nContent-Length: 5\r\n", "0\r\ncontent-length: 0\r\n", "0\r\n" + chunkedLine + "\r\n", "0\r\nTransfer-Encoding: x\r\n",
		"0\r\nA:\r\nB:\r\nC:\r\nD:\r\n", "0\r\nA: " + strings.Repeat("b", 60) + "\r\n\r\n", "0\r\n" + strings.Repeat("a", 65),
		"5;" + strings.Repeat("a", 256), "5" + strings.Repeat(" ", 256),
	} {
		for _, strict := range []bool{true, false} {
			got := decodeCut(t, newDecoder(strict), body)
			if !errors.Is(got.err, ErrChunk) {
				t.Errorf("%q, strict %v: %+v, want an ErrChunk", body, strict, got)
			}
		}
	}
}

func TestOnlyAnswersPadASizeWithBlanks(t *testing.T) {
	const body = "5 \t\r\nhello\r\n0  \r\n\r\n"
	if got := decodeCut(t, newDecoder(false), body); !got.done || got.data != "hello" {
		t.Errorf("of an answer: %+v", got)
	}
	if got := decodeCut(t, newDecoder(true), body); !errors.Is(got.err, ErrChunk) {
		t.Errorf("of a request: %+v", got)
	}
	const trailer = "0\r\nA: \x01\r\n\r\n"
	if got := decodeCut(t, newDecoder(false), trailer); !got.done {
		t.Errorf("of an answer: %+v", got)
	}
	if got := decodeCut(t, newDecoder(true), trailer); !errors.Is(got.err, ErrChunk) {
		t.Errorf("of a request: %+v", got)
	}
}

func TestASizeLineIsBoundedWithItsEnd(t *testing.T) {
	line := func(n int) string { return "5;" + strings.Repeat("a", n-len("5;\r\n")) + "\r\n" }
	if got := decode(newDecoder(true), []byte(line(chunkLineMax)+"hello\r\n0\r\n\r\n")); !got.done {
		t.Errorf("%+v", got)
	}
	if got := decode(newDecoder(true), []byte(line(chunkLineMax+1)+"hello\r\n0\r\n\r\n")); !errors.Is(got.err, ErrChunk) {
		t.Errorf("%+v", got)
	}
}

func TestExtensionsAndBlanksOfABodyAreBounded(t *testing.T) {
	const each = 240
	for name, extension := range map[string]string{"extensions": ";" + strings.Repeat("a", each), "blanks": strings.Repeat(" ", each) + ";"} {
		body := func(chunks, size int) []byte {
			chunk := strconv.FormatInt(int64(size), 16) + extension + "\r\n" + strings.Repeat("x", size) + "\r\n"
			return []byte(strings.Repeat(chunk, chunks) + "0\r\n\r\n")
		}
		fits := extensionsMax / each
		if got := decode(newDecoder(true), body(fits, 1)); !got.done {
			t.Errorf("%s: %v", name, got.err)
		}
		if got := decode(newDecoder(true), body(fits+2, 1)); !errors.Is(got.err, ErrChunk) {
			t.Errorf("%s: %d chunks of one byte are accepted", name, fits+2)
		}
		if got := decode(newDecoder(true), body(4*fits, each*extensionsShare)); !got.done {
			t.Errorf("%s, with their share of data: %v", name, got.err)
		}
	}
}

func TestADecoderIsUsedAgain(t *testing.T) {
	d := newDecoder(true)
	decode(d, []byte("5;aa\r\nhello\r\n0\r\nA: b\r\n\r\n"))
	if d.Reset(); d.Done() || len(d.Trailers()) != 0 || len(d.TrailerLines()) != 0 || d.extra != 0 || d.data != 0 {
		t.Errorf("something of the body before is left: %+v", d)
	}
	if got := decode(d, []byte("1\r\na\r\n0\r\nHost: d\r\n\r\n")); got.data != "a" || !slices.Equal(got.trailers, []string{"Host=d"}) {
		t.Errorf("%+v", got)
	}
	if l := d.TrailerLines(); len(l) != 1 || l[0].Kind != Host {
		t.Errorf("lines of the trailers: %v", l)
	}
	if data, used, err := d.Feed([]byte("GET /")); len(data) != 0 || used != 0 || err != nil {
		t.Errorf("once done, Feed = %q, %d, %v", data, used, err)
	}
}

func TestChunkHeadsAreHexadecimal(t *testing.T) {
	sizes := []int{0, 1, 9, 10, 15, 16, 17, 255, 256, 4095, 4096, 16 << 10, 65535, 1 << 20, math.MaxInt32, math.MaxInt}
	for n := range 5000 {
		sizes = append(sizes, n)
	}
	for _, n := range sizes {
		got := string(AppendChunkHead([]byte("x"), n))
		if want := "x" + strconv.FormatInt(int64(n), 16) + "\r\n"; got != want {
			t.Errorf("AppendChunkHead(%d) = %q, want %q", n, got, want)
		}
		if len(got)-1 > ChunkHeadMax {
			t.Errorf("AppendChunkHead(%d) appends %d bytes", n, len(got)-1)
		}
	}
}

// FuzzDecoder: however a body is cut, what comes of it is the same.
func FuzzDecoder(f *testing.F) {
	for i, input := range append(corpusChunked(), corpusTrailers()...) {
		if _, body, ok := strings.Cut(input, "\r\n\r\n"); ok {
			f.Add([]byte(body), uint16(i), i%2 == 0)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, cut uint16, strict bool) {
		d := newDecoder(strict)
		want := decode(d, body)
		if want.err != nil && !errors.Is(want.err, ErrChunk) {
			t.Fatalf("%q: %v", body, want.err)
		}
		at := int(cut) % (len(body) + 1)
		if got := decode(d, body[:at], body[at:]); !got.same(want) {
			t.Errorf("%q cut at %d: %+v, want %+v", body, at, got, want)
		}
		size := 1 + int(cut)%7
		if got := decode(d, slices.Collect(slices.Chunk(body, size))...); !got.same(want) {
			t.Errorf("%q in pieces of %d: %+v, want %+v", body, size, got, want)
		}
	})
}
