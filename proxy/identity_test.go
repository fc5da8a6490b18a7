package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"drover/proxy/internal/config"
)

func TestAUserIsFoundByPathQueryTokenAndBucket(t *testing.T) {
	t.Parallel()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := filepath.Join(t.TempDir(), "keys.json")
	writeFile(t, keys, fmt.Sprintf(`{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","kid":"k","use":"sig","x":%q}]}`,
		base64.RawURLEncoding.EncodeToString(public)))
	sign := func(key ed25519.PrivateKey, user string, until time.Time) string {
		token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{"sub": user, "exp": until.Unix()})
		token.Header["kid"] = "k"
		text, err := token.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(c *config.Config) {
		c.Identity = []config.Identity{
			{JWT: &config.JWT{JWKSFile: keys, RequireExp: true}}, {Path: "/1/user/{id}"}, {Query: "user"}, {Bucket: "X-Bucket"},
		}
	})
	r.publish(moveTo(t, bucketOf("ann"), cloud))
	for dc, a := range r.apps {
		a.handle(func(w http.ResponseWriter, req *http.Request) {
			fmt.Fprint(w, dc, " ", req.Header.Get("Drover-User"), " ", req.Header.Get("Drover-Bucket"), " ", req.Header.Get("Drover-Route"))
		})
	}
	hour := time.Now().Add(time.Hour)
	home := fmt.Sprint("cloud ann ", bucketOf("ann"), " bucket")
	for _, x := range []struct{ path, header, want string }{
		{"/1/user/ann", "", home},
		{"/1/user/ann/more?x=y", "", home},
		{"/?a=b&user=ann", "", home},
		{"/", "Authorization: Bearer " + sign(private, "ann", hour), home},
		{"/1/user/bob", "Authorization: Bearer " + sign(private, "ann", hour), home},
		{"/", "X-Bucket: " + fmt.Sprint(bucketOf("ann")), fmt.Sprint("cloud  ", bucketOf("ann"), " bucket")},
		{"/", "", "legacy   no_user"},
	} {
		c := r.dial()
		for range 2 { // the second from what is remembered
			c.send("GET " + x.path + " HTTP/1.1\r\nHost: h\r\n" + strings.TrimPrefix(x.header+"\r\n", "\r\n") + "\r\n")
			r.want(c.response("GET"), 200, x.want)
		}
	}
	for _, token := range []string{sign(stranger, "ann", hour), sign(private, "ann", time.Now().Add(-time.Hour)), "nothing"} {
		c := r.dial()
		c.send("GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer " + token + "\r\n\r\n")
		if got := c.response("GET"); got.status != 200 || strings.Contains(got.body, "ann") || strings.Contains(got.body, "cloud") {
			t.Errorf("%s: got %v", token, got)
		}
	}
}

func TestForwardedSaysWhoTheClientIsInTheFormThatIsConfigured(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]string{
		config.ForwardedX:        "192.0.2.1, 127.0.0.1|http|h|[for=192.0.2.1]",
		config.ForwardedStandard: `192.0.2.1|||[for=192.0.2.1, for=127.0.0.1;proto=http;host="h"]`,
		config.ForwardedBoth:     `192.0.2.1, 127.0.0.1|http|h|[for=192.0.2.1, for=127.0.0.1;proto=http;host="h"]`,
	} {
		for _, trusted := range []bool{true, false} {
			r := newRig(t, func(c *config.Config) {
				c.Forwarded = mode
				if !trusted {
					c.TrustedPeers = []string{"198.51.100.0/24"}
				}
			})
			r.apps[legacy].handle(func(w http.ResponseWriter, req *http.Request) {
				h := req.Header
				fmt.Fprint(w, h.Get("X-Forwarded-For"), "|", h.Get("X-Forwarded-Proto"), "|", h.Get("X-Forwarded-Host"), "|", h["Forwarded"])
			})
			c := r.dial()
			c.send("GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\n\r\n")
			got := c.response("GET")
			switch {
			case trusted:
				r.want(got, 200, want)
			case strings.Contains(got.body, "192.0.2.1"):
				t.Errorf("%s: a stranger is believed: %s", mode, got.body)
			}
		}
	}
}

func TestExposedHeadersReachTheClientOfHTTP2Too(t *testing.T) {
	t.Parallel()
	r, client := newRig2(t, func(c *config.Config) { c.ExposeHeaders = true })
	h := r.fetch(client, "GET", "/", "ann", nil).header
	got := strings.Join([]string{h.Get("Drover-Datacenter"), h.Get("Drover-Route"), h.Get("Drover-Map-Version"), h.Get("Drover-Bucket"), h.Get("Via")}, " ")
	if want := fmt.Sprint("legacy bucket 1 ", bucketOf("ann"), " 1.1 drover"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
