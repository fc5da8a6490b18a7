package identity

import (
	"bytes"
	"net/url"
	"strings"
	"testing"

	"drover/bucketmap"
	"drover/proxy/internal/http1"
)

// FuzzTheUserComesFromTheRequest proves for any path, query and cookie that
// nothing panics, that nothing is changed, and that an id is a piece of the
// request, as it is or decoded.
func FuzzTheUserComesFromTheRequest(f *testing.F) {
	for _, target := range []string{
		"/1/user/ann?user=bob", "/1/user/a%2Fb/", "/%31/user/-?u%73er=a+b", "/1/user/%?user=%", "*", "?", "/1/user//?&=&user",
	} {
		f.Add([]byte(target), []byte("a=b; uid=c;uid=\"d\""))
	}
	finders := []*Finder{
		finder(f, Source{Path: &PathSource{Prefix: "/1/user/"}}), finder(f, Source{Path: &PathSource{Pattern: "/*/u*r/{id}/"}}),
		finder(f, Source{Query: "user"}), finder(f, Source{Cookie: "uid"}),
	}
	f.Fuzz(func(t *testing.T, target, cookie []byte) {
		before, cookieBefore := string(target), string(cookie)
		r := Request{Target: target, Fields: []http1.Field{{Name: []byte("Cookie"), Value: cookie}}}
		var found Found
		for i, one := range finders {
			err := one.Find(&r, &found)
			if err != nil && found.User != nil {
				t.Fatalf("an error and the user %q", found.User)
			}
			if len(found.User) > bucketmap.UserIDMax {
				t.Fatalf("a user of %d bytes", len(found.User))
			}
			if len(found.User) != 0 && !fromInput(i, string(found.User), before, cookieBefore) {
				t.Fatalf("the user %q is not in %q", found.User, before)
			}
		}
		if string(target) != before || !bytes.Equal(cookie, []byte(cookieBefore)) {
			t.Fatal("the request was changed")
		}
		if i := strings.IndexByte(before, '?'); i >= 0 {
			wantFormValue(t, finders[2], &r, before[i+1:])
		}
	})
}

// fromInput looks for the id with the standard library's own decoders.
func fromInput(source int, user, target, cookie string) bool {
	path, query, _ := strings.Cut(target, "?")
	split, text, decode := "/", path, url.PathUnescape
	switch source {
	case 2:
		split, text, decode = "&", query, url.QueryUnescape
	case 3:
		return strings.Contains(cookie, "uid="+user)
	}
	for piece := range strings.SplitSeq(text, split) {
		if source == 2 {
			_, piece, _ = strings.Cut(piece, "=")
		}
		if decoded, err := decode(piece); err == nil && decoded == user {
			return true
		}
	}
	return false
}

// wantFormValue compares with the standard library, where both read the same:
// it refuses semicolons, and skips what does not decode.
func wantFormValue(t *testing.T, f *Finder, r *Request, query string) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return
	}
	var found Found
	if err := f.Find(r, &found); err == nil && string(found.User) != values.Get("user") {
		t.Fatalf("got %q of %q; url.ParseQuery has %q", found.User, query, values.Get("user"))
	}
}

// FuzzNoTokenMakesAUserUnsigned feeds a source of tokens with anything: without
// its key, nobody can make a user.
func FuzzNoTokenMakesAUserUnsigned(f *testing.F) {
	issuer := newIssuer(f)
	one := issuer.finder(f, nil, nil)
	f.Add([]byte("Bearer " + issuer.sign(f, "EdDSA", "ed", claims("ann"))[:90]))
	f.Add([]byte("Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ."))
	f.Add([]byte("bearer \t.."))
	f.Fuzz(func(t *testing.T, value []byte) {
		var found Found
		r := Request{Fields: []http1.Field{{Name: []byte("Authorization"), Value: value}}}
		if err := one.Find(&r, &found); err != nil || found.User != nil {
			t.Fatalf("%q made the user %q, %v", value, found.User, err)
		}
	})
}
