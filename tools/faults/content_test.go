package faults

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"slices"
	"strings"
	"unicode/utf16"

	"drover/bucketmap/binary"
)

// contents are bad maps in the form for people, in the place of map.yaml.
func contents() []fault {
	faults := slices.Concat(garbage(), wrongText(), wrongMaps(), wrongSuccessors(), validMaps())
	for i := range faults {
		faults[i].store = "file"
	}
	return faults
}

func bad(name string, content func(w *world) []byte) fault {
	return fault{name: name, content: content}
}

func text(name, content string) fault {
	return bad(name, func(*world) []byte { return []byte(content) })
}

// edited is the good next map with one text replaced by another.
func edited(name, old, with string) fault {
	return bad(name, func(w *world) []byte { return []byte(w.edited(old, with)) })
}

func (w *world) edited(pairs ...string) string {
	w.Helper()
	content := w.text(good + 1)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(content, pairs[i]) {
			w.Fatalf("%q is not in\n%s", pairs[i], content)
		}
		content = strings.Replace(content, pairs[i], pairs[i+1], 1)
	}
	return content
}

// added is the good next map with lines at its end.
func added(name, lines string) fault {
	return bad(name, func(w *world) []byte { return []byte(w.text(good+1) + lines) })
}

func garbage() []fault {
	const page = "<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>\n"
	return []fault{
		text("an empty file", ""),
		text("4,096 zero bytes", strings.Repeat("\x00", 4096)),
		text("spaces and newlines", " \n\n \n"),
		bad("cut in the middle", func(w *world) []byte { s := w.text(good + 1); return []byte(s[:len(s)/2]) }),
		bad("cut at the end of a line", func(w *world) []byte {
			before, _, _ := strings.Cut(w.text(good+1), "homes:")
			return []byte(before)
		}),
		bad("a bit flipped in a word", func(w *world) []byte { return []byte(w.edited("buckets", "bwckets")) }),
		bad("a bit flipped in every 100th byte", func(w *world) []byte {
			s := []byte(w.text(good + 1))
			for i := 50; i < len(s); i += 100 {
				s[i] ^= 0x40
			}
			return s
		}),
		bad("compressed with gzip", func(w *world) []byte {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			_, err := z.Write([]byte(w.text(good + 1)))
			must(w, err)
			must(w, z.Close())
			return b.Bytes()
		}),
		text("an HTML error page", page),
		bad("in UTF-16", func(w *world) []byte {
			var b []byte
			for _, u := range utf16.Encode([]rune("\ufeff" + w.text(good+1))) {
				b = append(b, byte(u), byte(u>>8))
			}
			return b
		}),
		bad("an id that is not UTF-8", func(w *world) []byte { return []byte(w.edited("emp", "\"\xff\xfe\"")) }),
		bad("the binary form in map.yaml", func(w *world) []byte { return binary.Append(nil, w.maps[good+1], nil) }),
		bad("a delta in map.yaml", func(w *world) []byte {
			return binary.AppendDelta(nil, binary.MakeDelta(w.maps[good], w.maps[good+1]), nil)
		}),
		bad("an ELF program", func(w *world) []byte {
			program, err := os.ReadFile(shared.migrator)
			must(w, err)
			return program[:1<<20]
		}),
	}
}

func wrongText() []fault {
	var bomb strings.Builder
	bomb.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&bomb, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	return []fault{
		text("a YAML bomb (aliases of aliases)", bomb.String()),
		edited("an anchor and an alias", "default: {mode: pinned, datacenter: legacy}", "default: &d {mode: pinned, datacenter: legacy}\nmore: *d"),
		added("a merge key", "<<: {version: 9}\n"),
		text("100,000 brackets", strings.Repeat("[", 100_000)),
		added("the same key twice", "buckets: 64\n"),
		added("an unknown key", "bucket_count: 64\n"),
		added("a second document", "---\nversion: 5\n"),
		edited("a word for a number", "buckets: 64", "buckets: many"),
		edited("a list for a table", "homes:\n", "homes: []\nhomez:\n"),
		edited("a fraction for a version", "version: 4", "version: 4.5"),
		text("a scalar", "42\n"),
		text("null", "null\n"),
		text("a JSON list", "[{\"version\": 4}]\n"),
	}
}

