package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func secure(c TLSConfig) Config {
	return Config{Address: "127.0.0.1:0", TLS: &c, HTTP2: true}
}

// shake connects a TLS client, which reads a byte so that what follows the
// handshake has come.
func (r *rig) shake(t testing.TB, c *tls.Config) (*tls.Conn, Accepted) {
	t.Helper()
	conn := tls.Client(r.dial(t), c)
	failed := make(chan error, 1)
	go func() { failed <- conn.Handshake() }()
	a := r.next(t)
	if err := errors.Join(<-failed, a.err); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Link.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return conn, a.Accepted
}

func TestTheCertificateIsTheOneForTheName(t *testing.T) {
	ca := newAuthority(t)
	far := time.Now().Add(time.Hour)
	r := open(t, Options{Listeners: []Config{secure(TLSConfig{Certificates: []Pair{
		ca.issue(t, t.TempDir(), far, "first.test"),
		ca.issue(t, t.TempDir(), far, "*.wild.test"),
		ca.issue(t, t.TempDir(), far, "exact.wild.test", "other.test"),
	}})}})
	for name, want := range map[string]string{
		"first.test": "first.test", "a.wild.test": "*.wild.test", "exact.wild.test": "exact.wild.test", "EXACT.wild.test": "exact.wild.test",
		"other.test": "exact.wild.test", "nobody.test": "first.test", "a.b.wild.test": "first.test", "": "first.test", "wild.test": "first.test",
	} {
		c := &tls.Config{ServerName: name, InsecureSkipVerify: true} // the test looks itself
		conn, a := r.shake(t, c)
		if got := conn.ConnectionState().PeerCertificates[0].DNSNames[0]; got != want || a.ServerName != name {
			t.Errorf("%q: certificate of %s, name %q", name, got, a.ServerName)
		}
	}
}

func TestTheProtocolIsWhatBothSpeak(t *testing.T) {
	ca := newAuthority(t)
	pair := ca.issue(t, t.TempDir(), time.Now().Add(time.Hour), "edge.test")
	for _, c := range []struct {
		http2   bool
		offered []string
		want    string
	}{
		{true, []string{"h2", "http/1.1"}, "h2"}, {true, []string{"http/1.1"}, "http/1.1"}, {true, nil, "http/1.1"},
		{false, []string{"h2", "http/1.1"}, "http/1.1"},
	} {
		r := open(t, Options{Listeners: []Config{{Address: "127.0.0.1:0", HTTP2: c.http2, TLS: &TLSConfig{Certificates: []Pair{pair}}}}})
		conn, a := r.shake(t, &tls.Config{ServerName: "edge.test", RootCAs: ca.pool, NextProtos: c.offered})
		if a.Protocol != c.want || a.Scheme != "https" || a.Link.TLS == nil {
			t.Errorf("%+v: %+v", c, a)
		}
		if _, err := conn.Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 8)
		if n, err := a.Link.Read(b); err != nil || string(b[:n]) != "ping" {
			t.Fatalf("%q, %v", b[:n], err)
		}
	}
}

func TestAHandshakeIsRefusedBelowTheLowestVersion(t *testing.T) {
	ca := newAuthority(t)
	pair := ca.issue(t, t.TempDir(), time.Now().Add(time.Hour), "edge.test")
	for _, c := range []struct{ lowest, client uint16 }{{0, tls.VersionTLS11}, {tls.VersionTLS13, tls.VersionTLS12}} {
		r := open(t, Options{Listeners: []Config{secure(TLSConfig{Certificates: []Pair{pair}, MinVersion: c.lowest})}})
		conn := tls.Client(r.dial(t), &tls.Config{RootCAs: ca.pool, ServerName: "edge.test", MinVersion: tls.VersionTLS10, MaxVersion: c.client})
		if err := conn.Handshake(); err == nil {
			t.Errorf("version %#x is accepted", c.client)
		}
		if a := r.next(t); a.err == nil {
			t.Errorf("version %#x is accepted", c.client)
		}
	}
}

