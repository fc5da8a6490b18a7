package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"drover/proxy/internal/config"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir(), pool: x509.NewCertPool()}
	a.cert, a.key = a.sign(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a.pool.AddCert(a.cert)
	writeFile(t, a.file("ca.pem"), inPEM("CERTIFICATE", a.cert.Raw))
	return a
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

func inPEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func (a *authority) sign(c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	parent, by := a.cert, a.key
	if parent == nil {
		parent, by = c, key
	}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	serial, err1 := rand.Int(rand.Reader, big.NewInt(1<<62))
	c.SerialNumber = serial
	der, err2 := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
	if err := errors.Join(err1, err2); err != nil {
		a.t.Fatal(err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return signed, key
}

// show writes the edge's certificate to its files, and returns it.
func (a *authority) show() *x509.Certificate {
	a.t.Helper()
	c, key := a.sign(&x509.Certificate{DNSNames: []string{"edge.test"}})
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	writeFile(a.t, a.file("key.pem"), inPEM("PRIVATE KEY", der))
	writeFile(a.t, a.file("cert.pem"), inPEM("CERTIFICATE", c.Raw))
	return c
}

// client returns a client's settings that trust a; named has a certificate.
func (a *authority) client(named bool, protocols ...string) *tls.Config {
	a.t.Helper()
	c := &tls.Config{ServerName: "edge.test", RootCAs: a.pool, NextProtos: protocols}
	if named {
		cert, key := a.sign(&x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		c.Certificates = []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}
	}
	return c
}

// secure makes the listener one of TLS.
func (a *authority) secure(change func(*config.Config)) func(*config.Config) {
	a.show()
	return func(c *config.Config) {
		c.Listen = ""
		c.Listeners = []config.Listener{{Address: "127.0.0.1:0", HTTP2: true, TLS: &config.ListenerTLS{
			Certificates: []config.Certificate{{Cert: a.file("cert.pem"), Key: a.file("key.pem")}}, ReloadInterval: time.Second,
		}}}
		if change != nil {
			change(c)
		}
	}
}

// shake connects with TLS.
func (r *rig) shake(c *tls.Config) *tls.Conn {
	r.t.Helper()
	conn := tls.Client(r.dial().Conn, c)
	if err := conn.HandshakeContext(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	return conn
}

// over returns a client of HTTP/1.1 or, given h2, of HTTP/2.
func (r *rig) over(c *tls.Config) *http.Client {
	protocols := &http.Protocols{}
	if len(c.NextProtos) != 0 && c.NextProtos[0] == "h2" {
		protocols.SetHTTP2(true)
	} else {
		protocols.SetHTTP1(true)
	}
	transport := &http.Transport{TLSClientConfig: c, DisableCompression: true, Protocols: protocols}
	r.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 3 * patience}
}

// fetch makes a request over TLS.
func (r *rig) fetch(client *http.Client, method, path, user string, body io.Reader) answer {
	req, err := http.NewRequestWithContext(r.t.Context(), method, "https://"+r.clients+path, body)
	if err != nil {
		return answer{err: err}
	}
	if user != "" {
		req.Header.Set("X-User-Id", user)
	}
	return taken(client.Do(req))
}

func taken(resp *http.Response, err error) answer {
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, string(text), resp.Header, err}
}

func TestATLSListenerSpeaksBothVersionsOfHTTP(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	r := newRig(t, a.secure(nil))
	r.apps[legacy].handle(func(w http.ResponseWriter, req *http.Request) {
		fmt.Fprint(w, req.Header.Get("X-Forwarded-Proto"), " ", req.Header.Get("Drover-User"), " ", req.Host)
	})
	for protocol, major := range map[string]int{"http/1.1": 1, "h2": 2} {
		client := r.over(a.client(false, protocol))
		r.want(r.fetch(client, "GET", "/", "ann", nil), 200, "https ann "+r.clients)
		resp, err := client.Get("https://" + r.clients)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.ProtoMajor != major {
			t.Errorf("%s: got %s", protocol, resp.Proto)
		}
	}
	for _, transport := range []string{"tls", "http2"} {
		if n := r.metric("drover_proxy_client_connections_total", `"`+transport+`"`); n == 0 {
			t.Errorf("no connection of %s is counted", transport)
		}
	}
}

func TestANewCertificateIsTakenUpWhileConnectionsGoOn(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	r := newRig(t, a.secure(nil))
	before := r.shake(a.client(false, "http/1.1"))
	defer before.Close() //nolint:errcheck // a test's
	next := a.show()
	r.eventually("the new certificate", func() bool {
		c := r.shake(a.client(false, "http/1.1"))
		defer c.Close() //nolint:errcheck // a test's
		return c.ConnectionState().PeerCertificates[0].Equal(next)
	})
	c := newRaw(t, before)
	c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	r.want(c.response("GET"), 200, "legacy")
}

func TestAnIdentityHeaderIsBelievedOfAVerifiedCertificateOnly(t *testing.T) {
	t.Parallel()
	for _, trust := range []bool{true, false} {
		a := newAuthority(t)
		r := newRig(t, a.secure(func(c *config.Config) {
			c.TrustMTLS, c.TrustedPeers = trust, []string{"192.0.2.0/24"}
			c.Listeners[0].TLS.ClientCA = a.file("ca.pem")
		}))
		r.apps[legacy].handle(func(w http.ResponseWriter, req *http.Request) {
			fmt.Fprint(w, req.Header.Get("X-User-Id"), req.Header.Get("Drover-User"))
		})
		for _, protocol := range []string{"http/1.1", "h2"} {
			for _, named := range []bool{true, false} {
				want := ""
				if trust && named {
					want = "annann"
				}
				r.want(r.fetch(r.over(a.client(named, protocol)), "GET", "/", "ann", nil), 200, want)
			}
		}
	}
}

func TestThePROXYProtocolSaysWhoTheClientIs(t *testing.T) {
	t.Parallel()
	for _, version := range []byte{1, 2} {
		r := newRig(t, func(c *config.Config) {
			c.Listen = ""
			c.Listeners = []config.Listener{{Address: "127.0.0.1:0", ProxyProtocol: fmt.Sprint("v", version)}}
		})
		r.apps[legacy].handle(func(w http.ResponseWriter, req *http.Request) {
			fmt.Fprint(w, req.Header.Get("X-Forwarded-For"), " ", req.Header.Get("X-User-Id"))
		})
		for client, want := range map[string]string{
			"203.0.113.9": "203.0.113.9 ", "10.1.2.3": "10.9.9.9, 10.1.2.3 ann", "2001:db8::7": "2001:db8::7 ",
		} {
			c := r.dial()
			local := net.ParseIP("10.0.0.1")
			if strings.Contains(client, ":") {
				local = net.ParseIP("2001:db8::1")
			}
			header := proxyproto.HeaderProxyFromAddrs(version, &net.TCPAddr{IP: net.ParseIP(client), Port: 4000}, &net.TCPAddr{IP: local, Port: 80})
			text, err := header.Format()
			if err != nil {
				t.Fatal(err)
			}
			for i := range 2 { // the header is of the connection
				request := "GET / HTTP/1.1\r\nHost: h\r\nX-User-Id: ann\r\nX-Forwarded-For: 10.9.9.9\r\n\r\n"
				if i == 0 {
					request = string(text) + request
				}
				c.send(request)
				r.want(c.response("GET"), 200, want)
			}
		}
		c := r.dial()
		c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n") // and no header before it
		if got := c.response("GET"); got.err == nil {
			t.Errorf("v%d: without a header came %v", version, got)
		}
	}
}
