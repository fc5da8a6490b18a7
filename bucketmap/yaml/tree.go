package yaml

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

const (
	// inputMax bounds everything below. The worst real map has a million
	// buckets with homes in no order (a range of 12 bytes each) and a
	// whitelist of a million ids of 20 bytes: 32 MB.
	inputMax = 64 << 20
	// depthMax is how deep a map nests: document, section, list of holds,
	// hold, value.
	depthMax = 5
)

type kind uint8

const (
	plain kind = iota // a scalar without quotes
	quoted
	mapping
	sequence
)

func (k kind) String() string {
	switch k {
	case plain:
		return "a value without quotes"
	case quoted:
		return "a quoted value"
	case mapping:
		return "a mapping"
	case sequence:
		return "a list"
	default:
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
}

// node is one value of the document.
type node struct {
	kind  kind
	line  int
	text  string // of a scalar
	keys  []node // of a mapping, one for each item
	items []node // of a mapping or a sequence
}

// syntaxError is a document that is not in the form at all. Unlike a problem
// of content, the first one ends the decoding.
type syntaxError struct {
	line int
	what string
}

func (e *syntaxError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.what) }

// parse makes the tree, in time and memory that grow with the input's length
// and no faster. The libraries tried do not keep to that: a mapping of 40,000
// keys took one of them 6 GB, and a block text of 200 kB 90 GB.
func parse(data []byte) (root node, err error) {
	if len(data) > inputMax {
		return node{}, fmt.Errorf("%d bytes: want %d at most", len(data), inputMax)
	}
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	if err := checkCharacters(data); err != nil {
		return node{}, err
	}
	p := parser{lexer: newLexer(string(data))}
	p.tokens[0], p.tokens[1] = p.lexer.next(), p.lexer.next()
	return p.document()
}

// checkCharacters admits the characters that YAML calls printable.
func checkCharacters(data []byte) error {
	line := 1
	for rest := data; len(rest) != 0; {
		r, size := utf8.DecodeRune(rest)
		switch {
		case r == '\n':
			line++
		case r == utf8.RuneError && size == 1:
			return &syntaxError{line, "not UTF-8; write such a user id as hex:"}
		case r < ' ' && r != '\t' && (r != '\r' || !bytes.HasPrefix(rest, []byte("\r\n"))), 0x7f <= r && r < 0xa0, r == '\u2028', r == '\u2029', r == '\ufeff':
			return &syntaxError{line, fmt.Sprintf("control character %U", r)}
		}
		rest = rest[size:]
	}
	return nil
}

// parser goes over the tokens once, from left to right.
type parser struct {
	lexer  *lexer
	tokens [2]token // the next ones
}

func (p *parser) peek() token { return p.tokens[0] }

func (p *parser) next() token {
	t := p.tokens[0]
	p.tokens[0] = p.tokens[1]
	if p.tokens[0].kind != endToken && p.tokens[0].kind != invalidToken {
		p.tokens[1] = p.lexer.next()
	}
	return t
}

func (p *parser) fail(t token, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	switch t.kind {
	case invalidToken:
		what = t.text
	case endToken:
		what = "the document ends too early: " + what
	}
	return &syntaxError{t.line, what}
}

// unexpected is fail for a token that cannot be where it is.
func (p *parser) unexpected(t token) error {
	const shown = 40
	return p.fail(t, "unexpected %.*q; look at the indentation", shown, t.text)
}

func (p *parser) document() (node, error) {
	if p.peek().kind == beginToken {
		p.next()
	}
	if t := p.peek(); t.kind == endToken {
		return node{}, &syntaxError{t.line, "the document is empty"}
	}
	root, err := p.block(0, 0)
	if err != nil {
		return node{}, err
	}
	if p.peek().kind == finishToken {
		p.next()
	}
	switch t := p.peek(); t.kind {
	case endToken:
		return root, nil
	case beginToken, finishToken:
		return node{}, p.fail(t, "a second document; a file holds one map")
	default:
		return node{}, p.unexpected(t)
	}
}

