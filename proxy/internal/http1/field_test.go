package http1

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/quick"
)

func TestKindsAreKnownInAnySpelling(t *testing.T) {
	kinds := map[string]Kind{
		"Host": Host, "Content-Length": ContentLength, "Transfer-Encoding": TransferEncoding, "Connection": Connection,
		"Keep-Alive": KeepAlive, "Proxy-Connection": ProxyConnection, "Proxy-Authorization": ProxyAuthorization, "TE": TE,
		"Trailer": Trailer, "Upgrade": Upgrade, "HTTP2-Settings": HTTP2Settings, "Expect": Expect, "Via": Via, "Forwarded": Forwarded,
		"X-Forwarded-For": XForwardedFor, "X-Forwarded-Proto": XForwardedProto, "X-Forwarded-Host": XForwardedHost,
		"X-Forwarded-Port": XForwarded, "X-Forwarded-Proxy-Protocol-Version": XForwarded, "X-Real-IP": XRealIP,
		"Drover-User": Drover, "Drover-": Drover, "Authorization": Authorization, "Cookie": Cookie, "User-Agent": UserAgent,
		"Referer": Referer, "Traceparent": Traceparent, "Content-Type": ContentType,
		// Application servers take '_' for '-'.
		"Drover_User": Drover, "drover_anything-at_all": Drover, "X_Forwarded_For": XForwarded, "X-Forwarded_For": XForwarded,
		"x_forwarded-proto": XForwarded, "X_Real_IP": XRealIP, "X-Real_IP": XRealIP,
		// Others.
		"": Other, "Drover": Other, "Drovers-User": Other, "DroverUser": Other, "X": Other, "X-Forwarded": Other, "X-Forwarded-": Other,
		"X-Forwardedx-For": Other, "X-Real-IPs": Other, "XaRealaIP": Other, "Content_Length": Other, "Hosts": Other, "Hos": Other,
		"Content-Lengtx": Other, "Accept": Other, "Content-Encoding": Other, "Proxy-Authentication-Info": Other, "Xuthorization": Other,
	}
	for spelled, want := range kinds {
		for _, n := range []string{spelled, strings.ToLower(spelled), strings.ToUpper(spelled)} {
			if got := KindOf([]byte(n)); got != want {
				t.Errorf("KindOf(%q) = %d, want %d", n, got, want)
			}
		}
	}
}

func TestLettersAloneAreFolded(t *testing.T) {
	for c := range 256 {
		for want := range 128 {
			if 'A' <= want && want <= 'Z' {
				continue // want is in lower case
			}
			same := c == want || 'A' <= c && c <= 'Z' && c+32 == want
			if got := EqualFold([]byte{byte(c)}, string(rune(want))); got != same {
				t.Errorf("EqualFold(%#x, %#x) = %v", c, want, got)
			}
		}
	}
	if EqualFold([]byte("ab"), "a") || EqualFold([]byte("a"), "ab") || EqualFold([]byte("\u212a"), "k") {
		t.Error("texts of other lengths are the same")
	}
}

func TestTokensAreFoundInLists(t *testing.T) {
	for _, test := range []struct {
		list string
		want bool
	}{
		{"", false}, {"trailers", true}, {"Trailers", true}, {" trailers\t", true}, {"a,trailers", true}, {"a , trailers , b", true},
		{",,trailers,", true}, {"trailersx", false}, {"xtrailers", false}, {"trailers;q=1", false}, {"a trailers", false}, {"trailer,s", false},
		{",", false}, {"\"trailers\"", false},
	} {
		if got := HasToken([]byte(test.list), "trailers"); got != test.want {
			t.Errorf("HasToken(%q) = %v", test.list, got)
		}
	}
}

// plainlyClean is cleanValue, a byte at a time.
func plainlyClean(b []byte, strict bool) bool {
	for _, c := range b {
		control := c < ' ' && c != '\t' || c == 0x7f
		if control && (strict || c == '\r' || c == 0) {
			return false
		}
	}
	return true
}

func TestValuesAreCheckedEightBytesAtATimeAsOneByOne(t *testing.T) {
	check := func(b []byte, strict bool) bool { return cleanValue(b, strict) == plainlyClean(b, strict) }
	seed := rand.New(rand.NewPCG(1, 2))
	if err := quick.Check(func(b []byte, strict bool) bool {
		// Mostly clean ones: in others the first byte decides.
		for i := range b {
			if seed.IntN(30) != 0 {
				b[i] = "\t ~ab\x80\xff\xa0"[b[i]%8]
			}
		}
		return check(b, strict)
	}, &quick.Config{MaxCount: 20000}); err != nil {
		t.Error(err)
	}
	// Every byte, at every place of a word, next to those that a borrow could
	// carry into.
	for c := range 256 {
		for at := range 17 {
			for _, fill := range []byte{'a', 0x80, 0xff, ' ', '\t', 0x7e} {
				b := bytes.Repeat([]byte{fill}, 17)
				b[at] = byte(c)
				if !check(b, true) || !check(b, false) {
					t.Fatalf("cleanValue(%q) is wrong", b)
				}
			}
		}
	}
}
