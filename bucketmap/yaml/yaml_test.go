package yaml

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"drover/bucketmap"
)

const example = `version: 12
moved: 600
buckets: 1024
default: {mode: auto, source: legacy, target: cloud, datacenter: legacy}
datacenters: [cloud, legacy]
shards:
  alpha: {datacenter: legacy, epoch: 1}
  beta: {datacenter: cloud, epoch: 2}
homes:
  alpha: ["0-511", "600"]
  beta: ["512-599"]
whitelist:
  cloud: ["12345", emp-1, "hex:ff00"]
epochs: {"17": 2, "512-599": 3}
holds:
  - {buckets: "17", move: m-1, until: 2026-11-21T10:00:00.123Z}
  - {shard: beta, move: m-2, until: 2026-11-21T10:00:00.000Z}
`

func mustDecode(t testing.TB, text string) *bucketmap.Snapshot {
	t.Helper()
	s, err := Decode([]byte(text))
	if err != nil {
		t.Fatalf("Decode: %v\n%s", err, text)
	}
	return s
}

func mustEncode(t testing.TB, s *bucketmap.Snapshot) string {
	t.Helper()
	out, err := Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestEncodeIsTheInverseOfDecode(t *testing.T) {
	s := mustDecode(t, example)
	if got := mustEncode(t, s); got != example {
		t.Errorf("Encode(Decode(x)):\n%s\nwant:\n%s", got, example)
	}
	inJSON, err := EncodeJSON(s)
	if err != nil {
		t.Fatal(err)
	}
	if !mustDecode(t, string(inJSON)).Equal(s) {
		t.Errorf("JSON gives another map:\n%s", inJSON)
	}
}

func TestLayoutsPeopleWriteMeanTheSame(t *testing.T) {
	want := mustDecode(t, example)
	for name, text := range map[string]string{
		"comments and blank lines": "# the map\n\n" + strings.ReplaceAll(example, "\n", " # why\n\n"),
		"carriage returns":         strings.ReplaceAll(example, "\n", "\r\n"),
		"document marks":           "---\n" + example + "...\n",
		"byte order mark":          "\uFEFF" + example,
		"block style": `
holds:
- move: m-1
  buckets: "17"
  until: "2026-11-21T11:00:00.123+01:00"
-
  move: m-2
  shard: beta
  until: 2026-11-21T10:00:00Z
whitelist:
  cloud:
  - 12345
  - 'emp-1'
  - hex:ff00
epochs:
  512-599: 3
  17: 2
homes:
    beta:
        - 512-599
    alpha: [0-511,
  600]
datacenters:
- legacy
- cloud
default:
  mode: auto
  source: legacy
  target: cloud
  datacenter: legacy
shards:
  beta:
    datacenter: cloud
    epoch: 2
  alpha: {datacenter: legacy}
buckets: 1024
moved: 600
version: 12
`,
		"json with tabs": strings.ReplaceAll(`{
~"version": 12, "moved": 600, "buckets": 1024,
~"default": {"mode":"auto","source":"legacy","target":"cloud","datacenter":"legacy"},
~"datacenters": ["cloud","legacy"],
~"shards": {"alpha":{"datacenter":"legacy","epoch":1},"beta":{"datacenter":"cloud","epoch":2}},
~"homes": {"alpha":["0-511","600"],"beta":["512-599"]},
~"whitelist": {"cloud": ["12345","\u0065mp-1","hex:ff00"]},
~"epochs": {"17":2,"512-599":3},
~"holds": [
~~{"buckets":"17","move":"m-1","until":"2026-11-21T10:00:00.123Z"},
~~{"shard":"beta","move":"m-2","until":"2026-11-21T10:00:00Z"}
~]
}`, "~", "\t"),
	} {
		t.Run(name, func(t *testing.T) {
			if got := mustDecode(t, text); !got.Equal(want) {
				t.Errorf("another map: %s", bucketmap.Diff(want, got))
			}
		})
	}
}

func TestEveryMistakeIsReportedWithItsLine(t *testing.T) {
	replace := func(old, with string) string {
		if !strings.Contains(example, old) {
			panic(old)
		}
		return strings.Replace(example, old, with, 1)
	}
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"empty":                     {"", []string{"empty"}},
		"only a comment":            {"# nothing\n", []string{"empty"}},
		"a list":                    {"- a\n", []string{"line 1", "mapping"}},
		"unknown key":               {replace("homes:", "hommes:"), []string{"line 9: hommes: unknown key"}},
		"unknown key inside":        {replace("epoch: 2}", "epok: 2}"), []string{"line 8: shards.beta.epok: unknown key"}},
		"duplicate key":             {example + "version: 13\n", []string{"line 18: version", "second time", "line 1"}},
		"duplicate shard":           {replace("  beta: {d", "  alpha: {d"), []string{"line 8: shards.alpha", "second time"}},
		"second document":           {example + "---\n" + example, []string{"line 18", "second document"}},
		"second document after end": {example + "...\n---\nversion: 1\n", []string{"line 19", "second document"}},
		"missing keys":              {"buckets: 4\n", []string{"version: missing", "default: missing", "datacenters: missing"}},
		"overlap":                   {replace(`"600"`, `"500-600"`), []string{"line 10: homes.alpha", "500-600", "0-511"}},
		"overlap of two shards":     {replace(`"512-599"]`, `"511-599"]`), []string{"line 11: homes.beta", "511-599", "homes.alpha"}},
		"out of bounds":             {replace(`"600"`, `"1024"`), []string{"line 10: homes.alpha", "1024", "0 to 1023"}},
		"backwards":                 {replace(`"512-599"]`, `"599-512"]`), []string{"line 11: homes.beta"}},
		"unknown shard":             {replace("  beta: [", "  gamma: ["), []string{"line 11: homes.gamma: unknown shard"}},
		"unknown datacenter":        {replace("  cloud: [\"12345\"", "  clod: [\"12345\""), []string{"line 13: whitelist.clod: unknown datacenter"}},
		"shard's datacenter":        {replace("{datacenter: cloud, epoch: 2}", "{datacenter: clod}"), []string{"line 8: shards.beta", `"clod"`}},
		"user twice":                {replace("emp-1", "emp-1, emp-1"), []string{"line 13: whitelist.cloud", "second time"}},
		"bad hex":                   {replace("hex:ff00", "hex:f"), []string{"line 13: whitelist.cloud", "hexadecimal"}},
		"empty id":                  {replace("emp-1", `""`), []string{"line 13: whitelist.cloud", "0 bytes"}},
		"null id":                   {replace("emp-1", "~"), []string{"line 13", "null"}},
		"missing value":             {replace(" [cloud, legacy]", ""), []string{"line 5", "missing"}},
		"buckets too many":          {replace("1024", "1048577"), []string{"line 3: buckets: 1048577"}},
		"buckets zero":              {replace("1024", "0"), []string{"line 3: buckets: 0"}},
		"version zero":              {replace("version: 12", "version: 0"), []string{"line 1: version: 0"}},
		"version with a sign":       {replace("version: 12", "version: +12"), []string{"line 1: version"}},
		"version in octal":          {replace("version: 12", "version: 012"), []string{"line 1: version"}},
		"version a text":            {replace("version: 12", `version: "12"`), []string{"line 1: version"}},
		"moved negative":            {replace("moved: 600", "moved: -600"), []string{"line 2: moved"}},
		"moved too far":             {replace("moved: 600", "moved: 18446744073709551616"), []string{"line 2: moved"}},
		"epoch zero":                {replace(`"17": 2`, `"17": 0`), []string{"line 14: epochs.17"}},
		"epochs overlap":            {replace(`"17": 2`, `"17-600": 2`), []string{"line 14: epochs", "512-599"}},
		"pinned with a target":      {replace("mode: auto", "mode: pinned"), []string{"default.source", "default.target"}},
		"another mode":              {replace("mode: auto", "mode: on"), []string{"line 4: default.mode"}},
		"another default":           {replace("datacenter: legacy}\ndata", "datacenter: clod}\ndata"), []string{"line 4: default.datacenter"}},
		"hold of nothing":           {replace(`buckets: "17", `, ""), []string{"line 16: holds"}},
		"hold of both":              {replace(`buckets: "17", `, `buckets: "17", shard: beta, `), []string{"line 16: holds"}},
		"hold until when":           {replace("2026-11-21T10:00:00.123Z", "tomorrow"), []string{"line 16: holds.until"}},
		"hold finer than a milli":   {replace("10:00:00.123Z", "10:00:00.1234Z"), []string{"holds.until"}},
		"anchor":                    {replace("datacenters: [", "datacenters: &a ["), []string{"line 5"}},
		"tag":                       {replace("version: 12", "version: !!int 12"), []string{"line 1"}},
		"merge":                     {example + "<<: {version: 3}\n", []string{"line 18"}},
		"deep":                      {strings.Repeat("[", 1<<20), []string{"depth"}},
		"deep blocks":               {strings.Repeat("- ", 1<<20), []string{"depth"}},
		"deeper than a map":         {replace("emp-1", "[[[a]]]"), []string{"line 13", "nested deeper"}},
		"a mapping for an id":       {replace("emp-1", "emp-1: x"), []string{"line 13", "a mapping"}},
		"an id without its comma":   {replace("emp-1,", "emp-1\n"), []string{"line 13", "several lines"}},
		"an id without its dash":    {replace("[\"12345\", emp-1, \"hex:ff00\"]", "\n  - a\n    b"), []string{"line 14", "several lines"}},
		"a colon too many":          {replace("beta: {d", "beta: x: {d"), []string{"line 8"}},
		"bracket without its end":   {replace("legacy]", "legacy"), []string{"line"}},
		"directive":                 {"%YAML 1.1\n---\n" + example, []string{"line 1", "directive"}},
		"marks too many":            {strings.Repeat("a,", marksMax+1), []string{"marks"}},
		"not UTF-8":                 {replace("emp-1", "\xff"), []string{"line 13", "UTF-8"}},
		"control character":         {replace("emp-1", "\x00"), []string{"line 13", "control"}},
		"bad indentation":           {replace("  beta: {d", "   beta: {d"), []string{"line 8"}},
		"all at once": {replace("version: 12", "version: 0") + "extra: 1\nmore: 2\n",
			[]string{"line 1: version", "line 18: extra", "line 19: more"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode([]byte(c.text))
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
		})
	}
}

