package config

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"drover/bucketmap/binary"
	"drover/internal/config"
)

// The stores.
const (
	StoreFile   = "file"
	StoreConsul = "consul"
	StorePush   = "push"
)

// DefaultMaxChange is the share of the users that one version of the map may
// move between datacenters, when people publish it.
const DefaultMaxChange = 0.10

// secretFileMax bounds a file with a token or a key: far above any.
const secretFileMax = 64 << 10

// Map says where the map is published, and what is checked before. Its keys are
// the proxies' where they mean the same.
type Map struct {
	// Store is file, consul or push.
	Store string `yaml:"store"`
	// Dir is the folder of the map and its history, of the stores file and push.
	Dir    string `yaml:"dir"`
	Consul Consul `yaml:"consul"`
	Push   Push   `yaml:"push"`
	// Canary is how migrator map push --canary talks to a proxy's admin server.
	// Empty with the store push: as with the others.
	Canary Access `yaml:"canary"`
	// SignKeyFile is the path of an Ed25519 private key, which signs what goes to
	// Consul and to proxies. Empty: nothing is signed.
	SignKeyFile string `yaml:"sign_key_file"`
	// Keys are the paths of public keys, of which one must have signed what
	// Consul gives. Empty: signatures are not looked at.
	Keys []string `yaml:"keys"`
	// MaxChange is the share of the users, 0 to 1, that one version may move
	// between datacenters when people publish it. 0: no bound.
	MaxChange float64 `yaml:"max_change"`
}

// Consul is where Consul is, of the store consul.
type Consul struct {
	Address    string `yaml:"address"`    // host:port, or a URL of http, https or unix; empty: this machine's agent
	Datacenter string `yaml:"datacenter"` // Consul's word for one of its clusters; empty: the agent's
	Prefix     string `yaml:"prefix"`     // the folder of keys; empty: drover
	// TokenFile is the path of a file with the ACL token.
	TokenFile string `yaml:"token_file"`
	TLS       TLS    `yaml:"tls"`
}

// Push is where the proxies are, of the store push.
type Push struct {
	// Proxies are the base addresses of their admin servers.
	Proxies []string `yaml:"proxies"`
	// TokenFile is the path of a file whose first line is their token.
	TokenFile string `yaml:"token_file"`
	TLS       TLS    `yaml:"tls"`
}

// Access is how an admin server is talked to.
type Access struct {
	// TokenFile is the path of a file whose first line is the token.
	TokenFile string `yaml:"token_file"`
	TLS       TLS    `yaml:"tls"`
}

// TLS names files in PEM.
type TLS struct {
	CA         string `yaml:"ca"`          // authorities; empty: the system's
	Cert       string `yaml:"cert"`        // the client's own certificate; with key or not at all
	Key        string `yaml:"key"`         // that certificate's key
	ServerName string `yaml:"server_name"` // the name in the server's certificate; empty: the address's host
}

// paths are the fields that name files.
func (m *Map) paths() []*string {
	paths := []*string{&m.Dir, &m.Consul.TokenFile, &m.Push.TokenFile, &m.SignKeyFile, &m.Canary.TokenFile}
	for _, t := range []*TLS{&m.Consul.TLS, &m.Push.TLS, &m.Canary.TLS} {
		paths = append(paths, &t.CA, &t.Cert, &t.Key)
	}
	for i := range m.Keys {
		paths = append(paths, &m.Keys[i])
	}
	return paths
}

