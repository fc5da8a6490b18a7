package edge

import (
	"bytes"
	"net"
	"strconv"

	"github.com/valyala/fasthttp"

	"drover/proxy/internal/identity"
	"drover/proxy/internal/passport"
	"drover/proxy/internal/upstream"
)

// headersMax bounds the header lines of one request.
const headersMax = 256 // × 48 bytes × 10,000 connections = 123 MB at worst

// scan reads the request's head, from the bytes as they came: the server's own
// parser is lenient, folds lines and forgets the order. What is not exactly as
// RFC 9112 writes it is refused, and so is all that would leave doubt about
// where the request ends.
func (r *request) scan() *refusal {
	header := &r.ctx.Request.Header
	r.passport.Method = methodName(header.Method())
	if version := header.Protocol(); string(version) != "HTTP/1.1" && string(version) != "HTTP/1.0" {
		return malformed("the HTTP version is neither 1.1 nor 1.0")
	}
	if !r.split(header.RawHeaders()) {
		return malformed("the request's header lines are not well formed")
	}
	if bad := r.scanTarget(header.RequestURI()); bad != nil {
		return bad
	}
	if bad := r.scanFraming(header.ContentLength()); bad != nil {
		return bad
	}
	r.scanPeer()
	r.user, r.userErr = r.edge.options.Finder.Find(r.headers, r.trusted)
	return nil
}

// split splits header lines. Every line ends in CRLF, none is folded, and the
// empty one is the last.
func (r *request) split(raw []byte) bool {
	if len(raw) == 0 {
		return true
	}
	for len(r.headers) <= headersMax {
		end := bytes.IndexByte(raw, '\n')
		if end < 1 || raw[end-1] != '\r' {
			return false
		}
		line := raw[:end-1]
		raw = raw[end+1:]
		if len(line) == 0 {
			return len(raw) == 0
		}
		colon := bytes.IndexByte(line, ':')
		if colon < 1 || !isToken(line[:colon]) {
			return false
		}
		value := bytes.Trim(line[colon+1:], " \t")
		if bytes.IndexByte(value, '\r') >= 0 || bytes.IndexByte(value, 0) >= 0 {
			return false
		}
		r.headers = append(r.headers, identity.Header{Name: line[:colon], Value: value})
	}
	return false
}

// scanTarget takes an absolute target apart: its authority is the host.
func (r *request) scanTarget(target []byte) *refusal {
	r.target = target
	if string(r.ctx.Method()) == fasthttp.MethodConnect {
		return malformed("CONNECT is not for this server")
	}
	if len(target) != 0 && target[0] != '/' && string(target) != "*" {
		_, rest, ok := bytes.Cut(target, []byte("://"))
		end := bytes.IndexAny(rest, "/?")
		if end < 0 {
			end = len(rest)
		}
		r.host, r.target = rest[:end], rest[end:]
		if !ok || end == 0 || bytes.IndexByte(r.host, '@') >= 0 {
			return malformed("the request's target is neither a path nor a URL")
		}
		if len(r.target) == 0 || r.target[0] == '?' {
			r.target = append([]byte{'/'}, r.target...)
		}
	}
	path, _, _ := bytes.Cut(r.target, []byte{'?'})
	r.passport.Path = string(path)
	return nil
}

// scanFraming finds the body's length, and refuses where the server's parser
// may have found another one (RFC 9112, 6.3).
func (r *request) scanFraming(parsed int) *refusal {
	lengths, codings := 0, 0
	for _, h := range r.headers {
		switch {
		case identity.EqualFold(h.Name, fasthttp.HeaderContentLength):
			lengths++
			n, err := strconv.ParseUint(string(h.Value), 10, 63)
			if err != nil {
				return malformed("Content-Length is no number")
			}
			r.length = int64(n)
		case identity.EqualFold(h.Name, fasthttp.HeaderTransferEncoding):
			codings++
			if !identity.EqualFold(h.Value, "chunked") {
				return malformed("the only Transfer-Encoding is chunked")
			}
		case upstream.HasToken(h.Name, h.Value, "connection", "close"):
			r.closes = true
		}
	}
	switch {
	case lengths > 1, codings > 1, lengths+codings > 1:
		return malformed("Content-Length and Transfer-Encoding: want one of them, once")
	case codings == 1:
		r.length = -1
		if parsed != -1 {
			return malformed("the body's length is in doubt")
		}
	case lengths == 1 && int64(parsed) != r.length:
		return malformed("the body's length is in doubt")
	}
	if r.length > r.edge.options.Limits.Body {
		return tooLarge()
	}
	return nil
}

func (r *request) scanPeer() {
	if tcp, ok := r.ctx.Conn().RemoteAddr().(*net.TCPAddr); ok {
		r.peer = tcp.AddrPort().Addr().Unmap()
	}
	for _, network := range r.edge.options.Trusted {
		if network.Contains(r.peer.WithZone("")) {
			r.trusted = true
			return
		}
	}
}

func malformed(what string) *refusal {
	return &refusal{status: fasthttp.StatusBadRequest, end: passport.EndRefused, what: what,
		remedy: "send one well-formed HTTP/1.1 request", close: true}
}

func tooLarge() *refusal {
	return &refusal{status: fasthttp.StatusRequestEntityTooLarge, end: passport.EndRefused,
		what: "the request's body is too long", remedy: "send less, or raise limits.body", close: true}
}

// methodName returns the method for metrics and passports, without an
// allocation for the usual ones.
func methodName(method []byte) string {
	switch string(method) {
	case fasthttp.MethodGet:
		return fasthttp.MethodGet
	case fasthttp.MethodHead:
		return fasthttp.MethodHead
	case fasthttp.MethodPost:
		return fasthttp.MethodPost
	case fasthttp.MethodPut:
		return fasthttp.MethodPut
	case fasthttp.MethodPatch:
		return fasthttp.MethodPatch
	case fasthttp.MethodDelete:
		return fasthttp.MethodDelete
	case fasthttp.MethodOptions:
		return fasthttp.MethodOptions
	default:
		const longest = 32
		return string(method[:min(len(method), longest)])
	}
}

func isToken(name []byte) bool {
	for _, c := range name {
		if !tokenBytes[c] {
			return false
		}
	}
	return true
}

// tokenBytes are those of RFC 9110, 5.6.2.
var tokenBytes = func() (table [256]bool) {
	for c := '0'; c <= '9'; c++ {
		table[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		table[c], table[c-'a'+'A'] = true, true
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		table[c] = true
	}
	return table
}()
