package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func TestClaimOfAVerifiedTokenIsTheUser(t *testing.T) {
	i, w := newIssuer(t), newWitness()
	f := i.finder(t, w, nil)
	long := strings.Repeat("x", 256)
	for _, c := range []struct {
		name   string
		claims jwt.MapClaims
		want   string
		err    error
		refuse Refusal
	}{
		{"string", claims("ann"), "ann", nil, NotRefused},
		{"not ASCII", claims("Jörg"), "Jörg", nil, NotRefused},
		{"integer", claims(9007199254740993), "9007199254740993", nil, NotRefused},
		{"negative integer", claims(-7), "-7", nil, NotRefused},
		{"256 bytes", claims(long), long, nil, NotRefused},
		{"257 bytes", claims(long + "x"), "", ErrTooLong, NotRefused},
		{"number that is no integer", claims(1.5), "", ErrClaim, NotRefused},
		{"number with an exponent", claims(1e30), "", ErrClaim, NotRefused},
		{"list", claims([]string{"ann"}), "", ErrClaim, NotRefused},
		{"truth", claims(true), "", ErrClaim, NotRefused},
		{"line break", claims("a\r\nX-Evil: 1"), "", ErrBytes, NotRefused},
		{"blank at an end", claims("ann "), "", ErrBytes, NotRefused},
		{"no UTF-8", claims("a\xffb"), "", ErrBytes, NotRefused},
		{"empty", claims(""), "", nil, RefusedNoClaim},
		{"absent", claims("ann", "sub", nil), "", nil, RefusedNoClaim},
		{"another case", claims("ann", "sub", nil, "Sub", "ann"), "", nil, RefusedNoClaim},
		{"expired", claims("ann", "exp", time.Now().Add(-time.Second).Unix()), "", nil, RefusedExpired},
		{"no exp", claims("ann", "exp", nil), "", nil, RefusedClaims},
		{"exp that is no number", claims("ann", "exp", "tomorrow"), "", nil, RefusedClaims},
		{"exp beyond all time", claims("ann", "exp", 1e300), "", nil, RefusedExpired},
		{"not yet", claims("ann", "nbf", time.Now().Add(time.Hour).Unix()), "", nil, RefusedEarly},
	} {
		t.Run(c.name, func(t *testing.T) {
			token := i.sign(t, "EdDSA", "ed", c.claims)
			for range 2 { // the second is from memory
				wantFound(t, f, &Request{Fields: fields("authorization", "bearer  "+token)}, c.want, c.err)
				if got := w.last(t); got != c.refuse {
					t.Fatalf("refused as %s, want %s", got, c.refuse)
				}
			}
		})
	}
}

func TestTokenOfEachAlgorithmOfTheDefaultVerifies(t *testing.T) {
	i, w := newIssuer(t), newWitness()
	f := i.finder(t, w, nil)
	for algorithm, kid := range map[string]string{"RS256": "rsa", "ES256": "ec", "EdDSA": "ed"} {
		for _, kid := range []string{kid, "." + kid} {
			if got := userOfToken(t, f, i.sign(t, algorithm, kid, claims("ann"))); got != "ann" {
				t.Errorf("%s by %s: got %q, refused as %s", algorithm, kid, got, w.last(t))
			}
		}
	}
}

