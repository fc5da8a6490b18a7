package http1

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"drover/proxy/internal/http1/reference"
)

// framingLimits are small, so that inputs reach them.
var framingLimits = reference.Limits{RequestLine: 128, Fields: 16, TrailerBytes: 128, TrailerFields: 4}

// connection feeds pieces to the package as an edge would: what was not used is
// there again with the next piece.
type connection struct {
	result  reference.Result
	buffer  []byte
	used    int // of all bytes
	head    Request
	inBody  bool
	left    int64
	decoder Decoder
}

func newConnection() *connection {
	return &connection{decoder: Decoder{Strict: true, TrailerMax: framingLimits.TrailerBytes, FieldsMax: framingLimits.TrailerFields}}
}

// feed takes one piece, and says whether the connection goes on.
func (c *connection) feed(piece []byte) bool {
	// A new array each time: what aliases the old one is not to be relied on.
	c.buffer = append(append([]byte(nil), c.buffer...), piece...)
	for {
		n, more, ok := c.step()
		if !ok {
			c.result.Refused = true
			return false
		}
		c.buffer = c.buffer[n:]
		c.used += n
		if !more {
			return true
		}
	}
}

// step reads one head, or one piece of a body.
func (c *connection) step() (used int, more, ok bool) {
	if !c.inBody {
		n, p := c.head.Scan(c.buffer, Limits{Fields: framingLimits.Fields, RequestLine: framingLimits.RequestLine})
		if p != nil || n == 0 {
			return 0, false, p == nil
		}
		c.inBody, c.left = true, c.head.Length
		c.decoder.Reset()
		c.result.Requests = append(c.result.Requests, requestOf(&c.head))
		return n, true, true
	}
	request := &c.result.Requests[len(c.result.Requests)-1]
	if !request.Chunked {
		n := min(c.left, int64(len(c.buffer)))
		request.Body += string(c.buffer[:n])
		if c.left -= n; c.left == 0 {
			c.done(request, int(n))
		}
		return int(n), !c.inBody, true
	}
	data, n, err := c.decoder.Feed(c.buffer)
	if err != nil {
		return 0, false, false
	}
	request.Body += string(data)
	if c.decoder.Done() {
		request.Trailers = fieldsOf(c.decoder.Trailers())
		c.done(request, n)
	}
	return n, len(data) != 0 || !c.inBody, true
}

func (c *connection) done(request *reference.Request, n int) {
	request.Done, request.End = true, c.used+n
	c.inBody = false
}

func requestOf(r *Request) reference.Request {
	return reference.Request{
		Method: string(r.Method), Target: string(r.Target), Path: string(r.Path), Host: string(r.Host),
		Minor: r.Minor, Fields: fieldsOf(r.Fields),
		Close: r.Close, KeepAlive: r.KeepAlive, Upgrade: r.Upgrading,
		Chunked: r.Length < 0, Length: r.Length,
	}
}

func fieldsOf(fields []Field) []reference.Field {
	var all []reference.Field
	for _, f := range fields {
		all = append(all, reference.Field{Name: string(f.Name), Value: string(f.Value)})
	}
	return all
}

// inPieces feeds input cut at random places.
func inPieces(input []byte, seed uint64) reference.Result {
	c := newConnection()
	random := rand.New(rand.NewPCG(seed, seed))
	longest := 1 + random.IntN(40)
	for len(input) != 0 {
		n := min(1+random.IntN(longest), len(input))
		if !c.feed(input[:n]) {
			break
		}
		input = input[n:]
	}
	return c.result
}

// disagreement says how two readings differ; empty: they do not.
func disagreement(got, want reference.Result) string {
	if len(got.Requests) != len(want.Requests) {
		return fmt.Sprintf("%d requests, want %d\n got %+v\nwant %+v", len(got.Requests), len(want.Requests), got, want)
	}
	for i := range got.Requests {
		g, w := got.Requests[i], want.Requests[i]
		if !w.Done { // it ends nowhere
			g.End, w.End = 0, 0
		}
		if !reflect.DeepEqual(g, w) {
			return fmt.Sprintf("request %d:\n got %+v\nwant %+v", i, g, w)
		}
	}
	if got.Refused != want.Refused {
		return fmt.Sprintf("refused %v, want %v", got.Refused, want.Refused)
	}
	return ""
}

