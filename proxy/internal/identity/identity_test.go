package identity

import (
	"errors"
	"testing"
)

func headers(pairs ...string) []Header {
	var hs []Header
	for i := 0; i < len(pairs); i += 2 {
		hs = append(hs, Header{Name: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	return hs
}

func TestUserIsFoundInOrderAndUnchanged(t *testing.T) {
	f := New([]Source{{Header: "X-User-Id"}, {Cookie: "uid"}})
	for _, c := range []struct {
		name    string
		headers []Header
		trusted bool
		want    string
		err     error
	}{
		{"header", headers("X-User-Id", "Ann"), true, "Ann", nil},
		{"header in another case", headers("x-user-ID", "ann"), true, "ann", nil},
		{"header of a stranger", headers("X-User-Id", "ann"), false, "", nil},
		{"cookie of a stranger", headers("X-User-Id", "ann", "cookie", "a=b; uid=bob;c=d"), false, "bob", nil},
		{"header before cookie", headers("Cookie", "uid=bob", "X-User-Id", "ann"), true, "ann", nil},
		{"empty header, then cookie", headers("X-User-Id", "", "Cookie", "uid=bob"), true, "bob", nil},
		{"cookie name has case", headers("Cookie", "UID=bob"), true, "", nil},
		{"cookie is not unquoted", headers("Cookie", `uid="a%20b"`), true, `"a%20b"`, nil},
		{"cookie with = in it", headers("Cookie", "uid=YQ=="), true, "YQ==", nil},
		{"second Cookie header", headers("Cookie", "a=b", "Cookie", "uid=c"), true, "c", nil},
		{"nothing", headers("Host", "x"), true, "", nil},
		{"same header twice", headers("X-User-Id", "a", "X-User-Id", "a"), true, "a", nil},
		{"two users", headers("X-User-Id", "a", "X-User-Id", "b"), true, "", ErrAmbiguous},
		{"two cookies", headers("Cookie", "uid=a; uid=b"), true, "", ErrAmbiguous},
	} {
		t.Run(c.name, func(t *testing.T) {
			user, err := f.Find(c.headers, c.trusted)
			if string(user) != c.want || !errors.Is(err, c.err) {
				t.Fatalf("got %q, %v", user, err)
			}
		})
	}
}

func TestSpellingsThatApplicationsMistakeAreOwned(t *testing.T) {
	f := New([]Source{{Header: "X-User-Id"}})
	for name, want := range map[string][2]bool{
		"X-User-Id": {true, true}, "x-user-id": {true, true}, "x_user_id": {true, false},
		"X-User_ID": {true, false}, "X-User-Idx": {false, false}, "Host": {false, false},
	} {
		owns, exact := f.Owns([]byte(name))
		if owns != want[0] || exact != want[1] {
			t.Errorf("%s: got %v, %v", name, owns, exact)
		}
	}
}
