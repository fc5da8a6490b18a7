package identity

import (
	"testing"

	"drover/proxy/internal/http1"
)

// browser are the 14 header lines of an ordinary request.
func browser(more ...string) []http1.Field {
	lines := []string{
		"Host", "api.example.com", "Connection", "keep-alive", "sec-ch-ua", `"Chromium";v="130"`, "sec-ch-ua-mobile", "?0",
		"User-Agent", "Mozilla/5.0 (X11; Linux x86_64)", "Accept", "application/json", "Accept-Encoding", "gzip, br",
		"Accept-Language", "en", "Cache-Control", "no-cache", "Content-Type", "application/json", "Origin", "https://example.com",
		"Referer", "https://example.com/app",
	}
	return fields(append(append(lines, more...), "X-Request-Id", "0123456789abcdef")...)
}

// paths through Find, each with a request that takes it.
func paths(tb testing.TB) map[string]struct {
	f *Finder
	r Request
} {
	i := newIssuer(tb)
	token := i.sign(tb, "RS256", "rsa", claims("1234567890"))
	type path = struct {
		f *Finder
		r Request
	}
	target := []byte("/1/user/1234567890/steps?a=b&user=1234567890")
	escaped := []byte("/1/us%65r/12345%367890/steps?a=b&us%65r=12345%367890")
	user, byPath := finder(tb, Source{Header: "X-User-Id"}), finder(tb, Source{Path: &PathSource{Prefix: "/1/user/"}})
	query := finder(tb, Source{Query: "user"})
	return map[string]path{
		"header":        {user, Request{Fields: browser("X-User-Id", "1234567890"), Trusted: true}},
		"cookie":        {finder(tb, Source{Cookie: "uid"}), Request{Fields: browser("Cookie", "theme=dark; uid=1234567890; a=b")}},
		"path":          {byPath, Request{Fields: browser("X-A", "b"), Target: target}},
		"path_escaped":  {byPath, Request{Fields: browser("X-A", "b"), Target: escaped}},
		"query":         {query, Request{Fields: browser("X-A", "b"), Target: target}},
		"query_escaped": {query, Request{Fields: browser("X-A", "b"), Target: escaped}},
		"bucket":        {finder(tb, Source{Bucket: "X-Bucket"}), Request{Fields: browser("X-Bucket", "17"), Trusted: true}},
		"jwt_cached":    {i.finder(tb, nil, nil), Request{Fields: browser("Authorization", "Bearer "+token)}},
	}
}

func TestFindAllocatesNothing(t *testing.T) {
	for name, p := range paths(t) {
		var found Found
		if err := p.f.Find(&p.r, &found); err != nil || found.Source != 0 {
			t.Fatalf("%s: got %+v, %v", name, found, err)
		}
		if n := testing.AllocsPerRun(200, func() { _ = p.f.Find(&p.r, &found) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestRefusingARequestAllocatesNothing(t *testing.T) {
	i := newIssuer(t)
	jwt := i.finder(t, nil, nil)
	expired := i.sign(t, "EdDSA", "ed", claims("ann", "exp", 1))
	for name, p := range map[string]struct {
		f *Finder
		r Request
	}{
		"two users":     {finder(t, Source{Header: "X-U"}), Request{Fields: fields("X-U", "a", "X-U", "b"), Trusted: true}},
		"bad escape":    {finder(t, Source{Query: "u"}), Request{Target: []byte("/?u=%")}},
		"expired token": {jwt, Request{Fields: fields("Authorization", "Bearer "+expired)}},
		"no token":      {jwt, Request{Fields: fields("Authorization", "Bearer x")}},
		"no user":       {jwt, Request{Fields: browser("X-A", "b")}},
	} {
		var found Found
		_ = p.f.Find(&p.r, &found)
		if n := testing.AllocsPerRun(200, func() { _ = p.f.Find(&p.r, &found) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestOwnsAllocatesNothing(t *testing.T) {
	f := finder(t, Source{Header: "X-User-Id"}, Source{Bucket: "X-Bucket"})
	names := [][]byte{[]byte("X-User-Id"), []byte("x_user_id"), []byte("X-Real-Ip"), []byte("Host"), nil}
	if n := testing.AllocsPerRun(200, func() {
		for _, name := range names {
			f.Owns(name)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkFind(b *testing.B) {
	for name, p := range paths(b) {
		b.Run(name, func(b *testing.B) {
			var found Found
			b.ReportAllocs()
			for b.Loop() {
				if err := p.f.Find(&p.r, &found); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOwns(b *testing.B) {
	f := finder(b, Source{Header: "X-User-Id"}, Source{Bucket: "X-Bucket"})
	for _, name := range []string{"Host", "Accept-Encoding", "X-Real-Ip", "User-Agent", "X-User-Id"} {
		b.Run(name, func(b *testing.B) {
			raw := []byte(name)
			b.ReportAllocs()
			for b.Loop() {
				f.Owns(raw)
			}
		})
	}
}

// BenchmarkVerify is what a token costs that is seen for the first time.
func BenchmarkVerify(b *testing.B) {
	i := newIssuer(b)
	v := i.finder(b, nil, nil).places[0].verifier
	for algorithm, kid := range map[string]string{"RS256": "rsa", "ES256": "ec", "EdDSA": "ed"} {
		token := i.sign(b, algorithm, kid, claims("ann"))
		b.Run(algorithm, func(b *testing.B) {
			keys, now := v.keys.current.Load(), v.now()
			for b.Loop() {
				if v.verify(token, keys, now).refusal != NotRefused {
					b.Fatal("refused")
				}
			}
		})
	}
}
