package identity

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"drover/bucketmap"
	"drover/proxy/internal/http1"
)

const (
	authorization = "Authorization"
	bearer        = "Bearer"
	tokenMax      = 8 << 10 // bytes; a request's head is not much longer

	verdictsMax     = 1 << 20         // × 600 bytes, with the longest ids = 630 MB a source
	verdictsDefault = 64 << 10        // × 300 bytes = 20 MB; × 600 = 39 MB with the longest ids
	refusedMax      = 16 << 10        // × 300 bytes = 5 MB a source
	verdictAgeMax   = time.Hour       // of a token that expires later, or never
	refusedAgeMax   = 5 * time.Second // a token's second chance, should a refusal have been wrong
)

// verifier makes users of the tokens of one source.
type verifier struct {
	source   JWTSource
	index    int // of the source, for the observer
	parser   *jwt.Parser
	keys     *keyring
	observer Observer
	now      func() time.Time

	// Two, so that tokens that somebody makes up push no good one out.
	verified, refused *cache
}

// verdict is what came of a token. It is not changed once it is cached.
type verdict struct {
	user    string
	err     error // the claim is there and unusable
	refusal Refusal
	until   time.Time // when it must be asked again
	keys    *keySet   // the keys it was asked of
}

func newVerifier(s JWTSource, index int, options Options) (*verifier, error) {
	s = s.withDefaults()
	if err := s.check(); err != nil {
		return nil, err
	}
	o := []jwt.ParserOption{
		jwt.WithValidMethods(s.Algorithms), jwt.WithStrictDecoding(), jwt.WithJSONNumber(),
		jwt.WithLeeway(s.Leeway), jwt.WithTimeFunc(options.Now),
	}
	if s.Issuer != "" {
		o = append(o, jwt.WithIssuer(s.Issuer))
	}
	if len(s.Audience) != 0 {
		o = append(o, jwt.WithAudience(s.Audience...))
	}
	if !s.ExpOptional {
		o = append(o, jwt.WithExpirationRequired())
	}
	v := &verifier{
		source: s, index: index, parser: jwt.NewParser(o...), observer: options.Observer, now: options.Now,
		verified: newCache(s.Cache), refused: newCache(refusedMax),
	}
	v.keys = newKeyring(&v.source, options.Client)
	v.keys.changed = func() {
		v.verified.clear()
		v.refused.clear()
	}
	v.keys.read = func(keys int, err error) { options.Observer.KeysRead(index, keys, err) }
	return v, nil
}

// find returns the user of the request's token, in scratch.
func (v *verifier) find(fields []http1.Field, scratch []byte) ([]byte, error) {
	token, err := v.token(fields)
	if err != nil || len(token) == 0 {
		return nil, err
	}
	verdict := v.ask(token)
	if verdict.refusal != NotRefused {
		v.observer.TokenRefused(v.index, verdict.refusal)
		return nil, nil
	}
	return append(scratch[:0], verdict.user...), verdict.err
}

// token returns the request's token. Two different ones leave doubt about the
// user, before either is verified.
func (v *verifier) token(fields []http1.Field) (token []byte, err error) {
	if v.source.Cookie != "" {
		return byCookie(fields, v.source.Cookie)
	}
	for i := range fields {
		h := &fields[i]
		if len(h.Name) != len(v.source.Header) || !EqualFold(h.Name, v.source.Header) {
			continue
		}
		value, ok := afterBearer(h.Value)
		if len(value) == 0 || !ok && EqualFold(h.Name, authorization) { // another scheme, Basic say
			continue
		}
		if token != nil && !bytes.Equal(token, value) {
			return nil, ErrAmbiguous
		}
		token = value
	}
	return token, nil
}

// afterBearer takes Bearer and the blanks after it away (RFC 6750, 2.1; the
// scheme's case does not matter).
func afterBearer(value []byte) ([]byte, bool) {
	if len(value) <= len(bearer) || !blank(value[len(bearer)]) || !EqualFold(value[:len(bearer)], bearer) {
		return value, false
	}
	return bytes.TrimLeft(value[len(bearer):], " \t"), true
}

