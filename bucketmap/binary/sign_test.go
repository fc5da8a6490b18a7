package binary_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"drover/bucketmap/binary"
)

// checksumOffset and headerSize are those of docs/format.md.
const (
	checksumOffset = 16
	headerSize     = 48
	signatureSize  = 72
)

func TestOnlyWhatOneOfTheKeysSignedIsAccepted(t *testing.T) {
	rng := newMaps(3)
	s := rng.any(t, 500)
	oldPublic, oldPrivate := rng.key()
	newPublic, newPrivate := rng.key()
	otherPublic, otherPrivate := rng.key()
	keys := func(keys ...ed25519.PublicKey) []ed25519.PublicKey { return keys }
	for _, c := range []struct {
		name string
		sign ed25519.PrivateKey
		keys []ed25519.PublicKey
		want error
	}{
		{"signed, by the only key", oldPrivate, keys(oldPublic), nil},
		{"signed with the old key while both are accepted", oldPrivate, keys(newPublic, oldPublic), nil},
		{"signed with the new key while both are accepted", newPrivate, keys(newPublic, oldPublic), nil},
		{"signed with the old key when it is no longer accepted", oldPrivate, keys(newPublic), binary.ErrSignature},
		{"signed by somebody else", otherPrivate, keys(newPublic, oldPublic), binary.ErrSignature},
		{"not signed", nil, keys(oldPublic), binary.ErrUnsigned},
		{"not signed, nobody asks", nil, nil, nil},
		{"signed, nobody asks", otherPrivate, nil, nil},
		{"keys that are none", otherPrivate, keys(nil, otherPublic[:31]), binary.ErrSignature},
		{"a key that is none beside one", otherPrivate, keys(nil, otherPublic), nil},
		{"a key of zeros", otherPrivate, keys(make(ed25519.PublicKey, 32)), binary.ErrSignature},
		{"an empty private key", ed25519.PrivateKey{}, keys(oldPublic), binary.ErrUnsigned},
	} {
		data := binary.Append(nil, s, c.sign)
		got, err := binary.Decode(data, c.keys)
		if !errors.Is(err, c.want) || c.want == nil && (err != nil || !got.Equal(s)) {
			t.Errorf("%s: %v: want %v", c.name, err, c.want)
		}
		delta := binary.MakeDelta(nil, s)
		if _, err = binary.DecodeDelta(binary.AppendDelta(nil, delta, c.sign), c.keys); !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s, a delta: %v: want %v", c.name, err, c.want)
		}
		if c.want == nil && c.sign != nil && !bytes.Equal(binary.Append(nil, got, c.sign), data) {
			t.Errorf("%s: signed again, it is not the same", c.name)
		}
	}
}

func TestWhatIsChangedAfterTheSignatureIsRefused(t *testing.T) {
	rng := newMaps(4)
	public, private := rng.key()
	s := rng.any(t, 200)
	data := binary.Append(nil, s, private)
	keys := []ed25519.PublicKey{public}
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 1 << (i % 8)
		if _, err := binary.Decode(bad, keys); err == nil {
			t.Errorf("byte %d changed: accepted", i)
		}
		// Somebody who changes the content makes the checksum right again.
		sum := sha256.Sum256(bad[headerSize : len(bad)-signatureSize])
		copy(bad[checksumOffset:], sum[:])
		_, err := binary.Decode(bad, keys)
		if err == nil && !bytes.Equal(bad, data) {
			t.Errorf("byte %d changed, with a right checksum: accepted", i)
		}
		if i >= headerSize && !errors.Is(err, binary.ErrSignature) {
			t.Errorf("byte %d changed, with a right checksum: %v: want ErrSignature", i, err)
		}
	}
	// The signature taken off, and that of another map put on.
	off := bytes.Clone(data[:len(data)-signatureSize])
	off[6] = 0
	if _, err := binary.Decode(off, keys); !errors.Is(err, binary.ErrUnsigned) {
		t.Errorf("signature taken off: %v: want ErrUnsigned", err)
	}
	other := binary.Append(nil, rng.any(t, 200), private)
	mixed := append(bytes.Clone(data[:len(data)-signatureSize]), other[len(other)-signatureSize:]...)
	if _, err := binary.Decode(mixed, keys); !errors.Is(err, binary.ErrSignature) {
		t.Errorf("signature of another map: %v: want ErrSignature", err)
	}
	// A delta's content cannot pass for a map's.
	delta := binary.AppendDelta(nil, binary.MakeDelta(nil, s), private)
	delta[5] = 1
	if _, err := binary.Decode(delta, keys); !errors.Is(err, binary.ErrSignature) {
		t.Errorf("delta as a map: %v: want ErrSignature", err)
	}
}

