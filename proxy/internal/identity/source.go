package identity

import (
	"errors"
	"fmt"
	"strings"

	"drover/proxy/internal/http1"
)

const (
	sourcesMax = 16  // each is asked in turn, for each request
	nameMax    = 128 // bytes of a header's, a cookie's, a parameter's or a claim's name
)

// Source is one place to look at. Exactly one of its fields is set.
type Source struct {
	// Header is the name of a header that holds the user id. Only a trusted
	// peer's is believed.
	Header string
	// Cookie is the name of a cookie that holds it. Case matters.
	Cookie string
	// Query is the name of a parameter of the target's query that holds it,
	// both form-encoded: + is a blank, & separates, ; does not. The first
	// occurrence counts. Case matters.
	Query string
	// Path says which segment of the target's path holds it.
	Path *PathSource
	// JWT says which claim of a verified token holds it.
	JWT *JWTSource
	// Bucket is the name of a header in which a trusted peer gives the bucket
	// itself, in decimal, and no user.
	Bucket string
}

// kind is which of a Source's fields is set.
type kind uint8

const (
	kindHeader kind = iota
	kindCookie
	kindQuery
	kindPath
	kindJWT
	kindBucket
)

// place is a Source as Find needs it.
type place struct {
	kind     kind
	name     string // of the header, the cookie or the parameter
	pattern  *pattern
	verifier *verifier
}

// New returns a finder that tries the sources in order. It reports every
// problem at once. It reads no keys: Load and Run do.
func New(sources []Source, options Options) (*Finder, error) {
	options = options.withDefaults()
	f := &Finder{places: make([]place, 0, len(sources)), client: options.Client}
	var problems []error
	if len(sources) > sourcesMax {
		problems = append(problems, fmt.Errorf("identity: %d sources: want at most %d", len(sources), sourcesMax))
	}
	for i, s := range sources {
		p, err := newPlace(s, i, options)
		if err != nil {
			for _, one := range split(err) {
				problems = append(problems, fmt.Errorf("identity[%d]%w", i, one))
			}
			continue
		}
		f.places = append(f.places, p)
		if p.kind == kindHeader || p.kind == kindBucket {
			f.owned.add(p.name)
		}
	}
	if len(problems) != 0 {
		return nil, errors.Join(problems...)
	}
	return f, nil
}

func newPlace(s Source, index int, options Options) (place, error) {
	if n := s.set(); n != 1 {
		return place{}, fmt.Errorf(": %d of header, cookie, query, path, jwt and bucket are set: want exactly one", n)
	}
	switch {
	case s.Header != "":
		return place{kind: kindHeader, name: s.Header}, checkToken("header", s.Header)
	case s.Bucket != "":
		return place{kind: kindBucket, name: s.Bucket}, checkToken("bucket", s.Bucket)
	case s.Cookie != "":
		return place{kind: kindCookie, name: s.Cookie}, checkToken("cookie", s.Cookie)
	case s.Query != "":
		if len(s.Query) > nameMax {
			return place{}, fmt.Errorf(".query: %d bytes: want at most %d", len(s.Query), nameMax)
		}
		return place{kind: kindQuery, name: s.Query}, nil
	case s.Path != nil:
		p, err := s.Path.compile()
		return place{kind: kindPath, pattern: p}, err
	default:
		v, err := newVerifier(*s.JWT, index, options)
		return place{kind: kindJWT, verifier: v}, err
	}
}

// split takes apart what errors.Join has joined.
func split(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// set counts the fields that are set.
func (s *Source) set() (n int) {
	for _, set := range []bool{
		s.Header != "", s.Cookie != "", s.Query != "", s.Path != nil, s.JWT != nil, s.Bucket != "",
	} {
		if set {
			n++
		}
	}
	return n
}

// checkToken checks a name of the form that headers and cookies have (RFC
// 9110, 5.6.2).
func checkToken(key, name string) error {
	if len(name) > nameMax {
		return fmt.Errorf(".%s: %d bytes: want at most %d", key, len(name), nameMax)
	}
	for i := range len(name) {
		if c := name[i]; !alphanumeric(c) && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return fmt.Errorf(".%s: %q: want letters, digits and any of !#$%%&'*+-.^_`|~", key, name)
		}
	}
	return nil
}

// Request is what Find looks at.
type Request struct {
	Fields []http1.Field
	Target []byte // origin-form, path?query, as it is sent upstream
	// Trusted says whether the peer's identity headers are believed.
	Trusted bool
}