func (m *Map) validate(p *config.Problems) {
	switch m.Store {
	case StoreFile, StoreConsul, StorePush:
	default:
		p.Add("map.store", m.Store, `"file", "consul" or "push"`)
	}
	p.Want(m.Dir != "" || m.Store == StoreConsul, "map.dir", m.Dir, "the folder of the map")
	p.Want(m.Dir == "" || m.Store != StoreConsul, "map.dir", m.Dir, "nothing: it is of the stores file and push")
	p.Want(m.Consul == Consul{} || m.Store == StoreConsul, "map.consul", fmt.Sprintf("%+v", m.Consul), "nothing: it is of the store consul")
	p.Want(len(m.Keys) == 0 || m.Store == StoreConsul, "map.keys", m.Keys, "nothing: they are of the store consul")
	push := m.Push.TokenFile != "" || m.Push.TLS != TLS{} || len(m.Push.Proxies) != 0
	p.Want(!push || m.Store == StorePush, "map.push", fmt.Sprintf("%+v", m.Push), "nothing: it is of the store push; the token of --canary is map.canary.token_file")
	p.Want(len(m.Push.Proxies) != 0 || m.Store != StorePush, "map.push.proxies", m.Push.Proxies, "one proxy's admin address or more, such as https://10.0.0.1:9901")
	for _, t := range []struct {
		key string
		TLS
	}{{"map.consul.tls", m.Consul.TLS}, {"map.push.tls", m.Push.TLS}, {"map.canary.tls", m.Canary.TLS}} {
		p.Want((t.Cert == "") == (t.Key == ""), t.key, t.Cert+", "+t.Key, "both cert and key, or neither")
	}
	p.Want(m.MaxChange >= 0 && m.MaxChange <= 1, "map.max_change", m.MaxChange, "a share of the users, 0 to 1")
}

// Access returns how the proxies' admin servers are talked to.
func (m *Map) Access() Access {
	if m.Store == StorePush && m.Canary == (Access{}) {
		return Access{TokenFile: m.Push.TokenFile, TLS: m.Push.TLS}
	}
	return m.Canary
}

// Token reads the token, empty when there is no file.
func (a Access) Token() (string, error) {
	if a.TokenFile == "" {
		return "", nil
	}
	text, err := readSecret(a.TokenFile)
	if err != nil {
		return "", fmt.Errorf("token_file: %w", err)
	}
	line, _, _ := strings.Cut(text, "\n")
	if line = strings.TrimSpace(line); line == "" {
		return "", fmt.Errorf("token_file: the first line of %s is empty: it is the token", a.TokenFile)
	}
	return line, nil
}

// Config loads the files; nil when nothing is said.
func (t TLS) Config() (*tls.Config, error) {
	if t == (TLS{}) {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CA != "" {
		text, err := readSecret(t.CA)
		if err != nil {
			return nil, fmt.Errorf("tls.ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM([]byte(text)) {
			return nil, fmt.Errorf("tls.ca: %s has no certificate in PEM", t.CA)
		}
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("tls.cert and tls.key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// SignKey reads the private key, nil when there is no file.
func (m *Map) SignKey() (ed25519.PrivateKey, error) {
	if m.SignKeyFile == "" {
		return nil, nil
	}
	text, err := readSecret(m.SignKeyFile)
	if err != nil {
		return nil, fmt.Errorf("sign_key_file: %w", err)
	}
	key, err := binary.ParsePrivateKey(text)
	if err != nil {
		return nil, fmt.Errorf("sign_key_file: %s: %w; migrator map keygen makes one", m.SignKeyFile, err)
	}
	return key, nil
}

// LoadPublicKeys reads one Ed25519 public key a file.
func LoadPublicKeys(paths []string) ([]ed25519.PublicKey, error) {
	var keys []ed25519.PublicKey
	var errs []error
	for _, path := range paths {
		text, err := readSecret(path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		key, err := binary.ParsePublicKey(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", path, err))
			continue
		}
		keys = append(keys, key)
	}
	return keys, errors.Join(errs...)
}

// readSecret reads a small file. Errors show nothing of it.
func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close() // read only: nothing to lose
	text, err := io.ReadAll(io.LimitReader(f, secretFileMax+1))
	if err != nil {
		return "", err
	}
	if len(text) > secretFileMax {
		return "", fmt.Errorf("%s is longer than %d bytes: is it the right file?", path, secretFileMax)
	}
	return string(text), nil
}
