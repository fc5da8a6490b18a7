package config

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
)

const someKey = "O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik=" // of RFC 8032's tests

func TestAStoresKeysAreGivenWithItAlone(t *testing.T) {
	for text, want := range map[string][]string{
		`{dir: /m}`:                nil,
		`{store: file, dir: /m}`:   nil,
		`{}`:                       {"map.dir"},
		`{store: consul}`:          nil,
		`{store: consul, dir: /m}`: {"map.dir"},
		`{store: push}`:            nil,
		`{store: push, dir: /m}`:   {"map.dir"},
		`{dir: /m, consul: {address: "10.0.0.1:8500"}}`:                                             {"map.consul"},
		`{dir: /m, consul: {tls: {ca: c}}}`:                                                         {"map.consul"},
		`{dir: /m, consul: {address: "127.0.0.1:8500"}}`:                                            nil, // the default
		`{store: consul, push: {token: t}}`:                                                         {"map.push"},
		`{store: consul, consul: {token: t, token_file: f}}`:                                        {"map.consul.token_file"},
		`{store: push, push: {token: t, token_file: f}}`:                                            {"map.push.token_file"},
		`{store: consul, consul: {address: ""}}`:                                                    {"map.consul.address"},
		`{store: consul, consul: {address: "unix:///run/consul"}}`:                                  nil,
		`{store: consul, consul: {address: "ftp://a"}}`:                                             {"map.consul.address"},
		`{store: consul, consul: {address: "http://u:p@a:1"}}`:                                      {"map.consul.address"},
		`{store: consul, consul: {address: "http://a:1", tls: {ca: c}}}`:                            {"map.consul.address"},
		`{store: consul, consul: {address: "https://a:1", tls: {ca: c, cert: c, key: k}}}`:          nil,
		`{store: consul, consul: {tls: {cert: c}}}`:                                                 {"map.consul.tls.key"},
		`{store: consul, consul: {prefix: ""}}`:                                                     {"map.consul.prefix"},
		`{store: consul, consul: {prefix: "a//b"}}`:                                                 {"map.consul.prefix"},
		`{store: consul, consul: {prefix: "a/b"}}`:                                                  nil,
		`{store: consul, max_change: 1.5}`:                                                          {"map.max_change"},
		`{dir: /m, keys: ["` + someKey + `"]}`:                                                      {"map.keys"},
		`{store: push, keys: ["` + someKey + `", /a/path]}`:                                         nil,
		`{store: push, keys: ["AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]}`:                     {"map.keys[0]"}, // with which anybody can sign
		`{store: push, keys: ["-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----"]}`:          {"map.keys[0]"},
		`{store: push, keys: [` + strings.TrimSuffix(strings.Repeat(someKey+", ", 17), ", ") + `]}`: {"map.keys"},
	} {
		_, err := loadText(t, "map: "+text)
		if keys := problemKeys(t, err); !slices.Equal(keys, want) {
			t.Errorf("%s: got %v, want %v", text, err, want)
		}
	}
}

func TestAPushHasOneToken(t *testing.T) {
	for text, want := range map[string][]string{
		`admin: {token: a}`: nil,
		"map: {store: push, push: {token: a}}\nadmin: {token: a}":      nil,
		"map: {store: push, push: {token: b}}\nadmin: {token: a}":      {"map.push.token"},
		"map: {store: push, push: {token_file: f}}\nadmin: {token: a}": {"map.push.token_file"},
	} {
		_, err := loadText(t, text)
		if keys := problemKeys(t, err); !slices.Equal(keys, want) {
			t.Errorf("%s: got %v, want %v", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), `"b"`) {
			t.Errorf("it shows the token: %v", err)
		}
	}
}

func TestAWhitelistFileHasADatacenterWithUpstreams(t *testing.T) {
	for text, want := range map[string][]string{
		`{}`:                        nil,
		`{file: f, datacenter: a}`:  nil,
		`{file: f}`:                 {"whitelist.datacenter"},
		`{datacenter: a}`:           {"whitelist.file"},
		`{file: f, datacenter: no}`: {"whitelist.datacenter"},
	} {
		_, err := loadText(t, "whitelist: "+text)
		if keys := problemKeys(t, err); !slices.Equal(keys, want) {
			t.Errorf("%s: got %v, want %v", text, err, want)
		}
	}
}

func TestAKeyIsATextOrAFile(t *testing.T) {
	raw, err := base64.StdEncoding.DecodeString(someKey)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(raw))
	if err != nil {
		t.Fatal(err)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	dir := t.TempDir()
	c := Default()
	c.Map.Store = StorePush
	c.Map.Keys = []string{someKey, text, write(t, dir, "pem", text), write(t, dir, "base64", someKey+"\n")}
	keys, err := c.Map.PublicKeys()
	if err != nil || len(keys) != 4 {
		t.Fatalf("got %d, %v", len(keys), err)
	}
	for i, key := range keys {
		if !slices.Equal(key, raw) {
			t.Errorf("key %d is another", i)
		}
	}
	for _, bad := range []string{dir + "/none", write(t, dir, "no", "no key"), dir} {
		c.Map.Keys = []string{someKey, bad}
		if _, err := c.Map.PublicKeys(); err == nil || !strings.Contains(err.Error(), "map.keys[1]") || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: got %v", bad, err)
		}
	}
}

func TestCheckReadsTheFilesOfTheMap(t *testing.T) {
	dir := t.TempDir()
	c := mustLoad(t, `map: {store: push, keys: [/no/key], push: {token_file: /no/token}}
whitelist: {file: /no/list, datacenter: a}`)
	if keys := problemKeys(t, c.Check()); !slices.Equal(keys, []string{"map.keys[0]", "map.push.token_file", "whitelist.file"}) {
		t.Errorf("got %v", keys)
	}
	c.Map.Keys = []string{write(t, dir, "key", someKey)}
	c.Map.Push.TokenFile = write(t, dir, "token", "secret\n")
	c.Whitelist.File = write(t, dir, "list", "ann\n")
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	if token, err := c.Map.PushToken(); err != nil || token != "secret" {
		t.Errorf("got %q, %v", token, err)
	}
	write(t, dir, "token", "two\nlines-of-secret\n")
	write(t, dir, "list", "ann\nbob \n")
	err := c.Check()
	if keys := problemKeys(t, err); !slices.Equal(keys, []string{"map.push.token_file", "whitelist.file"}) ||
		strings.Contains(err.Error(), "lines-of-secret") || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("got %v", err)
	}
}
