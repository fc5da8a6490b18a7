package accesslog

import (
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"drover/proxy/internal/passport"
)

var at = time.Date(2026, 11, 21, 14, 38, 15, 0, time.FixedZone("", 3600))

// ended returns the passport of a request that took just over two seconds.
func ended(change func(*passport.Passport)) *passport.Passport {
	var p passport.Passport
	o := passport.NewOffice(passport.Options{})
	o.BeginAt(&p, passport.Now()-passport.Instant(2*time.Second))
	p.Method, p.Path, p.Protocol, p.Peer = "GET", []byte("/1/user"), "HTTP/1.1", netip.MustParseAddrPort("192.0.2.7:4711")
	p.Status, p.BytesOut, p.End = 200, 345, passport.EndAnswered
	if change != nil {
		change(&p)
	}
	o.End(&p)
	return &p
}

func TestCommonAndCombinedAreApaches(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*passport.Passport)
		want   string
	}{
		{"plain", nil, `192.0.2.7 - - [21/Nov/2026:13:38:12 +0000] "GET /1/user HTTP/1.1" 200 345`},
		{"IPv4 in IPv6", func(p *passport.Passport) { p.Peer = netip.MustParseAddrPort("[::ffff:192.0.2.7]:1") },
			`192.0.2.7 - - [21/Nov/2026:13:38:12 +0000] "GET /1/user HTTP/1.1" 200 345`},
		{"IPv6", func(p *passport.Passport) { p.Peer = netip.MustParseAddrPort("[2001:db8::1]:1") },
			`2001:db8::1 - - [21/Nov/2026:13:38:12 +0000] "GET /1/user HTTP/1.1" 200 345`},
		{"quotes and control bytes", func(p *passport.Passport) { p.Path = []byte("/\"\\\b\n\r\t\v\x00\x1b\x7f\xc3\xa9 x") },
			`192.0.2.7 - - [21/Nov/2026:13:38:12 +0000] "GET /\"\\\b\n\r\t\v\x00\x1b\x7f\xc3\xa9 x HTTP/1.1" 200 345`},
		{"no body", func(p *passport.Passport) { p.BytesOut, p.Status = 0, 304 },
			`192.0.2.7 - - [21/Nov/2026:13:38:12 +0000] "GET /1/user HTTP/1.1" 304 -`},
		{"no request, no answer", func(p *passport.Passport) { p.Facts = passport.Facts{End: passport.EndClientGone} },
			`- - - [21/Nov/2026:13:38:12 +0000] "-" - -`},
	} {
		p := ended(c.change)
		if got := string(AppendCommon(nil, p, at)); got != c.want+"\n" {
			t.Errorf("%s: got\n%swant\n%s", c.name, got, c.want)
		}
		if got := string(AppendCombined(nil, p, at)); got != c.want+` "-" "-"`+"\n" {
			t.Errorf("%s: got\n%s", c.name, got)
		}
	}
	p := ended(func(p *passport.Passport) { p.Referer, p.UserAgent = []byte(""), []byte(`curl "8"`) })
	if got := string(AppendCombined(nil, p, at)); got != `192.0.2.7 - - [21/Nov/2026:13:38:12 +0000] "GET /1/user HTTP/1.1" 200 345 "" "curl \"8\""`+"\n" {
		t.Errorf("got %s", got)
	}
}

func TestCommonAllocatesNothing(t *testing.T) {
	p, dst := ended(nil), make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() { dst = AppendCombined(dst[:0], p, at) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestEachFormatIsOfItsRequestsAndHeaders(t *testing.T) {
	for format, want := range map[Format]struct{ every, headers bool }{
		FormatPassport: {false, false}, FormatJSON: {true, true}, FormatCommon: {true, false}, FormatCombined: {true, true},
	} {
		path := filepath.Join(t.TempDir(), "log")
		l := open(t, Options{Path: path, Format: format})
		o := passport.Options{Slow: time.Hour}
		l.Configure(&o)
		office := passport.NewOffice(o)
		p := office.Open()
		p.Method, p.Status, p.End = "GET", 200, passport.EndAnswered
		office.Close(p)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if got := read(t, path); (got != "") != want.every || office.WantsHeaders() != want.headers {
			t.Errorf("%s: %q, headers %v", format, got, office.WantsHeaders())
		}
	}
}

func TestFormatsAreKnownByName(t *testing.T) {
	for _, f := range Formats() {
		if got, err := ParseFormat(string(f)); err != nil || got != f {
			t.Errorf("%s: got %s, %v", f, got, err)
		}
	}
	if f, err := ParseFormat(""); err != nil || f != FormatPassport {
		t.Errorf("empty: got %s, %v", f, err)
	}
	if _, err := ParseFormat("xml"); err == nil {
		t.Error("xml is taken")
	}
}