// block parses a value whose first token is right of column outer.
func (p *parser) block(outer, depth int) (node, error) {
	t := p.peek()
	switch {
	case t.kind == invalidToken:
		return node{}, p.fail(t, "")
	case t.kind == endToken || t.column <= outer || isDocumentMark(t):
		return node{}, p.fail(t, "a value is missing before this place; leave the key out, or write \"\"")
	case depth > depthMax:
		return node{}, p.fail(t, "nested deeper than a map is")
	case t.kind == dashToken:
		return p.blockList(t.column, depth)
	case t.kind == openMapToken || t.kind == openListToken:
		return p.flow(depth)
	case p.isKey():
		return p.blockMapping(t.column, depth)
	default:
		return p.scalar()
	}
}

// isKey says whether the next token is a scalar with a colon after it on its
// line.
func (p *parser) isKey() bool {
	return isScalar(p.tokens[0]) && p.tokens[1].kind == colonToken && p.tokens[1].line == p.tokens[0].line
}

func (p *parser) blockMapping(column, depth int) (node, error) {
	n := node{kind: mapping, line: p.peek().line}
	for {
		t := p.peek()
		if t.kind == endToken || isDocumentMark(t) || t.column < column && t.kind != invalidToken {
			return n, nil
		}
		if t.column > column || !p.isKey() {
			return n, p.unexpected(t)
		}
		key, err := p.scalar()
		if err != nil {
			return n, err
		}
		p.next() // the colon
		value, err := p.blockValue(key.line, column, depth+1)
		if err != nil {
			return n, err
		}
		n.keys, n.items = append(n.keys, key), append(n.items, value)
	}
}

// blockValue parses what follows the key of a line.
func (p *parser) blockValue(line, column, depth int) (node, error) {
	t := p.peek()
	if t.line == line && t.kind != endToken {
		if t.kind == dashToken || p.isKey() {
			return node{}, p.fail(t, "a mapping or a list of several lines begins on the line after its key")
		}
		return p.block(0, depth)
	}
	if t.kind == dashToken && t.column == column {
		return p.block(column-1, depth) // a list may stand under its key
	}
	return p.block(column, depth)
}

func (p *parser) blockList(column, depth int) (node, error) {
	n := node{kind: sequence, line: p.peek().line}
	for {
		t := p.peek()
		switch {
		case t.kind == invalidToken || t.column > column && t.kind != endToken:
			return n, p.unexpected(t)
		case t.column < column || t.kind != dashToken:
			return n, nil
		}
		p.next() // the dash
		item, err := p.block(column, depth+1)
		if err != nil {
			return n, err
		}
		n.items = append(n.items, item)
	}
}

// flow parses a value inside brackets, where lines and columns do not count.
func (p *parser) flow(depth int) (node, error) {
	t := p.peek()
	if depth > depthMax {
		return node{}, p.fail(t, "nested deeper than a map is")
	}
	n := node{line: t.line}
	var end tokenKind
	switch t.kind {
	case openMapToken:
		n.kind, end = mapping, closeMapToken
	case openListToken:
		n.kind, end = sequence, closeListToken
	default:
		return p.scalar()
	}
	p.next()
	for {
		if p.peek().kind == end {
			p.next()
			return n, nil
		}
		if n.kind == mapping {
			key, err := p.scalar()
			if err != nil {
				return n, err
			}
			if t := p.peek(); t.kind != colonToken {
				return n, p.fail(t, "want a colon after key %q", key.text)
			}
			p.next()
			n.keys = append(n.keys, key)
		}
		item, err := p.flow(depth + 1)
		if err != nil {
			return n, err
		}
		n.items = append(n.items, item)
		switch t := p.peek(); t.kind {
		case commaToken:
			p.next()
		case end:
		default:
			return n, p.fail(t, "want a comma or the closing bracket")
		}
	}
}

func (p *parser) scalar() (node, error) {
	switch t := p.peek(); t.kind {
	case plainToken:
		p.next()
		return node{kind: plain, line: t.line, text: t.text}, nil
	case quotedToken:
		p.next()
		return node{kind: quoted, line: t.line, text: t.text}, nil
	case nullToken:
		return node{}, p.fail(t, "a null; leave the key out, or put quotes round a name")
	default:
		return node{}, p.unexpected(t)
	}
}

func isScalar(t token) bool {
	return t.kind == plainToken || t.kind == quotedToken || t.kind == nullToken
}

func isDocumentMark(t token) bool { return t.kind == beginToken || t.kind == finishToken }
