package identity

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"drover/bucketmap"
	"drover/proxy/internal/http1"
)

func fields(pairs ...string) []http1.Field {
	var fs []http1.Field
	for i := 0; i < len(pairs); i += 2 {
		fs = append(fs, http1.Field{Name: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	return fs
}

func finder(tb testing.TB, sources ...Source) *Finder {
	tb.Helper()
	f, err := New(sources, Options{})
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

// wantFound looks for the user of a trusted peer's request.
func wantFound(t *testing.T, f *Finder, r *Request, want string, class error) {
	t.Helper()
	var found Found
	err := f.Find(r, &found)
	if string(found.User) != want || !errors.Is(err, class) {
		t.Fatalf("got %q, %v; want %q, %v", found.User, err, want, class)
	}
	if err != nil && (!errors.Is(err, ErrUnusable) || found.User != nil || found.Source < 0) {
		t.Fatalf("an unusable id: got %+v, %v", found, err)
	}
	if err == nil && (found.Source >= 0) != (want != "" || found.HasBucket) {
		t.Fatalf("got source %d", found.Source)
	}
}

func TestUserIsFoundInOrderAndUnchanged(t *testing.T) {
	f := finder(t, Source{Header: "X-User-Id"}, Source{Cookie: "uid"})
	long := strings.Repeat("é", bucketmap.UserIDMax/2)
	for _, c := range []struct {
		name    string
		fields  []http1.Field
		trusted bool
		want    string
		err     error
	}{
		{"header", fields("X-User-Id", "Ann"), true, "Ann", nil},
		{"header in another case", fields("x-user-ID", "ann"), true, "ann", nil},
		{"header with _", fields("x_user_id", "ann"), true, "", nil},
		{"header of a stranger", fields("X-User-Id", "ann"), false, "", nil},
		{"two users of a stranger", fields("X-User-Id", "ann", "X-User-Id", "bob"), false, "", nil},
		{"cookie of a stranger", fields("X-User-Id", "ann", "cookie", "a=b; uid=bob;c=d"), false, "bob", nil},
		{"header before cookie", fields("Cookie", "uid=bob", "X-User-Id", "ann"), true, "ann", nil},
		{"empty header, then cookie", fields("X-User-Id", "", "Cookie", "uid=bob"), true, "bob", nil},
		{"header is not decoded", fields("X-User-Id", "a%20b+c"), true, "a%20b+c", nil},
		{"header with what is not ASCII", fields("X-User-Id", "J\xf6rg \xff"), true, "J\xf6rg \xff", nil},
		{"256 bytes", fields("X-User-Id", long), true, long, nil},
		{"257 bytes", fields("X-User-Id", long+"x"), true, "", ErrTooLong},
		{"257 bytes, then a cookie", fields("X-User-Id", long+"x", "Cookie", "uid=bob"), true, "", ErrTooLong},
		{"cookie of 256 bytes", fields("Cookie", "uid="+long), true, long, nil},
		{"cookie of 257 bytes", fields("Cookie", "uid="+long+"x"), true, "", ErrTooLong},
		{"cookie name has case", fields("Cookie", "UID=bob"), true, "", nil},
		{"cookie is not unquoted", fields("Cookie", `uid="a%20b"`), true, `"a%20b"`, nil},
		{"quotes do not hide a semicolon", fields("Cookie", `x="a;uid=bob"`), true, `bob"`, nil},
		{"cookie with = in it", fields("Cookie", "uid=YQ=="), true, "YQ==", nil},
		{"cookie without =", fields("Cookie", "uid"), true, "", nil},
		{"cookie that ends in the name", fields("Cookie", "xuid=bob"), true, "", nil},
		{"cookie with a blank before =", fields("Cookie", "uid =bob"), true, "", nil},
		{"blanks around a cookie", fields("Cookie", "a=b;\t uid=bob\t ;c=d"), true, "bob", nil},
		{"empty cookie, then one", fields("Cookie", "uid=; uid=bob"), true, "bob", nil},
		{"only semicolons", fields("Cookie", ";;; ;="), true, "", nil},
		{"second Cookie header", fields("Cookie", "a=b", "Cookie", "uid=c"), true, "c", nil},
		{"nothing", fields("Host", "x"), true, "", nil},
		{"same header twice", fields("X-User-Id", "a", "X-User-Id", "a"), true, "a", nil},
		{"same header twice, once empty", fields("X-User-Id", "a", "X-User-Id", ""), true, "a", nil},
		{"two users", fields("X-User-Id", "a", "X-User-Id", "b"), true, "", ErrAmbiguous},
		{"two users, by case", fields("X-User-Id", "a", "x-user-id", "A"), true, "", ErrAmbiguous},
		{"same cookie twice", fields("Cookie", "uid=a; uid=a"), true, "a", nil},
		{"two cookies", fields("Cookie", "uid=a; uid=b"), true, "", ErrAmbiguous},
		{"two cookies in two lines", fields("Cookie", "uid=a", "Cookie", "uid=b"), true, "", ErrAmbiguous},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantFound(t, f, &Request{Fields: c.fields, Trusted: c.trusted}, c.want, c.err)
		})
	}
}

func TestSourcesAreAskedInTheConfiguredOrder(t *testing.T) {
	all := []Source{
		{Query: "user"}, {Path: &PathSource{Prefix: "/u/"}}, {Cookie: "uid"}, {Header: "X-User-Id"}, {Bucket: "X-Bucket"},
	}
	f := finder(t, all...)
	var found Found
	for _, c := range []struct {
		target string
		fields []http1.Field
		want   string
		source int
	}{
		{"/u/ann?user=bob", fields("X-User-Id", "x", "Cookie", "uid=y", "X-Bucket", "1"), "bob", 0},
		{"/u/ann?user=", fields("X-User-Id", "x", "Cookie", "uid=y", "X-Bucket", "1"), "ann", 1},
		{"/u/-?user=", fields("X-User-Id", "x", "Cookie", "uid=y", "X-Bucket", "1"), "y", 2},
		{"/u/-/x", fields("X-User-Id", "x", "Cookie", "z=y", "X-Bucket", "1"), "x", 3},
		{"/u/", fields("X-Bucket", "7"), "", 4},
		{"/u", nil, "", -1},
		{"*", nil, "", -1},
		{"", nil, "", -1},
	} {
		if err := f.Find(&Request{Fields: c.fields, Target: []byte(c.target), Trusted: true}, &found); err != nil {
			t.Fatal(err)
		}
		if string(found.User) != c.want || found.Source != c.source || found.HasBucket != (c.source == 4) {
			t.Errorf("%s: got %q of source %d, bucket %v", c.target, found.User, found.Source, found.HasBucket)
		}
	}
}

func TestFoundForgetsTheRequestBefore(t *testing.T) {
	f := finder(t, Source{Bucket: "X-Bucket"}, Source{Query: "user"})
	var found Found
	for _, r := range []Request{
		{Fields: fields("X-Bucket", "5"), Trusted: true}, {Target: []byte("/?user=%41nn")}, {Target: []byte("/?user=%zz")},
	} {
		err := f.Find(&r, &found)
		if found.Source < 0 || found.HasBucket != r.Trusted || (found.Bucket == 5) != r.Trusted {
			t.Fatalf("got %+v, %v", found, err)
		}
		if err := f.Find(&Request{Target: []byte("/")}, &found); err != nil {
			t.Fatal(err)
		}
		if found.User != nil || found.HasBucket || found.Bucket != 0 || found.Source != -1 {
			t.Fatalf("got %+v of a request without a user", found)
		}
	}
}

func TestPathSegmentIsTheUser(t *testing.T) {
	prefix, inside := PathSource{Prefix: "/1/user/"}, PathSource{Pattern: "/1/user/{id}/"}
	glob, any := PathSource{Pattern: "/v*/users/{id}"}, PathSource{Pattern: "/*/user/{id}/steps"}
	first, suffix := PathSource{Pattern: "/{id}"}, PathSource{Pattern: "/a*c/{id}"}
	long := strings.Repeat("x", bucketmap.UserIDMax)
	for _, c := range []struct {
		source PathSource
		target string
		want   string
		err    error
	}{
		{prefix, "/1/user/ann", "ann", nil},
		{prefix, "/1/user/ann/steps/5?x=/1/user/bob", "ann", nil},
		{prefix, "/1/user/ann?x", "ann", nil},
		{prefix, "/1/user/Ann;v=1", "Ann;v=1", nil},
		{prefix, "/1/user/", "", nil},
		{prefix, "/1/user//ann", "", nil},
		{prefix, "/1/user", "", nil},
		{prefix, "/1/users/ann", "", nil},
		{prefix, "/1/USER/ann", "", nil},
		{prefix, "//1/user/ann", "", nil},
		{prefix, "/1//user/ann", "", nil},
		{prefix, "/x?/1/user/ann", "", nil},
		{prefix, "http://h/1/user/ann", "", nil},
		{prefix, "/1/user/-", "", nil},
		{prefix, "/1/user/%2D/steps", "", nil},
		{prefix, "/1/user/--", "--", nil},
		{prefix, "/1/user/..", "", nil},
		{prefix, "/1/user/%2e%2E/x", "", nil},
		{prefix, "/1/user/...", "...", nil},
		{prefix, "/1/user/a%20b+c", "a b+c", nil},
		{prefix, "/1/user/a%2Fb/steps", "a/b", nil},
		{prefix, "/1/user/a%2fb%3Fc", "a/b?c", nil},
		{prefix, "/1/user/J%C3%B6rg", "Jörg", nil},
		{prefix, "/1/user/J\xf6rg", "J\xf6rg", nil},
		{prefix, "/1/user/a%2541", "a%41", nil},
		{prefix, "/1/%75ser/ann", "ann", nil},
		{prefix, "/1/us%2fer/ann", "", nil},
		{prefix, "/1/%zzer/ann", "", nil},
		{prefix, "/1/user/a%", "", ErrEscape},
		{prefix, "/1/user/a%4/x", "", ErrEscape},
		{prefix, "/1/user/a%4g", "", ErrEscape},
		{prefix, "/1/user/a%u0041", "", ErrEscape},
		{prefix, "/1/user/a%0D%0AX-Evil:1", "", ErrBytes},
		{prefix, "/1/user/a%00", "", ErrBytes},
		{prefix, "/1/user/%20a", "", ErrBytes},
		{prefix, "/1/user/a%09", "", ErrBytes},
		{prefix, "/1/user/a%7f", "", ErrBytes},
		{prefix, "/1/user/a%09b", "a\tb", nil},
		{prefix, "/1/user/" + long, long, nil},
		{prefix, "/1/user/" + long + "x", "", ErrTooLong},
		{prefix, "/1/user/" + long[1:] + "%78/y", long, nil},
		{prefix, "/1/user/" + long + "%78/y", "", ErrTooLong},
		{prefix, "/1/" + long + "%78/y", "", nil},
		{inside, "/1/user/ann/", "ann", nil},
		{inside, "/1/user/ann/steps", "ann", nil},
		{inside, "/1/user/ann", "", nil},
		{inside, "/1/user/ann?/", "", nil},
		{glob, "/v1/users/ann/x", "ann", nil},
		{glob, "/v/users/ann", "ann", nil},
		{glob, "/v%31/users/ann", "ann", nil},
		{glob, "/w1/users/ann", "", nil},
		{glob, "/v1/x/users/ann", "", nil},
		{any, "/7/user/ann/steps/1", "ann", nil},
		{any, "/%zz/user/ann/steps", "ann", nil},
		{any, "//user/ann/steps", "", nil},
		{any, "/7/user/ann/step", "", nil},
		{any, "/7/user/ann", "", nil},
		{first, "/ann", "ann", nil},
		{first, "/", "", nil},
		{first, "/?a", "", nil},
		{suffix, "/abc/ann", "ann", nil},
		{suffix, "/ac/ann", "ann", nil},
		{suffix, "/a/ann", "", nil},
		{suffix, "/ab/ann", "", nil},
	} {
		t.Run(c.target[:min(len(c.target), 40)], func(t *testing.T) {
			target := []byte(c.target)
			wantFound(t, finder(t, Source{Path: &c.source}), &Request{Target: target}, c.want, c.err)
			if string(target) != c.target {
				t.Fatalf("the target was changed to %q", target)
			}
		})
	}
}

func TestFirstQueryParameterIsTheUser(t *testing.T) {
	f := finder(t, Source{Query: "user"})
	long := strings.Repeat("x", bucketmap.UserIDMax)
	for _, c := range []struct {
		target, want string
		err          error
	}{
		{"/x?user=ann", "ann", nil},
		{"/x?a=b&user=ann&c", "ann", nil},
		{"/x?user=ann&user=bob", "ann", nil},
		{"/x?user=&user=bob", "", nil},
		{"/x?user&user=bob", "", nil},
		{"/x?User=ann", "", nil},
		{"/x?xuser=ann", "", nil},
		{"/user=ann", "", nil},
		{"/x?a=b;user=ann", "", nil},
		{"/x?user=ann;user=bob", "ann;user=bob", nil},
		{"/x?a=b?user=ann", "", nil},
		{"/x??user=ann", "", nil},
		{"/x?&&user=ann&", "ann", nil},
		{"/x?user=a=b", "a=b", nil},
		{"/x?user=a+b%2Bc", "a b+c", nil},
		{"/x?user=-", "-", nil},
		{"/x?us%65r=ann", "ann", nil},
		{"/x?us%6=x&user=ann", "ann", nil},
		{"/x?us+er=x&user=ann", "ann", nil},
		{"/x?a=%zz&user=ann", "ann", nil},
		{"/x?user=J%c3%b6rg", "Jörg", nil},
		{"/x?user=a%", "", ErrEscape},
		{"/x?user=%&user=ann", "", ErrEscape},
		{"/x?user=a%0a", "", ErrBytes},
		{"/x?user=+ann", "", ErrBytes},
		{"/x?user=" + long, long, nil},
		{"/x?user=" + long + "x", "", ErrTooLong},
		{"/x?user=" + strings.Repeat("%78", bucketmap.UserIDMax), long, nil},
		{"/x?user=" + strings.Repeat("%78", bucketmap.UserIDMax+1), "", ErrTooLong},
		{"/x?" + strings.Repeat("%78", bucketmap.UserIDMax+1) + "&user=ann", "ann", nil},
	} {
		t.Run(c.target[:min(len(c.target), 40)], func(t *testing.T) {
			target := []byte(c.target)
			wantFound(t, f, &Request{Target: target}, c.want, c.err)
			if string(target) != c.target {
				t.Fatalf("the target was changed to %q", target)
			}
		})
	}
}

func TestBucketIsBelievedOfTrustedPeersAndHasOneSpelling(t *testing.T) {
	f := finder(t, Source{Bucket: "X-Bucket"})
	for _, c := range []struct {
		values string // by |
		want   bucketmap.BucketID
		has    bool
		err    error
	}{
		{"0", 0, true, nil}, {"17", 17, true, nil}, {"1048575", 1048575, true, nil}, {"", 0, false, nil},
		{"17|17", 17, true, nil}, {"17|18", 0, false, ErrAmbiguous}, {"17|017", 0, false, ErrAmbiguous},
		{"1048576", 0, false, ErrBucket}, {"9999999", 0, false, ErrBucket}, {"10485750", 0, false, ErrBucket},
		{"18446744073709551617", 0, false, ErrBucket}, {"-1", 0, false, ErrBucket}, {"+1", 0, false, ErrBucket},
		{"017", 0, false, ErrBucket}, {"00", 0, false, ErrBucket}, {"0x1", 0, false, ErrBucket}, {"1 2", 0, false, ErrBucket},
		{"1,1", 0, false, ErrBucket}, {"1.0", 0, false, ErrBucket}, {"١", 0, false, ErrBucket}, {"ann", 0, false, ErrBucket},
	} {
		var fs []http1.Field
		for v := range strings.SplitSeq(c.values, "|") {
			fs = append(fs, fields("x-bucket", v)...)
		}
		var found Found
		err := f.Find(&Request{Fields: fs, Trusted: true}, &found)
		if found.Bucket != c.want || found.HasBucket != c.has || !errors.Is(err, c.err) || found.User != nil {
			t.Errorf("%s: got %+v, %v", c.values, found, err)
		}
		if err := f.Find(&Request{Fields: fs}, &found); err != nil || found.HasBucket || found.Source != -1 {
			t.Errorf("%s of a stranger: got %+v, %v", c.values, found, err)
		}
	}
}

func TestSpellingsThatApplicationsMistakeAreOwned(t *testing.T) {
	long := "X-" + strings.Repeat("a", 80)
	f := finder(t, Source{Header: "X-User-Id"}, Source{Bucket: "_Bucket"}, Source{Header: long},
		Source{Cookie: "Cookie"}, Source{Query: "Query"})
	for name, want := range map[string][2]bool{
		"X-User-Id": {true, true}, "x-user-id": {true, true}, "X-USER-ID": {true, true},
		"x_user_id": {true, false}, "X-User_ID": {true, false}, "x.user.id": {true, false}, "X!User|Id": {true, false},
		"X-User-Idx": {false, false}, "X-User-I": {false, false}, "X-User-Ie": {false, false}, "X-Real-Ip": {false, false},
		"XaUser-Id": {false, false}, "8-User-Id": {false, false}, "Host": {false, false}, "": {false, false},
		"_bucket": {true, true}, "-Bucket": {true, false}, ".bucket": {true, false}, "abucket": {false, false},
		strings.ToUpper(long): {true, true}, strings.Replace(long, "-", "_", 1): {true, false}, long + "a": {false, false},
		"Cookie": {false, false}, "Query": {false, false}, "Authorization": {false, false},
	} {
		owns, exact := f.Owns([]byte(name))
		if owns != want[0] || exact != want[1] {
			t.Errorf("%s: got %v, %v", name, owns, exact)
		}
	}
}

// TestOwnsSaysWhatAComparisonOfAllNamesWould compares the table with what it
// stands for, over all first letters and lengths.
func TestOwnsSaysWhatAComparisonOfAllNamesWould(t *testing.T) {
	names := []string{"X-User-Id", "x_y", "-odd", "9lives", "User", strings.Repeat("u", lengthsMax), strings.Repeat("v", 100)}
	sources := make([]Source, len(names))
	for i, n := range names {
		sources[i].Header = n
	}
	f := finder(t, sources...)
	for _, n := range names {
		for b := range 256 {
			for _, at := range []int{0, 1, len(n) - 1} {
				name := []byte(n)
				name[at] = byte(b)
				owns, exact := f.Owns(name)
				wantOwns, wantExact := f.owned.compare(name)
				if owns != wantOwns || exact != wantExact {
					t.Fatalf("%q: got %v, %v; want %v, %v", name, owns, exact, wantOwns, wantExact)
				}
			}
		}
	}
}

func TestEqualFoldIsASCIIOnly(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"Host", "hOST", true}, {"Host", "Hosts", false}, {"", "", true}, {"a-b", "a_b", false}, {"@", "`", false},
		{"[", "{", false}, {"\u212a", "k", false}, {"\xc0", "\xe0", false},
	} {
		if got := EqualFold([]byte(c.a), c.b); got != c.want {
			t.Errorf("%q, %q: got %v", c.a, c.b, got)
		}
	}
}