func wrongMaps() []fault {
	long := strings.Repeat("x", 257)
	return []fault{
		edited("a bucket count of 0", "buckets: 64", "buckets: 0"),
		edited("a bucket count of 2,000,000,000", "buckets: 64", "buckets: 2000000000"),
		edited("a home beyond the last bucket", "32-63", "32-64"),
		edited("a range from high to low", "32-63", "63-32"),
		edited("two homes for one bucket", "32-63", "31-63"),
		edited("a home on a shard that is not there", "homes:\n  alpha:", "homes:\n  beta: [\"0\"]\n  alpha:"),
		edited("a shard in a datacenter that is not there", "gamma: {datacenter: cloud", "gamma: {datacenter: mars"),
		edited("a default that is not there", "{mode: pinned, datacenter: legacy}", "{mode: pinned, datacenter: mars}"),
		edited("a default of an unknown mode", "mode: pinned", "mode: fastest"),
		edited("a user whitelisted in two datacenters", "  cloud: [emp", "  legacy: [emp]\n  cloud: [emp"),
		edited("a user id of 257 bytes", "[emp", "["+long+", emp"),
		edited("an empty user id", "[emp", "[\"\", emp"),
		edited("epoch 0", "{\"40\": 2}", "{\"40\": 0}"),
		edited("epoch -1", "{\"40\": 2}", "{\"40\": -1}"),
		edited("a shard of epoch 0", "gamma: {datacenter: cloud, epoch: 1}", "gamma: {datacenter: cloud, epoch: 0}"),
		added("two holds for one bucket", "holds:\n  - {buckets: \"5-9\", move: m-1, until: 2030-01-01T00:00:00.000Z}\n"+
			"  - {buckets: \"9\", move: m-2, until: 2030-01-01T00:00:00.000Z}\n"),
		added("a hold of a shard that is not there", "holds:\n  - {shard: beta, move: m-1, until: 2030-01-01T00:00:00.000Z}\n"),
		added("a hold beyond the last bucket", "holds:\n  - {buckets: \"64\", move: m-1, until: 2030-01-01T00:00:00.000Z}\n"),
		added("a hold until the year 10000", "holds:\n  - {buckets: \"5\", move: m-1, until: 10000-01-01T00:00:00.000Z}\n"),
		added("a hold until tomorrow", "holds:\n  - {buckets: \"5\", move: m-1, until: tomorrow}\n"),
		edited("a shard's name with a slash", "alpha", "../alpha"),
		edited("a shard's name with a newline", "  alpha: {", "  \"al\\npha\": {"),
		edited("a datacenter's name with a newline", "[cloud, legacy]", "[\"cl\\noud\", cloud, legacy]"),
		edited("a shard's name of 65 bytes", "  alpha: {", "  "+strings.Repeat("a", 65)+": {"),
	}
}

func wrongSuccessors() []fault {
	return []fault{
		edited("version 0", "version: 4", "version: 0"),
		edited("version -1", "version: 4", "version: -1"),
		edited("a version of thirteen digits", "version: 4", "version: 1000000000000"),
		edited("version 2^64-1", "version: 4", "version: 18446744073709551615"),
		edited("version 2^64", "version: 4", "version: 18446744073709551616"),
		edited("a lower version", "version: 4", "version: 2"),
		edited("the same version, another content", "version: 4", "version: 3"),
		bad("another bucket count", func(w *world) []byte {
			return []byte(w.edited("buckets: 64", "buckets: 128", "32-63", "32-127"))
		}),
		bad("a datacenter that no proxy knows", func(w *world) []byte {
			return []byte(w.edited("[cloud, legacy]", "[cloud, legacy, mars]", "  cloud: [emp", "  mars: [elon]\n  cloud: [emp"))
		}),
		bad("nobody has a home", func(w *world) []byte {
			return []byte(w.edited("  alpha: [\"0-31\"]\n", "", "  gamma: [\"32-63\"]\n", "", "homes:\n", "", "epochs: {\"40\": 2}\n", ""))
		}),
		bad("everybody in one datacenter", func(w *world) []byte {
			return []byte(w.edited("  alpha: [\"0-31\"]\n", "", "\"32-63\"", "\"0-63\""))
		}),
		edited("a third of the buckets loses its home", "0-31", "22-31"),
		bad("the datacenters of two shards exchanged", func(w *world) []byte {
			return []byte(w.edited("alpha: {datacenter: legacy", "alpha: {datacenter: X", "gamma: {datacenter: cloud", "gamma: {datacenter: legacy", "datacenter: X", "datacenter: cloud"))
		}),
	}
}

// validMaps may be in force, and are: nobody can tell them from what was meant.
func validMaps() []fault {
	last := edited("the last version that there is", "version: 4", "version: 999999999999")
	last.mend = func(w *world) {
		w.edge.kill()
		must(w, os.Remove(w.path("cache")))
		w.replace(w.mapFile(), []byte(w.text(good)))
		w.start()
	}
	return []fault{
		last,
		edited("a version that jumps", "version: 4", "version: 400"),
		edited("one bucket loses its home", "32-63", "33-63"),
		added("a hold that is over", "holds:\n  - {buckets: \"5\", move: m-1, until: 2020-01-01T00:00:00.000Z}\n"),
		added("a hold of a bucket until 2100", "holds:\n  - {buckets: \"5\", move: m-1, until: 2100-01-01T00:00:00.000Z}\n"),
		edited("an odometer of 2^64-1", "buckets: 64", "moved: 18446744073709551615\nbuckets: 64"),
	}
}
