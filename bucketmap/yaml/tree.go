package yaml

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	goyaml "go.yaml.in/yaml/v3"
)

const (
	// inputMax and marksMax bound everything below. The worst real map has a
	// million buckets with homes and epochs in no order (an item of 12 bytes
	// each) and a whitelist of a million ids of 20 bytes: 66 MB as indented
	// JSON, with 4.2 million marks.
	inputMax = 64 << 20
	marksMax = 5 << 20 // × 600 bytes, two nodes of the library and one of ours = 3 GB allocated at worst
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
	text  string // of a scalar, whatever type YAML takes it for
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

// parse has the library make its tree and admits what a map is made of.
func parse(data []byte) (node, error) {
	if len(data) > inputMax {
		return node{}, fmt.Errorf("%d bytes: want %d at most", len(data), inputMax)
	}
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	if err := checkCharacters(data); err != nil {
		return node{}, err
	}
	data = withoutJSONEscapes(data)
	if n := marks(data); n > marksMax {
		return node{}, fmt.Errorf("%d marks that begin a value: want %d at most", n, marksMax)
	}
	lines := lineReader{rest: data}
	decoder := goyaml.NewDecoder(&lines)
	var document, second goyaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return node{}, &syntaxError{1, "the document is empty"}
	case err != nil:
		return node{}, lines.fail(err)
	}
	switch err := decoder.Decode(&second); {
	case err == nil:
		return node{}, &syntaxError{second.Line, "a second document; a file holds one map"}
	case !errors.Is(err, io.EOF):
		return node{}, lines.fail(err)
	}
	a := admission{rest: data, line: 1, column: 1}
	return a.node(document.Content[0], 0)
}

// checkCharacters admits the characters that YAML calls printable, and no
// directives: the library compares every %TAG with all before it.
func checkCharacters(data []byte) error {
	line, fresh := 1, true
	for rest := data; len(rest) != 0; {
		r, size := utf8.DecodeRune(rest)
		switch {
		case r == '%' && fresh:
			return &syntaxError{line, "a directive; a map has none"}
		case r == '\n':
			line++
		case r == utf8.RuneError && size == 1:
			return &syntaxError{line, "not UTF-8; write such a user id as hex:"}
		case r < ' ' && r != '\t' && (r != '\r' || !bytes.HasPrefix(rest, []byte("\r\n"))), 0x7f <= r && r < 0xa0, r == '\u2028', r == '\u2029', r == '\ufeff':
			return &syntaxError{line, fmt.Sprintf("control character %U", r)}
		}
		fresh = r == '\n'
		rest = rest[size:]
	}
	return nil
}

var jsonEscape = regexp.MustCompile(`\\(u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|.)`)

// withoutJSONEscapes writes out the two escapes of JSON that the library does
// not read: \/ and a character in two halves. Only in a document that is JSON
// is every backslash one of an escape.
func withoutJSONEscapes(data []byte) []byte {
	if bytes.IndexByte(data, '\\') < 0 || !json.Valid(data) {
		return data
	}
	return jsonEscape.ReplaceAllFunc(data, func(escape []byte) []byte {
		if string(escape) == `\/` {
			return escape[1:]
		}
		if len(escape) == len(`\ud83d\ude00`) {
			var text string
			if json.Unmarshal(slices.Concat([]byte{'"'}, escape, []byte{'"'}), &text) == nil {
				return []byte(text)
			}
		}
		return escape
	})
}

// marks counts what can begin a value: each mark begins two values of the
// library's at most, which are what costs memory.
func marks(data []byte) (n int) {
	at := func(i int) byte {
		if i < 0 || i >= len(data) {
			return '\n'
		}
		return data[i]
	}
	for i, c := range data {
		switch c {
		case ',', '[', '{', '?':
			n++
		case '-', ':':
			if isMark(at(i+1), " \t\r\n,[]{}") || c == ':' && isMark(at(i-1), " \t\n,[]{}\"'?") {
				n++
			}
		}
	}
	return n
}

func isMark(c byte, set string) bool { return strings.IndexByte(set, c) >= 0 }

// lineReader gives one line at a time: the line that the library asked for
// last is that of its error. Its own line is where the list or mapping around
// the mistake begins.
type lineReader struct {
	rest  []byte
	line  int
	inner bool // the line is not read to its end
}

