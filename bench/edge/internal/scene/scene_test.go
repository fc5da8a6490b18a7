package scene

import (
	"bytes"
	"errors"
	"testing"
)

func TestEveryUserIsDecidedAsTheTableSaysHalfAndHalf(t *testing.T) {
	s, err := New()
	if err != nil {
		t.Fatal(err)
	}
	var count [2]int
	reasons := map[string]int{}
	for _, u := range s.Users {
		if len(u.ID) != UserLength {
			t.Fatalf("user %q has %d bytes", u.ID, len(u.ID))
		}
		d := s.Snapshot.Decide([]byte(u.ID))
		if got := Index(d.Datacenter); got != u.Datacenter {
			t.Errorf("user %s: map says %d, table %d", u.ID, got, u.Datacenter)
		}
		reasons[d.Reason.String()]++
		count[u.Datacenter]++
	}
	if count != [2]int{UsersCount / 2, UsersCount / 2} {
		t.Errorf("users per datacenter: %v", count)
	}
	if reasons["whitelist"] < UsersCount/3 || reasons["bucket"] < UsersCount/3 {
		t.Errorf("users per reason: %v", reasons)
	}
}

func TestRequestIsABrowsersInSizeAndNamesOneUser(t *testing.T) {
	head, at := Request()
	if len(head) < 600 || len(head) > 700 {
		t.Errorf("%d bytes", len(head))
	}
	if n := bytes.Count(head, []byte(UserPrefix)); n != 1 || !bytes.HasPrefix(head[at-11:], []byte("X-User-Id: "+UserPrefix)) {
		t.Errorf("%d users; at the place: %s", n, head[at-11:at+UserLength])
	}
}

func TestCheckFindsEveryWrongAnswer(t *testing.T) {
	c := NewChecker()
	user := []byte(UserPrefix + "000000")
	good, body := Answer(Target, "Mon, 02 Jan 2006 15:04:05 GMT")
	if len(good)-body != BodyLength {
		t.Fatalf("body of %d bytes", len(good)-body)
	}
	change := func(old, new string) []byte { return bytes.Replace(good, []byte(old), []byte(new), 1) }
	for _, test := range []struct {
		name  string
		read  []byte
		whole bool
		err   error
	}{
		{"right", good, true, nil},
		{"lower case", change("Content-Length", "content-length"), true, nil},
		{"half a head", good[:body/2], false, nil},
		{"half a body", good[:body+BodyLength/2], false, nil},
		{"status", change("200 OK", "502 Bad Gateway"), true, ErrStatus},
		{"length", change("Content-Length: 1024", "Transfer-Encoding: chunked"), true, ErrLength},
		{"surplus", append(bytes.Clone(good), '!'), true, ErrSurplus},
		{"user", change(UserPrefix+"000000", UserPrefix+"000001"), true, ErrUser},
		{"datacenter", change("cloud", "legacy")[:len(good)], true, ErrDatacenter},
	} {
		whole, err := c.Check(test.read, user, Target)
		if whole != test.whole || !errors.Is(err, test.err) {
			t.Errorf("%s: got %v, %v; want %v, %v", test.name, whole, err, test.whole, test.err)
		}
	}
}
