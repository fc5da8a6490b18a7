package pool

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// authority issues certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	path        string
	dir         string
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, dir: t.TempDir()}
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.path = filepath.Join(a.dir, "ca.pem")
	writePEM(t, a.path, "CERTIFICATE", der)
	return a
}

// issue returns a certificate for name and the files it is in.
func (a *authority) issue(t *testing.T, name string) (pair tls.Certificate, certPath, keyPath string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPath, keyPath = filepath.Join(a.dir, name+".crt"), filepath.Join(a.dir, name+".key")
	writePEM(t, certPath, "CERTIFICATE", der)
	writePEM(t, keyPath, "EC PRIVATE KEY", keyDER)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, certPath, keyPath
}

// newTLSServer serves config; states has the state of each handshake.
func newTLSServer(t *testing.T, config *tls.Config, each func(net.Conn)) (*server, <-chan tls.ConnectionState) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	states := make(chan tls.ConnectionState, 1000)
	return serve(t, tls.NewListener(l, config), func(c net.Conn) {
		if c.(*tls.Conn).Handshake() == nil {
			states <- c.(*tls.Conn).ConnectionState()
			each(c)
		}
	}), states
}

func TestTLSAsksForTheNameVerifiesItAndOffersHTTP1Alone(t *testing.T) {
	ca := newAuthority(t)
	pair, _, _ := ca.issue(t, "app.test")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		s, states := newTLSServer(t, &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}, MaxVersion: version}, echo)
		_, port, err := net.SplitHostPort(s.address())
		if err != nil {
			t.Fatal(err)
		}
		d := newDNS(t, "app.test", "127.0.0.1")
		r, p := newPoolOf(t, named(d), Datacenter{Upstreams: []string{"app.test:" + port}, TLS: &TLS{CA: ca.path}})
		r.Resolve(t.Context())
		h := p.Pick(nil)
		c := acquire(t, h, false)
		talk(t, c)
		if got := <-states; got.ServerName != "app.test" || got.NegotiatedProtocol != "http/1.1" || got.Version != version || got.DidResume {
			t.Errorf("server name %q, protocol %q, version %x", got.ServerName, got.NegotiatedProtocol, got.Version)
		}
		h.Release(c)
		if again := acquire(t, h, false); again != c {
			t.Error("the idle connection was not used")
		}
		talk(t, c)
		h.Discard(c)
		c = acquire(t, h, true)
		talk(t, c)
		if got := <-states; !got.DidResume {
			t.Errorf("version %x: the session was not resumed", version)
		}
	}
}

func TestAnotherServerNameCanBeConfigured(t *testing.T) {
	ca := newAuthority(t)
	pair, _, _ := ca.issue(t, "inner.test")
	s, states := newTLSServer(t, &tls.Config{Certificates: []tls.Certificate{pair}}, echo)
	_, p := newPoolOf(t, testSettings(), Datacenter{Upstreams: []string{s.address()}, TLS: &TLS{CA: ca.path, ServerName: "inner.test"}})
	talk(t, acquire(t, p.Pick(nil), false))
	if got := <-states; got.ServerName != "inner.test" {
		t.Errorf("asked for %q", got.ServerName)
	}
}

func TestACertificateThatIsNotTrustedIsAConnectError(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	pair, _, _ := ca.issue(t, "app.test")
	s, _ := newTLSServer(t, &tls.Config{Certificates: []tls.Certificate{pair}}, echo)
	old, _ := newTLSServer(t, &tls.Config{Certificates: []tls.Certificate{pair}, MaxVersion: tls.VersionTLS12}, echo)
	plain := newServer(t, "127.0.0.1:0", echo)
	for name, dc := range map[string]Datacenter{
		"another name":      {Upstreams: []string{s.address()}, TLS: &TLS{CA: ca.path, ServerName: "other.test"}},
		"another authority": {Upstreams: []string{s.address()}, TLS: &TLS{CA: stranger.path, ServerName: "app.test"}},
		"the system's":      {Upstreams: []string{s.address()}, TLS: &TLS{ServerName: "app.test"}},
		"an old version":    {Upstreams: []string{old.address()}, TLS: &TLS{CA: ca.path, ServerName: "app.test", MinVersion: tls.VersionTLS13}},
		"no TLS":            {Upstreams: []string{plain.address()}, TLS: &TLS{InsecureSkipVerify: true}},
	} {
		_, p := newPoolOf(t, testSettings(), dc)
		h := p.Pick(nil)
		c, err := h.Acquire(nil, time.Time{}, false)
		if err == nil {
			t.Errorf("%s: connected as %+v", name, c.TLS.ConnectionState())
			continue
		}
		if failed := wantConnectError(t, err); failed.Limit || h.opened() != 0 {
			t.Errorf("%s: got %+v, %d open", name, failed, h.opened())
		}
	}
	_, p := newPoolOf(t, testSettings(), Datacenter{Upstreams: []string{s.address()}, TLS: &TLS{InsecureSkipVerify: true}})
	talk(t, acquire(t, p.Pick(nil), false))
}

