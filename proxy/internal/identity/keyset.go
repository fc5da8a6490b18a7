package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
)

const (
	keysMax      = 128  // of one key set
	keysTriedMax = 8    // of one token that names none, × 40 µs
	rsaBitsMin   = 2048 // RFC 7518, 3.3
	rsaBitsMax   = 8192 // a verification's cost grows with the square
)

// keySet is the keys of one source. It is immutable.
type keySet struct {
	// families has the keys of each algorithm apart: a token's algorithm finds
	// only keys that are for it, so that none can be taken for another kind
	// (a public key for a shared secret, say).
	families map[string]family
	count    int // of the keys that serve at least one algorithm
}

type family struct {
	keys  keyfunc.Keyfunc
	count int
}

// parseKeys reads a JWKS. Keys that serve none of the algorithms are left out,
// as RFC 7517, 5 wants it; without any left, it is an error.
func parseKeys(raw []byte, algorithms []string) (*keySet, error) {
	var set jwkset.JWKSMarshal
	if err := json.Unmarshal(raw, &set); err != nil {
		return nil, fmt.Errorf("it is no JWKS: %w", err)
	}
	if len(set.Keys) > keysMax {
		return nil, fmt.Errorf("it has %d keys: want at most %d", len(set.Keys), keysMax)
	}
	symmetric := slices.ContainsFunc(algorithms, func(a string) bool { return strings.HasPrefix(a, "HS") })
	byAlgorithm, count := map[string][]jwkset.JWK{}, 0
	var unusable error
	for i, m := range set.Keys {
		key, err := parseKey(m, symmetric)
		if err != nil {
			unusable = errors.Join(unusable, fmt.Errorf("keys[%d]: %w", i, err))
			continue
		}
		fits := false
		for _, a := range algorithms {
			if serves(key, a) {
				byAlgorithm[a], fits = append(byAlgorithm[a], key), true
			}
		}
		if fits {
			count++
		}
	}
	if count == 0 {
		return nil, errors.Join(fmt.Errorf("none of its %d keys serves any of %s: look at the issuer's algorithms",
			len(set.Keys), strings.Join(algorithms, " ")), unusable)
	}
	out := &keySet{families: make(map[string]family, len(byAlgorithm)), count: count}
	for a, keys := range byAlgorithm {
		storage := jwkset.NewMemoryStorage()
		if err := storage.KeyReplaceAll(context.Background(), keys); err != nil {
			return nil, fmt.Errorf("its keys cannot be stored: %w", err)
		}
		f, err := keyfunc.New(keyfunc.Options{Storage: storage})
		if err != nil {
			return nil, fmt.Errorf("its keys cannot be used: %w", err)
		}
		out.families[a] = family{keys: f, count: len(keys)}
	}
	return out, nil
}

// parseKey reads a key, and of a pair of keys only the public one. It reads
// nothing else: a URL in it is not followed.
func parseKey(m jwkset.JWKMarshal, symmetric bool) (jwkset.JWK, error) {
	if m.USE == jwkset.UseEnc || len(m.KEYOPS) != 0 && !slices.Contains(m.KEYOPS, jwkset.KeyOpsVerify) {
		return jwkset.JWK{}, errors.New("it is for something else than signatures")
	}
	if m.KTY == jwkset.KtyOct && !symmetric {
		return jwkset.JWK{}, errors.New("it is symmetric, and no HS algorithm is configured")
	}
	m.X5U = ""
	options := jwkset.JWKMarshalOptions{Private: m.KTY == jwkset.KtyOct}
	return jwkset.NewJWKFromMarshal(m, options, jwkset.JWKValidateOptions{})
}

// serves says whether a key is for an algorithm, and strong enough (RFC 7518,
// 3.2 to 3.5).
func serves(key jwkset.JWK, algorithm string) bool {
	if a := key.Marshal().ALG.String(); a != "" && a != algorithm {
		return false
	}
	switch k := key.Key().(type) {
	case *rsa.PublicKey:
		bits := k.N.BitLen()
		return (algorithm[:2] == "RS" || algorithm[:2] == "PS") && bits >= rsaBitsMin && bits <= rsaBitsMax
	case *ecdsa.PublicKey:
		return algorithm == map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[k.Params().BitSize]
	case ed25519.PublicKey:
		return algorithm == "EdDSA"
	case []byte:
		bytesMin, ok := map[string]int{"HS256": 32, "HS384": 48, "HS512": 64}[algorithm]
		return ok && len(k) >= bytesMin
	default:
		return false
	}
}

// keyOf is the jwt.Keyfunc of these keys.
func (k *keySet) keyOf(token *jwt.Token) (any, error) {
	if _, ok := token.Header["crit"]; ok { // RFC 7515, 4.1.11; the library does not look
		return nil, errForm
	}
	family := k.families[token.Method.Alg()]
	kid, named := token.Header[jwkset.HeaderKID]
	switch _, isText := kid.(string); {
	case named && !isText:
		return nil, errForm
	case family.count == 0:
		return nil, jwkset.ErrKeyNotFound
	case !named && family.count > keysTriedMax:
		return nil, errTooManyKeys
	}
	return family.keys.Keyfunc(token)
}
