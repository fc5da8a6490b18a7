package yaml

import (
	"reflect"
	"runtime"
	"strings"
	"testing"

	goyaml "github.com/goccy/go-yaml"

	"drover/bucketmap"
)

// scalars reads a document that is one list.
func scalars(t *testing.T, text string) []string {
	t.Helper()
	root, err := parse([]byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var out []string
	for _, item := range root.items {
		out = append(out, item.text)
	}
	return out
}

func TestScalarsAreReadAsYAMLSays(t *testing.T) {
	for text, want := range map[string][]string{
		`["\u00e9\x41\U0001F600", "\"\\\n\t\0\e\_"]`:                {"éA😀", "\"\\\n\t\x00\x1b\u00a0"},
		`["\ud83d\ude00", "\/\\/\\ud83d\\ude00", "\\\ud83d\ude00"]`: {"😀", `/\/\ud83d\ude00`, `\😀`}, // JSON
		`['it''s', '', '\n', "it's"]`:                               {"it's", "", `\n`, "it's"},
		"- a b  # comment\n- a#b\n- http://x/?y=1\n- -1\n":          {"a b", "a#b", "http://x/?y=1", "-1"},
		"[a b, -1, 1e3, 0x1F, true, 012, 1_000, .nan, 2026-11-21]":  {"a b", "-1", "1e3", "0x1F", "true", "012", "1_000", ".nan", "2026-11-21"},
		"- ?x\n- é: y\n":                   {"?x", ""},
		"[ # comment ]\n  a,\n\n\tb\n]":    {"a", "b"},
		"[a, b, ]":                         {"a", "b"},
		"- \"# no comment\" # one\n- x\\n": {"# no comment", `x\n`},
		"- a\r\n- b\r\n":                   {"a", "b"},
	} {
		if got := scalars(t, text); !reflect.DeepEqual(got, want) {
			t.Errorf("%q is read as %q, want %q", text, got, want)
		}
	}
}

func TestWhatIsNotInTheFormIsRefused(t *testing.T) {
	for _, text := range []string{
		`"\ud83d"`, `{"a": "\ud83d"}`, `"\ud83dx"`, `"\ud83d\u0041"`, `"\ude00"`, `"\x4"`, `"\u+041"`, `"\U00110000"`, `"\q"`, `"\`, `"a`, `'a`, "'a\nb'", "\"a\nb\"",
		"[", "[a", "[a b\n c]", "[?x]", "- é: 'a\n  b'", "- \"a\\\n  b\"", "- ! a", "- !!str a", "%TAG ! x\n--- a", "[a,,b]", "[,]", "{a}", "{a: b", "{a: b c: d}", "{a:b}", "[[a]: b]", "[[[[[[a]]]]]]", "]", "}", ",", "[a]]", "[a}", "{a: [b}]",
		"*a", "&a b", "!a b", "|\n a", ">\n a", "%a", "@a", "`a", "? a", "- ? a", "a: b: c", "a: - b", "a\nb", "a: b\n c", "- a\n b", "- a\nb: c",
		"a: 1\n  b: 2", "  a: 1\nb: 2", "- a\n  - b", "a: [1] b", "a: \"x\" b", `"a"b`, `"a":b`, "\ta: b", "a:\n\tb: c", "a: b\n\tc: d",
		"--- a\n--- b", "a\n...\nb", "...", "---", "~", "[null]", "a: ~", ": a", "a:\n\n", "- ", "a\rb", "a: |\n" + strings.Repeat("\n", 1<<20),
	} {
		if _, err := parse([]byte(text)); err == nil {
			t.Errorf("accepted %.40q", text)
		}
	}
}

// What this package writes, any reader of YAML reads as the same texts.
func TestAnotherReaderReadsTheSame(t *testing.T) {
	d := mustDecode(t, example).Edit()
	clear(d.Epochs) // a list here, a mapping in the document
	for _, users := range [][]string{nil, oddUsers} {
		for _, id := range users {
			d.Whitelist[id] = "legacy"
		}
		snapshot, err := d.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		var got document
		if err := goyaml.Unmarshal([]byte(mustEncode(t, snapshot)), &got); err != nil {
			t.Fatal(err)
		}
		if want := newDocument(snapshot); !reflect.DeepEqual(&got, want) {
			t.Errorf("read as %+v, want %+v", &got, want)
		}
	}
	var epochs struct{ Epochs map[string]bucketmap.Epoch }
	if err := goyaml.Unmarshal([]byte(example), &epochs); err != nil || epochs.Epochs["512-599"] != 3 {
		t.Errorf("epochs %v, %v", epochs, err)
	}
}

func TestAllocationsGrowWithTheInputAndNoFaster(t *testing.T) {
	const size = 5000   // what grew with its square would allocate 25 MB
	const perByte = 300 // two nodes of the library for "a,", and what growing a slice wastes
	heads := []string{"", "a: |\n", "- >\n", "a: \"", "a: '", "a: x\n", "a: [", "a: {", "{\"a\": \"", "epochs: {", "homes:\n  alpha: ["}
	units := []string{"[", "{", "- ", "\"", "'", "#", "\n", "\n  \n", " x\n", "x", "\\n", "''", "\\u0041", "a: b,", "\"1\": 2,", "a: b\n", "a,", "- a\n",
		"\r\n", "\t", "---\n", "? ", "&a ", "*a ", "a:\n", "]", ":", ",", "~"}
	var before, after runtime.MemStats
	for _, head := range heads {
		for _, unit := range units {
			text := []byte(head + strings.Repeat(unit, size/len(unit)))
			runtime.ReadMemStats(&before)
			if _, err := Decode(text); err == nil {
				t.Errorf("accepted %q, %q", head, unit)
			}
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > perByte*size+8<<20 {
				t.Errorf("%q, %q: %d bytes allocated for %d", head, unit, n, len(text))
			}
		}
	}
}
