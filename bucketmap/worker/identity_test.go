package worker_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"drover/bucketmap"
	"drover/bucketmap/worker"
)

func TestUserIsFoundWhereTheProxyFindsIt(t *testing.T) {
	s := halves(t, nil)
	r := start(t, s, worker.Options{Identity: []worker.Source{
		{Header: "X-User-Id"}, {Cookie: "uid"}, {Query: "user"}, {Path: "/1/user/{id}"}, {Path: "/v*/of/{id}/"},
	}}, nil)
	long := strings.Repeat("x", bucketmap.UserIDMax)
	const bad = "\x00"
	for _, c := range []struct{ target, cookie, want string }{
		{"/x", "", ""},
		{"/x", "uid=ann", "ann"},
		{"/x?user=bob", "uid=ann", "ann"},
		{"/x", "a=b;uid=ann ;c", "ann"},
		{"/x", "a=b; \tuid=ann", "ann"},
		{"/x", "Uid=ann; xuid=bob", ""},
		{"/x", "uid=; uid=ann", "ann"},
		{"/x", "uid=ann; uid=ann", "ann"},
		{"/x?user=carl", "uid=ann; uid=bob", bad},
		{"/x", `uid="ann"`, `"ann"`},
		{"/x", "uid=a%41", "a%41"},
		{"/x", "uid=a=b", "a=b"},
		{"/x", "uid=a,b", "a,b"},
		{"/x", "uid=ann, b=2", bad}, // perhaps two lines
		{"/x", "uid=J\xc3\xb6rg", bad},
		{"/x", "uid=" + long, long},
		{"/x", "uid=" + long + "x", bad},
		{"/x?user=", "", ""},
		{"/x?user=&user=ann", "", ""},
		{"/x?a=b&user=ann&user=bob", "", "ann"},
		{"/x?User=ann&xuser=ann", "", ""},
		{"/x?us%65r=ann", "", "ann"},
		{"/x?us%6=x&user=ann", "", "ann"},
		{"/x?user=a+b%2Bc", "", "a b+c"},
		{"/x?user=a=b?c", "", "a=b?c"},
		{"/x?user=a%", "", bad},
		{"/x?user=a%4", "", bad},
		{"/x?user=a%zz", "", bad},
		{"/x?user=a%0a", "", bad},
		{"/x?user=a%09b", "", bad},
		{"/x?user=%20ann", "", bad},
		{"/x?user=ann+", "", bad},
		{"/x?user=J%c3%b6rg", "", bad},
		{"/x?user=%7F", "", bad},
		{"/x?user=" + strings.Repeat("%78", bucketmap.UserIDMax), "", long},
		{"/x?user=" + strings.Repeat("%78", bucketmap.UserIDMax+1), "", bad},
		{"/1/user/ann", "", "ann"},
		{"/1/user/ann/steps?x=y", "", "ann"},
		{"/1/user/a%2Fb", "", "a/b"},
		{"/%31/us%65r/ann", "", "ann"},
		{"/1/user/a+b", "", "a+b"},
		{"/1/user/-", "", ""},
		{"/1/user/%2d/steps", "", ""},
		{"/1/user/", "", ""},
		{"/1/user", "", ""},
		{"/1/user//ann", "", ""},
		{"/1//user/ann", "", ""},
		{"/11/user/ann", "", ""},
		{"/1/users/ann", "", ""},
		{"/x/1/user/ann", "", ""},
		{"/1/user/J%c3%b6rg", "", bad},
		{"/v2/of/ann/", "", "ann"},
		{"/v/of/ann/x", "", "ann"},
		{"/v2/of/ann", "", ""},
		{"/2/of/ann/", "", ""},
		{"/1/user/ann/../bob", "", "bob"}, // as the application sees it
	} {
		headers := []string{"X-User-Id", "emp-1"} // of a client, whom nobody trusts
		if c.cookie != "" {
			headers = append(headers, "Cookie", c.cookie)
		}
		want := told(s, c.want, s.Decide([]byte(c.want)))
		if c.want == bad {
			want = told(s, "", bucketmap.Decision{Datacenter: "legacy", Reason: bucketmap.ReasonBadUser})
		}
		got := r.get(c.target, headers...)
		got.want(t, fmt.Sprintf("%.60s, %.60q", c.target, c.cookie), want)
		if got.Header["X-User-Id"] != nil {
			t.Errorf("%s: the application sees the client's X-User-Id", c.target)
		}
	}
}

func TestPathThatDoesNotDecodeIsABadUserOrNone(t *testing.T) {
	r := start(t, halves(t, nil), worker.Options{ExposeHeaders: true, Identity: []worker.Source{{Path: "/1/user/{id}"}}}, nil)
	for target, want := range map[string]string{
		"/1/user/a%": "bad_user", "/1/user/a%4": "bad_user", "/1/user/%zz/x": "bad_user", "/1/us%zz/ann": "no_user",
	} {
		// The upstream itself refuses such a path, so the edge tells.
		if answer, text := r.do(http.MethodGet, target, ""); answer.Header.Get("Drover-Route") != want {
			t.Errorf("%s: %v, want %s: %s", target, answer.Header, want, text)
		}
	}
}

