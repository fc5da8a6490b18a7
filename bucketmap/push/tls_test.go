package push

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// authority signs certificates for a test.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pool        *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	certificate, err := x509.ParseCertificate(der)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(certificate)
	return &authority{certificate, key, pool}
}

func (a *authority) issue(t testing.TB, usage x509.ExtKeyUsage) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "drover"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestMapsTravelOverTLSToWhoShowsACertificate(t *testing.T) {
	ctx := testContext(t)
	ours, theirs := newAuthority(t), newAuthority(t)
	e := newEdge(t, setup{id: "p1", tls: &tls.Config{
		Certificates: []tls.Certificate{ours.issue(t, x509.ExtKeyUsageServerAuth)},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    ours.pool,
		MinVersion:   tls.VersionTLS13,
	}})
	if !strings.HasPrefix(e.server.URL, "https://") {
		t.Fatal(e.server.URL)
	}
	client := ours.issue(t, x509.ExtKeyUsageClientAuth)
	for name, config := range map[string]*tls.Config{
		"no roots":            nil,
		"no certificate":      {RootCAs: ours.pool},
		"another's":           {RootCAs: ours.pool, Certificates: []tls.Certificate{theirs.issue(t, x509.ExtKeyUsageClientAuth)}},
		"of another's server": {RootCAs: theirs.pool, Certificates: []tls.Certificate{client}},
	} {
		s := open(t, Options{Proxies: []string{e.server.URL}, TLS: config})
		first(t, ctx, s)
		acks, err := s.Acks(ctx)
		must(t, err)
		if len(acks) != 1 || acks[0].Version != 0 || !strings.HasPrefix(acks[0].Reason, "unreachable: ") || e.version() != 0 {
			t.Fatalf("%s: acknowledgements %+v", name, acks)
		}
	}
	s := open(t, Options{Proxies: []string{e.server.URL}, TLS: &tls.Config{RootCAs: ours.pool, Certificates: []tls.Certificate{client}}})
	m := first(t, ctx, s)
	await(t, ctx, s, allRun(m))
}
