package reference

import (
	"regexp"
	"strings"
)

// The grammars are over bytes: text is Latin-1 here, a rune for each byte.
const (
	tchar  = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]" // RFC 9110, 5.6.2
	ows    = `[ \t]*`
	digit  = `[0-9]`
	hexdig = `[0-9A-Fa-f]`

	// field-vchar, SP, HTAB and obs-text (RFC 9110, 5.5).
	fieldByte = `[\t\x{20}-\x{7e}\x{80}-\x{ff}]`

	// A request target's bytes. The choice: beyond RFC 3986's, what else of
	// ASCII is seen, and what is beyond it, for clients send it; '#' is never sent (RFC 9112, 3.2).
	targetByte = `[\x{21}\x{22}\x{24}-\x{7e}\x{80}-\x{ff}]`
)

// RFC 3986, 3.2.2.
const (
	unreserved = `[A-Za-z0-9\-._~]`
	subDelims  = `[!$&'()*+,;=]`
	pctEncoded = `%` + hexdig + hexdig
	// The choice: not empty (RFC 9110, 4.2.1).
	regName   = `(?:` + unreserved + `|` + pctEncoded + `|` + subDelims + `)+`
	decOctet  = `(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9][0-9]|[0-9])`
	ipv4      = decOctet + `\.` + decOctet + `\.` + decOctet + `\.` + decOctet
	h16       = hexdig + `{1,4}`
	h16colon  = `(?:` + h16 + `:)`
	ls32      = `(?:` + h16 + `:` + h16 + `|` + ipv4 + `)`
	ipv6      = `(?:` + h16colon + `{6}` + ls32 + `|` + `::` + h16colon + `{5}` + ls32 + `|` + `(?:` + h16 + `)?::` + h16colon + `{4}` + ls32 + `|` + `(?:` + h16colon + `{0,1}` + h16 + `)?::` + h16colon + `{3}` + ls32 + `|` + `(?:` + h16colon + `{0,2}` + h16 + `)?::` + h16colon + `{2}` + ls32 + `|` + `(?:` + h16colon + `{0,3}` + h16 + `)?::` + h16 + `:` + ls32 + `|` + `(?:` + h16colon + `{0,4}` + h16 + `)?::` + ls32 + `|` + `(?:` + h16colon + `{0,5}` + h16 + `)?::` + h16 + `|` + `(?:` + h16colon + `{0,6}` + h16 + `)?::` + `)`
	ipvFuture = `[vV]` + hexdig + `+\.(?:` + unreserved + `|` + subDelims + `|:)+`
	// The choice: a port of at most five digits.
	authority = `((?:\[(?:` + ipv6 + `|` + ipvFuture + `)\]|` + regName + `))(:` + digit + `{0,5})?`
)

// patterns are the compiled grammars.
type patterns struct {
	requestLine, field, host, absolute, length, chunk *regexp.Regexp
}

func compile() *patterns {
	whole := func(s string) *regexp.Regexp { return regexp.MustCompile(`^(?:` + s + `)$`) }
	return &patterns{
		// RFC 9112, 3: method SP request-target SP HTTP-version.
		requestLine: whole(`(` + tchar + `+) (` + targetByte + `+) HTTP/(` + digit + `)\.(` + digit + `)`),
		// RFC 9112, 5: field-name ":" OWS field-value OWS.
		field: whole(`(` + tchar + `+):` + ows + `(` + fieldByte + `*?)` + ows),
		// RFC 9110, 7.2: uri-host [ ":" port ].
		host: whole(authority),
		// RFC 9112, 3.2.2, of the schemes http and https, without userinfo
		// (RFC 9110, 4.2.4).
		absolute: whole(`(?i:(http|https))://` + `([^/?]*)` + `((?s).*)`),
		length:   whole(digit + `+`),
		// RFC 9112, 7.1. The choices: a size of at most 15 digits; an extension
		// is any bytes of a value, for they mean nothing (7.1.1).
		chunk: whole(`(` + hexdig + `{1,15})(` + ows + `(?:;` + fieldByte + `*)?)\r\n`),
	}
}

// chunkLine matches a chunk's line. Its grammar allows blanks only before an
// extension.
func (p *patterns) chunkLine(line string) (size, extension string, ok bool) {
	m := p.chunk.FindStringSubmatch(line)
	if m == nil || m[2] != "" && !strings.Contains(m[2], ";") {
		return "", "", false
	}
	return m[1], m[2], true
}

// chunkBegins says whether some bytes can be the beginning of a chunk's line.
func (p *patterns) chunkBegins(text string) bool {
	for _, rest := range []string{"\n", "\r\n", "0\r\n", ";\r\n"} {
		if _, _, ok := p.chunkLine(text + rest); ok {
			return true
		}
	}
	return text == ""
}

// latin1 makes a rune of each byte.
func latin1(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		s.WriteRune(rune(c))
	}
	return s.String()
}

// back is latin1 undone.
func back(s string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteByte(byte(r))
	}
	return b.String()
}
