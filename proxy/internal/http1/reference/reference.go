package reference

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
)

// Limits bound what is read. None of them changes where a message ends.
type Limits struct {
	RequestLine, Fields         int
	TrailerBytes, TrailerFields int
}

// The bounds that are no option.
const (
	methodSeen      = 32       // bytes of an incomplete request line that are looked at
	lengthDigits    = 18       // of a Content-Length, leading zeros left out
	chunkLineMax    = 256      // bytes of a chunk's line, its CRLF included
	extensionsMax   = 16 << 10 // bytes of all extensions of a body, and
	extensionsShare = 4        // a byte more for so many of data
)

// Field is a header or trailer line.
type Field struct{ Name, Value string }

// Request is what one request said.
type Request struct {
	Method, Target, Path, Host string
	Minor                      int
	Fields                     []Field
	Close, KeepAlive, Upgrade  bool
	Chunked                    bool
	Length                     int64 // -1: chunked
	Body                       string
	Trailers                   []Field
	Done                       bool // false of the last one alone: its body did not end
	End                        int  // where it ends, once Done
}

// Result is what the bytes of a connection were.
type Result struct {
	Requests []Request
	Refused  bool // after Requests, the last of which may not be Done
}

// reader is at a place of the bytes.
type reader struct {
	*patterns
	b      []byte
	at     int
	limits Limits
	// late: a line is judged once its end has come. The choice for trailers,
	// where a head is judged while it comes.
	late bool
}

// outcome of reading one element.
type outcome int

const (
	read       outcome = iota
	incomplete         // more would have to come
	refused
)

// Parser reads. New makes one.
type Parser struct{ patterns *patterns }

// New compiles the grammars.
func New() *Parser { return &Parser{compile()} }

// Parse reads all that came on a connection.
func (p *Parser) Parse(b []byte, limits Limits) Result {
	r := &reader{patterns: p.patterns, b: b, limits: limits}
	var result Result
	for {
		// A server skips empty lines before a request (RFC 9112, 2.2).
		for bytes.HasPrefix(r.b[r.at:], []byte("\r\n")) {
			r.at += 2
		}
		request, o := r.head()
		if o == read {
			o = r.body(&request)
			request.Done = o == read
			request.End = r.at
			result.Requests = append(result.Requests, request)
		}
		if o != read {
			result.Refused = o == refused
			return result
		}
	}
}

// line reads up to CRLF. The choice of RFC 9112, 2.2: a bare LF ends no line,
// and a CR that no LF follows is replaced by nothing: both are refused.
func (r *reader) line() (string, outcome) {
	rest := r.b[r.at:]
	lf := bytes.IndexByte(rest, '\n')
	if lf < 0 {
		if cr := bytes.IndexByte(rest, '\r'); !r.late && cr >= 0 && cr < len(rest)-1 {
			return "", refused
		}
		return "", incomplete
	}
	if lf == 0 || rest[lf-1] != '\r' {
		return "", refused
	}
	r.at += lf + 1
	return latin1(rest[:lf-1]), read
}

// head reads a request line and field lines.
func (r *reader) head() (Request, outcome) {
	begin := r.at
	line, o := r.line()
	if o == incomplete && !r.mayBegin(r.b[begin:]) {
		o = refused
	}
	if o != read {
		return Request{}, o
	}
	if len(r.b[begin:r.at])-2 > r.limits.RequestLine {
		return Request{}, refused
	}
	request, absolute, ok := r.requestLine(line)
	if !ok {
		return Request{}, refused
	}
	request.Fields, o = r.fields(r.limits.Fields, len(r.b))
	if o != read {
		return Request{}, o
	}
	if !r.host(&request, absolute) || !r.framing(&request) {
		return Request{}, refused
	}
	request.connection()
	return request, read
}

// mayBegin says whether an incomplete request line is kept waiting for. The
// choice: a line that is too long and one that begins with no method are not.
func (r *reader) mayBegin(b []byte) bool {
	text := strings.TrimSuffix(latin1(b), "\r")
	if len(b) > r.limits.RequestLine+1 {
		return false
	}
	method, _, _ := strings.Cut(text, " ")
	for i, c := range method {
		if i < methodSeen && (c > 0x7e || !strings.ContainsRune("!#$%&'*+-.^_`|~0123456789"+
			"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", c)) {
			return false
		}
	}
	return true
}

