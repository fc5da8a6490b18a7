package config

import (
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"drover/internal/config"
	"drover/shardlib/fence"
)

var update = flag.Bool("update", false, "write the migrator's part of docs/configuration.md anew")

const (
	referencePage = "../../../docs/configuration.md"
	// referenceBegin begins the migrator's part: what is before it the proxy's
	// test writes.
	referenceBegin = "\n# The migrator's configuration\n"
)

const referenceHead = referenceBegin + `
Written by a test from ` + "`migrator/internal/config`" + `: ` + "`make docs`" + ` writes it anew. Types are written as above. A bound of
"any" is none that the file alone can break. ` + "`configs/migrator.yaml`" + ` shows the keys with a store of files,
` + "`migrator.consul.yaml`" + ` and ` + "`migrator.push.yaml`" + ` those of the other stores.

| key | type | default | bounds | meaning |
| --- | --- | --- | --- | --- |
`

func TestTheReferenceIsWhatTheCodeSays(t *testing.T) {
	docs := fieldComments(t)
	var page strings.Builder
	page.WriteString(referenceHead)
	standard := Default()
	rows(t, &page, docs, reflect.ValueOf(standard), "", nil)
	text, err := os.ReadFile(referencePage)
	if err != nil {
		t.Fatal(err)
	}
	before, have, _ := strings.Cut(string(text), referenceBegin)
	have = referenceBegin + have
	if *update && !t.Failed() {
		have = page.String()
		if err := os.WriteFile(referencePage, []byte(before+have), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have != page.String() {
		t.Errorf("%s is not what the code says: run make docs", referencePage)
	}
}

// rows writes a row for every key of a section.
func rows(t *testing.T, page *strings.Builder, docs map[string]string, section reflect.Value, prefix string, at []int) {
	t.Helper()
	for i := range section.NumField() {
		field := section.Type().Field(i)
		key, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		path, index := prefix+key, append(append([]int(nil), at...), i)
		value := section.Field(i)
		if value.Kind() == reflect.Struct {
			rows(t, page, docs, value, path+".", index)
			continue
		}
		meaning := docs[section.Type().Name()+"."+field.Name]
		if meaning == "" && value.Type() != reflect.TypeFor[[]fence.Sharded]() {
			t.Errorf("%s: want a comment at %s.%s", path, section.Type().Name(), field.Name)
		}
		meaning = strings.Replace(meaning, field.Name+" ", "`"+key+"` ", 1)
		fmt.Fprintf(page, "| `%s` | %s | %s | %s | %s |\n", path, typeWord(value.Type()), standardWord(value), boundWord(path, index), strings.ReplaceAll(meaning, "|", "\\|"))
	}
}

func typeWord(typ reflect.Type) string {
	switch {
	case typ == reflect.TypeFor[time.Duration]():
		return "duration"
	case typ == reflect.TypeFor[config.Bytes]():
		return "size"
	case typ == reflect.TypeFor[Addresses]():
		return "list"
	}
	switch typ.Kind() {
	case reflect.Int:
		return "whole number"
	case reflect.Float64:
		return "number"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "list"
	case reflect.Map:
		return "section"
	default:
		return "text"
	}
}

func standardWord(v reflect.Value) string {
	switch {
	case (v.Kind() == reflect.Slice || v.Kind() == reflect.Map) && v.Len() == 0 || v.Type() == reflect.TypeFor[Addresses]():
		return "none"
	case v.Kind() == reflect.String && v.Len() == 0:
		return "empty"
	default:
		return fmt.Sprintf("`%v`", v.Interface())
	}
}

// boundWord is what the validator wants of a key: it is given a value that no
// key takes, and asked what it would have.
func boundWord(path string, index []int) string {
	c := Default()
	broken := reflect.ValueOf(&c).Elem().FieldByIndex(index)
	switch broken.Kind() {
	case reflect.Int, reflect.Int64:
		broken.SetInt(math.MinInt64)
	case reflect.Float64:
		broken.SetFloat(math.NaN())
	case reflect.String:
		if broken.Len() != 0 || path == "metrics_listen" {
			broken.SetString("\x00")
		}
	default:
	}
	var invalid *config.InvalidError
	if err := c.Validate(); errors.As(err, &invalid) {
		for _, p := range invalid.Problems {
			if p.Key == path {
				return strings.ReplaceAll(p.Bound, "|", "\\|")
			}
		}
	}
	return "any"
}

// fieldComments returns the comments of fields, above or beside them, by type
// and name, each in one line. Those of Limits are move.Limits' where it says
// nothing itself.
func fieldComments(t *testing.T) map[string]string {
	t.Helper()
	docs := map[string]string{}
	for _, folder := range []string{".", "../move", "../publish", "../slo"} {
		files, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), folder+"/"+f.Name(), nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if spec, ok := n.(*ast.TypeSpec); ok {
					note(docs, spec)
				}
				return true
			})
		}
	}
	return docs
}

func note(docs map[string]string, spec *ast.TypeSpec) {
	structure, ok := spec.Type.(*ast.StructType)
	if !ok {
		return
	}
	for _, f := range structure.Fields.List {
		text := strings.Join(strings.Fields(f.Doc.Text()+" "+f.Comment.Text()), " ")
		for i, name := range f.Names {
			if docs[spec.Name.Name+"."+name.Name] == "" && (f.Doc == nil || i == 0 || len(f.Names) > 1) {
				docs[spec.Name.Name+"."+name.Name] = text
			}
		}
	}
}