func TestAHandshakeIsBounded(t *testing.T) {
	ca := newAuthority(t)
	var reason atomic.Value
	r := open(t, Options{Handshake: 50 * time.Millisecond, Counters: Counters{Failed: func(_, why string) { reason.Store(why) }},
		Listeners: []Config{secure(TLSConfig{Certificates: []Pair{ca.issue(t, t.TempDir(), time.Now().Add(time.Hour), "edge.test")}})}})
	c := r.dial(t)
	if _, err := c.Write([]byte{0x16, 3, 1}); err != nil { // and no more
		t.Fatal(err)
	}
	if a := r.next(t); !errors.Is(a.err, os.ErrDeadlineExceeded) || reason.Load() != ReasonTimeout {
		t.Fatalf("%v, reason %v", a.err, reason.Load())
	}
	if _, err := io.WriteString(r.dial(t), "GET / HTTP/1.1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if a := r.next(t); a.err == nil || reason.Load() != ReasonHandshake {
		t.Fatalf("%v, reason %v", a.err, reason.Load())
	}
}

func TestAfterTheHandshakeItsBoundIsGone(t *testing.T) {
	ca := newAuthority(t)
	r := open(t, Options{Handshake: 300 * time.Millisecond,
		Listeners: []Config{secure(TLSConfig{Certificates: []Pair{ca.issue(t, t.TempDir(), time.Now().Add(time.Hour), "edge.test")}})}})
	conn, a := r.shake(t, &tls.Config{ServerName: "edge.test", RootCAs: ca.pool})
	time.AfterFunc(400*time.Millisecond, func() { conn.Write([]byte("late")) }) //nolint:errcheck // the read says it
	b := make([]byte, 8)
	if n, err := a.Link.Read(b); err != nil || string(b[:n]) != "late" {
		t.Fatalf("%q, %v", b[:n], err)
	}
}

func TestTheHeaderComesBeforeTheHandshakeInOneSegment(t *testing.T) {
	ca := newAuthority(t)
	c := secure(TLSConfig{Certificates: []Pair{ca.issue(t, t.TempDir(), time.Now().Add(time.Hour), "edge.test")}})
	c.ProxyProtocol = ProxyV2
	r := open(t, Options{Listeners: []Config{c}, Trusted: loopback, Watcher: watcher(t)})
	first := &glued{TCPConn: r.dial(t), before: wire(t, 2, "198.51.100.7:5000", "10.0.0.1:443")}
	conn := tls.Client(first, &tls.Config{ServerName: "edge.test", RootCAs: ca.pool, NextProtos: []string{"h2"}})
	failed := make(chan error, 1)
	go func() { failed <- conn.Handshake() }()
	a := r.next(t)
	if err := errors.Join(<-failed, a.err); err != nil {
		t.Fatal(err)
	}
	if a.Peer.String() != "198.51.100.7:5000" || a.Trusted || a.Protocol != "h2" || len(a.Prefix) != 0 {
		t.Fatalf("%+v", a)
	}
	if _, err := conn.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 8)
	if n, err := a.Link.Read(b); err != nil || string(b[:n]) != "ping" {
		t.Fatalf("%q, %v", b[:n], err)
	}
}

// glued sends some bytes before, and together with, what is written first.
type glued struct {
	*net.TCPConn
	before []byte
}

func (g *glued) Write(p []byte) (int, error) {
	if g.before == nil {
		return g.TCPConn.Write(p)
	}
	b := append(g.before, p...)
	g.before = nil
	_, err := g.TCPConn.Write(b)
	return len(p), err
}

func TestAVerifiedCertificateIsTrustedWhereThatIsConfigured(t *testing.T) {
	ca, clients, strangers := newAuthority(t), newAuthority(t), newAuthority(t)
	dir := t.TempDir()
	pair := ca.issue(t, dir, time.Now().Add(time.Hour), "edge.test")
	writePEM(t, dir+"/clients.pem", "CERTIFICATE", clients.cert.Raw)
	for _, trust := range []bool{true, false} {
		r := open(t, Options{TrustMTLS: trust, Listeners: []Config{secure(TLSConfig{Certificates: []Pair{pair}, SessionTickets: true,
			ClientCA: dir + "/clients.pem", ClientAuth: tls.VerifyClientCertIfGiven})}})
		c := &tls.Config{ServerName: "edge.test", RootCAs: ca.pool}
		if _, a := r.shake(t, c); a.Trusted {
			t.Error("trusted without a certificate")
		}
		c.Certificates = []tls.Certificate{clients.client(t)}
		c.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		for _, resumed := range []bool{false, true} {
			conn, a := r.shake(t, c)
			if a.Trusted != trust || conn.ConnectionState().DidResume != resumed {
				t.Errorf("trust %v, resumed %v: %v, %v", trust, resumed, a.Trusted, conn.ConnectionState().DidResume)
			}
		}
		// A client offers no certificate whose authority was not asked for; so it
		// is made to.
		stranger := strangers.client(t)
		c = &tls.Config{ServerName: "edge.test", RootCAs: ca.pool,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &stranger, nil }}
		go tls.Client(r.dial(t), c).Handshake() //nolint:errcheck // the server says it
		if a := r.next(t); a.err == nil {
			t.Error("a stranger's certificate is accepted")
		}
	}
}

