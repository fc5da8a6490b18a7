package binlog

import "strings"

// kind is what a token is.
type kind byte

const (
	end     kind = iota
	word         // a keyword or a name
	quoted       // a name in quotes
	literal      // a string
	mark         // one byte of anything else
)

type token struct {
	kind kind
	text string
}

// is says whether the token is one of the keywords, given in capitals.
func (t token) is(keywords ...string) bool {
	if t.kind != word {
		return false
	}
	for _, k := range keywords {
		if strings.EqualFold(t.text, k) {
			return true
		}
	}
	return false
}

func (t token) isMark(c byte) bool { return t.kind == mark && t.text[0] == c }

func (t token) isName() bool { return t.kind == word || t.kind == quoted }

// scanner splits a statement into tokens as the server does: without comments,
// but with what is in the comments that the server executes, of whatever
// version. There is no parser of MariaDB's statements among the libraries in
// use, and few statements need more than their first words.
type scanner struct {
	rest string
	// ansiQuotes and noEscapes are the modes of the session that change where a
	// name or string begins and ends.
	ansiQuotes, noEscapes bool
	ahead                 []token
}

// peek looks at the next token.
func (s *scanner) peek() token {
	if len(s.ahead) == 0 {
		s.ahead = append(s.ahead, s.scan())
	}
	return s.ahead[0]
}

func (s *scanner) next() token {
	t := s.peek()
	s.ahead = s.ahead[:0]
	return t
}

// skip passes over any of the keywords, as often as they come, and says whether
// there were any.
func (s *scanner) skip(keywords ...string) bool {
	found := false
	for s.peek().is(keywords...) {
		s.next()
		found = true
	}
	return found
}

// name reads a name and what qualifies it. ok is false where there is none.
func (s *scanner) name() (qualifier, name string, ok bool) {
	if s.peek().isMark('.') {
		s.next()
	}
	if !s.peek().isName() {
		return "", "", false
	}
	name = s.next().text
	if !s.peek().isMark('.') {
		return "", name, true
	}
	s.next()
	if !s.peek().isName() {
		return "", "", false
	}
	return name, s.next().text, true
}

func (s *scanner) scan() token {
	for s.rest != "" {
		switch c := s.rest[0]; {
		case c == ' ' || c >= '\t' && c <= '\r':
			s.rest = s.rest[1:]
		case c == '#', strings.HasPrefix(s.rest, "--") && (len(s.rest) == 2 || s.rest[2] <= ' '):
			_, s.rest, _ = strings.Cut(s.rest, "\n")
		case strings.HasPrefix(s.rest, "/*!"), strings.HasPrefix(s.rest, "/*M!"):
			_, s.rest, _ = strings.Cut(s.rest, "!")
			s.rest = strings.TrimLeft(s.rest, "0123456789")
		case strings.HasPrefix(s.rest, "/*"):
			_, s.rest, _ = strings.Cut(s.rest[2:], "*/")
		case strings.HasPrefix(s.rest, "*/"): // the end of one that is executed
			s.rest = s.rest[2:]
		case c == '`':
			return token{quoted, s.quote('`', false)}
		case c == '"' && s.ansiQuotes:
			return token{quoted, s.quote('"', false)}
		case c == '"', c == '\'':
			return token{literal, s.quote(c, !s.noEscapes)}
		case wordByte(c):
			n := 1
			for n < len(s.rest) && wordByte(s.rest[n]) {
				n++
			}
			t := token{word, s.rest[:n]}
			s.rest = s.rest[n:]
			return t
		default:
			s.rest = s.rest[1:]
			return token{mark, string(c)}
		}
	}
	return token{}
}

// quote reads what is between quotes; a doubled quote stands for one.
func (s *scanner) quote(q byte, escapes bool) string {
	var b strings.Builder
	for i := 1; i < len(s.rest); i++ {
		switch c := s.rest[i]; {
		case escapes && c == '\\' && i+1 < len(s.rest):
			i++
			b.WriteByte(s.rest[i])
		case c == q && i+1 < len(s.rest) && s.rest[i+1] == q:
			i++
			b.WriteByte(q)
		case c == q:
			s.rest = s.rest[i+1:]
			return b.String()
		default:
			b.WriteByte(c)
		}
	}
	s.rest = ""
	return b.String()
}

func wordByte(b byte) bool {
	return b == '_' || b == '$' || b >= '0' && b <= '9' || b|0x20 >= 'a' && b|0x20 <= 'z' || b >= 0x80
}
