package yaml

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// tokenKind is what a token is. Everything of YAML that is not here (anchors,
// aliases, tags, block texts, directives, keys marked by "?") is invalid.
type tokenKind uint8

const (
	endToken     tokenKind = iota // the end of the document
	invalidToken                  // text says why
	plainToken
	quotedToken
	nullToken
	colonToken
	dashToken
	commaToken
	openMapToken
	closeMapToken
	openListToken
	closeListToken
	beginToken  // ---
	finishToken // ...
)

type token struct {
	kind         tokenKind
	line, column int // from 1; the column in bytes
	text         string
}

// lexer reads tokens from left to right, each byte once.
type lexer struct {
	text      string
	at        int
	line      int
	lineStart int // where the line begins
	depth     int // brackets that are open
	fresh     bool
	// afterQuote says that the token before was quoted and ended here: in
	// brackets a colon may follow without a blank, as in JSON.
	afterQuote bool
}

func newLexer(text string) *lexer { return &lexer{text: text, line: 1, fresh: true} }

const flowMarks = ",[]{}"

func (l *lexer) next() token {
	afterQuote := l.afterQuote
	l.afterQuote = false
	if start := l.at; l.blanks() {
		return l.token(invalidToken, "a tab in the indentation; use blanks")
	} else if l.at != start {
		afterQuote = false
	}
	if l.at == len(l.text) {
		return l.token(endToken, "")
	}
	fresh := l.fresh
	l.fresh = false
	if fresh && l.depth == 0 && l.at == l.lineStart && l.isBlank(l.at+3) {
		switch l.text[l.at:min(l.at+3, len(l.text))] {
		case "---":
			return l.take(beginToken, 3)
		case "...":
			return l.take(finishToken, 3)
		}
	}
	c := l.text[l.at]
	switch {
	case c == '{':
		l.depth++
		return l.take(openMapToken, 1)
	case c == '[':
		l.depth++
		return l.take(openListToken, 1)
	case l.depth == 0 && (c == '}' || c == ']' || c == ','):
		return l.token(invalidToken, fmt.Sprintf("unexpected %q; put quotes round a name that begins with it", c))
	case c == '}':
		l.depth--
		return l.take(closeMapToken, 1)
	case c == ']':
		l.depth--
		return l.take(closeListToken, 1)
	case c == ',':
		return l.take(commaToken, 1)
	case c == ':' && (afterQuote && l.depth != 0 || l.endsPlain(l.at+1)):
		return l.take(colonToken, 1)
	case afterQuote:
		return l.token(invalidToken, fmt.Sprintf("unexpected %q after a quote", c))
	case c == '-' && l.endsPlain(l.at+1):
		if l.depth != 0 {
			return l.token(invalidToken, "unexpected '-' inside brackets")
		}
		return l.take(dashToken, 1)
	case c == '"':
		return l.double()
	case c == '\'':
		return l.single()
	case strings.IndexByte("&*!|>%@`", c) >= 0 || c == '?' && l.endsPlain(l.at+1):
		return l.token(invalidToken, fmt.Sprintf("unexpected %q: a map has no anchors, aliases, tags, block texts or directives; "+
			"put quotes round a name that begins with it", c))
	default:
		return l.plain()
	}
}

func (l *lexer) token(kind tokenKind, text string) token {
	return token{kind, l.line, l.at - l.lineStart + 1, text}
}

func (l *lexer) take(kind tokenKind, size int) token {
	t := l.token(kind, l.text[l.at:l.at+size])
	l.at += size
	return t
}

// blanks skips to the next token, and says whether a tab indents it.
func (l *lexer) blanks() (tabbed bool) {
	for l.at < len(l.text) {
		switch c := l.text[l.at]; {
		case c == '\n':
			l.at++
			l.line, l.lineStart, l.fresh, tabbed = l.line+1, l.at, true, false
		case c == '\t':
			tabbed = tabbed || l.fresh && l.depth == 0
			l.at++
		case c == ' ' || c == '\r':
			l.at++
		case c == '#' && (l.at == 0 || l.isBlank(l.at-1)):
			end := strings.IndexByte(l.text[l.at:], '\n')
			if end < 0 {
				end = len(l.text) - l.at
			}
			l.at += end
		default:
			return tabbed
		}
	}
	return false
}

