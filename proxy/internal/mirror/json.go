package mirror

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// missing stands for a value that only one side has.
const missing = "(missing)"

// bothJSON parses both bodies. Numbers stay as they are written: a float64 would
// make different ones the same.
func bothJSON(source, target *answer, a, b []byte) (x, y any, ok bool) {
	if !saysJSON(source, a) || !saysJSON(target, b) {
		return nil, nil, false
	}
	x, err := parse(a)
	if err != nil {
		return nil, nil, false
	}
	y, err = parse(b)
	return x, y, err == nil
}

func parse(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the value")
	}
	return v, nil
}

// value compares two values at c.path. encoding/json has bounded their depth.
func (c *comparer) value(source, target any) {
	switch a := source.(type) {
	case map[string]any:
		if b, ok := target.(map[string]any); ok {
			c.object(a, b)
			return
		}
	case []any:
		if b, ok := target.([]any); ok {
			c.list(a, b)
			return
		}
	default:
		switch target.(type) {
		case map[string]any, []any:
		default:
			if source == target { // a string, a number as written, a bool or null
				return
			}
		}
	}
	c.differs(show(source), show(target))
}

// object compares key by key; their order does not count.
func (c *comparer) object(a, b map[string]any) {
	for key, x := range a {
		c.path = append(c.path, step{key: key})
		if y, both := b[key]; both {
			c.value(x, y)
		} else {
			c.differs(show(x), missing)
		}
		c.path = c.path[:len(c.path)-1]
	}
	for key, y := range b {
		if _, both := a[key]; !both {
			c.path = append(c.path, step{key: key})
			c.differs(missing, show(y))
			c.path = c.path[:len(c.path)-1]
		}
	}
}

// list compares entry by entry. Lists of different length differ as a whole:
// which entry stands for which cannot be told.
func (c *comparer) list(a, b []any) {
	if len(a) != len(b) {
		c.differs(fmt.Sprintf("%d entries: %s", len(a), show(a)), fmt.Sprintf("%d entries: %s", len(b), show(b)))
		return
	}
	for i := range a {
		c.path = append(c.path, step{index: i, inList: true})
		c.value(a[i], b[i])
		c.path = c.path[:len(c.path)-1]
	}
}

// differs notes a difference at c.path, unless a rule leaves it out.
func (c *comparer) differs(source, target string) {
	if c.rules.ignores(c.path) {
		return
	}
	exact, fields := place(c.path)
	c.addIn(fields[len(fields)-1], exact, fields, source, target)
}

// show is a value as JSON, for people.
func show(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(text[:min(len(text), 2*valueShown)])
}
