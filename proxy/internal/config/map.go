package config

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"drover/bucketmap/binary"
	"drover/internal/config"
)

// Map is where the map comes from, and what it must be. Whatever the store, an
// operator can PUT a map to the admin server.
type Map struct {
	// Store is the kind of store. file is a folder; consul is Consul's key-value
	// store; push has none: publishers PUT each map to the admin server.
	Store string `yaml:"store" bounds:"file|consul|push"`
	// Dir is the folder of the file store. It is wanted with store file, and not
	// given with another.
	Dir    string `yaml:"dir" bounds:"folder?"`
	Consul Consul `yaml:"consul"`
	Push   Push   `yaml:"push"`
	// Keys are the Ed25519 public keys of which one must have signed each map:
	// each is PEM, base64 of 32 bytes, or the path of a file with either. With
	// keys, a map without a signature is refused, also one in YAML that an
	// operator pushes. Not with store file: a map that people write by hand
	// cannot be signed.
	Keys []string `yaml:"keys" bounds:"key" count:"0..16"`
	// MaxChange is the share of the buckets that one map may send to another
	// datacenter beside what its publishers declared. The map has an odometer,
	// moved, which every tool of Drover's turns on by what it moves, so that
	// they are not bounded here; an edit by hand and a damaged map are. An
	// operator who moves more by hand raises moved by as many buckets. 0: no
	// bound.
	MaxChange float64 `yaml:"max_change" bounds:"0..1"`
	// Cache is the path of the last good map on this proxy's own disk, from which
	// it starts when the store is down. Empty: none is kept, and a proxy that is
	// pushed to has no map after a restart until it is pushed one.
	Cache string `yaml:"cache" bounds:"file?"`
}

// Consul is how Consul is reached. It is not given with another store.
type Consul struct {
	// Address is that of an agent.
	Address string `yaml:"address" bounds:"agent"`
	// Datacenter is Consul's name for one of its clusters. Empty: the agent's.
	Datacenter string `yaml:"datacenter" bounds:"name?"`
	// Prefix is the folder of keys in which the map is.
	Prefix string `yaml:"prefix" bounds:"key folder"`
	// Token is the ACL token. Empty: none, or that of token_file.
	Token string `yaml:"token" bounds:"secret?"`
	// TokenFile is the path of a file with the ACL token in one line. It is read
	// again when it changes.
	TokenFile string    `yaml:"token_file" bounds:"file?"`
	TLS       ConsulTLS `yaml:"tls"`
}

// ConsulTLS is for an agent that speaks HTTPS. One whose address begins with
// https:// needs nothing of it when the system's authorities are right.
type ConsulTLS struct {
	// CA is the path of the only authorities that are trusted, in PEM. Empty:
	// the system's.
	CA string `yaml:"ca" bounds:"file?"`
	// Cert is the path of the proxy's own certificate, in PEM. Empty: none is
	// shown.
	Cert string `yaml:"cert" bounds:"file?"`
	// Key is the path of that certificate's key, in PEM.
	Key string `yaml:"key" bounds:"file?"`
	// ServerName is the name in the agent's certificate. Empty: the address's
	// host.
	ServerName string `yaml:"server_name" bounds:"host?"`
}

// Push is who may push with store push. It is not given with another store. A
// request carries one token: where admin.token is set it is the one, and none is
// given here.
type Push struct {
	// Token is wanted as a bearer token of PUT /map and GET /map/ack, and of
	// nothing else of the admin server.
	Token string `yaml:"token" bounds:"secret?"`
	// TokenFile is the path of a file with that token in one line, read when the
	// proxy starts.
	TokenFile string `yaml:"token_file" bounds:"file?"`
}

// Whitelist is a file of users who go to one datacenter, beside those whom the
// map lists. It is read again when it changes, and at SIGHUP; one that is not
// right as a whole is refused, and the users of before stay.
type Whitelist struct {
	// File is the path of the file: a user id a line, at most 1,000,000; hex: and
	// its bytes for one that cannot be printed or begins with #. Empty lines and
	// lines that begin with # are left out. Empty: there is none.
	File string `yaml:"file" bounds:"file?"`
	// Datacenter is where the users of the file go: one of datacenters. It is
	// wanted with a file.
	Datacenter string `yaml:"datacenter" bounds:"name?"`
}

// The words of Map.Store.
const (
	StoreFile   = "file"
	StoreConsul = "consul"
	StorePush   = "push"
)

// tokenFileMax bounds a file with a token.
const tokenFileMax = 4 << 10