func TestTokenIsTakenFromWhereItIsConfigured(t *testing.T) {
	i := newIssuer(t)
	bearer := i.finder(t, nil, nil)
	header := i.finder(t, nil, func(s *JWTSource) { s.Header = "X-Token" })
	cookie := i.finder(t, nil, func(s *JWTSource) { s.Cookie, s.Claim = "session", "uid" })
	a, b := i.sign(t, "EdDSA", "ed", claims("ann")), i.sign(t, "EdDSA", "ed", claims("bob"))
	c := i.sign(t, "EdDSA", "ed", claims("x", "uid", 17))
	for _, one := range []struct {
		name   string
		f      *Finder
		values []string
		want   string
		err    error
	}{
		{"bearer", bearer, []string{"Authorization", "Bearer " + a}, "ann", nil},
		{"bearer, then a tab", bearer, []string{"Authorization", "BEARER\t" + a}, "ann", nil},
		{"no scheme", bearer, []string{"Authorization", a}, "", nil},
		{"another scheme", bearer, []string{"Authorization", "Basic " + a}, "", nil},
		{"bearer and nothing", bearer, []string{"Authorization", "Bearer "}, "", nil},
		{"another scheme too", bearer, []string{"Authorization", "Basic x", "Authorization", "Bearer " + a}, "ann", nil},
		{"another header", bearer, []string{"X-Token", a}, "", nil},
		{"twice", bearer, []string{"Authorization", "Bearer " + a, "authorization", "bearer " + a}, "ann", nil},
		{"two tokens", bearer, []string{"Authorization", "Bearer " + a, "Authorization", "Bearer " + b}, "", ErrAmbiguous},
		{"named header", header, []string{"x-token", a}, "ann", nil},
		{"named header with scheme", header, []string{"X-Token", "Bearer " + a}, "ann", nil},
		{"named header only", header, []string{"Authorization", "Bearer " + a}, "", nil},
		{"cookie", cookie, []string{"Cookie", "a=b; session=" + c}, "17", nil},
		{"two cookies", cookie, []string{"Cookie", "session=" + c + "; session=" + a}, "", ErrAmbiguous},
		{"cookie only", cookie, []string{"Authorization", "Bearer " + c}, "", nil},
	} {
		t.Run(one.name, func(t *testing.T) {
			wantFound(t, one.f, &Request{Fields: fields(one.values...)}, one.want, one.err)
		})
	}
}

func TestIssuerAudienceAndLeewayAreChecked(t *testing.T) {
	i, w := newIssuer(t), newWitness()
	f := i.finder(t, w, func(s *JWTSource) {
		s.Issuer, s.Audience, s.Leeway, s.ExpOptional = "https://issuer", []string{"web", "app"}, time.Minute, true
	})
	good := []any{"iss", "https://issuer", "aud", []string{"other", "app"}}
	with := func(more ...any) jwt.MapClaims { return claims("ann", append(append([]any{}, good...), more...)...) }
	for _, c := range []struct {
		name   string
		claims jwt.MapClaims
		want   Refusal
	}{
		{"good", with(), NotRefused},
		{"one audience", with("aud", "web"), NotRefused},
		{"no exp", with("exp", nil), NotRefused},
		{"expired within the leeway", with("exp", time.Now().Add(-30*time.Second).Unix()), NotRefused},
		{"early within the leeway", with("nbf", time.Now().Add(30*time.Second).Unix()), NotRefused},
		{"expired", with("exp", time.Now().Add(-2*time.Minute).Unix()), RefusedExpired},
		{"early", with("nbf", time.Now().Add(2*time.Minute).Unix()), RefusedEarly},
		{"another issuer", with("iss", "https://issuer/"), RefusedClaims},
		{"no issuer", with("iss", nil), RefusedClaims},
		{"another audience", with("aud", "ap"), RefusedClaims},
		{"no audience", with("aud", nil), RefusedClaims},
	} {
		t.Run(c.name, func(t *testing.T) {
			token := i.sign(t, "ES256", "ec", c.claims)
			for range 2 {
				user := userOfToken(t, f, token)
				if got := w.last(t); got != c.want || (user == "ann") != (c.want == NotRefused) {
					t.Fatalf("got %q, refused as %s; want %s", user, got, c.want)
				}
			}
		})
	}
}

// raw builds a token of parts that no library would sign.
func raw(header, payload, signature string) string {
	e := base64.RawURLEncoding.EncodeToString
	return e([]byte(header)) + "." + e([]byte(payload)) + "." + e([]byte(signature))
}

// hmacWith signs a text as HS256 does.
func hmacWith(t *testing.T, text string, key []byte) string {
	t.Helper()
	s, err := jwt.SigningMethodHS256.Sign(text, key)
	must(t, err)
	return text + "." + base64.RawURLEncoding.EncodeToString(s)
}

