package worker

import (
	"errors"
	"fmt"
	"strings"

	"drover/bucketmap"
)

const (
	sourcesMax  = 16 // each is asked in turn, for each request
	nameMax     = 128
	patternMax  = bucketmap.UserIDMax
	segmentsMax = 32
	idSegment   = "{id}"
)

// Source is one place where a user id may be. Exactly one of its fields is set,
// to printable ASCII.
type Source struct {
	// Header is the name of a header that holds the user id. It is believed only
	// with TrustClients, and is kept from the application without.
	Header string
	// Cookie is the name of a cookie that holds it. Case matters.
	Cookie string
	// Query is the name of a parameter of the query that holds it. The first
	// occurrence counts. Case matters.
	Query string
	// Path is a path of which one segment, {id}, holds it: "/1/user/{id}". A path
	// matches that begins with it. * in another segment stands for any bytes of
	// that segment.
	Path string
}

// source is a Source as the code reads it.
type source struct {
	Header string   `json:"header,omitempty"`
	Cookie string   `json:"cookie,omitempty"`
	Query  string   `json:"query,omitempty"`
	Path   *pattern `json:"path,omitempty"`
}

type pattern struct {
	Parts []part `json:"parts"`
	Slash bool   `json:"slash"` // one must follow the last part
}

// part is a literal, or what is before and after its *, or the id.
type part struct {
	ID     bool   `json:"id"`
	Glob   bool   `json:"glob"`
	Before string `json:"before"`
	After  string `json:"after"`
}

func compileSources(sources []Source) ([]source, error) {
	compiled := make([]source, 0, len(sources)) // not null in config.json
	var problems []error
	if len(sources) > sourcesMax {
		problems = append(problems, fmt.Errorf("identity: %d sources: want at most %d", len(sources), sourcesMax))
	}
	for i, s := range sources {
		one, err := s.compile()
		if err != nil {
			problems = append(problems, fmt.Errorf("identity[%d]%w", i, err))
		}
		compiled = append(compiled, one)
	}
	return compiled, errors.Join(problems...)
}

func (s Source) compile() (source, error) {
	set := 0
	for _, field := range []string{s.Header, s.Cookie, s.Query, s.Path} {
		if field != "" {
			set++
		}
	}
	compiled := source{Header: s.Header, Cookie: s.Cookie, Query: s.Query}
	switch {
	case set != 1:
		return compiled, fmt.Errorf(": %d of header, cookie, query and path are set: want exactly one", set)
	case s.Header != "":
		return compiled, checkToken("header", s.Header)
	case s.Cookie != "":
		return compiled, checkToken("cookie", s.Cookie)
	case s.Query != "":
		if len(s.Query) > nameMax || !printable(s.Query) {
			return compiled, fmt.Errorf(".query: %q: want at most %d printable ASCII characters", s.Query, nameMax)
		}
		return compiled, nil
	}
	var err error
	compiled.Path, err = compilePath(s.Path)
	return compiled, err
}

// checkToken checks a name of the form that headers and cookies have (RFC 9110,
// 5.6.2).
func checkToken(key, name string) error {
	if len(name) > nameMax {
		return fmt.Errorf(".%s: %d bytes: want at most %d", key, len(name), nameMax)
	}
	for i := range len(name) {
		c := name[i] | 0x20
		if (c < 'a' || c > 'z') && (name[i] < '0' || name[i] > '9') && strings.IndexByte("!#$%&'*+-.^_`|~", name[i]) < 0 {
			return fmt.Errorf(".%s: %q: want letters, digits and any of !#$%%&'*+-.^_`|~", key, name)
		}
	}
	return nil
}

func compilePath(text string) (*pattern, error) {
	if text[0] != '/' {
		return nil, fmt.Errorf(".path: %q: want it to begin with /", text)
	}
	if len(text) > patternMax || strings.ContainsAny(text, "%?# ") || !printable(text) {
		return nil, fmt.Errorf(".path: %q: want at most %d printable ASCII characters, and no %%, ?, # or blanks", text, patternMax)
	}
	body, slash := strings.CutSuffix(text[1:], "/")
	p, ids := &pattern{Slash: slash}, 0
	for segment := range strings.SplitSeq(body, "/") {
		one := part{ID: segment == idSegment}
		one.Before, one.After, one.Glob = strings.Cut(segment, "*")
		switch {
		case segment == "":
			return nil, fmt.Errorf(".path: %q: want no empty segment", text)
		case one.ID:
			ids++
		case strings.ContainsAny(segment, "{}"), strings.Contains(one.After, "*"):
			return nil, fmt.Errorf(".path: %q: the segment %q: want {id}, or a text with at most one *", text, segment)
		}
		p.Parts = append(p.Parts, one)
	}
	if ids != 1 || len(p.Parts) > segmentsMax {
		return nil, fmt.Errorf(".path: %q: want exactly one {id}, and at most %d segments", text, segmentsMax)
	}
	return p, nil
}

// printable says whether a text is printable ASCII.
func printable(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// usable says whether a Worker can know a user by this id, as isUsable in
// identity.mjs does.
func usable(id string) bool {
	return id != "" && len(id) <= bucketmap.UserIDMax && printable(id) && id[0] != ' ' && id[len(id)-1] != ' '
}