func TestSessionsAreResumedAlsoAfterAReload(t *testing.T) {
	ca, dir := newAuthority(t), t.TempDir()
	pair := ca.issue(t, dir, time.Now().Add(time.Hour), "edge.test")
	for _, tickets := range []bool{true, false} {
		r := open(t, Options{Listeners: []Config{secure(TLSConfig{Certificates: []Pair{pair}, SessionTickets: tickets})}})
		c := &tls.Config{ServerName: "edge.test", RootCAs: ca.pool, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
		r.shake(t, c)
		if conn, _ := r.shake(t, c); conn.ConnectionState().DidResume != tickets {
			t.Errorf("tickets %v: resumed %v", tickets, !tickets)
		}
		ca.issue(t, dir, time.Now().Add(time.Hour), "edge.test")
		if err := r.Reload(); err != nil {
			t.Fatal(err)
		}
		if conn, _ := r.shake(t, c); conn.ConnectionState().DidResume != tickets {
			t.Errorf("tickets %v, reloaded: resumed %v", tickets, !tickets)
		}
	}
}

func TestACertificateIsReloadedAndABadOneIsNot(t *testing.T) {
	ca, dir := newAuthority(t), t.TempDir()
	pair := ca.issue(t, dir, time.Now().Add(time.Hour), "one.test")
	core, logs := observer.New(zap.InfoLevel)
	var good, bad atomic.Int32
	r := open(t, Options{Log: zap.New(core), Listeners: []Config{secure(TLSConfig{Certificates: []Pair{pair}, Reload: 2 * time.Millisecond})},
		Counters: Counters{Reloaded: func(_ string, ok bool) {
			if ok {
				good.Add(1)
			} else {
				bad.Add(1)
			}
		}}})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	serves := func(name string) bool {
		conn, _ := r.shake(t, &tls.Config{InsecureSkipVerify: true}) // the test looks itself
		return conn.ConnectionState().PeerCertificates[0].DNSNames[0] == name
	}
	if !serves("one.test") {
		t.Fatal("another certificate at first")
	}
	ca.issue(t, dir, time.Now().Add(time.Hour), "two.test")
	until(t, "the new certificate", func() bool { return serves("two.test") })
	for what, spoil := range map[string]func() error{
		"no PEM":    func() error { return os.WriteFile(pair.Cert, []byte("no certificate"), 0o600) },
		"no file":   func() error { return os.Remove(pair.Key) },
		"other key": func() error { return os.WriteFile(pair.Key, []byte("no key"), 0o600) },
		"over":      func() error { ca.issue(t, dir, time.Now().Add(-time.Minute), "three.test"); return nil },
	} {
		before := bad.Load()
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		until(t, what+" is said", func() bool { return bad.Load() > before })
		if !serves("two.test") {
			t.Fatalf("%s: the old certificate is gone", what)
		}
	}
	said := logs.FilterLevelExact(zap.ErrorLevel)
	if said.Len() != int(bad.Load()) || !strings.Contains(said.All()[0].Message, "the old ones stay") {
		t.Fatalf("%d of %d bad reloads were logged", said.Len(), bad.Load())
	}
	ca.issue(t, dir, time.Now().Add(time.Hour), "four.test")
	until(t, "the repaired certificate", func() bool { return serves("four.test") })
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func TestOpenSaysWhichCertificateIsBad(t *testing.T) {
	ca := newAuthority(t)
	p := ca.issue(t, t.TempDir(), time.Now().Add(time.Hour), "edge.test")
	other := ca.issue(t, t.TempDir(), time.Now().Add(time.Hour), "other.test")
	for name, c := range map[string]TLSConfig{
		"no such file":       {Certificates: []Pair{{Cert: "/nowhere/cert", Key: p.Key}}},
		"do they belong":     {Certificates: []Pair{{Cert: p.Cert, Key: other.Key}}},
		"holds no authority": {Certificates: []Pair{p}, ClientCA: p.Key, ClientAuth: tls.VerifyClientCertIfGiven},
	} {
		if _, err := Open(context.Background(), Options{Listeners: []Config{secure(c)}}); !errors.Is(err, ErrListen) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}