func TestForgedTokensMakeNoUser(t *testing.T) {
	i, w := newIssuer(t), newWitness()
	shared := []byte(strings.Repeat("s", 64))
	i.add(t, "shared", shared, "")
	// The second finder believes HS256, and a public key is no shared secret to
	// it either.
	strict := i.finder(t, w, nil)
	mixed := i.finder(t, w, func(s *JWTSource) { s.Algorithms = []string{"RS256", "EdDSA", "HS256"} })
	if got := userOfToken(t, mixed, i.sign(t, "HS256", "shared", claims("ann"))); got != "ann" {
		t.Fatalf("a shared secret that is configured: got %q, refused as %s", got, w.last(t))
	}
	good := i.sign(t, "RS256", "rsa", claims("ann"))
	parts := strings.Split(good, ".")
	key, err := rsaKey()
	must(t, err)
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	must(t, err)
	block := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})
	confused := strings.TrimSuffix(raw(`{"alg":"HS256","kid":"rsa"}`, `{"sub":"ann","exp":99999999999}`, ""), ".")
	unnamed := strings.TrimSuffix(raw(`{"alg":"HS256"}`, `{"sub":"ann","exp":99999999999}`, ""), ".")
	body := `{"sub":"ann","exp":99999999999}`
	other := i.sign(t, "RS256", "rsa", claims("bob"))
	crit := jwt.NewWithClaims(jwt.SigningMethodRS256, claims("ann"))
	crit.Header["kid"], crit.Header["crit"] = "rsa", []string{"b64"}
	critical, err := crit.SignedString(key)
	must(t, err)
	for name, c := range map[string]struct {
		token string
		want  []Refusal // of strict and of mixed
	}{
		"none":                       {raw(`{"alg":"none"}`, body, ""), []Refusal{RefusedMethod, RefusedMethod}},
		"None":                       {raw(`{"alg":"None"}`, body, ""), []Refusal{RefusedMethod, RefusedMethod}},
		"no algorithm":               {raw(`{"kid":"rsa"}`, body, "x"), []Refusal{RefusedMethod, RefusedMethod}},
		"algorithm not on the list":  {i.sign(t, "RS512", "rsa", claims("ann")), []Refusal{RefusedMethod, RefusedMethod}},
		"shared secret not believed": {i.sign(t, "HS256", "shared", claims("ann")), []Refusal{RefusedMethod, NotRefused}},
		"public key as a secret":     {hmacWith(t, confused, block), []Refusal{RefusedMethod, RefusedKey}},
		"modulus as a secret":        {hmacWith(t, confused, key.N.Bytes()), []Refusal{RefusedMethod, RefusedKey}},
		"secret with no key id":      {hmacWith(t, unnamed, block), []Refusal{RefusedMethod, RefusedProof}},
		"empty secret":               {hmacWith(t, unnamed, nil), []Refusal{RefusedMethod, RefusedProof}},
		"another kind's key":         {raw(`{"alg":"EdDSA","kid":"rsa"}`, body, strings.Repeat("x", 64)), []Refusal{RefusedKey, RefusedKey}},
		"another payload":            {parts[0] + "." + strings.Split(other, ".")[1] + "." + parts[2], []Refusal{RefusedProof, RefusedProof}},
		"no signature":               {parts[0] + "." + parts[1] + ".", []Refusal{RefusedProof, RefusedProof}},
		"signature cut short":        {good[:len(good)-2], []Refusal{RefusedProof, RefusedProof}},
		"unknown key":                {raw(`{"alg":"RS256","kid":"gone"}`, body, "x"), []Refusal{RefusedKey, RefusedKey}},
		"key id that is no text":     {raw(`{"alg":"RS256","kid":7}`, body, "x"), []Refusal{RefusedForm, RefusedForm}},
		"key in the token":           {raw(`{"alg":"RS256","jwk":{"kty":"RSA"},"jku":"http://127.0.0.1:1/"}`, body, "x"), []Refusal{RefusedProof, RefusedProof}},
		"critical header":            {critical, []Refusal{RefusedForm, RefusedForm}},
		"four parts":                 {good + ".x", []Refusal{RefusedForm, RefusedForm}},
		"two parts":                  {parts[0] + "." + parts[1], []Refusal{RefusedForm, RefusedForm}},
		"dots alone":                 {"..", []Refusal{RefusedForm, RefusedForm}},
		"no base64":                  {"a!." + parts[1] + "." + parts[2], []Refusal{RefusedForm, RefusedForm}},
		"padding":                    {parts[0] + "." + parts[1] + "." + parts[2] + "==", []Refusal{RefusedForm, RefusedForm}},
		"bits after the end":         {looseTail(good), []Refusal{RefusedForm, RefusedForm}},
		"no JSON":                    {raw("{", body, "x"), []Refusal{RefusedForm, RefusedForm}},
		"payload that is a list":     {raw(`{"alg":"RS256","kid":"rsa"}`, "[]", "x"), []Refusal{RefusedForm, RefusedForm}},
		"8 KiB and one byte":         {good + strings.Repeat("x", tokenMax+1-len(good)), []Refusal{RefusedLength, RefusedLength}},
	} {
		for at, f := range []*Finder{strict, mixed} {
			user := userOfToken(t, f, c.token)
			if got := w.last(t); got != c.want[at] || (user != "") != (got == NotRefused) {
				t.Errorf("%s, %d: got %q, refused as %s; want %s", name, at, user, got, c.want[at])
			}
		}
	}
}

