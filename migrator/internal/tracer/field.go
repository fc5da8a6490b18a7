package tracer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// Field says where in an answer a value is. The zero Field is nowhere.
type Field struct {
	header string
	path   []string // of a JSON body
}

// ParseField reads "header:NAME" or "json:KEY.KEY", where a key may be an index
// of an array. Empty is the zero Field.
func ParseField(text string) (Field, error) {
	kind, name, _ := strings.Cut(text, ":")
	switch {
	case text == "":
		return Field{}, nil
	case kind == "header" && name != "" && !strings.ContainsAny(name, " \t\r\n:"):
		return Field{header: name}, nil
	case kind == "json" && name != "":
		path := strings.Split(name, ".")
		for _, key := range path {
			if key == "" {
				return Field{}, errors.New("a key of json: is empty")
			}
		}
		return Field{path: path}, nil
	}
	return Field{}, errors.New(`want header:NAME or json:KEY, such as json:served.datacenter`)
}

// Named says whether there is a field.
func (f Field) Named() bool { return f.header != "" || f.path != nil }

func (f Field) String() string {
	if f.header != "" {
		return "header:" + f.header
	}
	return "json:" + strings.Join(f.path, ".")
}

// document is an answer in which fields are looked for.
type document struct {
	header http.Header
	body   []byte
	parsed any
	failed error
}

// value finds a field's value, as text.
func (d *document) value(f Field) (string, error) {
	if f.header != "" {
		values := d.header.Values(f.header)
		if len(values) != 1 || values[0] == "" {
			return "", fmt.Errorf("the answer has %d values of %s, want one", len(values), f)
		}
		return values[0], nil
	}
	if d.parsed == nil && d.failed == nil {
		decoder := json.NewDecoder(bytes.NewReader(d.body))
		decoder.UseNumber()
		d.failed = decoder.Decode(&d.parsed)
	}
	if d.failed != nil {
		return "", fmt.Errorf("the answer is no JSON: %w", d.failed)
	}
	at := d.parsed
	for _, key := range f.path {
		var ok bool
		switch in := at.(type) {
		case map[string]any:
			at, ok = in[key]
		case []any:
			i, err := strconv.Atoi(key)
			if ok = err == nil && i >= 0 && i < len(in); ok {
				at = in[i]
			}
		}
		if !ok {
			return "", fmt.Errorf("the answer has no %s", f)
		}
	}
	switch v := at.(type) {
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	case bool:
		return strconv.FormatBool(v), nil
	default:
		return "", fmt.Errorf("%s is no text, number or boolean", f)
	}
}

// number finds a whole number.
func (d *document) number(f Field) (int64, error) {
	text, err := d.value(f)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s is %.40q, want a whole number", f, text)
	}
	return n, nil
}
