package passport

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write docs/passport.md, its picture and the golden lines anew")

func sample() *Passport {
	p := stamped(rerouted...)
	p.Facts = Facts{
		Method: "POST", Path: []byte("/1/user/-/\"st\xffeps\"\n"), Protocol: "HTTP/1.1", Peer: netip.MustParseAddrPort("192.0.2.7:4711"),
		UserAgent: []byte(`curl/8 "x"`), Status: 200, BytesIn: 12, BytesOut: 345, Bucket: 17, HasBucket: true,
		Datacenter: "cloud", Reason: "bucket", MapVersion: 42, Upstream: "10.2.0.11:8000", Attempts: 2, Reroutes: 1,
		End: EndAnswered, Code: Code(WhoNobody, WhereNowhere),
	}
	p.Finish()
	return p
}

var at = time.Date(2026, 11, 21, 13, 38, 15, 123456789, time.FixedZone("", 3600))

func TestLinesAreTheGoldenOnes(t *testing.T) {
	const path = "testdata/lines.json"
	got := AppendLineWithClient(AppendLine(nil, sample(), at), sample(), at)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// The line is written by hand; the admin server shows Line by reflection.
func TestALineIsWhatTheAdminServerShows(t *testing.T) {
	o := NewOffice(Options{Recent: 1, Now: func() time.Time { return at }})
	p := sample()
	p.End, p.Code, p.open = EndFailed, Code(WhoServer, WhereData), true
	o.End(p)
	text := AppendLine(nil, p, at)
	var written Line
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&written); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	shown := o.Recent()[0]
	shown.Path = strings.ToValidUTF8(shown.Path, "\ufffd")
	if !reflect.DeepEqual(written, shown) {
		t.Errorf("written %+v\nshown   %+v", written, shown)
	}
}

func TestALineIsBounded(t *testing.T) {
	p := sample()
	p.Path = bytes.Repeat([]byte{1}, 1<<16)
	p.UserAgent, p.Referer = p.Path, p.Path
	if n := len(AppendLineWithClient(nil, p, at)); n > 6*(pathBytesMax+2*headerBytesMax)+1024 {
		t.Errorf("%d bytes", n)
	}
}

func TestALineAllocatesNothing(t *testing.T) {
	dst := make([]byte, 0, 4096)
	p := sample()
	if n := testing.AllocsPerRun(100, func() { dst = AppendLineWithClient(dst[:0], p, at) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{"", "/1/user", "\"\\\n\x00\x7f", "\xff\xc3", "grüß €𝄞", "a\xe2\x82"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var got string
		if err := json.Unmarshal(appendJSON(nil, []byte(text)), &got); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		var want bytes.Buffer // what is no UTF-8 is replaced byte by byte, as encoding/json does
		for _, r := range text {
			want.WriteRune(r)
		}
		if got != want.String() {
			t.Errorf("%q became %q, want %q", text, got, want.String())
		}
		if s := appendJSON(nil, text); !bytes.Equal(s, appendJSON(nil, []byte(text))) {
			t.Errorf("%q: a string gives %s", text, s)
		}
	})
}

func BenchmarkLine(b *testing.B) {
	dst := make([]byte, 0, 4096)
	p := sample()
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendLine(dst[:0], p, at)
	}
}