// requestLine returns the authority of an absolute target besides.
func (r *reader) requestLine(line string) (request Request, absolute []string, ok bool) {
	m := r.patterns.requestLine.FindStringSubmatch(line)
	if m == nil {
		return Request{}, nil, false
	}
	request = Request{Method: m[1], Target: back(m[2]), Path: back(m[2])}
	// Minor versions above 1 are read as 1 (RFC 9110, 2.5).
	if m[3] != "1" {
		return Request{}, nil, false
	}
	if m[4] != "0" {
		request.Minor = 1
	}
	switch {
	case request.Method == http.MethodConnect:
		return Request{}, nil, false // the choice: no tunnels
	case strings.HasPrefix(request.Target, "/"):
	case request.Target == "*" && request.Method == http.MethodOptions: // RFC 9112, 3.2.4
	default:
		absolute = r.absolute.FindStringSubmatch(m[2])
		if absolute == nil || !r.patterns.host.MatchString(absolute[2]) {
			return Request{}, nil, false
		}
		request.Path = back(absolute[3])
		switch {
		case request.Path == "" && request.Method == http.MethodOptions:
			request.Path = "*"
		case !strings.HasPrefix(request.Path, "/"):
			request.Path = "/" + request.Path
		}
	}
	return request, absolute, true
}

// fields reads field lines up to the empty one. Obsolete folding is refused
// (RFC 9112, 5.2), and so is a blank before the colon (5.1).
func (r *reader) fields(linesMax, bytesMax int) ([]Field, outcome) {
	var fields []Field
	begin := r.at
	for {
		line, o := r.line()
		if r.at-begin > bytesMax {
			return nil, refused
		}
		switch {
		case o != read:
			return nil, o
		case line == "":
			return fields, read
		case len(fields) == linesMax:
			return nil, refused
		}
		m := r.field.FindStringSubmatch(line)
		if m == nil {
			return nil, refused
		}
		fields = append(fields, Field{back(m[1]), back(m[2])})
		if _, _, ok := r.framers(fields); !ok {
			return nil, refused
		}
	}
}

// host finds the host (RFC 9112, 3.2 and 3.3). The choice: a Host that
// disagrees with an absolute target is refused, not replaced.
func (r *reader) host(request *Request, absolute []string) bool {
	hosts := values(request.Fields, "host")
	switch {
	case len(hosts) > 1, len(hosts) == 0 && request.Minor == 1:
		return false
	case len(hosts) == 1 && !r.patterns.host.MatchString(hosts[0]):
		return false
	case len(hosts) == 1:
		request.Host = hosts[0]
	}
	if absolute == nil {
		return true
	}
	usual := map[string]string{"http": "80", "https": "443"}[strings.ToLower(absolute[1])]
	if len(hosts) == 1 && r.normal(hosts[0], usual) != r.normal(absolute[2], usual) {
		return false
	}
	request.Host = absolute[2]
	return true
}

// normal is a host in lower case with its port, the usual one if it has none
// (RFC 9110, 4.2.3).
func (r *reader) normal(host, usual string) string {
	m := r.patterns.host.FindStringSubmatch(host)
	port := strings.TrimPrefix(m[2], ":")
	if port == "" {
		port = usual
	}
	return strings.ToLower(m[1]) + ":" + port
}

// framing finds the body's length (RFC 9112, 6.3). The choices: both framings
// together are refused (6.3, 3); Transfer-Encoding in HTTP/1.0 is faulty (6.1).
func (r *reader) framing(request *Request) bool {
	lengths, codings, _ := r.framers(request.Fields)
	switch {
	case len(codings) != 0:
		request.Chunked, request.Length = true, -1
		return request.Minor == 1 && len(lengths) == 0
	case len(lengths) != 0:
		request.Length, _ = strconv.ParseInt(lengths[0], 10, 64)
	}
	return true
}

// framers returns the values that frame, and whether each is one that can. The
// choices: chunked is the one coding (RFC 9112, 6.1: others get 501 or 400); a
// list or a second Content-Length is refused even if all are alike (6.3, 5);
// what is wrong by itself is refused with its line, not with the whole head.
func (r *reader) framers(fields []Field) (lengths, codings []string, ok bool) {
	codings = values(fields, "transfer-encoding")
	lengths = values(fields, "content-length")
	ok = len(codings) <= 1 && len(lengths) <= 1
	for _, coding := range codings {
		ok = ok && asciiLower(coding) == "chunked"
	}
	for _, length := range lengths {
		ok = ok && r.length.MatchString(length) && len(strings.TrimLeft(length, "0")) <= lengthDigits
	}
	return lengths, codings, ok
}

// connection reads the options of RFC 9110, 7.6.1.
func (request *Request) connection() {
	for _, list := range values(request.Fields, "connection") {
		for option := range strings.SplitSeq(list, ",") {
			switch asciiLower(strings.Trim(option, " \t")) {
			case "close":
				request.Close = true
			case "keep-alive":
				request.KeepAlive = true
			case "upgrade":
				request.Upgrade = true
			}
		}
	}
}

func values(fields []Field, name string) []string {
	var all []string
	for _, f := range fields {
		if asciiLower(f.Name) == name {
			all = append(all, f.Value)
		}
	}
	return all
}

func asciiLower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