func TestProblemsOfContentAreAnInvalidError(t *testing.T) {
	_, err := Decode([]byte(strings.Replace(example, "version: 12", "version: 0", 1)))
	var invalid *bucketmap.InvalidError
	if !errors.As(err, &invalid) || len(invalid.Problems) != 1 {
		t.Fatalf("got %v, want one problem", err)
	}
}

func withUsers(t testing.TB, ids ...string) *bucketmap.Snapshot {
	t.Helper()
	d := bucketmap.NewDraft(4)
	d.Datacenters = []bucketmap.Datacenter{"cloud", "legacy"}
	d.Default.Datacenter = "legacy"
	for i, id := range ids {
		d.Whitelist[id] = d.Datacenters[i%2]
	}
	s, err := d.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func checkRoundTrip(t testing.TB, s *bucketmap.Snapshot) {
	t.Helper()
	text := mustEncode(t, s)
	if got := mustDecode(t, text); !got.Equal(s) {
		t.Fatalf("another map after YAML: %s\n%s", bucketmap.Diff(s, got), text)
	}
	inJSON, err := EncodeJSON(s)
	if err != nil {
		t.Fatal(err)
	}
	if got := mustDecode(t, string(inJSON)); !got.Equal(s) {
		t.Fatalf("another map after JSON: %s\n%s", bucketmap.Diff(s, got), inJSON)
	}
}

var oddUsers = []string{
	"12345", "0", "-1", "+1", "1e3", "1_000", "0x1F", "0o17", "017", "1.5", ".5", ".inf", "-.INF", ".nan", "12:30:45", "2026-11-21",
	"true", "True", "false", "yes", "No", "on", "off", "y", "N", "null", "Null", "~", "<<", "=", "!", "!!str", "&a", "*a", "|", ">", "%", "@", "`",
	"-", "- a", "--", "---", "...", "?", "? a", ":", "a: b", "a:b", ": a", "#", "a #b", "a# b", ",", "a,b", "[", "]", "{", "}", "{}", "[]",
	"'", "''", "it's", `"`, `""`, `a"b`, `\`, `\\`, `\n`, `\"`, `\u0041`, `\x41`, "a\nb", "\n", "\r\n", "\t", "a\tb", " ", "  lead", "trail  ", " both ",
	"hex:", "hex:ff", "HEX:ff", "hex", "\x00", "\xff", "\xc3\x28", "\u00a0", "\u2028", "\ufeff", "\ufeffa", "\u200e", "é", "日本語", "😀", "e\u0301", "\ufffd",
	strings.Repeat("x", bucketmap.UserIDMax), strings.Repeat(`"`, bucketmap.UserIDMax), strings.Repeat("\xff", bucketmap.UserIDMax),
}

func TestUserIDsSurviveByteForByte(t *testing.T) {
	for _, id := range oddUsers {
		checkRoundTrip(t, withUsers(t, id))
	}
	checkRoundTrip(t, withUsers(t, oddUsers...))
}

func TestRandomUserIDsSurviveByteForByte(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	const likely = "\"'\\:#-,[]{}&*!|>%@`~ \t\n\rhex019aeZ_.?<=\u00e9\u2028"
	pool := []rune(likely)
	for range 300 {
		var ids []string
		seen := map[string]bool{}
		for range 1 + r.IntN(30) {
			var id []byte
			length := 1 + r.IntN(20)
			for len(id) < length {
				switch r.IntN(3) {
				case 0:
					id = append(id, byte(r.UintN(256)))
				case 1:
					id = utf8.AppendRune(id, pool[r.IntN(len(pool))])
				default:
					id = append(id, byte(' '+r.UintN(95)))
				}
			}
			if !seen[string(id)] {
				seen[string(id)] = true
				ids = append(ids, string(id))
			}
		}
		checkRoundTrip(t, withUsers(t, ids...))
	}
}

func TestOddNamesSurvive(t *testing.T) {
	d := bucketmap.NewDraft(1000)
	d.Default.Datacenter = "true"
	for i, name := range []string{"17", "1.5", "true", "null", "0x1F", "_", "a-b", "1e3", "no", "A.b_c-9"} {
		if err := d.PutShard(bucketmap.Shard{Name: bucketmap.ShardName(name), Datacenter: bucketmap.Datacenter(name)}); err != nil {
			t.Fatal(err)
		}
		if err := d.SetHome(bucketmap.BucketID(i*10), bucketmap.BucketID(i*10+5), bucketmap.ShardName(name)); err != nil {
			t.Fatal(err)
		}
	}
	d.Holds = []bucketmap.Hold{{Shard: "17", Move: "0", Until: time.UnixMilli(1)}, {First: 3, Last: 3, Move: "null", Until: time.UnixMilli(1234567890123)}}
	s, err := d.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	checkRoundTrip(t, s)
}

// bigMap has homes in no order, epochs without runs and a long whitelist.
func bigMap(t testing.TB, buckets, users int) *bucketmap.Snapshot {
	t.Helper()
	d := bucketmap.NewDraft(uint32(buckets))
	d.Default.Datacenter = "dc0"
	for i := range 16 {
		name := bucketmap.ShardName(fmt.Sprintf("s%02d", i))
		if err := d.PutShard(bucketmap.Shard{Name: name, Datacenter: bucketmap.Datacenter(fmt.Sprintf("dc%d", i%3))}); err != nil {
			t.Fatal(err)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for b := range buckets {
		id := bucketmap.BucketID(b)
		if err := d.SetHome(id, id, bucketmap.ShardName(fmt.Sprintf("s%02d", r.IntN(16)))); err != nil {
			t.Fatal(err)
		}
		if r.IntN(2) == 0 {
			d.Epochs[id] = bucketmap.Epoch(2 + r.IntN(3))
		}
	}
	for i := range users {
		d.Whitelist[fmt.Sprintf("employee-%07d", i)] = bucketmap.Datacenter(fmt.Sprintf("dc%d", i%3))
	}
	s, err := d.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLongMapSurvives(t *testing.T) {
	s := bigMap(t, 5000, 3000)
	checkRoundTrip(t, s)
	for line := range strings.Lines(mustEncode(t, s)) {
		if len(line) > widthMax+1 {
			t.Fatalf("a line of %d columns: %s", len(line), line)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte("{\"version\": 1, \"buckets\": 4, \"default\": {\"mode\": \"pinned\", \"datacenter\": \"a\"}, \"datacenters\": [\"a\"]}"))
	if golden, err := os.ReadFile("testdata/example.yaml"); err == nil {
		f.Add(golden)
	}
	f.Add([]byte(mustEncode(f, withUsers(f, "a", "\xff", `\"`, "true"))))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Decode(data)
		if err != nil {
			if s != nil {
				t.Fatal("a map and an error")
			}
			return
		}
		checkRoundTrip(t, s)
		checkBothReadTheSame(t, data)
		text := mustEncode(t, s)
		if again := mustEncode(t, mustDecode(t, text)); again != text {
			t.Fatalf("not stable:\n%s\n%s", text, again)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for _, size := range []int{10_000, 100_000} {
		text := mustEncode(b, bigMap(b, size, size))
		b.Run(fmt.Sprintf("buckets=%d,users=%d", size, size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if _, err := Decode([]byte(text)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