func (l *lineReader) Read(p []byte) (int, error) {
	if len(l.rest) == 0 {
		return 0, io.EOF
	}
	if !l.inner {
		l.line++
	}
	n := min(len(p), len(l.rest))
	if i := bytes.IndexByte(l.rest[:n], '\n'); i >= 0 {
		n = i + 1
	}
	copy(p, l.rest[:n])
	l.inner = l.rest[n-1] != '\n'
	l.rest = l.rest[n:]
	return n, nil
}

var itsLine = regexp.MustCompile(`^yaml: (line \d+: )?`)

func (l *lineReader) fail(err error) error {
	return &syntaxError{l.line, itsLine.ReplaceAllString(err.Error(), "") +
		", here or on the line before; look at the indentation, brackets and quotes"}
}

// admission goes over the library's tree and the document side by side, once,
// because the tree does not say on how many lines a value is.
type admission struct {
	rest         []byte
	line, column int // of rest, from 1; the column in characters
}

func (a *admission) seek(line, column int) {
	for ; a.line < line && len(a.rest) != 0; a.line, a.column = a.line+1, 1 {
		_, a.rest, _ = bytes.Cut(a.rest, []byte("\n"))
	}
	for ; a.column < column && len(a.rest) != 0; a.column++ {
		_, size := utf8.DecodeRune(a.rest)
		a.rest = a.rest[size:]
	}
}

func (a *admission) node(n *goyaml.Node, depth int) (node, error) {
	fail := func(what string) (node, error) { return node{}, &syntaxError{n.Line, what} }
	switch {
	case depth > depthMax:
		return fail("nested deeper than a map is")
	case n.Kind == goyaml.AliasNode || n.Anchor != "":
		return fail("an anchor or alias; a map has none. Put quotes round a name that begins with & or *")
	case n.Style&goyaml.TaggedStyle != 0:
		return fail("a tag; a map has none. Put quotes round a name that begins with !")
	}
	switch n.Kind {
	case goyaml.ScalarNode:
		return a.scalar(n)
	case goyaml.MappingNode:
		out := node{kind: mapping, line: n.Line, keys: make([]node, 0, len(n.Content)/2), items: make([]node, 0, len(n.Content)/2)}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Kind != goyaml.ScalarNode {
				return fail("a key that is no single value")
			}
			key, err := a.node(n.Content[i], depth+1)
			if err != nil {
				return node{}, err
			}
			item, err := a.node(n.Content[i+1], depth+1)
			if err != nil {
				return node{}, err
			}
			n.Content[i], n.Content[i+1] = nil, nil // not two trees at a time
			out.keys, out.items = append(out.keys, key), append(out.items, item)
		}
		return out, nil
	case goyaml.SequenceNode:
		out := node{kind: sequence, line: n.Line, items: make([]node, 0, len(n.Content))}
		for i := range n.Content {
			item, err := a.node(n.Content[i], depth+1)
			if err != nil {
				return node{}, err
			}
			n.Content[i] = nil
			out.items = append(out.items, item)
		}
		return out, nil
	default:
		return fail("neither a value nor a list nor a mapping")
	}
}

func (a *admission) scalar(n *goyaml.Node) (node, error) {
	a.seek(n.Line, n.Column)
	out, whole := node{kind: quoted, line: n.Line, text: n.Value}, false
	switch n.Style {
	case 0:
		if n.Tag == "!!null" {
			return node{}, &syntaxError{n.Line, "a null, or a value is missing here; leave the key out, or put quotes round a name"}
		}
		out.kind, whole = plain, bytes.HasPrefix(a.rest, []byte(n.Value))
	case goyaml.DoubleQuotedStyle, goyaml.SingleQuotedStyle:
		whole = closesOnItsLine(a.rest)
	default: // any other style may go over several lines
	}
	if !whole {
		// Most often an id without its dash or quote, which YAML adds to the
		// id of the line before.
		return node{}, &syntaxError{n.Line, "a value of several lines; close it on its line, and begin the next line with a key or a dash"}
	}
	return out, nil
}

// closesOnItsLine says whether the quote that begins text ends before the
// line does.
func closesOnItsLine(text []byte) bool {
	if len(text) == 0 {
		return false
	}
	quote := text[0]
	for i := 1; i < len(text) && text[i] != '\n'; i++ {
		switch {
		case text[i] == '\\' && quote == '"':
			i++
			if i < len(text) && (text[i] == '\n' || text[i] == '\r') {
				return false
			}
		case text[i] == quote:
			if quote != '\'' || !bytes.HasPrefix(text[i:], []byte("''")) {
				return true
			}
			i++
		}
	}
	return false
}
