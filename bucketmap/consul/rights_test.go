package consul

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"drover/bucketmap"
	"drover/bucketmap/storetest"
	"drover/tools/testservers"
)

// newToken makes a token with these rules.
func newToken(t *testing.T, admin *Store, rules string) string {
	t.Helper()
	name := rand.Text()
	if _, _, err := admin.client.ACL().PolicyCreate(&api.ACLPolicy{Name: name, Rules: rules}, nil); err != nil {
		t.Fatal(err)
	}
	token, _, err := admin.client.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLLink{{Name: name}}}, nil)
	must(t, err)
	return token.SecretID
}

// The rules are those of the package's comment.
func TestTheLeastPoliciesSufficeAndLessIsNamed(t *testing.T) {
	t.Parallel()
	server, err := shared.fleet.Consul(t.Context(), "acl-"+rand.Text(), testservers.ConsulOptions{ACL: true})
	must(t, err)
	t.Cleanup(func() { must(t, server.Kill()) })
	at := func(token string) Options { return Options{Address: server.URL(), Token: token} }
	admin := open(t, at(testservers.ConsulToken))
	publisher := open(t, at(newToken(t, admin, `key_prefix "drover/" { policy = "write" }`)))
	proxyToken := newToken(t, admin, `key_prefix "drover/" { policy = "read" }
		key_prefix "drover/proxies/" { policy = "write" }
		session_prefix "" { policy = "write" }`)
	file := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(file, []byte(proxyToken+"\n"), 0o600))
	proxy := open(t, Options{Address: server.Addr(), TokenFile: file})

	now := publishTo(t, publisher, 2)
	calls := watching(t, proxy)
	awaitVersion(t, calls, 2)
	must(t, proxy.Ack(within(t), bucketmap.Ack{Proxy: "p1", Version: 2}))
	if acks, err := publisher.Acks(within(t)); err != nil || len(acks) != 1 {
		t.Fatalf("%v, %v", acks, err)
	}
	wantDenied := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), `key_prefix "drover/"`) {
			t.Errorf("%s: %v", what, err)
		}
	}
	wantDenied("a proxy publishes", proxy.Publish(within(t), edit(t, now), bucketmap.Change{}))
	wantDenied("a publisher acknowledges", publisher.Ack(within(t), bucketmap.Ack{Proxy: "p2"}))
	for name, token := range map[string]string{
		"nothing": newToken(t, admin, ``), "nobody": "", "unknown": "11111111-0000-4000-8000-000000000000",
		"another prefix": newToken(t, admin, `key_prefix "drovers/" { policy = "write" }`),
		"pointer alone":  newToken(t, admin, `key "drover/pointer" { policy = "read" }`),
	} {
		s := open(t, at(token))
		if name != "pointer alone" {
			_, err = s.Load(within(t))
			wantDenied(name+" loads", err)
			wantDenied(name+" watches", next(t, watching(t, s)).err)
		}
		_, err = s.Acks(within(t))
		wantDenied(name+" asks for acks", err)
		wantDenied(name+" publishes", s.Publish(within(t), edit(t, now), bucketmap.Change{}))
		wantDenied(name+" acknowledges", s.Ack(within(t), bucketmap.Ack{Proxy: "p3"}))
	}
	// A token that is replaced in its file is used from the next request on.
	must(t, os.WriteFile(file, []byte(testservers.ConsulToken), 0o600))
	now = publish(t, proxy, edit(t, now))
	awaitVersion(t, calls, now.Version())
	must(t, os.WriteFile(file, nil, 0o600))
	if _, err := proxy.Load(within(t)); !errors.Is(err, errTokenFile) {
		t.Errorf("%v", err)
	}
	must(t, os.WriteFile(file, []byte(testservers.ConsulToken), 0o600)) // for Close
}

// certificates writes an authority and a certificate for 127.0.0.1.
func certificates(t *testing.T) (ca, cert, key string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return path
	}
	template := func(serial int64) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "drover test"},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true,
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	authority := template(1)
	authority.IsCA, authority.KeyUsage = true, x509.KeyUsageCertSign
	caDER, err := x509.CreateCertificate(rand.Reader, authority, authority, caKey.Public(), caKey)
	must(t, err)
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	leaf := template(2)
	leaf.KeyUsage = x509.KeyUsageDigitalSignature
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	leaf.DNSNames, leaf.IPAddresses = []string{"consul.example"}, []net.IP{net.IPv4(127, 0, 0, 1)}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, authority, leafKey.Public(), caKey)
	must(t, err)
	keyDER, err := x509.MarshalECPrivateKey(leafKey)
	must(t, err)
	return write("ca.pem", "CERTIFICATE", caDER), write("cert.pem", "CERTIFICATE", leafDER), write("key.pem", "EC PRIVATE KEY", keyDER)
}

