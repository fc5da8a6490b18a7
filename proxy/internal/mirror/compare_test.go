package mirror

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"testing"
)

func jsonAnswer(body string) answer {
	return answer{status: 200, fields: []field{{"content-type", "application/json"}}, body: []byte(body)}
}

func mustRules(t testing.TB, headers, paths, text []string) *Rules {
	t.Helper()
	r, err := NewRules(headers, paths, text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// fieldsOf names the fields that differ.
func fieldNames(c comparison) string {
	var names []string
	for _, d := range c.differences {
		names = append(names, d.field)
	}
	return strings.Join(names, " ")
}

func TestJSONIsComparedByItsFields(t *testing.T) {
	for _, c := range []struct{ a, b, want string }{
		{`{"a":1,"b":[1,2]}`, `{"b":[1,2],  "a":1}`, ""},
		{`{"a":1}`, `{"a":2}`, "$.a"},
		{`{"a":12345678901234567890}`, `{"a":12345678901234567891}`, "$.a"},
		{`{"a":0.1}`, `{"a":0.10000000000000001}`, "$.a"},
		{`{"a":1}`, `{"a":1.0}`, "$.a"}, // some clients read one and not the other
		{`{"a":1}`, `{"a":"1"}`, "$.a"},
		{`{"a":null}`, `{}`, "$.a"},
		{`{}`, `{"a":null}`, "$.a"},
		{`{"a":{"b":1}}`, `{"a":[1]}`, "$.a"},
		{`{"a":{"b":1}}`, `{"a":null}`, "$.a"},
		{`{"a":null}`, `{"a":{"b":1}}`, "$.a"},
		{`[1,2,3]`, `[1,2]`, "$"},
		{`[1,2,3]`, `[3,2,1]`, "$[*]"},
		{`{"l":[{"id":1,"x":1},{"id":2,"x":2}]}`, `{"l":[{"id":1,"x":5},{"id":2,"x":6}]}`, "$.l[*].x"},
		{`{"1234":{"n":1},"99":{"n":1}}`, `{"1234":{"n":2},"99":{"n":3}}`, "$['{id}'].n"},
		{`{"a.b":1}`, `{"a.b":2}`, "$['a.b']"},
		{`true`, `false`, "$"},
		{`{"a":1} `, `{"a":1}`, ""},
		{`{"a":1}{"a":2}`, `{"a":1}{"a":3}`, "body"}, // two values are text
		{`{"a":1`, `{"a":1}`, "body"},
		{`{"a":"ä"}`, `{"a":"\u00e4"}`, ""},
		{``, `{}`, "body"},
		{``, ``, ""},
	} {
		a, b := jsonAnswer(c.a), jsonAnswer(c.b)
		got := fieldNames(compare(&a, &b, &Rules{}, nil))
		if got != c.want && got != strings.ReplaceAll(c.want, "['{id}']", ".{id}") {
			t.Errorf("%s and %s: got %q, want %q", c.a, c.b, got, c.want)
		}
	}
}

func TestHeadersAreComparedAsASet(t *testing.T) {
	a := answer{status: 200, fields: []field{{"vary", "a"}, {"vary", "b"}, {"date", "x"}, {"connection", "X-Hop"}, {"x-hop", "1"}, {"content-length", "5"}}}
	b := answer{status: 200, fields: []field{{"vary", "b"}, {"date", "y"}, {"vary", "a "}, {"drover-map-version", "7"}, {"keep-alive", "x"}}}
	if got := compare(&a, &b, &Rules{}, nil); len(got.differences) != 0 {
		t.Errorf("got %+v", got)
	}
	b.fields = append(b.fields, field{"vary", "b"}, field{"set-cookie", "secret=1"}, field{"x-trace", "1"})
	got := compare(&a, &b, mustRules(t, []string{"X-Trace"}, nil, nil), nil)
	if fieldNames(got) != "header.set-cookie header.vary" {
		t.Errorf("got %+v", got)
	}
	if strings.Contains(fmt.Sprint(got), "secret") {
		t.Errorf("it shows a cookie: %+v", got)
	}
	a.toHead, b.toHead = true, true // what a HEAD says of the body is all there is
	if got := compare(&a, &b, &Rules{}, nil); !strings.Contains(fieldNames(got), "header.content-length") {
		t.Errorf("got %+v", got)
	}
}

func TestAnotherStatusIsOneDifference(t *testing.T) {
	a, b := jsonAnswer(`{"a":1}`), jsonAnswer(`{"error":"x"}`)
	b.status = 500
	got := compare(&a, &b, &Rules{}, nil)
	if fieldNames(got) != fieldStatus || got.differences[0].target != `500 {"error":"x"}` {
		t.Errorf("got %+v", got)
	}
}

func TestCompressedBodiesAreComparedByTheirContent(t *testing.T) {
	pack := func(text string, level int) answer {
		var b bytes.Buffer
		w, err := gzip.NewWriterLevel(&b, level)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil || w.Close() != nil {
			t.Fatal(err)
		}
		a := jsonAnswer("")
		a.body, a.fields = b.Bytes(), append(a.fields, field{"content-encoding", "gzip"})
		return a
	}
	a, b := pack(`{"a":1,"b":2}`, 1), pack(`{"b":2,"a":1}`, 9)
	if got := compare(&a, &b, &Rules{}, nil); len(got.differences) != 0 {
		t.Errorf("got %+v", got)
	}
	b = pack(`{"b":2,"a":3}`, 9)
	if got := fieldNames(compare(&a, &b, &Rules{}, nil)); got != "$.a" {
		t.Errorf("got %s", got)
	}
	bomb := pack(`{"a":"`+strings.Repeat("0", 1<<20)+`"}`, 9)
	if got := decoded(&bomb); len(got) != len(bomb.body) {
		t.Errorf("a bomb of %d bytes was taken to %d", len(bomb.body), len(got))
	}
}

func TestRulesLeaveOutWhatTheyName(t *testing.T) {
	a := jsonAnswer(`{"meta":{"id":"x","deep":{"at":1}},"items":[{"id":1,"n":1},{"id":2,"n":2}],"a.b":1,"at":1}`)
	b := jsonAnswer(`{"meta":{"id":"y","deep":{"at":2}},"items":[{"id":3,"n":3},{"id":4,"n":2}],"a.b":2,"at":2}`)
	for rules, want := range map[string]string{
		"$.meta":               "$.at $.items[*].id $.items[*].n $['a.b']",
		"$.meta.*":             "$.at $.items[*].id $.items[*].n $['a.b']",
		"$..at":                "$.items[*].id $.items[*].n $.meta.id $['a.b']",
		"$.items[*].id":        "$.at $.items[*].n $.meta.deep.at $.meta.id $['a.b']",
		"$.items[0]":           "$.at $.items[*].id $.meta.deep.at $.meta.id $['a.b']",
		"$['a.b']":             "$.at $.items[*].id $.items[*].n $.meta.deep.at $.meta.id",
		"$..deep..at":          "$.at $.items[*].id $.items[*].n $.meta.id $['a.b']",
		"$.items.*.id $..id":   "$.at $.items[*].n $.meta.deep.at $['a.b']",
		"$":                    "",
		"$..*":                 "",
		"$.none $.items[7]":    "$.at $.items[*].id $.items[*].n $.meta.deep.at $.meta.id $['a.b']",
		"$.meta $.items $..at": "$['a.b']",
	} {
		if got := fieldNames(compare(&a, &b, mustRules(t, nil, strings.Fields(rules), nil), nil)); got != want {
			t.Errorf("%s: got %s, want %s", rules, got, want)
		}
	}
	for _, bad := range []string{"", "items", "$items", "$.", "$..", "$[", "$[x]", "$['a", "$.a b*", "$[-1]", "$[1.5]", "$." + strings.Repeat("a.", 40) + "a", "$.[0]"} {
		if ParsePath(bad) == nil {
			t.Errorf("%q is taken for a path", bad)
		}
	}
	x, y := answer{status: 200, body: []byte(`<a csrf="1">hello`)}, answer{status: 200, body: []byte(`<a csrf="22">hello`)}
	if got := compare(&x, &y, mustRules(t, nil, nil, []string{`csrf="[^"]*"`}), nil); len(got.differences) != 0 {
		t.Errorf("got %+v", got)
	}
	if got := compare(&x, &y, &Rules{}, nil); fieldNames(got) != fieldBody || !strings.Contains(got.differences[0].target, "22") {
		t.Errorf("got %+v", got)
	}
}

func TestNoiseCoversWhatIsInIt(t *testing.T) {
	a, b := jsonAnswer(`{"tips":[1],"x":{"id":"p","n":1}}`), jsonAnswer(`{"tips":[2],"x":{"id":"q","n":2}}`)
	got := compare(&a, &b, &Rules{}, map[string]bool{"$.tips": true, "$.x.id": true})
	if fieldNames(got) != "$.x.n" || got.blind {
		t.Errorf("got %+v", got)
	}
	if got := compare(&a, &b, &Rules{}, map[string]bool{"$": true}); len(got.differences) != 0 || !got.blind {
		t.Errorf("nothing was compared, and it does not say so: %+v", got)
	}
}

func TestNoMoreFieldsAreNamedThanMayBe(t *testing.T) {
	var a, b strings.Builder
	a.WriteByte('{')
	b.WriteByte('{')
	for i := range 500 {
		name := strings.Repeat(string(rune('a'+i%26)), 1+i/26)
		fmt.Fprintf(&a, `"%s":1,`, name)
		fmt.Fprintf(&b, `"%s":2,`, name)
	}
	x, y := jsonAnswer(a.String()+`"z9":1}`), jsonAnswer(b.String()+`"z9":1}`)
	got := compare(&x, &y, &Rules{}, nil)
	if len(got.differences) != fieldsMax+1 || got.differences[0].field == "" || !strings.Contains(fieldNames(got), fieldMore) {
		t.Errorf("got %d: %s", len(got.differences), fieldNames(got))
	}
	deep := func(n string) answer {
		return jsonAnswer(strings.Repeat(`{"k":`, 5000) + n + strings.Repeat("}", 5000))
	}
	x, y = deep("1"), deep("2")
	if got := compare(&x, &y, &Rules{}, nil); len(got.differences) != 1 || len(got.differences[0].field) > 100 {
		t.Errorf("got %d: %s", len(got.differences), fieldNames(got))
	}
}

func TestALongerBodyThanIsComparedDiffers(t *testing.T) {
	a, b := answer{status: 200, body: []byte("abc")}, answer{status: 200, body: []byte("abc"), over: true}
	if got := compare(&a, &b, &Rules{}, nil); fieldNames(got) != fieldBody {
		t.Errorf("got %+v", got)
	}
}

func TestRoutesAreClassesWithoutTheirIDs(t *testing.T) {
	for path, want := range map[string]string{
		"/":                        "/",
		"/1/user/-/steps":          "/{id}/user/-/steps",
		"/v2/user/me@example.org":  "/v2/user/{id}",
		"/user/ann/steps":          "/user/{user}/steps",
		"/users/user-17/day12.csv": "/users/user-{n}/day{n}.csv",
		"/d/0b9f3d2e-6a51-4a3b-9a55-3f1f0a1c2b3d": "/d/{id}",
		"/d/deadbeef01":                "/d/{id}",
		"/feedback/cafe":               "/feedback/cafe",
		"/t/dGhpcyBpcyBhIHRva2VuMTIz":  "/t/{id}",
		"/" + strings.Repeat("a", 200): "/{id}",
		strings.Repeat("/a", 30):       strings.Repeat("/a", 11) + "/...",
		"//a":                          "//a",
		"/\xff":                        "/?",
	} {
		if got := classOf(path, "ann"); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

func TestWhatIsShownCannotSteerATerminal(t *testing.T) {
	if got := shorten("a\x1b[2J\x00\u202eb\xff", 100); strings.ContainsAny(got, "\x1b\x00\u202e") {
		t.Errorf("got %q", got)
	}
	if got := shorten("ääää", 3); got != "ä..." {
		t.Errorf("got %q", got)
	}
}

func FuzzPathsOfRules(f *testing.F) {
	for _, s := range []string{"$", "$.a", "$..a[*]", "$['x'][0].*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tokens, err := parsePath(text)
		if err == nil {
			begins(tokens, []step{{key: "a"}, {index: 0, inList: true}, {key: "x"}})
		}
	})
}

func FuzzCompareOfAnAnswerWithItself(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":null}]}`), []byte("[1]"))
	f.Fuzz(func(t *testing.T, body, other []byte) {
		a, b := jsonAnswer(string(body)), jsonAnswer(string(body))
		if got := compare(&a, &b, &Rules{}, nil); len(got.differences) != 0 {
			t.Errorf("got %+v", got)
		}
		b = jsonAnswer(string(other))
		here, there := compare(&a, &b, &Rules{}, nil), compare(&b, &a, &Rules{}, nil)
		if len(here.differences) <= fieldsMax && fieldNames(here) != fieldNames(there) {
			t.Errorf("got %s and %s", fieldNames(here), fieldNames(there))
		}
	})
}
