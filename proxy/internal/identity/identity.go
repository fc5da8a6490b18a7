// Package identity finds the user id of a request.
//
// The sources are tried in order; the first that holds a value that is not
// empty gives the user id, its bytes exactly as they came: nothing is decoded,
// unquoted, trimmed or folded, since the application must see the same user.
//
// A header is believed only of a trusted peer, which the caller decides. A
// cookie is believed of everybody: it decides only where a request goes, not
// what it may do. Headers that could pass for an identity header and are not
// believed must not reach the application: Owns says which they are.
//
// A Finder is immutable and may be used by any number of goroutines. Nothing
// here allocates.
package identity

import (
	"bytes"
	"errors"
)

// ErrAmbiguous is the class of requests that name two users in one source.
var ErrAmbiguous = errors.New("the request names more than one user")

// Source is one place to look at: a header or a cookie.
type Source struct {
	Header string
	Cookie string
}

// Finder looks for user ids.
type Finder struct {
	sources []Source
}

// New returns a finder that tries the sources in order.
func New(sources []Source) *Finder {
	return &Finder{sources: append([]Source(nil), sources...)}
}

// Header is one header line, in the order in which it came.
type Header struct {
	Name, Value []byte
}

// Find returns the user id, or nothing when the request names no user. trusted
// says whether the peer's identity headers are believed. The result aliases
// the headers.
func (f *Finder) Find(headers []Header, trusted bool) ([]byte, error) {
	for _, s := range f.sources {
		var user []byte
		var err error
		if s.Header != "" {
			if !trusted {
				continue
			}
			user, err = byHeader(headers, s.Header)
		} else {
			user, err = byCookie(headers, s.Cookie)
		}
		if err != nil || len(user) != 0 {
			return user, err
		}
	}
	return nil, nil
}

// Owns says whether a header is an identity header, in any spelling that some
// application server takes for one (case, and _ for -), and whether it is so
// exactly but for the case.
func (f *Finder) Owns(name []byte) (owns, exact bool) {
	for _, s := range f.sources {
		if s.Header == "" || len(s.Header) != len(name) {
			continue
		}
		if EqualFold(name, s.Header) {
			return true, true
		}
		if equalLoose(name, s.Header) {
			owns = true
		}
	}
	return owns, false
}

func byHeader(headers []Header, name string) (user []byte, err error) {
	for _, h := range headers {
		if len(h.Value) == 0 || !EqualFold(h.Name, name) {
			continue
		}
		if user != nil && !bytes.Equal(user, h.Value) {
			return nil, ErrAmbiguous
		}
		user = h.Value
	}
	return user, nil
}

func byCookie(headers []Header, name string) (user []byte, err error) {
	for _, h := range headers {
		if !EqualFold(h.Name, "Cookie") {
			continue
		}
		for rest := h.Value; len(rest) != 0; {
			var pair []byte
			pair, rest, _ = bytes.Cut(rest, semicolon)
			key, value, ok := bytes.Cut(bytes.TrimLeft(pair, " \t"), equals)
			if !ok || string(key) != name {
				continue
			}
			value = bytes.TrimRight(value, " \t")
			if len(value) == 0 {
				continue
			}
			if user != nil && !bytes.Equal(user, value) {
				return nil, ErrAmbiguous
			}
			user = value
		}
	}
	return user, nil
}

var semicolon, equals = []byte{';'}, []byte{'='}

// EqualFold compares header names: ASCII, without case.
func EqualFold(name []byte, want string) bool {
	if len(name) != len(want) {
		return false
	}
	for i := range name {
		if lower(name[i]) != lower(want[i]) {
			return false
		}
	}
	return true
}

func equalLoose(name []byte, want string) bool {
	for i := range name {
		if loose(name[i]) != loose(want[i]) {
			return false
		}
	}
	return true
}

func lower(b byte) byte {
	if 'A' <= b && b <= 'Z' {
		return b | 0x20
	}
	return b
}

func loose(b byte) byte {
	if b == '_' {
		return '-'
	}
	return lower(b)
}
