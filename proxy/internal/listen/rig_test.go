package listen

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"drover/proxy/internal/socket"
)

const patience = 20 * time.Second

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// result is what became of a Pending.
type result struct {
	Accepted
	err error
}

// rig is an open, serving Set. Each connection is opened and given to results.
type rig struct {
	*Set
	results chan result
	ended   chan error
}

func open(t testing.TB, o Options) *rig {
	t.Helper()
	set, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{Set: set, results: make(chan result, 64), ended: make(chan error, 1)}
	go func() {
		r.ended <- set.Serve(func(p *Pending) {
			go func() {
				a, err := p.Open()
				r.results <- result{a, err}
			}()
		})
	}()
	t.Cleanup(func() {
		set.Stop(true) // nobody is connecting
		select {
		case err := <-r.ended:
			if err != nil {
				t.Errorf("serve: %v", err)
			}
		case <-time.After(patience):
			t.Error("serve does not end")
		}
	})
	return r
}

func (r *rig) address() string { return r.Addrs()[0].String() }

// next is the next connection's result.
func (r *rig) next(t testing.TB) result {
	t.Helper()
	select {
	case a := <-r.results:
		if a.err == nil {
			t.Cleanup(func() { a.Forget(); a.Link.Close() }) //nolint:errcheck // the test's end
		}
		return a
	case <-time.After(patience):
		t.Fatal("no connection")
		return result{}
	}
}

func (r *rig) dial(t testing.TB) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", r.address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{pool: x509.NewCertPool()}
	template := &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.cert, a.key = a.sign(t, template, nil, nil)
	a.pool.AddCert(a.cert)
	return a
}

func (a *authority) sign(t testing.TB, c, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if parent == nil {
		parent, by = c, key
	}
	serial, err1 := rand.Int(rand.Reader, big.NewInt(1<<62))
	c.SerialNumber, c.NotBefore = serial, time.Now().Add(-24*time.Hour)
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(time.Hour)
	}
	der, err2 := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return signed, key
}

// issue writes a certificate for names and its key, and gives their files.
func (a *authority) issue(t testing.TB, dir string, until time.Time, names ...string) Pair {
	t.Helper()
	c, key := a.sign(t, &x509.Certificate{DNSNames: names, NotAfter: until}, a.cert, a.key)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	p := Pair{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	writePEM(t, p.Cert, "CERTIFICATE", c.Raw)
	writePEM(t, p.Key, "PRIVATE KEY", der)
	return p
}

func writePEM(t testing.TB, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// client is a certificate for a client.
func (a *authority) client(t testing.TB) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	c, key := a.sign(t, template, a.cert, a.key)
	return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: key}
}

func watcher(t testing.TB) *socket.Watcher {
	t.Helper()
	w, err := socket.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return w
}
