package config

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"drover/internal/config"
)

var update = flag.Bool("update", false, "write docs/configuration.md anew")

const referencePage = "../../../docs/configuration.md"

func TestTheReferenceIsWhatTheCodeSays(t *testing.T) {
	page := reference(t)
	text, err := os.ReadFile(referencePage)
	if err != nil {
		t.Fatal(err)
	}
	// What follows is the migrator's, and its test's.
	have, others, _ := strings.Cut(string(text), othersBegin)
	if *update && !t.Failed() {
		have = page
		if err := os.WriteFile(referencePage, []byte(page+othersBegin+others), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have != page {
		t.Errorf("%s is not what the code says: run make docs", referencePage)
	}
}

// othersBegin begins the part of the page that the migrator's test writes.
const othersBegin = "\n# The migrator's configuration\n"

const referenceHead = `# The edge's configuration

Written by a test from ` + "`proxy/internal/config`" + `: ` + "`make docs`" + ` writes it anew.

A file is one YAML document. An unknown key is an error, and so is a value outside its bounds: ` + "`proxy check FILE`" + `
reports everything at once. Ends of ranges are included. A key with no default is wanted.

| type | written as |
| --- | --- |
| duration | a number with its unit, or several: ` + "`250ms`, `1m30s`, `1h`" + ` |
| size | a whole number of bytes, or with KiB, MiB or GiB: ` + "`512`, `64KiB`" + ` |
| list | ` + "`[a, b]`" + `, or a line with a dash each |

In the names of keys, ` + "`[]`" + ` is any entry of a list, and ` + "`NAME`" + ` any name. ` +
	"`configs/proxy.minimal.yaml`" + ` is the least that
works, ` + "`configs/proxy.full.yaml`" + ` shows every key but listen.
`

// reference writes the page: the keys at the top, then a part for each section.
func reference(t *testing.T) string {
	t.Helper()
	docs := comments(t)
	var page strings.Builder
	page.WriteString(referenceHead)
	const head = "\n| key | type | default | bounds | meaning |\n| --- | --- | --- | --- | --- |\n"
	page.WriteString("\n## At the top\n" + head)
	keys := allKeys()
	for _, k := range keys {
		if k.leaf && !strings.Contains(k.path, ".") {
			page.WriteString(row(t, k, docs))
		}
	}
	for _, k := range keys {
		switch top := !strings.Contains(k.path, "."); {
		case top && !k.leaf:
			fmt.Fprintf(&page, "\n## `%s`\n\n%s\n", k.path, meaning(t, k, docs))
			if k.field.Type.Kind() == reflect.Slice || k.field.Type.Kind() == reflect.Map {
				fmt.Fprintf(&page, "\nDefault: %s. Bounds: %s.\n", standard(k), bounds(t, k))
			}
			page.WriteString(head)
		case !top:
			page.WriteString(row(t, k, docs))
		}
	}
	return page.String()
}

func row(t *testing.T, k key, docs map[string]string) string {
	t.Helper()
	cell := func(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
	return fmt.Sprintf("| `%s` | %s | %s | %s | %s |\n",
		k.path, typeWord(k.field.Type), cell(standard(k)), cell(bounds(t, k)), cell(meaning(t, k, docs)))
}

// meaning is a field's comment, or for a section without one that of its type,
// with the key in place of the Go name.
func meaning(t *testing.T, k key, docs map[string]string) string {
	t.Helper()
	name, text := k.field.Name, docs[k.owner+"."+k.field.Name]
	if text == "" && !k.leaf {
		name = k.field.Type.Name()
		text = docs[name]
	}
	rest, ok := strings.CutPrefix(text, name+" ")
	if !ok {
		t.Errorf("%s: want a comment that begins with %s, got %q", k.path, name, text)
	}
	return "`" + keyOf(k.field) + "` " + rest
}

func typeWord(typ reflect.Type) string {
	switch {
	case typ == reflect.TypeFor[time.Duration]():
		return "duration"
	case typ.Name() == "Bytes":
		return "size"
	}
	switch typ.Kind() {
	case reflect.Int:
		return "whole number"
	case reflect.Float64:
		return "number"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	case reflect.Slice:
		return "list"
	default:
		return "section"
	}
}

// standard is a key's default, for people.
func standard(k key) string {
	v := k.standard
	switch {
	case !withinBounds(k):
		return "wanted"
	case v.Kind() == reflect.Slice && v.Len() == 0, v.Kind() == reflect.Map, v.Kind() == reflect.Pointer:
		return "none"
	case !k.leaf:
		return ""
	case v.Kind() == reflect.String && v.Len() == 0:
		return "empty"
	case v.Type() == reflect.TypeFor[time.Duration]():
		return "`" + shortDuration(v.Interface().(time.Duration)) + "`"
	case v.Kind() == reflect.Slice:
		words := make([]string, v.Len())
		for i := range words {
			words[i] = fmt.Sprintf("`%v`", v.Index(i))
		}
		return strings.Join(words, ", ")
	default:
		return fmt.Sprintf("`%v`", v)
	}
}

// shortDuration writes 1h for 1h0m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// bounds is what a key may hold, for people.
func bounds(t *testing.T, k key) string {
	t.Helper()
	var parts []string
	typ := k.field.Type
	if typ.Kind() == reflect.Slice || typ.Kind() == reflect.Map {
		b, err := parseRange(k.field.Tag.Get(tagCount), reflect.TypeFor[int]())
		if err != nil {
			t.Error(err)
		}
		parts, typ = append(parts, b.text+" entries"), typ.Elem()
	}
	if k.leaf {
		b, err := parseBound(k.field.Tag.Get(tagBounds), typ)
		if err != nil {
			t.Error(err)
		}
		parts = append(parts, b.text)
	}
	return strings.Join(parts, ", each ")
}

// withinBounds says whether a key's default is what the validator allows.
func withinBounds(k key) bool {
	var p config.Problems
	if k.leaf || k.standard.Kind() == reflect.Slice || k.standard.Kind() == reflect.Map {
		check(&p, k.standard, k.path, k.field.Tag)
	}
	return p.Err() == nil
}

// comments returns those of types, by their name, and of fields, by the type's
// name, a dot and theirs, each in one line.
func comments(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	docs := map[string]string{}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range file.Decls {
			general, ok := declaration.(*ast.GenDecl)
			if !ok || general.Tok != token.TYPE {
				continue
			}
			for _, spec := range general.Specs {
				if s, ok := spec.(*ast.TypeSpec); ok {
					addComments(docs, s, general.Doc)
				}
			}
		}
	}
	return docs
}

func addComments(docs map[string]string, spec *ast.TypeSpec, doc *ast.CommentGroup) {
	oneLine := func(group *ast.CommentGroup) string { return strings.Join(strings.Fields(group.Text()), " ") }
	docs[spec.Name.Name] = oneLine(doc)
	structure, ok := spec.Type.(*ast.StructType)
	if !ok {
		return
	}
	for _, f := range structure.Fields.List {
		for _, name := range f.Names {
			docs[spec.Name.Name+"."+name.Name] = oneLine(f.Doc)
		}
	}
}