// isBlank says whether a blank, or an end, is at i.
func (l *lexer) isBlank(i int) bool {
	return i >= len(l.text) || strings.IndexByte(" \t\r\n", l.text[i]) >= 0
}

// endsPlain says whether a colon or dash before i is a mark and not text.
func (l *lexer) endsPlain(i int) bool {
	return l.isBlank(i) || l.depth != 0 && strings.IndexByte(flowMarks, l.text[i]) >= 0
}

// plain reads a scalar without quotes. It ends with its line.
func (l *lexer) plain() token {
	t := l.token(plainToken, "")
	end := l.at
scan:
	for i := l.at; i < len(l.text); i++ {
		switch c := l.text[i]; {
		case c == '\n',
			c == ':' && l.endsPlain(i+1),
			c == '#' && l.isBlank(i-1) && i > l.at,
			l.depth != 0 && strings.IndexByte(flowMarks, c) >= 0:
			break scan
		case !l.isBlank(i):
			end = i + 1
		}
	}
	// A copy, here and below: a user id must not keep the whole input alive.
	t.text = strings.Clone(l.text[l.at:end])
	l.at = end
	switch t.text {
	case "~", "null", "Null", "NULL":
		t.kind = nullToken
	}
	return t
}

// single reads a scalar in single quotes.
func (l *lexer) single() token {
	t := l.token(quotedToken, "")
	var out strings.Builder
	for l.at++; l.at < len(l.text) && l.text[l.at] != '\n'; l.at++ {
		if l.text[l.at] == '\'' {
			if !strings.HasPrefix(l.text[l.at:], "''") {
				l.at++
				l.afterQuote = true
				t.text = out.String()
				return t
			}
			l.at++
		}
		out.WriteByte(l.text[l.at])
	}
	return token{invalidToken, t.line, t.column, "the quote is not closed on its line"}
}

// double reads a scalar in double quotes.
func (l *lexer) double() token {
	t := l.token(quotedToken, "")
	var out []byte
	for l.at++; l.at < len(l.text) && l.text[l.at] != '\n'; {
		c := l.text[l.at]
		l.at++
		switch c {
		case '"':
			l.afterQuote = true
			t.text = string(out)
			return t
		case '\\':
			r, ok := l.escape()
			if !ok {
				return token{invalidToken, t.line, t.column, "a \\ in double quotes that is no escape; write \\\\ or use single quotes"}
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, c)
		}
	}
	return token{invalidToken, t.line, t.column, "the quote is not closed on its line"}
}

// escapes are those of one letter.
var escapes = map[byte]rune{
	'0': 0, 'a': '\a', 'b': '\b', 't': '\t', '\t': '\t', 'n': '\n', 'v': '\v', 'f': '\f', 'r': '\r', 'e': 0x1b,
	' ': ' ', '"': '"', '/': '/', '\\': '\\', 'N': 0x85, '_': 0xa0, 'L': 0x2028, 'P': 0x2029,
}

// escape reads what follows a backslash.
func (l *lexer) escape() (rune, bool) {
	if l.at == len(l.text) {
		return 0, false
	}
	c := l.text[l.at]
	l.at++
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
	if digits == 0 {
		r, ok := escapes[c]
		return r, ok
	}
	r, ok := l.hex(digits)
	if ok && utf16.IsSurrogate(r) { // JSON writes a character in two halves
		if !strings.HasPrefix(l.text[l.at:], `\u`) {
			return 0, false
		}
		l.at += 2
		low, okLow := l.hex(4)
		r, ok = utf16.DecodeRune(r, low), okLow
		if r == utf8.RuneError {
			return 0, false
		}
	}
	return r, ok && utf8.ValidRune(r)
}

func (l *lexer) hex(digits int) (rune, bool) {
	if len(l.text)-l.at < digits {
		return 0, false
	}
	text := l.text[l.at : l.at+digits]
	l.at += digits
	v, err := strconv.ParseUint(text, 16, 32)
	return rune(v), err == nil && v <= utf8.MaxRune && text[0] != '+'
}