// ask returns the verdict on a token, from memory where it can.
func (v *verifier) ask(token []byte) verdict {
	switch {
	case len(token) > tokenMax:
		return verdict{refusal: RefusedLength}
	case !looksLikeToken(token):
		return verdict{refusal: RefusedForm}
	}
	keys := v.keys.current.Load()
	if keys == nil {
		v.keys.want()
		return verdict{refusal: RefusedNoKeys}
	}
	now, sum := v.now(), sha256.Sum256(token)
	if known, ok := v.verified.get(sum, keys, now); ok {
		return known
	}
	if known, ok := v.refused.get(sum, keys, now); ok {
		return known
	}
	fresh := v.verify(string(token), keys, now)
	if fresh.refusal != NotRefused {
		v.refused.put(sum, fresh, now)
	} else {
		v.verified.put(sum, fresh, now)
	}
	return fresh
}

// verify verifies a token.
func (v *verifier) verify(text string, keys *keySet, now time.Time) verdict {
	out := verdict{keys: keys, until: now.Add(refusedAgeMax)}
	claims := jwt.MapClaims{}
	token, err := v.parser.ParseWithClaims(text, claims, keys.keyOf)
	if err != nil {
		out.refusal = refusalOf(err)
		if out.refusal != RefusedForm && !v.allows(token) {
			out.refusal = RefusedMethod
		}
		switch {
		case out.refusal == RefusedKey, out.refusal == RefusedProof && !namesKey(token):
			v.keys.want()
		case out.refusal == RefusedEarly:
			if nbf, err := claims.GetNotBefore(); err == nil && nbf != nil {
				out.until = earlier(out.until, nbf.Add(-v.source.Leeway))
			}
		}
		return out
	}
	out.user, out.err = userOf(claims[v.source.Claim])
	if out.user == "" && out.err == nil {
		out.refusal = RefusedNoClaim
		return out
	}
	out.until = now.Add(verdictAgeMax)
	if exp, err := claims.GetExpirationTime(); err == nil && exp != nil {
		out.until = earlier(out.until, exp.Time)
	}
	return out
}

// allows says whether a token that was parsed has an algorithm of the list.
func (v *verifier) allows(token *jwt.Token) bool {
	return token != nil && token.Method != nil && slices.Contains(v.source.Algorithms, token.Method.Alg())
}

// namesKey says whether a token names its key: then a signature that is not
// that key's will not be after a refresh, either.
func namesKey(token *jwt.Token) bool {
	if token == nil {
		return false
	}
	_, ok := token.Header["kid"]
	return ok
}

// userOf returns the user id of a claim. A JSON text that was no UTF-8 has
// become U+FFFD in the decoder, and two users one.
func userOf(claim any) (string, error) {
	switch c := claim.(type) {
	case nil:
		return "", nil
	case string:
		switch {
		case len(c) > bucketmap.UserIDMax:
			return "", ErrTooLong
		case !sendable(c), strings.ContainsRune(c, '\uFFFD'):
			return "", ErrBytes
		}
		return strings.Clone(c), nil
	case json.Number:
		digits := strings.TrimPrefix(c.String(), "-")
		switch {
		case strings.Trim(digits, "0123456789") != "":
			return "", ErrClaim
		case len(c) > bucketmap.UserIDMax:
			return "", ErrTooLong
		}
		return strings.Clone(c.String()), nil
	default:
		return "", ErrClaim
	}
}

// looksLikeToken says whether there are three parts of base64url. It costs
// little and spares what else comes in such a header the rest.
func looksLikeToken(token []byte) bool {
	dots := 0
	for _, c := range token {
		switch {
		case c == '.':
			dots++
		case !alphanumeric(c) && c != '-' && c != '_':
			return false
		}
	}
	return dots == 2
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
