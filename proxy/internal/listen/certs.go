package listen

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// keeper keeps a listener's TLS configuration, and makes another one when the
// files have changed. Session tickets' keys belong to base, so they outlive a
// reload.
type keeper struct {
	config  *TLSConfig
	http2   bool
	base    *tls.Config
	current atomic.Pointer[tls.Config]

	mu    sync.Mutex
	tried [][]byte // the files' content when last looked at, good or not
	good  [][]byte // the files' content that is in use
}

func newKeeper(c *TLSConfig, http2 bool) (*keeper, error) {
	k := &keeper{config: c, http2: http2}
	files, err := k.read()
	if err != nil {
		return nil, err
	}
	first, err := k.build(files)
	if err != nil {
		return nil, err
	}
	k.tried, k.good = files, files
	k.current.Store(first)
	k.base = k.settings()
	k.base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return k.current.Load(), nil }
	return k, nil
}

// reload takes up what has changed in the files. The old configuration stays
// when the new one is bad.
func (k *keeper) reload() (changed bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	files, err := k.read()
	if err != nil {
		if k.tried == nil { // said before
			return false, nil
		}
		k.tried = nil
		return true, err
	}
	same := len(files) == len(k.tried)
	for i := 0; same && i < len(files); i++ {
		same = bytes.Equal(files[i], k.tried[i])
	}
	if same {
		return false, nil
	}
	k.tried = files
	next, err := k.build(files)
	if err != nil {
		return true, err
	}
	k.good = files
	k.current.Store(next)
	return true, nil
}

// read reads all files: certificate, key, certificate, key, …, authorities.
// Contents are compared, not times: files come by renaming and by links.
func (k *keeper) read() ([][]byte, error) {
	var files [][]byte
	take := func(path string) error {
		b, err := os.ReadFile(path)
		files = append(files, b)
		return err
	}
	var errs []error
	for _, p := range k.config.Certificates {
		errs = append(errs, take(p.Cert), take(p.Key))
	}
	if k.config.ClientCA != "" {
		errs = append(errs, take(k.config.ClientCA))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("read the certificates (check the paths, and that this user may read them): %w", err)
	}
	return files, nil
}

// settings are all but certificates and authorities.
func (k *keeper) settings() *tls.Config {
	c := &tls.Config{
		MinVersion: k.config.MinVersion, ClientAuth: k.config.ClientAuth,
		SessionTicketsDisabled: !k.config.SessionTickets, NextProtos: []string{"http/1.1"},
	}
	if c.MinVersion == 0 {
		c.MinVersion = tls.VersionTLS12
	}
	if k.http2 {
		c.NextProtos = []string{"h2", "http/1.1"}
	}
	return c
}

func (k *keeper) build(files [][]byte) (*tls.Config, error) {
	c := k.settings()
	shelf := names{}
	for i, p := range k.config.Certificates {
		pair, err := tls.X509KeyPair(files[2*i], files[2*i+1])
		if err != nil {
			return nil, fmt.Errorf("certificate %s with key %s (do they belong together?): %w", p.Cert, p.Key, err)
		}
		// One that is over is no reason not to start, and none not to take up
		// another one's renewal; but it replaces nothing.
		if k.good != nil && !bytes.Equal(files[2*i], k.good[2*i]) && time.Now().After(pair.Leaf.NotAfter) {
			return nil, fmt.Errorf("certificate %s is over since %v: renew it", p.Cert, pair.Leaf.NotAfter)
		}
		shelf.add(&pair)
	}
	c.GetCertificate = shelf.find
	if k.config.ClientCA != "" {
		c.ClientCAs = x509.NewCertPool()
		if !c.ClientCAs.AppendCertsFromPEM(files[len(files)-1]) {
			return nil, fmt.Errorf("file %s holds no authority: it must be certificates in PEM", k.config.ClientCA)
		}
	}
	return c, nil
}

// names finds a certificate by the name that the client asks for.
type names struct {
	by    map[string][]*tls.Certificate
	first *tls.Certificate
}

func (n *names) add(c *tls.Certificate) {
	if n.first == nil {
		n.first, n.by = c, map[string][]*tls.Certificate{}
	}
	of := c.Leaf.DNSNames
	if len(of) == 0 {
		of = []string{c.Leaf.Subject.CommonName}
	}
	for _, name := range of {
		name = strings.ToLower(name)
		n.by[name] = append(n.by[name], c)
	}
}

func (n *names) find(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	found := n.by[name]
	if len(found) == 0 {
		if _, domain, ok := strings.Cut(name, "."); ok {
			found = n.by["*."+domain]
		}
	}
	switch len(found) {
	case 0:
		return n.first, nil
	case 1:
		return found[0], nil
	}
	for _, c := range found {
		if hello.SupportsCertificate(c) == nil {
			return c, nil
		}
	}
	return found[0], nil
}
