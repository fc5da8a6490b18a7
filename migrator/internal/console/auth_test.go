package console

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestNobodyIsLetInWithoutAToken(t *testing.T) {
	t.Parallel()
	y := open(t, nil)
	c := y.browser(nil)
	for _, path := range []string{"/api/me", "/api/grid", "/events"} {
		for _, headers := range [][]string{nil, {"Authorization", "Bearer wrong-0123456789"}, {"Authorization", "Basic " + operator},
			{"Authorization", "Bearer"}, {"Authorization", "Bearer "}, {"Cookie", "drover-console=" + operator}} {
			code, body := y.send(c, http.MethodGet, path, "", headers...)
			y.status(http.StatusUnauthorized, code, path+body)
		}
	}
	code, body := y.rings(c)
	y.status(http.StatusUnauthorized, code, body)
	code, _ = y.send(c, http.MethodGet, "/", "")
	y.status(http.StatusSeeOther, code, "the page")
	for _, path := range []string{"/assets/", "/assets/page.html", "/assets/login.html", "/assets/../server.go", "/server.go"} {
		if code, body := y.send(c, http.MethodGet, path, ""); code == http.StatusOK {
			t.Errorf("%s is served: %.100s", path, body)
		}
	}
}

func TestAReaderAndAForgedRequestChangeNothing(t *testing.T) {
	t.Parallel()
	y := open(t, nil)
	looks := y.browser(nil)
	word := y.login(looks, reader)
	code, body := y.rings(looks, csrfHeader, word)
	y.status(http.StatusForbidden, code, body)

	acts := y.browser(nil)
	word = y.login(acts, operator)
	for name, headers := range map[string][]string{
		"without the word":   nil,
		"a wrong word":       {csrfHeader, "wrong"},
		"another site":       {csrfHeader, word, "Sec-Fetch-Site", "cross-site"},
		"a site beside":      {csrfHeader, word, "Sec-Fetch-Site", "same-site"},
		"another origin":     {csrfHeader, word, "Origin", "http://evil.example"},
		"an opaque origin":   {csrfHeader, word, "Origin", "null"},
		"another loopback":   {csrfHeader, word, "Origin", "http://127.0.0.1:1"},
		"a session not ours": {csrfHeader, word, "Cookie", "drover-console=x", "Sec-Fetch-Site", "cross-site"},
	} {
		code, body := y.rings(acts, headers...)
		y.status(http.StatusForbidden, code, name+": "+body)
	}
	code, body = y.rings(acts, csrfHeader, word, "Content-Type", "text/plain")
	y.status(http.StatusUnsupportedMediaType, code, body)
	if n := y.bell.times(); n != 0 {
		t.Fatalf("rung %d times", n)
	}
	code, body = y.rings(acts, csrfHeader, word, "Sec-Fetch-Site", "same-origin")
	y.status(http.StatusOK, code, body)
	code, body = y.rings(y.browser(nil), "Authorization", "Bearer "+operator, "Drover-Console-Name", "robot")
	y.status(http.StatusOK, code, body)
	if y.bell.times() != 2 || y.bell.rung[0] != (By{"ann", "a test"}) || y.bell.rung[1].Who != "robot" {
		t.Errorf("rung by %+v", y.bell.rung)
	}
}

func TestAnActionIsConfirmedByTheWordThatTheServerExpects(t *testing.T) {
	t.Parallel()
	y := open(t, nil)
	c := y.browser(nil)
	auth := []string{"Authorization", "Bearer " + operator, "Content-Type", "application/json"}
	for body, want := range map[string]int{
		`{"typed": "dong", "arguments": {"word": "ding"}}`:               http.StatusConflict,
		`{"arguments": {"word": "ding"}}`:                                http.StatusConflict,
		`{"typed": "", "arguments": {}}`:                                 http.StatusBadRequest,
		`{"typed": "ding"}`:                                              http.StatusBadRequest,
		`{"typed": "ding", "sure": true, "arguments": {"word": "ding"}}`: http.StatusBadRequest,
		`{"typed": "ding", "why": "` + strings.Repeat("x", 1001) + `", "arguments": {"word": "ding"}}`: http.StatusBadRequest,
		`{"typed": "ding", "arguments": {"word": "` + strings.Repeat("x", actionBytesMax) + `"}}`:      http.StatusBadRequest,
		`{`: http.StatusBadRequest,
		"":  http.StatusBadRequest,
	} {
		code, said := y.send(c, http.MethodPost, "/api/actions/ring", body, auth...)
		y.status(want, code, said)
	}
	code, said := y.send(c, http.MethodPost, "/api/actions/sing", `{}`, auth...)
	y.status(http.StatusNotFound, code, said)
	if n := y.bell.times(); n != 0 {
		t.Errorf("rung %d times", n)
	}
}

func TestASessionEndsWithTheDayAndWithALogout(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	d := newDoor(Access{OperatorToken: operator}, true, func() time.Time { return now })
	enter := func() *http.Request {
		t.Helper()
		w := answers{header: http.Header{}}
		if !d.login(&w, operator+"\n", "a\x00nn\u202e") {
			t.Fatal("refused")
		}
		cookie, err := http.ParseSetCookie(w.header.Get("Set-Cookie"))
		must(t, err)
		if !strings.HasPrefix(cookie.Name, "__Host-") || !cookie.Secure || !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/" {
			t.Fatalf("%+v", cookie)
		}
		r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "/", nil)
		must(t, err)
		r.AddCookie(cookie)
		return r
	}
	r := enter()
	if who := d.who(r); who == nil || who.name != "ann" || who.role != Operator {
		t.Fatalf("%+v", who)
	}
	d.logout(&answers{header: http.Header{}}, r)
	if d.who(r) != nil {
		t.Error("in after a logout")
	}
	r = enter()
	now = now.Add(sessionMax)
	if d.who(r) != nil {
		t.Error("in after a day")
	}
	r = enter()
	for range sessionsMax {
		now = now.Add(time.Millisecond)
		enter()
	}
	if d.who(r) != nil || len(d.mu.sessions) > sessionsMax {
		t.Errorf("%d sessions", len(d.mu.sessions))
	}
}

// answers is a response that keeps headers.
type answers struct {
	http.ResponseWriter
	header http.Header
}

func (a *answers) Header() http.Header { return a.header }

func TestAccessThatLetsTheWrongOnesInIsRefused(t *testing.T) {
	t.Parallel()
	for _, a := range []Access{{}, {OperatorToken: "short"}, {ReaderToken: "short"}, {OperatorToken: operator, ReaderToken: operator},
		{OperatorToken: operator, Operators: []string{"ann"}}} {
		if a.Validate() == nil {
			t.Errorf("%+v is good", a)
		}
	}
	if role, ok := (Access{OperatorToken: operator}).roleOf(""); ok {
		t.Errorf("no token makes a %s", role)
	}
}