// checkFraming compares the package, fed at once and in pieces, with the
// reference.
func checkFraming(t *testing.T, parser *reference.Parser, input []byte, seed uint64) {
	t.Helper()
	want := parser.Parse(input, framingLimits)
	whole := newConnection()
	whole.feed(input)
	if d := disagreement(whole.result, want); d != "" {
		t.Errorf("at once: %s\ninput %q", d, input)
	}
	if d := disagreement(inPieces(input, seed), want); d != "" {
		t.Errorf("in pieces (seed %d): %s\ninput %q", seed, d, input)
	}
}

// FuzzFraming: what the package says was one request, and where it ends, is what
// the grammar says.
func FuzzFraming(f *testing.F) {
	for i, input := range corpus() {
		f.Add([]byte(input), uint64(i))
	}
	parser := reference.New()
	f.Fuzz(func(t *testing.T, input []byte, seed uint64) {
		checkFraming(t, parser, input, seed)
	})
}

// TestMutatedRequestsFrameAsTheGrammarSays puts the corpus together at random,
// with bytes that framing hangs on set in at random: 1,200 times, and 6,000 with
// DROVER_SOAK=1.
func TestMutatedRequestsFrameAsTheGrammarSays(t *testing.T) {
	inputs, parser := corpus(), reference.New()
	const seed = 20260303
	random := rand.New(rand.NewPCG(seed, seed))
	pick := func() string { return inputs[random.IntN(len(inputs))] }
	bits := []string{"\r", "\n", "\r\n", "\x00", " ", "\t", ":", ",", ";", "0", "1", "a", "\x7f", "\xff", "/", "[", "]", "%", "#", "@",
		"chunked", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", "Host: a\r\n", "\r\n\r\n", "0\r\n\r\n"}
	refused, done := 0, 0
	tries := rounds(1200, 6000)
	for range tries {
		input := browserHead + get(chunkedLine) + "3\r\nabc\r\n0\r\n\r\n" + pick()
		if random.IntN(2) == 0 {
			input = pick() + pick()
		}
		for range random.IntN(3) {
			at := random.IntN(len(input) + 1)
			to := min(at+random.IntN(3), len(input))
			input = input[:at] + bits[random.IntN(len(bits))] + input[to:]
		}
		checkFraming(t, parser, []byte(input), random.Uint64())
		if result := parser.Parse([]byte(input), framingLimits); result.Refused {
			refused++
		} else {
			done++
		}
		if t.Failed() {
			return
		}
	}
	if refused < tries/12 || done < tries/12 {
		t.Errorf("%d inputs refused, %d read: the inputs prove too little", refused, done)
	}
}

// TestCorpusFramesTheSameAtEveryCut cuts each input of the corpus in two, at
// every place.
func TestCorpusFramesTheSameAtEveryCut(t *testing.T) {
	parser := reference.New()
	for _, input := range corpus() {
		if len(input) > 1<<10 {
			continue
		}
		want := parser.Parse([]byte(input), framingLimits)
		for cut := range len(input) + 1 {
			c := newConnection()
			if c.feed([]byte(input[:cut])) {
				c.feed([]byte(input[cut:]))
			}
			if d := disagreement(c.result, want); d != "" {
				t.Fatalf("cut at %d: %s\ninput %q", cut, d, input)
			}
		}
	}
}

// get is a request with some lines.
func get(lines ...string) string { return message("GET / HTTP/1.1", lines...) }

// message is a head: a first line, Host, and lines.
func message(first string, lines ...string) string {
	return strings.Join(append([]string{first, "Host: a"}, lines...), "\r\n") + "\r\n\r\n"
}