func defaultMap() Map {
	return Map{
		Store:     StoreFile,
		Consul:    Consul{Address: "127.0.0.1:8500", Prefix: "drover"},
		MaxChange: 0.25, // lets through one shard of four, by hand; stops what a wrong file does
	}
}

func (c *Config) mapProblems(p *config.Problems) {
	m := &c.Map
	switch m.Store {
	case StoreFile:
		p.Want(m.Dir != "", "map.dir", m.Dir, "the path of a folder, with store file")
		if len(m.Keys) != 0 {
			p.Add("map.keys", entries(len(m.Keys)), "none with store file: a map that is written by hand cannot be signed; use store consul or push")
		}
	case StoreConsul, StorePush:
		p.Want(m.Dir == "", "map.dir", m.Dir, "empty, with store "+m.Store)
	}
	p.Want(m.Store == StoreConsul || m.Consul == defaultMap().Consul, "map.consul", shown("keys are given"), "none of its keys, with store "+m.Store)
	p.Want(m.Store == StorePush || m.Push == Push{}, "map.push", shown("keys are given"), "none of its keys, with store "+m.Store)
	p.Want(m.Consul.Token == "" || m.Consul.TokenFile == "", "map.consul.token_file", m.Consul.TokenFile, "either a token or a token_file")
	p.Want(m.Push.Token == "" || m.Push.TokenFile == "", "map.push.token_file", m.Push.TokenFile, "either a token or a token_file")
	p.Want(m.Push.TokenFile == "" || c.Admin.Token == "", "map.push.token_file", m.Push.TokenFile, "empty where admin.token is set, which is wanted of every request")
	if m.Push.Token != "" && c.Admin.Token != "" && m.Push.Token != c.Admin.Token {
		p.Add("map.push.token", shown("not shown"), "empty where admin.token is set, which is wanted of every request")
	}
	t := &m.Consul.TLS
	pairProblem(p, "map.consul.tls", t.Cert, t.Key)
	plain := strings.HasPrefix(m.Consul.Address, "http://") || strings.HasPrefix(m.Consul.Address, "unix://")
	p.Want(!plain || *t == ConsulTLS{}, "map.consul.address", m.Consul.Address, "host:port or https://, with tls")
}

// shown is what a problem shows in the place of a value.
type shown string

func (s shown) String() string { return "(" + string(s) + ")" }

func (c *Config) whitelistProblems(p *config.Problems) {
	w := &c.Whitelist
	p.Want(w.File != "" || w.Datacenter == "", "whitelist.file", w.File, "the path of a file, with a datacenter")
	_, known := c.Datacenters[w.Datacenter]
	p.Want(w.File == "" || known, "whitelist.datacenter", w.Datacenter, "one of datacenters")
}

// PublicKeys returns the keys of which one must have signed each map, none when
// signatures are not looked at.
func (m *Map) PublicKeys() ([]ed25519.PublicKey, error) {
	keys := make([]ed25519.PublicKey, 0, len(m.Keys))
	for i, text := range m.Keys {
		key, err := publicKey(text)
		if err != nil {
			return nil, fmt.Errorf("map.keys[%d]: %w", i, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func publicKey(text string) (ed25519.PublicKey, error) {
	if isKeyText(text) {
		return binary.ParsePublicKey(text)
	}
	content, err := readNamed(text)
	if err != nil {
		return nil, fmt.Errorf("no key in PEM or base64, and no file with one: %w", err)
	}
	key, err := binary.ParsePublicKey(string(content))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", text, err)
	}
	return key, nil
}

// isKeyText says whether a text is meant to be a key, and not a path.
func isKeyText(text string) bool {
	if strings.HasPrefix(strings.TrimSpace(text), "-----BEGIN") {
		return true
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	return err == nil && len(raw) == ed25519.PublicKeySize
}

// PushToken returns the token that is wanted of who pushes, empty for none.
func (m *Map) PushToken() (string, error) {
	if m.Push.TokenFile == "" {
		return m.Push.Token, nil
	}
	token, err := readToken(m.Push.TokenFile)
	if err != nil {
		return "", fmt.Errorf("map.push.token_file: %w", err)
	}
	return token, nil
}

// readToken reads a file with a token in one line. Its errors never show it.
func readToken(path string) (string, error) {
	text, err := readNamed(path)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(text))
	if len(text) > tokenFileMax || !shortWord(token, textMax) {
		return "", errors.New(path + ": want one line with a token")
	}
	return token, nil
}