// looseTail sets bits of the last character that a strict decoder wants zero:
// 256 bytes are 341 characters and two bits of one more.
func looseTail(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	at := strings.IndexByte(alphabet, token[len(token)-1])
	return token[:len(token)-1] + string(alphabet[at|1])
}

func TestWeakAndForeignKeysAreNotUsed(t *testing.T) {
	i, w := newIssuer(t), newWitness()
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	must(t, err)
	i.add(t, "small", small, "")
	sealing, err := rsaKey()
	must(t, err)
	i.add(t, "sealing", sealing, "enc")
	i.add(t, "short", []byte("thirty-one bytes are too few....")[:31], "")
	big, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(t, err)
	i.add(t, "big", big, "")
	f := i.finder(t, w, func(s *JWTSource) { s.Algorithms = []string{"RS256", "ES256", "HS256"} })
	for _, c := range []struct{ algorithm, kid string }{{"RS256", "small"}, {"RS256", "sealing"}, {"HS256", "short"}} {
		if user := userOfToken(t, f, i.sign(t, c.algorithm, c.kid, claims("ann"))); user != "" {
			t.Errorf("%s: got %q", c.kid, user)
		}
		if got := w.last(t); got != RefusedKey {
			t.Errorf("%s: refused as %s", c.kid, got)
		}
	}
	userOfToken(t, f, raw(`{"alg":"ES256","kid":"big"}`, `{"sub":"ann"}`, strings.Repeat("x", 64)))
	if got := w.last(t); got != RefusedKey {
		t.Errorf("a key of another curve: refused as %s", got)
	}
	if user := userOfToken(t, f, i.sign(t, "RS256", "rsa", claims("ann"))); user != "ann" {
		t.Errorf("the good key beside them: got %q", user)
	}
}

func TestAnInvalidTokenLeavesTheRequestToTheNextSource(t *testing.T) {
	i, w := newIssuer(t), newWitness()
	f, err := New([]Source{{JWT: &JWTSource{URL: i.server.URL}}, {Cookie: "uid"}}, Options{Observer: w})
	must(t, err)
	must(t, f.Load(t.Context()))
	expired := i.sign(t, "EdDSA", "ed", claims("ann", "exp", 1))
	var found Found
	must(t, f.Find(&Request{Fields: fields("Authorization", "Bearer "+expired, "Cookie", "uid=bob")}, &found))
	if string(found.User) != "bob" || found.Source != 1 || w.last(t) != RefusedExpired {
		t.Fatalf("got %+v", found)
	}
}

func TestATokenWithoutKeyIdIsTriedAgainstFewKeys(t *testing.T) {
	i, w := newIssuer(t), newWitness()
	for n := range keysTriedMax {
		i.addEd(t, string(rune('a'+n)))
	}
	f := i.finder(t, w, nil)
	userOfToken(t, f, i.sign(t, "EdDSA", ".ed", claims("ann")))
	if got := w.last(t); got != RefusedKey {
		t.Fatalf("refused as %s", got)
	}
	i.drop("a")
	f = i.finder(t, w, nil)
	if user := userOfToken(t, f, i.sign(t, "EdDSA", ".ed", claims("ann"))); user != "ann" {
		t.Fatalf("got %q, refused as %s", user, w.last(t))
	}
}

func TestEachRefusalHasAWord(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range append(Refusals(), NotRefused) {
		if w := r.String(); seen[w] || strings.Contains(w, "(") {
			t.Errorf("%d is called %s", r, w)
		} else {
			seen[w] = true
		}
	}
	if errors.Is(ErrKeys, ErrUnusable) {
		t.Error("a failure to read keys is not a request's error")
	}
}
