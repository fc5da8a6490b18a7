package yaml

import (
	"fmt"
	"slices"
	"strconv"
)

// mapping returns a mapping's values by key and reports keys that come twice
// or that allowed does not know; a nil allowed knows all.
func (d *decoder) mapping(path string, n node, allowed func(string) bool) map[string]node {
	if n.kind != mapping {
		d.add(n.line, path, n.kind.String(), "a mapping")
		return nil
	}
	d.lines[path] = n.line
	values := make(map[string]node, len(n.items))
	for i, key := range n.keys {
		full := join(path, key.text)
		if first, twice := values[key.text]; twice {
			d.add(key.line, full, "the key a second time", fmt.Sprintf("it once; the first is on line %d", first.line))
			continue
		}
		if allowed != nil && !allowed(key.text) {
			d.add(key.line, full, "unknown key", "a key of the map's form")
			continue
		}
		values[key.text] = n.items[i]
		if path == "" || path == "shards" || path == "default" {
			d.lines[full] = key.line
		}
	}
	return values
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func oneOf(keys ...string) func(string) bool {
	return func(key string) bool { return slices.Contains(keys, key) }
}

func (d *decoder) list(path string, n node) []node {
	if n.kind != sequence {
		d.add(n.line, path, n.kind.String(), "a list")
		return nil
	}
	return n.items
}

func (d *decoder) text(path string, n node) (string, bool) {
	if n.kind != plain && n.kind != quoted {
		d.add(n.line, path, n.kind.String(), "one value")
		return "", false
	}
	return n.text, true
}

// number reads a number as people write it: digits, no quotes.
func (d *decoder) number(path string, n node) (uint64, bool) {
	text, ok := d.text(path, n)
	if !ok {
		return 0, false
	}
	v, ok := parseNumber(text)
	if !ok || n.kind != plain {
		d.add(n.line, path, fmt.Sprintf("%q", text), "a number in digits, without quotes")
		return 0, false
	}
	return v, true
}

// parseNumber is stricter than strconv: no sign and no leading zero, which
// YAML readers take for octal.
func parseNumber(text string) (uint64, bool) {
	if text == "" || text[0] == '+' || text[0] == '0' && text != "0" {
		return 0, false
	}
	v, err := strconv.ParseUint(text, 10, 64)
	return v, err == nil
}

// field reads one text of a mapping, and reports it missing.
func (d *decoder) field(path, key string, n node, values map[string]node) string {
	v, ok := values[key]
	if !ok {
		if values != nil {
			d.add(n.line, join(path, key), "missing", "the key")
		}
		return ""
	}
	text, _ := d.text(join(path, key), v)
	return text
}