func TestTheClientCertificateIsShown(t *testing.T) {
	ca := newAuthority(t)
	pair, _, _ := ca.issue(t, "app.test")
	_, cert, key := ca.issue(t, "edge.test")
	clients := x509.NewCertPool()
	clients.AddCert(ca.certificate)
	var checks atomic.Int64
	s, states := newTLSServer(t, &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}, func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			checks.Add(1)
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\n\r\n")
		}
	})
	with := &TLS{CA: ca.path, ServerName: "app.test", Cert: cert, Key: key}
	_, p := newPoolOf(t, testSettings(), Datacenter{Upstreams: []string{s.address()}, TLS: with, Health: quick("/")})
	if err := p.Hosts()[0].check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := <-states; got.PeerCertificates[0].Subject.CommonName != "edge.test" {
		t.Errorf("shown: %v", got.PeerCertificates[0].Subject)
	}
	_, p = newPoolOf(t, testSettings(), Datacenter{Upstreams: []string{s.address()}, TLS: &TLS{CA: ca.path, ServerName: "app.test"}, Health: quick("/")})
	if err := p.Hosts()[0].check(t.Context()); err == nil || checks.Load() != 1 {
		t.Errorf("without a certificate: %v after %d checks", err, checks.Load())
	}
}

func TestATLSConnectionThatHasEndedOrHoldsBytesIsNotUsed(t *testing.T) {
	ca := newAuthority(t)
	pair, _, _ := ca.issue(t, "app.test")
	for name, act := range map[string]func(*tls.Conn) error{
		"closed":  func(c *tls.Conn) error { return c.CloseWrite() },
		"bytes":   func(c *tls.Conn) error { return say(c, "HTTP/1.1 200 OK\r\n\r\n") },
		"cut off": func(c *tls.Conn) error { return c.NetConn().Close() },
		"no TLS":  func(c *tls.Conn) error { return say(c.NetConn(), "HTTP/1.1 400 Bad Request\r\n\r\n") },
	} {
		conns := make(chan *tls.Conn, 10)
		s, _ := newTLSServer(t, &tls.Config{Certificates: []tls.Certificate{pair}}, func(c net.Conn) {
			conns <- c.(*tls.Conn)
			echo(c)
		})
		_, p := newPoolOf(t, testSettings(), Datacenter{Upstreams: []string{s.address()}, TLS: &TLS{CA: ca.path, ServerName: "app.test"}})
		h := p.Pick(nil)
		a := acquire(t, h, false)
		talk(t, a)
		h.Release(a)
		if err := act(<-conns); err != nil {
			t.Fatal(err)
		}
		until(t, "it has come", func() bool { return a.Socket.Look() != 0 })
		if c := acquire(t, h, false); c == a {
			t.Errorf("%s: it was used", name)
		}
	}
}

// Two records that come as one: when the first has been read, the second is in
// the TLS layer's buffer, and the socket is quiet.
func TestBytesThatTLSHasTakenInAreSeenToo(t *testing.T) {
	ca := newAuthority(t)
	pair, _, _ := ca.issue(t, "app.test")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}}
	s := serve(t, l, func(c net.Conn) {
		together := &together{Conn: c}
		server := tls.Server(together, config)
		if _, err := server.Read(make([]byte, 4)); err != nil {
			return
		}
		together.holding = true
		if say(server, "word") == nil && say(server, "more") == nil && say(c, string(together.held)) == nil {
			echo(server)
		}
	})
	_, p := newPoolOf(t, testSettings(), Datacenter{Upstreams: []string{s.address()}, TLS: &TLS{CA: ca.path, ServerName: "app.test"}})
	h := p.Pick(nil)
	a := acquire(t, h, false)
	talk(t, a)
	if a.Socket.Look() != 0 {
		t.Fatal("the second record is in the socket still: the test shows nothing")
	}
	h.Release(a)
	if c := acquire(t, h, false); c == a {
		t.Error("it was used")
	}
}

// together keeps what is written, so that it can be written as one.
type together struct {
	net.Conn
	holding bool
	held    []byte
}

func (c *together) Write(p []byte) (int, error) {
	if !c.holding {
		return c.Conn.Write(p)
	}
	c.held = append(c.held, p...)
	return len(p), nil
}

func say(c net.Conn, text string) error {
	_, err := io.WriteString(c, text)
	return err
}
