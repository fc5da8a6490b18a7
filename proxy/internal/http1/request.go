package http1

import (
	"bytes"
	"net/netip"
)

// Limits bound a head.
type Limits struct {
	Fields      int // header lines
	RequestLine int // bytes, without its CRLF
}

// Request is a request's head. It may be scanned into again.
type Request struct {
	head
	Method []byte
	// Target is as the client sent it; Path is the origin-form that goes on:
	// of an absolute target without its authority.
	Target, Path []byte
	// Host is the Host field's value, or the authority of an absolute target
	// when there is no Host (HTTP/1.0); empty when there is neither.
	Host []byte
	// Continue says that the client waits for 100 (RFC 9110, 10.1.1).
	Continue bool
	// Trailers says that the client takes trailers (TE).
	Trailers bool
	// Protocol is the Upgrade field's value, if Connection names it.
	Protocol []byte

	authority []byte // of an absolute target
	tls       bool   // its scheme
}

var crlf = []byte("\r\n")

// Scan reads a request's head at the beginning of b, and returns where its body
// begins; 0: more is to come. Empty lines before it are skipped (RFC 9112,
// 2.2).
func (r *Request) Scan(b []byte, limits Limits) (int, *Problem) {
	r.reset()
	r.Method, r.Target, r.Path, r.Host, r.Protocol, r.authority = nil, nil, nil, nil, nil, nil
	r.Continue, r.Trailers, r.tls = false, false, false
	begin := 0
	for bytes.HasPrefix(b[begin:], crlf) {
		begin += 2
	}
	end := bytes.IndexByte(b[begin:], '\n')
	if end < 0 {
		if len(b)-begin > limits.RequestLine+1 {
			return 0, &Problem{414, "the request line is too long"}
		}
		if p := partialLine(b[begin:]); p != nil {
			return 0, p
		}
		return 0, r.early(b[begin:])
	}
	if end == 0 || b[begin+end-1] != '\r' {
		return 0, problemLine
	}
	if end-1 > limits.RequestLine {
		return 0, &Problem{414, "the request line is too long"}
	}
	if p := r.scanLine(b[begin : begin+end-1]); p != nil {
		return 0, p
	}
	body, p := r.scanFields(b, begin+end+1, limits.Fields, true)
	if p != nil || body == 0 {
		return 0, p
	}
	r.Head = b[begin:body]
	for i := range r.Lines {
		r.Lines[i].Start -= begin
		r.Lines[i].End -= begin
	}
	if p := r.finish(); p != nil {
		return 0, p
	}
	return body, nil
}

// early refuses the beginning of what is no request, TLS for one.
func (r *Request) early(b []byte) *Problem {
	const longest = 32 // of a method
	for i, c := range b {
		if c == ' ' || i == longest {
			return nil
		}
		if !tokenBytes[c] && c != '\r' {
			return problemRequest
		}
	}
	return nil
}

func (r *Request) scanLine(line []byte) *Problem {
	space := bytes.IndexByte(line, ' ')
	if space < 1 || !isToken(line[:space]) {
		return problemRequest
	}
	r.Method = line[:space]
	rest := line[space+1:]
	space = bytes.LastIndexByte(rest, ' ')
	if space < 1 {
		return problemRequest
	}
	r.Target = rest[:space]
	for _, c := range r.Target {
		if !targetBytes[c] {
			return problemRequest
		}
	}
	minor, p := scanVersion(rest[space+1:])
	if p != nil {
		return p
	}
	r.Minor = minor
	return r.scanTarget()
}

// scanVersion reads HTTP/1.x; any minor version from 1 on is 1 (RFC 9110, 6.2).
func scanVersion(v []byte) (int, *Problem) {
	if len(v) != len("HTTP/1.1") || string(v[:5]) != "HTTP/" || v[6] != '.' ||
		v[5] < '0' || v[5] > '9' || v[7] < '0' || v[7] > '9' {
		return 0, problemRequest
	}
	if v[5] != '1' {
		return 0, problemVersion
	}
	return int(min(v[7]-'0', 1)), nil
}

func (r *Request) scanTarget() *Problem {
	if string(r.Method) == "CONNECT" {
		return problemConnect
	}
	r.Path = r.Target
	if r.Target[0] == '/' || string(r.Target) == "*" && string(r.Method) == "OPTIONS" {
		return nil
	}
	scheme, rest, ok := bytes.Cut(r.Target, []byte("://"))
	switch {
	case ok && EqualFold(scheme, "http"):
	case ok && EqualFold(scheme, "https"):
		r.tls = true
	default:
		return problemTarget
	}
	end := bytes.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	r.authority, r.Path = rest[:end], rest[end:]
	if !validHost(r.authority) {
		return problemTarget
	}
	switch {
	case len(r.Path) == 0 && string(r.Method) == "OPTIONS":
		r.Path = []byte("*") // RFC 9112, 3.2.4
	case len(r.Path) == 0:
		r.Path = []byte("/")
	case r.Path[0] != '/':
		r.Path = append([]byte{'/'}, r.Path...)
	}
	return nil
}