func TestIdentityHeadersAreBelievedOfTrustedClientsAlone(t *testing.T) {
	s := halves(t, nil)
	r := start(t, s, worker.Options{TrustClients: true, Identity: []worker.Source{{Header: "X-User-Id"}, {Query: "user"}}}, nil)
	bad := bucketmap.Decision{Datacenter: "legacy", Reason: bucketmap.ReasonBadUser}
	got := r.get("/x?user=bob", "x-user-ID", "emp-1", "X_user_id", "spoof", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "first.example")
	got.want(t, "one line", told(s, "emp-1", s.Decide([]byte("emp-1"))))
	if got.Header.Get("X-User-Id") != "emp-1" || len(got.Header["X_user_id"]) != 0 {
		t.Errorf("identity headers: %v", got.Header)
	}
	if got.Header.Get("X-Forwarded-Proto") != "https" || got.Header.Get("X-Forwarded-Host") != "first.example" {
		t.Errorf("forwarding headers of who is trusted: %v", got.Header)
	}
	r.get("/x?user=bob").want(t, "no line", told(s, "bob", s.Decide([]byte("bob"))))
	r.get("/x?user=bob", "X-User-Id", "ann", "X-User-Id", "bob").want(t, "two users", told(s, "", bad))
	r.get("/x", "X-User-Id", "J\u00f6rg").want(t, "bytes", told(s, "", bad))
	r.get("/x", "X-User-Id", "a\tb").want(t, "a tab", told(s, "", bad))
}

func TestWhatClientsSayInTheEdgesNameIsDropped(t *testing.T) {
	s := halves(t, nil)
	r := start(t, s, worker.Options{Identity: []worker.Source{{Header: "X-User"}, {Query: "user"}}}, nil)
	for _, target := range []string{"/x", "/x?user=emp-1", "/x?user=%ff"} {
		got := r.get(target,
			"Drover-User", "emp-9", "drover-bucket", "99", "DROVER-DATACENTER", "cloud", "Drover_User", "emp-9", "drover_map-version", "9",
			"Drover-Route", "whitelist", "Drover.Bucket", "1", "Drover-Anything", "x", "X-User", "emp-9", "X_User", "emp-9",
			"X-Forwarded-For", "6.6.6.6", "X_Forwarded_For", "6.6.6.6", "X-Real-Ip", "6.6.6.6", "Forwarded", "for=6.6.6.6",
			"X-Forwarded-Host", "spoof", "Cf-Connecting-Ip", "6.6.6.6", "Droverish", "stays", "X-Mine", "stays")
		user, _ := url.ParseQuery(strings.TrimPrefix(target, "/x?"))
		decision := s.Decide([]byte(user.Get("user")))
		if strings.HasSuffix(target, "%ff") {
			decision = bucketmap.Decision{Datacenter: "legacy", Reason: bucketmap.ReasonBadUser}
		}
		got.want(t, target, told(s, user.Get("user"), decision))
		for name, values := range got.Header {
			lower := strings.ToLower(name)
			switch {
			case lower == "x-forwarded-host":
				if values[0] != r.addr {
					t.Errorf("%s: %s: %v, want %s", target, name, values, r.addr)
				}
			case lower == "x-forwarded-proto":
			case strings.Contains(lower, "forwarded"), strings.Contains(lower, "real"), lower == "x-user", lower == "x_user",
				strings.HasPrefix(lower, "drover_"), strings.HasPrefix(lower, "drover."), lower == "drover-anything", len(values) != 1:
				t.Errorf("%s: the application sees %s: %v", target, name, values)
			}
		}
		if got.Header.Get("Droverish") != "stays" || got.Header.Get("X-Mine") != "stays" {
			t.Errorf("%s: what is not the edge's is gone: %v", target, got.Header)
		}
	}
}

func TestRequestWhoseHostIsNoHostIsRefused(t *testing.T) {
	r := start(t, halves(t, nil), worker.Options{}, nil)
	for _, host := range []string{"a/b", "a?b", "a@b", `a\b`, "a#b"} {
		connection, err := net.Dial("tcp", r.addr)
		must(t, err)
		_, err = fmt.Fprintf(connection, "GET /x HTTP/1.1\r\nHost: %s\r\n\r\n", host)
		must(t, err)
		answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
		must(t, err)
		if answer.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", host, answer.Status)
		}
		must(t, answer.Body.Close())
		must(t, connection.Close())
	}
	if n := r.asked["legacy"].Load() + r.asked["cloud"].Load(); n != 0 {
		t.Errorf("%d requests came through", n)
	}
}
