package identity

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	leewayMax         = 10 * time.Minute
	audienceMax       = 16
	refreshMin        = time.Second
	refreshDefault    = 15 * time.Minute
	refreshGapDefault = 30 * time.Second
	claimDefault      = "sub"
)

// algorithmsDefault are the signatures of which only the issuer has the key.
func algorithmsDefault() []string { return []string{"RS256", "ES256", "EdDSA"} }

// JWTSource says where a token is, how it is verified, and which claim of it is
// the user id.
type JWTSource struct {
	// Header or Cookie is where the token is. Neither: the header
	// Authorization, after Bearer. Before the token of another header, Bearer
	// may stand too.
	Header, Cookie string
	// Claim is the name of a claim at the top of the token, a string or an
	// integer. Default: sub.
	Claim string
	// URL (http or https) or File is where the key set is, a JWKS (RFC 7517).
	// One of them is set. Over http, whoever is on the way can make users.
	URL, File string
	// Algorithms are the signatures that are believed. Default: RS256, ES256,
	// EdDSA. HS256 and its kin must be named here, and their symmetric keys be
	// in the key set; a public key never serves as one.
	Algorithms []string
	// Issuer must be the token's iss, when not empty.
	Issuer string
	// Audience must have one of the token's aud, when not empty.
	Audience []string
	// Leeway is by how much the issuer's clock may differ: 0 to 10 minutes.
	Leeway time.Duration
	// ExpOptional takes tokens that never expire.
	ExpOptional bool
	// Refresh is for how long a key set is good, on average: the interval is
	// drawn anew each time, 20 % around it. Default: 15 minutes.
	Refresh time.Duration
	// RefreshGap is the shortest time between two reads of the key set,
	// whatever keys the tokens name. Default: 30 seconds.
	RefreshGap time.Duration
	// Cache is how many verified tokens are remembered, at most 1,048,576 and
	// rounded up to a multiple of 64. Default: 65,536. Negative: each is
	// verified anew.
	Cache int
}

func (s JWTSource) withDefaults() JWTSource {
	if s.Header == "" && s.Cookie == "" {
		s.Header = authorization
	}
	if s.Claim == "" {
		s.Claim = claimDefault
	}
	if len(s.Algorithms) == 0 {
		s.Algorithms = algorithmsDefault()
	}
	if s.Refresh == 0 {
		s.Refresh = refreshDefault
	}
	if s.RefreshGap == 0 {
		s.RefreshGap = min(refreshGapDefault, s.Refresh)
	}
	if s.Cache == 0 {
		s.Cache = verdictsDefault
	}
	return s
}

// check reports every problem of a source that has its defaults.
func (s *JWTSource) check() error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	switch {
	case s.Header != "" && s.Cookie != "":
		bad(".jwt: header and cookie are set: want one of them, or neither")
	case s.Header != "":
		problems = append(problems, checkToken("jwt.header", s.Header))
	default:
		problems = append(problems, checkToken("jwt.cookie", s.Cookie))
	}
	if len(s.Claim) > nameMax {
		bad(".jwt.claim: %d bytes: want at most %d", len(s.Claim), nameMax)
	}
	if (s.URL == "") == (s.File == "") {
		bad(".jwt: want one of url and file")
	}
	if u, err := url.Parse(s.URL); s.URL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		bad(".jwt.url: %q: want an http or https URL", s.URL)
	}
	for _, a := range s.Algorithms {
		if !slices.Contains(algorithmsKnown(), a) {
			bad(".jwt.algorithms: %q: want some of %s", a, strings.Join(algorithmsKnown(), " "))
		}
	}
	if len(s.Audience) > audienceMax || slices.Contains(s.Audience, "") {
		bad(".jwt.audience: want at most %d, and none empty", audienceMax)
	}
	if s.Leeway < 0 || s.Leeway > leewayMax {
		bad(".jwt.leeway: %s: want 0 to %s", s.Leeway, leewayMax)
	}
	if s.Cache > verdictsMax {
		bad(".jwt.cache: %d: want at most %d", s.Cache, verdictsMax)
	}
	if s.Refresh < refreshMin {
		bad(".jwt.refresh: %s: want at least %s", s.Refresh, refreshMin)
	}
	if s.RefreshGap <= 0 || s.RefreshGap > s.Refresh {
		bad(".jwt.refresh_gap: %s: want more than 0, and at most refresh", s.RefreshGap)
	}
	return errors.Join(problems...)
}

// algorithmsKnown are the signatures that can be configured. none is no
// signature.
func algorithmsKnown() []string {
	return []string{
		"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512",
	}
}
