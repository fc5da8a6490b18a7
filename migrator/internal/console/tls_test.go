package console

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// authority makes certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, pool: x509.NewCertPool()}
	pair := a.issue("authority")
	var err error
	a.cert, err = x509.ParseCertificate(pair.Certificate[0])
	must(t, err)
	a.key = pair.PrivateKey.(*ecdsa.PrivateKey)
	a.pool.AddCert(a.cert)
	return a
}

func (a *authority) issue(name string) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(a.t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		BasicConstraintsValid: true, IsCA: a.cert == nil, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	parent, signer := template, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	must(a.t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestACertificateLetsInAndItsNameMakesAnOperator(t *testing.T) {
	t.Parallel()
	ours, other := newAuthority(t), newAuthority(t)
	y := open(t, func(o *Options) {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{ours.issue("console")}, ClientCAs: ours.pool, ClientAuth: tls.VerifyClientCertIfGiven}
		o.Access = Access{Certificates: true, Operators: []string{"ann"}}
	})
	as := func(pairs ...tls.Certificate) *http.Client {
		return y.browser(&tls.Config{RootCAs: ours.pool, Certificates: pairs})
	}
	code, body := y.send(as(), http.MethodGet, "/api/me", "")
	y.status(http.StatusUnauthorized, code, body)
	bob := as(ours.issue("bob"))
	if code, body := y.send(bob, http.MethodGet, "/api/me", ""); code != http.StatusOK || !strings.Contains(body, `"name":"bob","role":"reader"`) {
		t.Errorf("%d %s", code, body)
	}
	code, body = y.rings(bob, csrfHeader, y.word(bob))
	y.status(http.StatusForbidden, code, body)
	ann := as(ours.issue("ann"))
	// The browser sends the certificate by itself: it needs the word too.
	code, body = y.rings(ann)
	y.status(http.StatusForbidden, code, body)
	code, body = y.rings(ann, csrfHeader, y.word(ann))
	y.status(http.StatusOK, code, body)

	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, y.url+"/api/me", nil)
	must(t, err)
	// A certificate of the same name and another authority: not even a handshake.
	if answer, err := as(other.issue("ann")).Do(request); err == nil {
		answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			t.Error("a stranger's certificate lets in")
		}
	}
}

func TestNothingIsServedInClearTextBeyondThisMachine(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"0.0.0.0:0", "[::]:0", "192.0.2.1:0", "9920", "127.0.0.1"} {
		if got, err := listenAddress(t.Context(), address, false); err == nil {
			t.Errorf("%s is listened on as %s", address, got)
		}
	}
	for address, want := range map[string]string{":0": "127.0.0.1:0", "127.0.0.1:1": "127.0.0.1:1", "[::1]:1": "[::1]:1"} {
		if got, err := listenAddress(t.Context(), address, false); err != nil || got != want {
			t.Errorf("%s is %s, want %s: %v", address, got, want, err)
		}
	}
	if got, err := listenAddress(t.Context(), "0.0.0.0:1", true); err != nil || got != "0.0.0.0:1" {
		t.Errorf("with TLS: %s, %v", got, err)
	}
	if _, err := Listen(t.Context(), Options{Listen: "127.0.0.1:0", Access: Access{Certificates: true}}); err == nil {
		t.Error("certificates without TLS")
	}
}

func TestThePageRunsNothingThatIsNotServed(t *testing.T) {
	t.Parallel()
	y := open(t, nil)
	c := y.browser(nil)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, y.url+"/login", nil)
	must(t, err)
	answer, err := c.Do(request)
	must(t, err)
	defer answer.Body.Close()
	got := answer.Header.Get("Content-Security-Policy")
	if !strings.Contains(got, "default-src 'none'") || !strings.Contains(got, "frame-ancestors 'none'") || strings.Contains(got, "unsafe") {
		t.Errorf("the policy is %q", got)
	}
}
