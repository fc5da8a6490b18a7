package identity

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"
)

func down(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }

func TestAnUnknownKeyIsNoUserNowAndARefreshBringsIt(t *testing.T) {
	i, w := newIssuer(t), newWitness()
	f := i.finder(t, w, nil)
	awaitRead(t, w, true) // Load's
	running(t, f)
	old := i.sign(t, "EdDSA", "ed", claims("ann"))
	if user := userOfToken(t, f, old); user != "ann" {
		t.Fatalf("got %q", user)
	}
	i.addEd(t, "new")
	token := i.sign(t, "EdDSA", "new", claims("bob"))
	if user := userOfToken(t, f, token); user != "" || w.last(t) != RefusedKey {
		t.Fatalf("got %q of a key that was not read", user)
	}
	awaitRead(t, w, true)
	if user := userOfToken(t, f, token); user != "bob" {
		t.Fatalf("got %q after the refresh, refused as %s", user, w.last(t))
	}
	if user := userOfToken(t, f, old); user != "ann" {
		t.Fatalf("got %q by the key of before", user)
	}
}

func TestARevokedKeysTokensAreForgotten(t *testing.T) {
	i, w := newIssuer(t), newWitness()
	f := i.finder(t, w, nil)
	token := i.sign(t, "EdDSA", "ed", claims("ann"))
	for range 2 {
		if user := userOfToken(t, f, token); user != "ann" {
			t.Fatalf("got %q", user)
		}
	}
	i.drop("ed")
	if user := userOfToken(t, f, token); user != "ann" {
		t.Fatalf("got %q before the refresh", user)
	}
	must(t, f.Load(t.Context()))
	if user := userOfToken(t, f, token); user != "" || w.last(t) != RefusedKey {
		t.Fatalf("got %q after the key was revoked", user)
	}
}

func TestAReplacedKeyOfTheSameNameIsUsed(t *testing.T) {
	i, w := newIssuer(t), newWitness()
	f := i.finder(t, w, nil)
	old := i.sign(t, "EdDSA", "ed", claims("ann"))
	userOfToken(t, f, old)
	i.drop("ed")
	i.addEd(t, "ed")
	fresh := i.sign(t, "EdDSA", "ed", claims("bob"))
	userOfToken(t, f, fresh)
	if got := w.last(t); got != RefusedProof {
		t.Fatalf("refused as %s", got)
	}
	must(t, f.Load(t.Context()))
	if a, b := userOfToken(t, f, old), userOfToken(t, f, fresh); a != "" || b != "bob" {
		t.Fatalf("got %q, %q", a, b)
	}
}

func TestKeysOfBeforeStayWhateverTheServerAnswers(t *testing.T) {
	i, w := newIssuer(t), newWitness()
	f := i.finder(t, w, nil)
	token := i.sign(t, "RS256", "rsa", claims("ann"))
	for name, answer := range map[string]http.HandlerFunc{
		"down":          down,
		"cut off":       func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"empty":         func(http.ResponseWriter, *http.Request) {},
		"no keys":       func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) },
		"no key set":    func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`<html>`)) },
		"null":          func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`null`)) },
		"odd keys":      func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[{"kty":"X"}]}`)) },
		"two keys sets": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}{"keys":[]}`)) },
		"too many keys": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[{}` + strings.Repeat(",{}", keysMax) + `]}`))
		},
		"too long": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[` + strings.Repeat(" ", keySetMax)))
		},
		"redirects": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/again", http.StatusFound) },
	} {
		i.answers(answer)
		before := f.places[0].verifier.keys.current.Load()
		if err := f.Load(t.Context()); !errors.Is(err, ErrKeys) {
			t.Errorf("%s: got %v", name, err)
		}
		if f.places[0].verifier.keys.current.Load() != before {
			t.Errorf("%s: the keys were replaced", name)
		}
		if user := userOfToken(t, f, token); user != "ann" {
			t.Errorf("%s: got %q", name, user)
		}
	}
	i.answers(nil)
	must(t, f.Load(t.Context()))
}

