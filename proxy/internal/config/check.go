package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"drover/bucketmap"
	"drover/internal/config"
	"drover/proxy/internal/routing/whitelist"
)

// namedFileMax bounds a file that the configuration names: a bundle of all
// public authorities is 256 KiB.
const namedFileMax = 4 << 20

// Check tries the files that the configuration names (certificates, keys,
// authorities, key sets) and reports every problem at once, as Validate does.
// It wants a configuration that Validate finds right. It fetches nothing.
func (c *Config) Check() error {
	var p config.Problems
	for i := range c.Listeners {
		t := c.Listeners[i].TLS
		if t == nil {
			continue
		}
		key := fmt.Sprintf("listeners[%d].tls", i)
		for n, one := range t.Certificates {
			checkPair(&p, fmt.Sprintf("%s.certificates[%d]", key, n), one.Cert, one.Key)
		}
		checkAuthorities(&p, key+".client_ca", t.ClientCA)
	}
	checkPair(&p, "admin.tls", c.Admin.TLS.Cert, c.Admin.TLS.Key)
	checkAuthorities(&p, "admin.tls.client_ca", c.Admin.TLS.ClientCA)
	c.checkMap(&p)
	for i := range c.Identity {
		if j := c.Identity[i].JWT; j != nil && j.JWKSFile != "" {
			err := readKeySet(j.JWKSFile)
			p.Want(err == nil, fmt.Sprintf("identity[%d].jwt.jwks_file", i), j.JWKSFile, because("a JSON file with a key set", err))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Datacenters)) {
		t := c.Datacenters[name].TLS
		key := "datacenters." + name + ".tls"
		checkPair(&p, key, t.Cert, t.Key)
		checkAuthorities(&p, key+".ca", t.CA)
	}
	return p.Err()
}

// checkMap tries the files of the sections map and whitelist.
func (c *Config) checkMap(p *config.Problems) {
	m := &c.Map
	for i, text := range m.Keys {
		_, err := publicKey(text)
		p.Want(err == nil, fmt.Sprintf("map.keys[%d]", i), text, because("an Ed25519 public key", err))
	}
	for key, path := range map[string]string{"map.consul.token_file": m.Consul.TokenFile, "map.push.token_file": m.Push.TokenFile} {
		if path != "" {
			_, err := readToken(path)
			p.Want(err == nil, key, path, because("a file with a token", err))
		}
	}
	checkPair(p, "map.consul.tls", m.Consul.TLS.Cert, m.Consul.TLS.Key)
	checkAuthorities(p, "map.consul.tls.ca", m.Consul.TLS.CA)
	if w := &c.Whitelist; w.File != "" {
		_, err := whitelist.Read(w.File, bucketmap.Datacenter(w.Datacenter))
		p.Want(err == nil, "whitelist.file", w.File, because("a file with a user id a line", err))
	}
}

func because(want string, err error) string { return fmt.Sprintf("%s: %v", want, err) }

// checkPair reads a certificate and its key, unless both are empty.
func checkPair(p *config.Problems, key, cert, private string) {
	if cert == "" && private == "" {
		return
	}
	certText, err := readNamed(cert)
	if err != nil {
		p.Add(key+".cert", cert, because("a certificate in PEM", err))
	}
	keyText, err := readNamed(private)
	if err != nil {
		p.Add(key+".key", private, because("a key in PEM", err))
	}
	if certText == nil || keyText == nil {
		return
	}
	_, err = tls.X509KeyPair(certText, keyText)
	p.Want(err == nil, key, cert+" with "+private, because("a certificate and its key, in PEM", err))
}

func checkAuthorities(p *config.Problems, key, path string) {
	if path == "" {
		return
	}
	text, err := readNamed(path)
	if err == nil && !x509.NewCertPool().AppendCertsFromPEM(text) {
		err = errors.New("it holds none")
	}
	p.Want(err == nil, key, path, because("certificates of authorities, in PEM", err))
}

// readKeySet looks whether a file is a JWK set (RFC 7517, 5) with a key.
func readKeySet(path string) error {
	text, err := readNamed(path)
	if err != nil {
		return err
	}
	var set struct {
		Keys []struct {
			Type string `json:"kty"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return errors.New("it is no JSON object with a list of keys") // the cause could show a key
	}
	if len(set.Keys) == 0 {
		return errors.New("it holds no key")
	}
	for i, k := range set.Keys {
		if k.Type == "" {
			return fmt.Errorf("key %d has no kty", i)
		}
	}
	return nil
}

// readNamed returns a file's content, never nil without an error.
func readNamed(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // read only: nothing to lose
	text, err := io.ReadAll(io.LimitReader(f, namedFileMax+1))
	if err != nil {
		return nil, err
	}
	if len(text) > namedFileMax {
		return nil, fmt.Errorf("%s is over %d bytes", path, namedFileMax)
	}
	return text, nil
}