func TestTLSKnowsTheServerAndShowsTheClient(t *testing.T) {
	t.Parallel()
	ca, cert, key := certificates(t)
	otherCA, otherCert, otherKey := certificates(t)
	server, err := shared.fleet.Consul(t.Context(), "tls-"+rand.Text(), testservers.ConsulOptions{
		TLS: &testservers.ConsulTLS{CAFile: ca, CertFile: cert, KeyFile: key},
	})
	must(t, err)
	t.Cleanup(func() { must(t, server.Kill()) })
	first := storetest.First(t)
	for i, good := range []Options{
		{Address: server.Addr(), TLS: &TLS{CA: ca, Cert: cert, Key: key}},
		{Address: server.URL(), TLS: &TLS{CA: ca, Cert: cert, Key: key, ServerName: "consul.example"}},
	} {
		s := open(t, good)
		if i == 0 {
			publish(t, s, first)
		}
		wantLoad(t, s, first)
		awaitVersion(t, watching(t, s), 1)
		for v := range bucketmap.Version(3) {
			must(t, s.Ack(within(t), bucketmap.Ack{Proxy: fmt.Sprint("p", i), Version: v}))
		}
	}
	for name, bad := range map[string]*TLS{
		"another authority":     {CA: otherCA, Cert: cert, Key: key},
		"no client certificate": {CA: ca},
		"a stranger's":          {CA: ca, Cert: otherCert, Key: otherKey},
		"another server's name": {CA: ca, Cert: cert, Key: key, ServerName: "other.example"},
		"the system's":          nil,
	} {
		s := open(t, Options{Address: server.URL(), TLS: bad})
		if _, err := s.Load(within(t)); !errors.Is(err, ErrUnreachable) {
			t.Errorf("%s: %v", name, err)
		}
		if c := next(t, watching(t, s)); !errors.Is(c.err, ErrUnreachable) {
			t.Errorf("%s, watching: %v", name, c.err)
		}
		s.acks.session = "of another client" // which alone would not get one
		if err := s.Ack(within(t), bucketmap.Ack{Proxy: "p1"}); !errors.Is(err, ErrUnreachable) {
			t.Errorf("%s, acknowledging: %v", name, err)
		}
		s.acks.session = ""
	}
	for name, unusable := range map[string]*TLS{
		"no such authority": {CA: ca + ".x"}, "key for authority": {CA: key}, "certificate without key": {CA: ca, Cert: cert},
		"another's key": {CA: ca, Cert: cert, Key: otherKey},
	} {
		if _, err := Open(Options{Address: server.Addr(), TLS: unusable}); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestBadOptionsAreAllReported(t *testing.T) {
	for _, address := range []string{"http://", "ftp://x", "http://user@x", "x y", "unix://", "http://x?y", "http://x#y"} {
		if _, err := Open(Options{Address: address}); err == nil {
			t.Errorf("the address %q was accepted", address)
		}
	}
	for _, address := range []string{"", "x", "x:1", "[::1]:8500", "http://x", "https://x:1/consul", "unix:///run/consul.sock"} {
		s, err := Open(Options{Address: address})
		if err != nil {
			t.Errorf("the address %q: %v", address, err)
			continue
		}
		must(t, s.Close())
	}
	_, err := Open(Options{
		Address: "http://x", Token: "a", TokenFile: "b", TLS: &TLS{Cert: "x"}, Prefix: "/drover", Sign: []byte{1},
		SessionTTL: time.Millisecond,
	})
	for _, word := range []string{"https://", "token file", "client certificate", "prefix", "private key", "session TTL"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%q is not in: %v", word, err)
		}
	}
	for _, bad := range []string{"/", "a//b", "a/../b", "a/", strings.Repeat("a/", 200) + "a", "ä"} {
		if _, err := Open(Options{Prefix: bad}); err == nil {
			t.Errorf("the prefix %q was accepted", bad)
		}
	}
	if _, err := Open(Options{TokenFile: filepath.Join(t.TempDir(), "none")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
