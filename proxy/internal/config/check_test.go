package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// writePair writes a certificate of its own authority, and its key.
func writePair(t *testing.T, dir, name string) (cert, private string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert = write(t, dir, name+".pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})))
	private = write(t, dir, name+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})))
	return cert, private
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// withFiles is a configuration that names these files wherever it can.
func withFiles(t *testing.T, cert, private, ca, keys string) *Config {
	t.Helper()
	return mustLoad(t, fmt.Sprintf(`
listeners: [{address: ":1", tls: {certificates: [{cert: %[1]s, key: %[2]s}], client_ca: %[3]s}}]
admin: {tls: {cert: %[1]s, key: %[2]s, client_ca: %[3]s}}
identity: [{jwt: {jwks_file: %[4]s}}]
datacenters: {a: {upstreams: ["a:1"], tls: {enabled: true, ca: %[3]s, cert: %[1]s, key: %[2]s}}}
`, cert, private, ca, keys))
}

func TestCheckFindsNothingWrongWithGoodFiles(t *testing.T) {
	dir := t.TempDir()
	cert, private := writePair(t, dir, "a")
	keys := write(t, dir, "keys.json", `{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AA"}]}`)
	if err := withFiles(t, cert, private, cert, keys).Check(); err != nil {
		t.Error(err)
	}
	if err := mustLoad(t, "").Check(); err != nil {
		t.Errorf("without files: %v", err)
	}
}

func TestCheckReportsEveryFileThatIsNotThere(t *testing.T) {
	c := withFiles(t, "/no/cert", "/no/key", "/no/ca", "/no/keys")
	want := []string{
		"listeners[0].tls.certificates[0].cert", "listeners[0].tls.certificates[0].key", "listeners[0].tls.client_ca",
		"admin.tls.cert", "admin.tls.key", "admin.tls.client_ca", "identity[0].jwt.jwks_file",
		"datacenters.a.tls.cert", "datacenters.a.tls.key", "datacenters.a.tls.ca",
	}
	if keys := problemKeys(t, c.Check()); !slices.Equal(keys, want) {
		t.Errorf("got %v", keys)
	}
}

func TestCheckReportsAKeyOfAnotherCertificate(t *testing.T) {
	dir := t.TempDir()
	cert, _ := writePair(t, dir, "a")
	_, other := writePair(t, dir, "b")
	keys := write(t, dir, "keys.json", `{"keys": [{"kty": "RSA"}]}`)
	want := []string{"listeners[0].tls.certificates[0]", "admin.tls", "datacenters.a.tls"}
	if keys := problemKeys(t, withFiles(t, cert, other, cert, keys).Check()); !slices.Equal(keys, want) {
		t.Errorf("got %v", keys)
	}
}

func TestCheckReportsFilesThatHoldSomethingElse(t *testing.T) {
	dir := t.TempDir()
	cert, private := writePair(t, dir, "a")
	for _, text := range []string{"", "k3y", "[]", `{"keys": []}`, `{"keys": [{}]}`, `{"keys": "k3y"}`} {
		err := withFiles(t, cert, private, private, write(t, dir, "keys.json", text)).Check()
		want := []string{"listeners[0].tls.client_ca", "admin.tls.client_ca", "identity[0].jwt.jwks_file", "datacenters.a.tls.ca"}
		if keys := problemKeys(t, err); !slices.Equal(keys, want) || strings.Contains(err.Error(), "k3y") {
			t.Errorf("%q: got %v", text, err)
		}
	}
	big := write(t, dir, "keys.json", `{"keys": [{"kty": "RSA"}]}`+strings.Repeat(" ", namedFileMax))
	if keys := problemKeys(t, withFiles(t, cert, private, cert, big).Check()); !slices.Equal(keys, []string{"identity[0].jwt.jwks_file"}) {
		t.Errorf("got %v", keys)
	}
}
