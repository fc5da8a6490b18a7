package identity

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

// issuer signs tokens, and serves its key set over loopback.
type issuer struct {
	server *httptest.Server
	reads  atomic.Int32 // of the key set
	mu     struct {
		sync.Mutex
		signers map[string]any // by key id
		set     []jwkset.JWK
		answer  http.HandlerFunc // nil: the key set
	}
}

// rsaKey is made once: it is what takes long.
var rsaKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// newIssuer returns an issuer with the keys rsa, ec and ed.
func newIssuer(tb testing.TB) *issuer {
	tb.Helper()
	i := &issuer{}
	i.mu.signers = map[string]any{}
	rk, err := rsaKey()
	must(tb, err)
	i.add(tb, "rsa", rk, "")
	ek, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(tb, err)
	i.add(tb, "ec", ek, "")
	i.addEd(tb, "ed")
	i.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.reads.Add(1)
		i.mu.Lock()
		answer, set := i.mu.answer, i.jwks()
		i.mu.Unlock()
		if answer != nil {
			answer(w, r)
			return
		}
		_, _ = w.Write(set)
	}))
	tb.Cleanup(i.server.Close)
	return i
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func (i *issuer) addEd(tb testing.TB, kid string) {
	tb.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(tb, err)
	i.add(tb, kid, key, "")
}

// add gives the issuer a key. Only the public one is published, of a shared
// secret the secret.
func (i *issuer) add(tb testing.TB, kid string, key any, use jwkset.USE) {
	tb.Helper()
	public, shared := key, true
	if pair, ok := key.(interface{ Public() crypto.PublicKey }); ok {
		public, shared = pair.Public(), false
	}
	jwk, err := jwkset.NewJWKFromKey(public, jwkset.JWKOptions{
		Marshal: jwkset.JWKMarshalOptions{Private: shared}, Metadata: jwkset.JWKMetadataOptions{KID: kid, USE: use},
	})
	must(tb, err)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.mu.signers[kid] = key
	i.mu.set = append(i.mu.set, jwk)
}

// drop takes keys out of the published set.
func (i *issuer) drop(kids ...string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, kid := range kids {
		for at, key := range i.mu.set {
			if key.Marshal().KID == kid {
				i.mu.set = append(i.mu.set[:at:at], i.mu.set[at+1:]...)
				break
			}
		}
	}
}

// answers replaces the answer; nil serves the key set again.
func (i *issuer) answers(h http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.mu.answer = h
}

// jwks is called with the lock held.
func (i *issuer) jwks() []byte {
	out := jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{}}
	for _, key := range i.mu.set {
		out.Keys = append(out.Keys, key.Marshal())
	}
	raw, err := json.Marshal(out)
	if err != nil {
		return []byte(err.Error())
	}
	return raw
}

// claims of a token for a user, good for an hour.
func claims(user any, more ...any) jwt.MapClaims {
	c := jwt.MapClaims{"sub": user, "exp": time.Now().Add(time.Hour).Unix()}
	for i := 0; i < len(more); i += 2 {
		if more[i+1] == nil {
			delete(c, more[i].(string))
			continue
		}
		c[more[i].(string)] = more[i+1]
	}
	return c
}

// sign makes a token. Without a key id it is signed by the key named after the
// dot, ".ed".
func (i *issuer) sign(tb testing.TB, algorithm, kid string, c jwt.MapClaims) string {
	tb.Helper()
	token := jwt.NewWithClaims(jwt.GetSigningMethod(algorithm), c)
	if kid[0] == '.' {
		kid = kid[1:]
	} else {
		token.Header["kid"] = kid
	}
	i.mu.Lock()
	key := i.mu.signers[kid]
	i.mu.Unlock()
	text, err := token.SignedString(key)
	must(tb, err)
	return text
}

// finder returns a loaded finder of one source, the issuer's tokens.
func (i *issuer) finder(tb testing.TB, observer Observer, change func(*JWTSource)) *Finder {
	tb.Helper()
	f := i.unloaded(tb, observer, change)
	must(tb, f.Load(context.Background()))
	return f
}

func (i *issuer) unloaded(tb testing.TB, observer Observer, change func(*JWTSource)) *Finder {
	tb.Helper()
	s := JWTSource{URL: i.server.URL, RefreshGap: time.Millisecond}
	if change != nil {
		change(&s)
	}
	f, err := New([]Source{{JWT: &s}}, Options{Observer: observer})
	must(tb, err)
	tb.Cleanup(f.client.CloseIdleConnections)
	return f
}

// witness is an Observer that remembers.
type witness struct {
	reads chan error // buffered: a test takes what it waits for
	mu    struct {
		sync.Mutex
		refusals []Refusal
	}
}

func newWitness() *witness { return &witness{reads: make(chan error, 1024)} }

func (w *witness) TokenRefused(_ int, r Refusal) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.refusals = append(w.mu.refusals, r)
}

func (w *witness) KeysRead(_, _ int, err error) {
	select {
	case w.reads <- err:
	default:
	}
}

// last returns the refusals since the last call: one, or NotRefused.
func (w *witness) last(t *testing.T) Refusal {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	refusals := w.mu.refusals
	w.mu.refusals = nil
	switch len(refusals) {
	case 0:
		return NotRefused
	case 1:
		return refusals[0]
	default:
		t.Fatalf("%d refusals were reported", len(refusals))
		return NotRefused
	}
}

// userOfToken returns what a finder makes of a bearer token.
func userOfToken(t *testing.T, f *Finder, token string) string {
	t.Helper()
	var found Found
	err := f.Find(&Request{Fields: fields("Host", "x", "Authorization", "Bearer "+token)}, &found)
	must(t, err)
	return string(found.User)
}

// running runs a finder until the test's end, which waits for it.
func running(t *testing.T, f *Finder) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
}

// patience bounds every wait of a test; none should need it.
const patience = 20 * time.Second

// awaitRead waits for a read of the key set that ends well, or ends badly.
func awaitRead(t *testing.T, w *witness, well bool) {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		select {
		case err := <-w.reads:
			if (err == nil) == well {
				return
			}
		case <-limit.C:
			t.Fatalf("the key set was not read within %s", patience)
		}
	}
}