func TestErrorsTellWhatIsWrong(t *testing.T) {
	data := binary.Append(nil, newMaps(1).any(t, 50), nil)
	for name, c := range map[string]struct {
		change func(data []byte)
		want   error
	}{
		"a newer format":     {func(d []byte) { d[4] = 2 }, binary.ErrFormat},
		"no format":          {func(d []byte) { d[4] = 0 }, binary.ErrCorrupt},
		"no magic":           {func(d []byte) { d[0] = 'v' }, binary.ErrCorrupt},
		"a delta":            {func(d []byte) { d[5] = 2 }, binary.ErrCorrupt},
		"an unknown flag":    {func(d []byte) { d[6] = 2 }, binary.ErrCorrupt},
		"a reserved byte":    {func(d []byte) { d[7] = 1 }, binary.ErrCorrupt},
		"a length":           {func(d []byte) { d[15]++ }, binary.ErrCorrupt},
		"a length near 2^64": {func(d []byte) { copy(d[8:], "\xff\xff\xff\xff\xff\xff\xff\xff") }, binary.ErrCorrupt},
		"the checksum":       {func(d []byte) { d[20]++ }, binary.ErrChecksum},
		"the content":        {func(d []byte) { d[headerSize+3]++ }, binary.ErrChecksum},
	} {
		bad := bytes.Clone(data)
		c.change(bad)
		if _, err := binary.Decode(bad, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %v: want %v", name, err, c.want)
		}
	}
	for _, text := range []string{"", "\x89", "\x89DRM", "version: 3\nbuckets: 5\n", `{"version": 3}`, strings.Repeat("\x00", 100)} {
		if binary.Is([]byte(text)) {
			t.Errorf("%q passes for a map", text)
		}
		if _, err := binary.Decode([]byte(text), nil); !errors.Is(err, binary.ErrCorrupt) {
			t.Errorf("%q: %v: want ErrCorrupt", text, err)
		}
	}
}

func TestKeysAreReadFromPEMAndFromBase64(t *testing.T) {
	public, private := newMaps(5).key()
	pkix, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	b64 := base64.StdEncoding.EncodeToString
	for _, text := range []string{block("PUBLIC KEY", pkix), b64(public), "\n " + b64(public) + "\r\n", "\n" + block("PUBLIC KEY", pkix) + "\n"} {
		if got, err := binary.ParsePublicKey(text); err != nil || !got.Equal(public) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{block("PRIVATE KEY", pkcs8), b64(private.Seed()), b64(private.Seed()) + "\n"} {
		if got, err := binary.ParsePrivateKey(text); err != nil || !got.Equal(private) {
			t.Errorf("%v", err)
		}
	}

	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecPublic, err := x509.MarshalPKIXPublicKey(&ec.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	ecPrivate, err := x509.MarshalPKCS8PrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	weak := bytes.Repeat([]byte{0xff}, 32)
	weak[0] = 0xec
	for name, text := range map[string]string{
		"nothing": "", "words": "not a key", "31 bytes": b64(public[:31]), "33 bytes": b64(append(bytes.Clone(public), 0)),
		"base64 without padding": strings.TrimRight(b64(public), "="), "hexadecimal": strings.Repeat("ab", 32),
		"zeros": b64(make([]byte, 32)), "a point of small order": b64(weak),
		"a private key": block("PRIVATE KEY", pkcs8), "another kind": block("PUBLIC KEY", ecPublic),
		"two keys": block("PUBLIC KEY", pkix) + block("PUBLIC KEY", pkix), "half a block": block("PUBLIC KEY", pkix)[:60],
		"nonsense in a block": block("PUBLIC KEY", []byte("nonsense")),
	} {
		if got, err := binary.ParsePublicKey(text); err == nil {
			t.Errorf("public key, %s: accepted as %x", name, got)
		}
	}
	for name, text := range map[string]string{
		"nothing": "", "64 bytes": b64(private), "31 bytes": b64(private[:31]), "a public key": block("PUBLIC KEY", pkix),
		"another kind": block("PRIVATE KEY", ecPrivate), "more": block("PRIVATE KEY", pkcs8) + "x", "nonsense": block("PRIVATE KEY", private),
	} {
		_, err := binary.ParsePrivateKey(text)
		if err == nil {
			t.Errorf("private key, %s: accepted", name)
		} else if text != "" && strings.Contains(err.Error(), text[len(text)/2:]) {
			t.Errorf("private key, %s: the error shows it", name)
		}
	}
}
