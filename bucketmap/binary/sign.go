package binary

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
)

// signedPart is what a signature is made of: the header, which has the
// content's SHA-256, and the key's id. So a map of megabytes is hashed once,
// and not twice more by Ed25519.
func signedPart(header, id []byte) []byte { return slices.Concat(header, id) }

// keyID tells keys apart, so that several can be accepted while one is
// replaced by another. It is no secret and proves nothing.
func keyID(key ed25519.PublicKey) []byte {
	sum := sha256.Sum256(key)
	return sum[:keyIDSize]
}

// verify checks the signature, which is empty when there is none. No keys say
// that it is not looked at.
func verify(header, signature []byte, keys []ed25519.PublicKey) error {
	if len(keys) == 0 {
		return nil
	}
	if len(signature) == 0 {
		return fmt.Errorf("%w: want the signature of one of %d keys; publish it with a signing key", ErrUnsigned, len(keys))
	}
	id := signature[:keyIDSize]
	for _, key := range keys {
		// A key that the caller made wrongly must accept nothing.
		if checkPublicKey(key) != nil || !bytes.Equal(keyID(key), id) {
			continue
		}
		if ed25519.Verify(key, signedPart(header, id), signature[keyIDSize:]) {
			return nil
		}
		return fmt.Errorf("%w: that of key %x does not fit: the map was changed after it was signed", ErrSignature, id)
	}
	return fmt.Errorf("%w: it was signed with key %x, which is none of the %d accepted; add its public key if it is yours", ErrSignature, id, len(keys))
}

// publicKeyBlock and privateKeyBlock are what PEM calls the two.
const (
	publicKeyBlock  = "PUBLIC KEY"
	privateKeyBlock = "PRIVATE KEY"
)

// ParsePublicKey reads an Ed25519 public key: PEM (PKIX), or base64 of its 32
// bytes. White space around it is left out.
func ParsePublicKey(text string) (ed25519.PublicKey, error) {
	der, raw, err := parseKey(text, publicKeyBlock)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	key := ed25519.PublicKey(raw)
	if der != nil {
		parsed, err := x509.ParsePKIXPublicKey(der)
		if err != nil {
			return nil, fmt.Errorf("public key: %w", err)
		}
		var ok bool
		if key, ok = parsed.(ed25519.PublicKey); !ok {
			return nil, fmt.Errorf("public key: a %T: want an Ed25519 key", parsed)
		}
	}
	if err := checkPublicKey(key); err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	return key, nil
}

// ParsePrivateKey reads an Ed25519 private key: PEM (PKCS #8), or base64 of
// its 32-byte seed. White space around it is left out. No error tells anything
// of the key.
func ParsePrivateKey(text string) (ed25519.PrivateKey, error) {
	der, raw, err := parseKey(text, privateKeyBlock)
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	if der == nil {
		return ed25519.NewKeyFromSeed(raw), nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("private key: want an Ed25519 key as PKCS #8: openssl genpkey -algorithm ed25519")
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("private key: a %T: want an Ed25519 key: openssl genpkey -algorithm ed25519", parsed)
	}
	return key, nil
}

// parseKey returns the content of a PEM block, or else 32 bytes of base64.
func parseKey(text, block string) (der, raw []byte, err error) {
	trimmed := bytes.TrimSpace([]byte(text))
	if bytes.HasPrefix(trimmed, []byte("-----BEGIN")) {
		p, rest := pem.Decode(trimmed)
		switch {
		case p == nil:
			return nil, nil, fmt.Errorf("want one whole PEM block %q", block)
		case p.Type != block:
			return nil, nil, fmt.Errorf("PEM block %q: want %q", p.Type, block)
		case len(bytes.TrimSpace(rest)) != 0:
			return nil, nil, fmt.Errorf("want nothing after the PEM block %q", block)
		}
		return p.Bytes, nil, nil
	}
	raw, err = base64.StdEncoding.Strict().DecodeString(string(trimmed))
	if err != nil || len(raw) != ed25519.SeedSize {
		return nil, nil, fmt.Errorf("want PEM (%s) or base64 of %d bytes", block, ed25519.SeedSize)
	}
	return nil, raw, nil
}

// weakKeys are the points of small order, without their sign bit: with one of
// them as the public key, anybody can make signatures.
var weakKeys = [...][ed25519.PublicKeySize]byte{
	{},
	{0: 1},
	{0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
	{0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
	highest(0xec), highest(0xed), highest(0xee),
}

// highest returns a number near 2^255: the first byte given, the others ones.
func highest(first byte) [ed25519.PublicKeySize]byte {
	var k [ed25519.PublicKeySize]byte
	for i := range k {
		k[i] = 0xff
	}
	k[0], k[ed25519.PublicKeySize-1] = first, 0x7f
	return k
}

func checkPublicKey(key ed25519.PublicKey) error {
	if len(key) != ed25519.PublicKeySize {
		return fmt.Errorf("%d bytes: want %d", len(key), ed25519.PublicKeySize)
	}
	unsigned := [ed25519.PublicKeySize]byte(key)
	unsigned[ed25519.PublicKeySize-1] &= 0x7f
	if slices.Contains(weakKeys[:], unsigned) {
		return errors.New("a key with which anybody can sign: want one that was generated: openssl genpkey -algorithm ed25519")
	}
	return nil
}
