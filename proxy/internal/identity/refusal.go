package identity

import (
	"errors"
	"fmt"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

// Refusal says why a token made no user.
type Refusal uint8

// The refusals. NotRefused is never reported.
const (
	NotRefused     Refusal = iota
	RefusedLength          // over 8 KiB
	RefusedForm            // no three parts of base64url, no JSON, or a header that must be understood and is not
	RefusedMethod          // its algorithm is not on the list
	RefusedNoKeys          // no key set has been read yet
	RefusedKey             // its key is not in the key set
	RefusedProof           // its signature is not that key's
	RefusedExpired         // exp is over
	RefusedEarly           // nbf is not yet
	RefusedClaims          // another issuer or audience, no exp, or a date that is none
	RefusedNoClaim         // it is valid, and has no claim of that name or an empty one
)

// Refusals lists every reason, for metrics that must exist before they count.
func Refusals() []Refusal {
	return []Refusal{
		RefusedLength, RefusedForm, RefusedMethod, RefusedNoKeys, RefusedKey, RefusedProof, RefusedExpired, RefusedEarly,
		RefusedClaims, RefusedNoClaim,
	}
}

// String gives the word used in metrics and logs.
func (r Refusal) String() string {
	words := [...]string{
		"none", "length", "form", "method", "no_keys", "key", "proof", "expired", "early", "claims", "no_claim",
	}
	if int(r) < len(words) {
		return words[r]
	}
	return fmt.Sprintf("refusal(%d)", uint8(r))
}

// errForm is a token that is well formed and says that who does not
// understand it must refuse it.
var errForm = errors.New("the token has critical or unusable header parameters")

// errTooManyKeys is a token without a key id where trying all keys would cost
// too much.
var errTooManyKeys = errors.New("the token names no key, and there are too many to try")

// refusalOf sorts the library's errors. The order matters: an error carries
// the classes of what went wrong on the way as well.
func refusalOf(err error) Refusal {
	switch {
	case errors.Is(err, jwt.ErrTokenMalformed), errors.Is(err, errForm):
		return RefusedForm
	case errors.Is(err, jwkset.ErrKeyNotFound), errors.Is(err, errTooManyKeys):
		return RefusedKey
	case errors.Is(err, jwt.ErrTokenSignatureInvalid), errors.Is(err, jwt.ErrTokenUnverifiable):
		return RefusedProof
	case errors.Is(err, jwt.ErrTokenExpired):
		return RefusedExpired
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return RefusedEarly
	default:
		return RefusedClaims
	}
}
