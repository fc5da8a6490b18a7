package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"drover/internal/config"
)

// The tags of a key's field.
const (
	tagName   = "yaml"
	tagBounds = "bounds"
	tagCount  = "count"
)

// bound is what a tag says that a value may be.
type bound struct {
	text string // for people
	form form   // for strings
	ok   func(reflect.Value) bool
}

// parseBound reads a bounds tag for values of a type.
func parseBound(tag string, typ reflect.Type) (bound, error) {
	switch {
	case tag == "":
		return bound{}, fmt.Errorf("no bounds for a %s: give its field a tag", typ)
	case typ.Kind() == reflect.Bool && tag == "true|false":
		return bound{text: "true or false", ok: func(reflect.Value) bool { return true }}, nil
	case typ.Kind() == reflect.String:
		return parseText(tag)
	default:
		return parseRange(tag, typ)
	}
}

// parseText reads the words of a list, or the name of a form; "?" at the end
// allows an empty text too.
func parseText(tag string) (bound, error) {
	tag, optional := strings.CutSuffix(tag, "?")
	f, known := formNamed(tag)
	if !known {
		if !strings.Contains(tag, "|") {
			return bound{}, fmt.Errorf("%q is no form of forms.go", tag)
		}
		f = formOneOf(strings.Split(strings.TrimSuffix(tag, "|"), "|"))
	}
	text := f.text
	if optional {
		text += ", or empty"
	}
	return bound{text: text, form: f, ok: func(v reflect.Value) bool {
		return optional && v.String() == "" || f.ok(v.String())
	}}, nil
}

func formOneOf(words []string) form {
	text := words[0]
	if last := len(words) - 1; last > 0 {
		text = strings.Join(words[:last], ", ") + " or " + words[last]
	}
	return form{text: text, ok: func(s string) bool { return slices.Contains(words, s) }}
}

// parseRange reads min..max, ends included.
func parseRange(tag string, typ reflect.Type) (bound, error) {
	low, high, ok := strings.Cut(tag, "..")
	if !ok {
		return bound{}, fmt.Errorf("%q is no range: want min..max", tag)
	}
	b := bound{text: low + " to " + high}
	if typ.Kind() == reflect.Float64 {
		min, err1 := strconv.ParseFloat(low, 64)
		max, err2 := strconv.ParseFloat(high, 64)
		b.ok = func(v reflect.Value) bool { return min <= v.Float() && v.Float() <= max } // not a NaN either
		return b, rangeError(tag, min <= max, err1, err2)
	}
	min, err1 := parseWhole(low, typ)
	max, err2 := parseWhole(high, typ)
	b.ok = func(v reflect.Value) bool { return min <= v.Int() && v.Int() <= max }
	return b, rangeError(tag, min <= max, err1, err2)
}

func rangeError(tag string, ordered bool, errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return fmt.Errorf("range %q: %w", tag, err)
		}
	}
	if !ordered {
		return fmt.Errorf("range %q: the smaller end comes first", tag)
	}
	return nil
}

func parseWhole(text string, typ reflect.Type) (int64, error) {
	switch typ {
	case reflect.TypeFor[time.Duration]():
		d, err := time.ParseDuration(text)
		return int64(d), err
	case reflect.TypeFor[config.Bytes]():
		b, err := config.ParseBytes(text)
		return int64(b), err
	case reflect.TypeFor[int]():
		return strconv.ParseInt(text, 10, 64)
	default:
		return 0, fmt.Errorf("%s has no range", typ)
	}
}

// check adds a problem for each value below v that its tag does not allow. key
// is v's own, tag that of its field.
func check(p *config.Problems, v reflect.Value, key string, tag reflect.StructTag) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			check(p, v.Elem(), key, tag)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			check(p, v.Field(i), join(key, keyOf(f)), f.Tag)
		}
	case reflect.Slice:
		checkCount(p, v.Len(), key, tag)
		for i := range v.Len() {
			check(p, v.Index(i), fmt.Sprintf("%s[%d]", key, i), tag)
		}
	case reflect.Map:
		checkCount(p, v.Len(), key, tag)
		names := v.MapKeys()
		slices.SortFunc(names, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, name := range names {
			check(p, v.MapIndex(name), join(key, name.String()), tag)
		}
	default:
		checkLeaf(p, v, key, tag.Get(tagBounds))
	}
}

func checkLeaf(p *config.Problems, v reflect.Value, key, tag string) {
	b, err := parseBound(tag, v.Type())
	switch {
	case err != nil: // a mistake of the code: nothing is right then
		p.Add(key, v.Interface(), err.Error())
	case b.ok(v):
	case b.form.secret:
		p.List = append(p.List, config.Problem{Key: key, Value: "(not shown)", Bound: b.text})
	default:
		p.Add(key, v.Interface(), b.text)
	}
}

func checkCount(p *config.Problems, n int, key string, tag reflect.StructTag) {
	b, err := parseRange(tag.Get(tagCount), reflect.TypeFor[int]())
	if err != nil {
		p.Add(key, n, err.Error())
		return
	}
	p.Want(b.ok(reflect.ValueOf(n)), key, entries(n), b.text+" entries")
}

// entries is a number of them: a value, not a text that somebody wrote.
type entries int

func (n entries) String() string { return fmt.Sprintf("%d entries", int(n)) }

// keyOf returns a field's own key.
func keyOf(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get(tagName), ",")
	return name
}

func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}
