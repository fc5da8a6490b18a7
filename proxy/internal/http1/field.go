package http1

import "bytes"

// Field is one header field line, as it came: neither the name's spelling nor
// the value's bytes are changed, but for the blanks around the value. Both
// alias the buffer that was scanned.
type Field struct{ Name, Value []byte }

// Line is where a field's line is in the head, its CRLF included, and what the
// field is to a proxy.
type Line struct {
	Kind       Kind
	Start, End int
}

// Kind says what a field is to a proxy.
type Kind uint8

// The kinds.
const (
	Other Kind = iota
	Host
	ContentLength
	TransferEncoding
	Connection
	KeepAlive
	ProxyConnection
	ProxyAuthorization
	TE
	Trailer
	Upgrade
	HTTP2Settings
	Expect
	Via
	Forwarded
	XForwardedFor
	XForwardedProto
	XForwardedHost
	XForwarded // any other of this prefix
	XRealIP    // with '-' or '_', as XForwarded
	Drover     // the edge's own, with '-' or '_' for any of its hyphens
	Authorization
	Cookie
	UserAgent
	Referer
	Traceparent
	ContentType
)

// name is a field name with its kind.
type name struct {
	text string // in lower case
	kind Kind
}

// namesByLength are the names that mean something, by their length.
var namesByLength = func() (table [20][]name) {
	for _, n := range []name{
		{"host", Host}, {"content-length", ContentLength}, {"transfer-encoding", TransferEncoding},
		{"connection", Connection}, {"keep-alive", KeepAlive}, {"proxy-connection", ProxyConnection},
		{"proxy-authorization", ProxyAuthorization}, {"te", TE}, {"trailer", Trailer}, {"upgrade", Upgrade},
		{"http2-settings", HTTP2Settings}, {"expect", Expect}, {"via", Via}, {"forwarded", Forwarded},
		{"x-forwarded-for", XForwardedFor}, {"x-forwarded-proto", XForwardedProto}, {"x-forwarded-host", XForwardedHost},
		{"authorization", Authorization}, {"cookie", Cookie}, {"user-agent", UserAgent},
		{"referer", Referer}, {"traceparent", Traceparent}, {"content-type", ContentType},
	} {
		table[len(n.text)] = append(table[len(n.text)], n)
	}
	return table
}()

const (
	droverName    = "drover"
	forwardedName = "x-forwarded-"
	realName      = "x-real-ip"
)

// KindOf returns what a field of that name is.
func KindOf(n []byte) Kind {
	if len(n) > len(droverName) {
		switch n[0] | 0x20 {
		case 'd':
			if c := n[len(droverName)]; (c == '-' || c == '_') && EqualFold(n[:len(droverName)], droverName) {
				return Drover
			}
		case 'x':
			switch {
			case len(n) > len(forwardedName) && spelled(n[:len(forwardedName)], forwardedName):
				return forwardedKind(n)
			case len(n) == len(realName) && spelled(n, realName):
				return XRealIP
			}
		}
	}
	if len(n) < len(namesByLength) {
		for _, known := range namesByLength[len(n)] {
			if n[0]|0x20 == known.text[0] && EqualFold(n, known.text) {
				return known.kind
			}
		}
	}
	return Other
}

// spelled says whether a name is want, of the same length, in any spelling that
// some application server takes for it: '-' or '_' for any of its hyphens.
func spelled(n []byte, want string) bool {
	for i := range len(want) {
		c := lower[n[i]]
		if c == '_' {
			c = '-'
		}
		if c != want[i] {
			return false
		}
	}
	return true
}

func forwardedKind(n []byte) Kind {
	for _, known := range namesByLength[min(len(n), len(namesByLength)-1)] {
		if EqualFold(n, known.text) {
			return known.kind
		}
	}
	return XForwarded
}

// EqualFold says whether b is want, which is in lower case, but for the case of
// ASCII letters.
func EqualFold(b []byte, want string) bool {
	if len(b) != len(want) {
		return false
	}
	for i := range len(want) {
		if lower[b[i]] != want[i] {
			return false
		}
	}
	return true
}

// HasToken says whether a comma-separated list holds a token, in lower case.
func HasToken(list []byte, token string) bool {
	for len(list) != 0 {
		item, rest, _ := bytes.Cut(list, comma)
		if EqualFold(trim(item), token) {
			return true
		}
		list = rest
	}
	return false
}

var comma = []byte{','}

// trim cuts blanks off both ends.
func trim(b []byte) []byte {
	for len(b) != 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) != 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// lower is ASCII's lower case.
var lower = func() (table [256]byte) {
	for i := range table {
		table[i] = byte(i)
		if 'A' <= i && i <= 'Z' {
			table[i] = byte(i) | 0x20
		}
	}
	return table
}()

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

// tokenLen returns how many bytes of a token b begins with. Four at a time:
// names are most of what is looked at one by one.
func tokenLen(b []byte) int {
	n := 0
	for rest := b; len(rest) >= 4; rest = rest[4:] {
		if !tokenBytes[rest[0]] || !tokenBytes[rest[1]] || !tokenBytes[rest[2]] || !tokenBytes[rest[3]] {
			break
		}
		n += 4
	}
	for n < len(b) && tokenBytes[b[n]] {
		n++
	}
	return n
}

func isToken(b []byte) bool { return len(b) != 0 && tokenLen(b) == len(b) }
