package admin

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

	"go.uber.org/goleak"
)

// authority signs certificates for 127.0.0.1.
func authority(t *testing.T) (pool *x509.CertPool, issue func() tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, root, root, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if root, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AddCert(root)
	return pool, func() tls.Certificate {
		leaf := &x509.Certificate{
			SerialNumber: big.NewInt(time.Now().UnixNano()), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}
		own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.CreateCertificate(rand.Reader, leaf, root, &own.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: own}
	}
}

func TestWithAClientCAOnlyAKnownClientIsServed(t *testing.T) {
	defer goleak.VerifyNone(t)
	pool, issue := authority(t)
	url, stop := start(t, Options{TLS: &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{issue()}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}})
	ask := func(certificates ...tls.Certificate) (int, error) {
		client := http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, Certificates: certificates},
		}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, strings.Replace(url, "http", "https", 1)+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		return resp.StatusCode, nil
	}
	if code, err := ask(issue()); err != nil || code != http.StatusOK {
		t.Errorf("with a certificate: %d, %v", code, err)
	}
	if code, err := ask(); err == nil {
		t.Errorf("without one: %d", code)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestProfilesAreBehindTheToken(t *testing.T) {
	defer goleak.VerifyNone(t)
	url, stop := start(t, Options{Token: "secret"})
	if code, _ := get(t, url+"/debug/pprof/goroutine?debug=1", ""); code != http.StatusUnauthorized {
		t.Errorf("without the token: %d", code)
	}
	if code, body := get(t, url+"/debug/pprof/goroutine?debug=1", "secret"); code != http.StatusOK || !strings.Contains(body, "goroutine profile") {
		t.Errorf("with the token: %d %s", code, body)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