func TestEveryProblemOfAConfigurationIsReportedAtOnce(t *testing.T) {
	jwt := func(change func(*JWTSource)) Source {
		s := JWTSource{URL: "https://issuer.example/jwks"}
		change(&s)
		return Source{JWT: &s}
	}
	sources := []Source{
		{}, {Header: "a", Cookie: "b"}, {Header: "X User"}, {Bucket: "a:b"}, {Cookie: "a;b"}, {Query: strings.Repeat("q", 129)},
		{Path: &PathSource{}}, {Path: &PathSource{Prefix: "/a"}}, {Path: &PathSource{Prefix: "/{id}/"}},
		{Path: &PathSource{Pattern: "a/{id}"}}, {Path: &PathSource{Pattern: "/a/b"}}, {Path: &PathSource{Pattern: "/{id}/{id}"}},
		{Path: &PathSource{Pattern: "/x{id}"}}, {Path: &PathSource{Pattern: "/a*b*/{id}"}}, {Path: &PathSource{Pattern: "/%41/{id}"}},
		jwt(func(s *JWTSource) { s.URL = "" }), jwt(func(s *JWTSource) { s.URL = "ftp://x/y" }),
		jwt(func(s *JWTSource) { s.Algorithms = []string{"none"} }), jwt(func(s *JWTSource) { s.Leeway = -1; s.Refresh = 1 }),
	}
	_, err := New(sources, Options{})
	if err == nil {
		t.Fatal("no error")
	}
	for i := range sources {
		if !strings.Contains(err.Error(), fmt.Sprintf("identity[%d]", i)) {
			t.Errorf("identity[%d]: no problem is reported", i)
		}
	}
	if !strings.Contains(err.Error(), "sources: want at most") {
		t.Error("the number of sources is not bounded")
	}
	if !strings.Contains(err.Error(), "identity[18].jwt.refresh:") {
		t.Errorf("only the first problem of a source is reported: %v", err)
	}
}
