package config

import "time"

// Identity is one place where a user id may be. Exactly one field is set.
type Identity struct {
	// Header is the name of a header that holds the user id. Only a trusted
	// peer's is believed.
	Header string `yaml:"header,omitempty" bounds:"token?"`
	// Cookie is the name of a cookie that holds it.
	Cookie string `yaml:"cookie,omitempty" bounds:"token?"`
	// Query is the name of a parameter of the query that holds it.
	Query string `yaml:"query,omitempty" bounds:"label?"`
	// Path is a path of which one segment, {id}, holds it: "/1/user/{id}". A
	// path matches that begins with it. * in another segment stands for any
	// bytes of that segment.
	Path string `yaml:"path,omitempty" bounds:"pattern?"`
	// JWT says which claim of a verified token holds it. Exactly one of jwks_url
	// and jwks_file is given.
	JWT *JWT `yaml:"jwt,omitempty"`
	// Bucket is the name of a header in which a trusted peer names the bucket
	// itself, in decimal, and no user.
	Bucket string `yaml:"bucket,omitempty" bounds:"token?"`
}

// JWT says where a token is, how it is verified, and which claim of it is the
// user id.
type JWT struct {
	// Header is the name of the header that holds the token, alone or after
	// Bearer. Where a cookie is given, the default is none.
	Header string `yaml:"header" bounds:"token?"`
	// Cookie is the name of the cookie that holds the token, in place of a
	// header.
	Cookie string `yaml:"cookie" bounds:"token?"`
	// Claim is the claim that is the user id.
	Claim string `yaml:"claim" bounds:"label"`
	// JWKSURL is where the issuer's keys (RFC 7517) are fetched.
	JWKSURL string `yaml:"jwks_url" bounds:"url?"`
	// JWKSFile is the path of a file that holds them.
	JWKSFile string `yaml:"jwks_file" bounds:"file?"`
	// Algorithms are the signatures that are believed. The HS ones need secret
	// keys in the key set.
	Algorithms []string `yaml:"algorithms" bounds:"RS256|RS384|RS512|PS256|PS384|PS512|ES256|ES384|ES512|EdDSA|HS256|HS384|HS512" count:"1..16"`
	// Issuer must be the token's iss. Empty: any.
	Issuer string `yaml:"issuer" bounds:"text?"`
	// Audience must have one of the token's aud. Empty list: any.
	Audience []string `yaml:"audience" bounds:"text" count:"0..16"`
	// Leeway is by how much the issuer's clock may differ.
	Leeway time.Duration `yaml:"leeway" bounds:"0s..10m"`
	// Refresh is for how long fetched keys are good.
	Refresh time.Duration `yaml:"refresh" bounds:"1s..24h"`
	// RequireExp refuses a token that never expires.
	RequireExp bool `yaml:"require_exp" bounds:"true|false"`
	// Cache is how many verified tokens are remembered until they expire. 0:
	// each is verified anew.
	Cache int `yaml:"cache" bounds:"0..1048576"`
}

// headerAuthorization is where a token is when nothing else is said.
const headerAuthorization = "Authorization"

// DefaultJWT returns what a jwt leaves out, where it has no cookie.
func DefaultJWT() JWT {
	return JWT{
		Header: headerAuthorization, Claim: "sub",
		Algorithms: []string{"RS256", "ES256", "EdDSA"}, // of which only the issuer has the key
		Leeway:     30 * time.Second, Refresh: 15 * time.Minute, RequireExp: true,
		Cache: 10_000, // × 1 KiB = 10 MiB
	}
}

// UnmarshalYAML reads a jwt over its defaults.
func (j *JWT) UnmarshalYAML(decode func(any) error) error {
	type plain JWT
	v := plain(DefaultJWT())
	v.Header = "" // so that one which the file gives is noticed beside a cookie
	if err := decode(&v); err != nil {
		return err
	}
	*j = JWT(v)
	j.complete()
	return nil
}

func (j *JWT) complete() {
	d := DefaultJWT()
	if j.Cookie == "" {
		orDefault(&j.Header, d.Header)
	}
	orDefault(&j.Claim, d.Claim)
	orDefault(&j.Refresh, d.Refresh)
	if len(j.Algorithms) == 0 {
		j.Algorithms = d.Algorithms
	}
}