func TestAProxyStartsWithoutKeysAndGetsThemLater(t *testing.T) {
	i, w := newIssuer(t), newWitness()
	i.answers(down)
	f := i.unloaded(t, w, nil)
	f.places[0].verifier.keys.retry = time.Millisecond
	if err := f.Load(t.Context()); !errors.Is(err, ErrKeys) {
		t.Fatalf("got %v", err)
	}
	awaitRead(t, w, false) // Load's
	token := i.sign(t, "ES256", "ec", claims("ann"))
	if user := userOfToken(t, f, token); user != "" || w.last(t) != RefusedNoKeys {
		t.Fatalf("got %q without keys", user)
	}
	running(t, f)
	awaitRead(t, w, false)
	awaitRead(t, w, false) // it tries again
	i.answers(nil)
	awaitRead(t, w, true)
	if user := userOfToken(t, f, token); user != "ann" {
		t.Fatalf("got %q, refused as %s", user, w.last(t))
	}
}

// TestARequestNeverWaitsForTheNetwork has a server that does not answer: a
// request that waited for it would never return.
func TestARequestNeverWaitsForTheNetwork(t *testing.T) {
	i, w := newIssuer(t), newWitness()
	f := i.finder(t, w, nil)
	reached, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	var once atomic.Bool
	i.answers(func(w http.ResponseWriter, r *http.Request) {
		if !once.Swap(true) {
			close(reached)
		}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	running(t, f)
	i.addEd(t, "new")
	unknown, known := i.sign(t, "EdDSA", "new", claims("bob")), i.sign(t, "EdDSA", "ed", claims("ann"))
	userOfToken(t, f, unknown)
	select {
	case <-reached:
	case <-time.After(patience):
		t.Fatal("no refresh was begun")
	}
	for range 100 {
		if a, b := userOfToken(t, f, known), userOfToken(t, f, unknown); a != "ann" || b != "" {
			t.Fatalf("got %q, %q while a refresh hangs", a, b)
		}
	}
}

func TestMadeUpKeyIdsCauseOneRefreshInAGap(t *testing.T) {
	i, w := newIssuer(t), newWitness()
	f := i.finder(t, w, func(s *JWTSource) { s.RefreshGap = time.Hour; s.Refresh = time.Hour })
	running(t, f)
	for n := range 1000 {
		header := `{"alg":"RS256","kid":"made up ` + strconv.Itoa(n) + `"}`
		userOfToken(t, f, raw(header, `{"sub":"ann"}`, "x"))
	}
	awaitRead(t, w, true) // Load's
	awaitRead(t, w, true)
	// The gap is an hour and begins with the read above; the wish that may
	// have been stored meanwhile cannot cut it.
	for n := range 1000 {
		header := `{"alg":"RS256","kid":"made up again ` + strconv.Itoa(n) + `"}`
		userOfToken(t, f, raw(header, `{"sub":"ann"}`, "x"))
	}
	if n := i.reads.Load(); n != 2 {
		t.Fatalf("the key set was read %d times", n)
	}
}

func TestRunReadsMissingKeysAtOnce(t *testing.T) {
	i, w := newIssuer(t), newWitness()
	f := i.unloaded(t, w, func(s *JWTSource) { s.Refresh = 24 * time.Hour })
	running(t, f)
	awaitRead(t, w, true) // no token has asked for it
	if user := userOfToken(t, f, i.sign(t, "EdDSA", "ed", claims("ann"))); user != "ann" {
		t.Fatalf("got %q, refused as %s", user, w.last(t))
	}
}

func TestKeysAreReadAgainAtIntervals(t *testing.T) {
	i, w := newIssuer(t), newWitness()
	f := i.unloaded(t, w, nil)
	f.places[0].verifier.source.Refresh = time.Millisecond // less than can be configured
	running(t, f)
	for range 5 {
		awaitRead(t, w, true)
	}
}

func TestAnUnchangedKeySetKeepsWhatWasVerified(t *testing.T) {
	i := newIssuer(t)
	f := i.finder(t, nil, nil)
	before := f.places[0].verifier.keys.current.Load()
	must(t, f.Load(t.Context()))
	if f.places[0].verifier.keys.current.Load() != before {
		t.Fatal("the same keys were taken for new ones")
	}
}

func TestIntervalsAreSpread(t *testing.T) {
	k := newKeyring(&JWTSource{}, nil)
	for _, c := range []struct {
		random float64
		want   time.Duration
	}{{0, 48 * time.Second}, {0.5, time.Minute}, {1, 72 * time.Second}} {
		k.random = func() float64 { return c.random }
		if got := k.spread(time.Minute).Round(time.Millisecond); got != c.want {
			t.Errorf("%v: got %s, want %s", c.random, got, c.want)
		}
	}
}

func TestKeysAreReadFromAFile(t *testing.T) {
	i, w := newIssuer(t), newWitness()
	path := filepath.Join(t.TempDir(), "jwks.json")
	f := i.unloaded(t, w, func(s *JWTSource) { s.URL, s.File = "", path })
	if err := f.Load(t.Context()); !errors.Is(err, ErrKeys) || !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
	must(t, os.WriteFile(path, i.jwks(), 0o600))
	must(t, f.Load(t.Context()))
	token := i.sign(t, "RS256", "rsa", claims("ann"))
	if user := userOfToken(t, f, token); user != "ann" {
		t.Fatalf("got %q", user)
	}
	must(t, os.WriteFile(path, nil, 0o600))
	if err := f.Load(t.Context()); !errors.Is(err, ErrKeys) {
		t.Fatalf("got %v", err)
	}
	if user := userOfToken(t, f, token); user != "ann" {
		t.Fatalf("got %q after the file was emptied", user)
	}
}

func TestNoURLInAKeyIsFollowed(t *testing.T) {
	i := newIssuer(t)
	var followed atomic.Int32
	trap := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	defer trap.Close()
	i.mu.Lock()
	set := string(i.jwks())
	i.mu.Unlock()
	i.answers(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(strings.ReplaceAll(set, `"kid":`, `"x5u":"`+trap.URL+`","kid":`)))
	})
	f := i.unloaded(t, nil, nil)
	must(t, f.Load(t.Context()))
	header := `{"alg":"RS256","kid":"rsa","jku":"` + trap.URL + `","x5u":"` + trap.URL + `"}`
	userOfToken(t, f, raw(header, `{"sub":"ann"}`, "x"))
	if n := followed.Load(); n != 0 {
		t.Fatalf("%d requests went to a URL of a key or a token", n)
	}
}

