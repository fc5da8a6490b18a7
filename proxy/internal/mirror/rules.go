package mirror

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Rules say what is not compared.
type Rules struct {
	headers map[string]bool // in lower case
	paths   [][]token
	text    []*regexp.Regexp
}

// NewRules makes rules of header names, JSON paths and regular expressions whose
// matches are cut out of bodies that are no JSON. See ParsePath for paths.
func NewRules(headers, paths, text []string) (*Rules, error) {
	r := &Rules{headers: map[string]bool{}}
	for _, name := range headers {
		r.headers[strings.ToLower(name)] = true
	}
	for _, p := range paths {
		tokens, err := parsePath(p)
		if err != nil {
			return nil, err
		}
		r.paths = append(r.paths, tokens)
	}
	for _, expression := range text {
		compiled, err := regexp.Compile(expression)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", expression, err)
		}
		r.text = append(r.text, compiled)
	}
	return r, nil
}

// token is a step of a path in a rule.
type token struct {
	key    string
	index  int
	inList bool // an index
	any    bool // * or [*]: any key or index
	deep   bool // ..: any number of steps
}

const tokensMax = 32 // of a path; the work of matching grows with it

// ParsePath says what is wrong with a JSON path of a rule; nil when it is right.
// A path begins with $, the whole value; then come .key or ['any key'], [0],
// .* or [*] for any, and ..key at any depth. It leaves out all that is in the
// values it names.
func ParsePath(text string) error {
	_, err := parsePath(text)
	return err
}

func parsePath(text string) ([]token, error) {
	rest, ok := strings.CutPrefix(text, "$")
	if !ok {
		return nil, fmt.Errorf("%q: want a path that begins with $, such as $.items[*].id", text)
	}
	var tokens []token
	for rest != "" {
		var t token
		var err error
		switch {
		case strings.HasPrefix(rest, ".."):
			tokens = append(tokens, token{deep: true})
			if rest = rest[2:]; strings.HasPrefix(rest, "[") {
				t, rest, err = bracket(rest)
			} else {
				t, rest, err = dotted(rest)
			}
		case rest[0] == '.':
			t, rest, err = dotted(rest[1:])
		case rest[0] == '[':
			t, rest, err = bracket(rest)
		default:
			err = errors.New("want . or [ between two steps")
		}
		if err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		if tokens = append(tokens, t); len(tokens) > tokensMax {
			return nil, fmt.Errorf("%q: want at most %d steps", text, tokensMax)
		}
	}
	return tokens, nil
}

// dotted reads a key up to the next . or [.
func dotted(rest string) (token, string, error) {
	end := strings.IndexAny(rest, ".[")
	if end < 0 {
		end = len(rest)
	}
	switch key := rest[:end]; key {
	case "":
		return token{}, "", errors.New("a key is missing after a dot")
	case "*":
		return token{any: true}, rest[end:], nil
	default:
		if strings.ContainsAny(key, "*]'\"") {
			return token{}, "", fmt.Errorf("the key %s: write it as ['key']", key)
		}
		return token{key: key}, rest[end:], nil
	}
}

// bracket reads [*], [0] or ['key'].
func bracket(rest string) (token, string, error) {
	if quoted, ok := strings.CutPrefix(rest, "['"); ok {
		key, rest, ok := strings.Cut(quoted, "']")
		if !ok {
			return token{}, "", errors.New("want ['key']")
		}
		return token{key: key}, rest, nil
	}
	inside, rest, ok := strings.Cut(rest[1:], "]")
	if inside == "*" && ok {
		return token{any: true}, rest, nil
	}
	n, err := strconv.ParseUint(inside, 10, 31)
	if err != nil || !ok {
		return token{}, "", errors.New("want [*], [0] or ['key']")
	}
	return token{index: int(n), inList: true}, rest, nil
}

// ignores says whether a rule names a value, or one that it is in.
func (r *Rules) ignores(path []step) bool {
	for _, tokens := range r.paths {
		if begins(tokens, path) {
			return true
		}
	}
	return false
}

// begins says whether tokens match path, or how it begins. reached[i] says that
// the first i tokens match what was walked: no step is looked at twice.
func begins(tokens []token, path []step) bool {
	reached := make([]bool, len(tokens)+1)
	reached[0] = true
	spread(tokens, reached)
	for _, s := range path {
		if reached[len(tokens)] {
			return true
		}
		next := make([]bool, len(reached))
		for i, t := range tokens {
			switch {
			case !reached[i]:
			case t.deep: // stays where it is, and takes any step
				next[i] = true
			case t.matches(s):
				next[i+1] = true
			}
		}
		reached = next
		spread(tokens, reached)
	}
	return reached[len(tokens)]
}

// spread goes past deep tokens, which may take no step at all.
func spread(tokens []token, reached []bool) {
	for i, t := range tokens {
		if reached[i] && t.deep {
			reached[i+1] = true
		}
	}
}

func (t token) matches(s step) bool {
	switch {
	case t.any:
		return true
	case t.inList != s.inList:
		return false
	case t.inList:
		return t.index == s.index
	default:
		return t.key == s.key
	}
}