// finish checks what the fields say together.
func (r *Request) finish() *Problem {
	hosts := 0
	for i, l := range r.Lines {
		value := r.Fields[i].Value
		switch l.Kind {
		case Host:
			hosts++
			r.Host = value
			if hosts > 1 || !validHost(value) {
				return problemHost
			}
		case Expect:
			r.Continue = r.Continue || r.Minor == 1 && EqualFold(value, "100-continue")
		case TE:
			r.Trailers = r.Trailers || HasToken(value, "trailers")
		case Upgrade:
			if r.Upgrading && r.Minor == 1 && len(value) != 0 {
				r.Protocol = value
			}
		default:
		}
	}
	if hosts == 0 && r.Minor == 1 {
		return problemHost
	}
	if r.authority != nil {
		if hosts != 0 && !sameHost(r.Host, r.authority, r.tls) {
			return problemHostTarget
		}
		r.Host = r.authority
	}
	if r.chunkedSeen {
		switch {
		case r.HasLength:
			return problemLengths
		case r.Minor == 0:
			return problemOldCoding
		}
		r.Length = -1
	}
	return nil
}

// validHost checks host[:port] of RFC 3986, 3.2.2; an empty host is none (RFC
// 9110, 4.2.1).
func validHost(host []byte) bool {
	if len(host) == 0 {
		return false
	}
	name, port := host, []byte(nil)
	if host[0] == '[' {
		end := bytes.IndexByte(host, ']')
		if end < 0 || !validLiteral(host[1:end]) {
			return false
		}
		name, port = nil, host[end+1:]
		if len(port) == 0 {
			return true
		}
		if port[0] != ':' {
			return false
		}
		port = port[1:]
	} else if i := bytes.IndexByte(host, ':'); i >= 0 {
		name, port = host[:i], host[i+1:]
		if i == 0 {
			return false
		}
	}
	for i, c := range name {
		if !hostBytes[c] || c == '%' && !escaped(name[i:]) {
			return false
		}
	}
	const longest = 5
	if len(port) > longest {
		return false
	}
	for _, c := range port {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// validLiteral checks what is between the brackets: IPv6, without a zone, or
// the IPvFuture of RFC 3986, 3.2.2.
func validLiteral(b []byte) bool {
	const longest = len("1111:1111:1111:1111:1111:1111:111.111.111.111")
	if len(b) == 0 {
		return false
	}
	if lower[b[0]] != 'v' {
		if len(b) > longest || bytes.IndexByte(b, '%') >= 0 {
			return false
		}
		addr, err := netip.ParseAddr(string(b))
		return err == nil && addr.Is6()
	}
	dot := bytes.IndexByte(b, '.')
	if dot < 2 || dot == len(b)-1 {
		return false
	}
	for _, c := range b[1:dot] {
		if hexDigits[c] > 15 {
			return false
		}
	}
	for _, c := range b[dot+1:] {
		if (!hostBytes[c] || c == '%') && c != ':' {
			return false
		}
	}
	return true
}

func escaped(b []byte) bool {
	return len(b) >= 3 && hexDigits[b[1]] < 16 && hexDigits[b[2]] < 16
}

// targetBytes are those of a target. All of ASCII that is seen and every byte
// beyond it, more than a URI's own: browsers do not escape '|' or '{' in a query,
// and many a client sends UTF-8 as it is. But no fragment (RFC 9110, 7.1), which
// is never sent: behind it two readers see two paths.
var targetBytes = func() (table [256]bool) {
	for c := range table {
		table[c] = c > ' ' && c != 0x7f && c != '#'
	}
	return table
}()

// hostBytes are those of a reg-name.
var hostBytes = func() (table [256]bool) {
	for c := range table {
		table[c] = '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
	}
	for _, c := range "-._~!$&'()*+,;=%" {
		table[c] = true
	}
	return table
}()

// sameHost compares two authorities, the scheme's own port left out.
func sameHost(a, b []byte, tls bool) bool {
	port := []byte(":80")
	if tls {
		port = []byte(":443")
	}
	strip := func(h []byte) []byte { return bytes.TrimSuffix(bytes.TrimSuffix(h, port), []byte{':'}) }
	return sameFold(strip(a), strip(b))
}