func TestEncryptionIsNotGivenUpByARedirect(t *testing.T) {
	check := newClient().CheckRedirect
	request := func(url string) *http.Request {
		r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
		must(t, err)
		return r
	}
	safe, open := request("https://a/"), request("http://a/")
	if check(open, []*http.Request{safe}) == nil {
		t.Error("from https to http")
	}
	if check(open, []*http.Request{safe, safe}) == nil {
		t.Error("from https to http, later")
	}
	if err := check(safe, []*http.Request{open}); err != nil {
		t.Error(err)
	}
	if check(safe, []*http.Request{safe, safe, safe, safe}) == nil {
		t.Error("four redirects")
	}
}

func TestRunWaitsForWhatItStarted(t *testing.T) {
	i := newIssuer(t)
	ignore := goleak.IgnoreCurrent()
	f := i.unloaded(t, nil, func(s *JWTSource) { s.RefreshGap = time.Hour; s.Refresh = time.Hour })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	cancel()
	must(t, <-done)
	i.server.Close()
	goleak.VerifyNone(t, ignore)
	empty := finder(t, Source{Cookie: "uid"})
	must(t, empty.Run(ctx))
	must(t, empty.Load(ctx))
}

func TestATokenIsForgottenWhenItExpires(t *testing.T) {
	i, w := newIssuer(t), newWitness()
	now := time.Now().Truncate(time.Second)
	var clock atomic.Int64
	f, err := New([]Source{{JWT: &JWTSource{URL: i.server.URL, ExpOptional: true}}},
		Options{Observer: w, Now: func() time.Time { return now.Add(time.Duration(clock.Load())) }})
	must(t, err)
	must(t, f.Load(t.Context()))
	short := i.sign(t, "EdDSA", "ed", jwt.MapClaims{"sub": "ann", "exp": now.Add(10 * time.Second).Unix()})
	early := i.sign(t, "EdDSA", "ed", jwt.MapClaims{"sub": "bob", "nbf": now.Add(2 * time.Second).Unix()})
	verified := f.places[0].verifier.verified
	for _, c := range []struct {
		at         time.Duration
		ann, bob   string
		remembered int
	}{
		{0, "ann", "", 1}, {2*time.Second - 1, "ann", "", 1}, {2 * time.Second, "ann", "bob", 2},
		{10*time.Second - 1, "ann", "bob", 2}, {10 * time.Second, "", "bob", 1}, {2 * verdictAgeMax, "", "bob", 1},
	} {
		clock.Store(int64(c.at))
		if a, b := userOfToken(t, f, short), userOfToken(t, f, early); a != c.ann || b != c.bob {
			t.Errorf("at %s: got %q, %q; want %q, %q", c.at, a, b, c.ann, c.bob)
		}
		if n := size(verified); n != c.remembered {
			t.Errorf("at %s: %d tokens are remembered, want %d", c.at, n, c.remembered)
		}
	}
}
