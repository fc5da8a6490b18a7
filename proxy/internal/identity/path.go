package identity

import (
	"bytes"
	"fmt"
	"strings"

	"drover/bucketmap"
)

const (
	patternMax  = bucketmap.UserIDMax // bytes; a segment is decoded in the scratch
	segmentsMax = 32
	idSegment   = "{id}"
)

// PathSource says which segment of a path holds the user id. One of its
// fields is set.
type PathSource struct {
	// Prefix is what comes before the id: it begins and ends with a slash.
	// "/1/user/" is the same as the pattern "/1/user/{id}".
	Prefix string
	// Pattern is a path in which one segment is {id}, and * in a segment
	// stands for any bytes of it: "/v*/users/{id}", "/*/user/{id}/". A path
	// matches that begins with it, on a segment boundary: "/user/{id}" is for
	// "/user/ann" and "/user/ann/steps"; "/user/{id}/" only for the second,
	// since it wants the slash. It is written without percent-escapes; a
	// path's are decoded before its segments are compared.
	Pattern string
}

// pattern is a PathSource as find needs it.
type pattern struct {
	segments []segment
	slash    bool // a slash must follow the last one
}

// segment is literal, or what is before and after its *, or the id.
type segment struct {
	isID, isGlob  bool
	before, after string // before is the whole of a literal
}

func (s *PathSource) compile() (*pattern, error) {
	text := s.Pattern
	switch {
	case (s.Prefix == "") == (s.Pattern == ""):
		return nil, fmt.Errorf(".path: want one of prefix and pattern")
	case s.Prefix != "" && (s.Prefix[0] != '/' || s.Prefix[len(s.Prefix)-1] != '/' || strings.ContainsAny(s.Prefix, "*{}")):
		return nil, fmt.Errorf(".path.prefix: %q: want it to begin and end with / and to have none of *{}", s.Prefix)
	case s.Prefix != "":
		text = s.Prefix + idSegment
	case text[0] != '/':
		return nil, fmt.Errorf(".path.pattern: %q: want it to begin with /", text)
	}
	if len(text) > patternMax || strings.ContainsAny(text, "%?#") || !sendable(text) || strings.ContainsAny(text, " \t") {
		return nil, fmt.Errorf(".path: %q: want at most %d bytes, and no %%, ?, #, blanks or control bytes", text, patternMax)
	}
	body, slash := strings.CutSuffix(text[1:], "/")
	p, ids := &pattern{slash: slash}, 0
	for part := range strings.SplitSeq(body, "/") {
		one := segment{isID: part == idSegment}
		one.before, one.after, one.isGlob = strings.Cut(part, "*")
		switch {
		case part == "":
			return nil, fmt.Errorf(".path: %q: want no empty segment", text)
		case one.isID:
			ids++
		case strings.ContainsAny(part, "{}"), strings.Contains(one.after, "*"):
			return nil, fmt.Errorf(".path: %q: the segment %q: want {id}, or a text with at most one *", text, part)
		}
		p.segments = append(p.segments, one)
	}
	if ids != 1 || len(p.segments) > segmentsMax {
		return nil, fmt.Errorf(".path: %q: want exactly one {id}, and at most %d segments", text, segmentsMax)
	}
	return p, nil
}

// find returns the id in a target's path.
func (p *pattern) find(target, scratch []byte) ([]byte, error) {
	path, _ := cut(target, '?')
	if len(path) == 0 || path[0] != '/' {
		return nil, nil
	}
	rest, more := path[1:], true
	var id []byte
	for i := range p.segments {
		if !more {
			return nil, nil
		}
		part := rest
		end := bytes.IndexByte(rest, '/')
		if more = end >= 0; more {
			part, rest = rest[:end], rest[end+1:]
		}
		s := &p.segments[i]
		if s.isID {
			id = part
		} else if !s.matches(part, scratch) {
			return nil, nil
		}
	}
	if p.slash && !more {
		return nil, nil
	}
	id, err := decodeID(scratch, id, false)
	switch string(id) {
	case "-", ".", "..": // "me", and what normalization takes away
		return nil, nil
	}
	return id, err
}

func (s *segment) matches(part, scratch []byte) bool {
	if len(part) == 0 {
		return false
	}
	if s.isGlob && len(s.before)+len(s.after) == 0 {
		return true
	}
	part, err := decode(scratch, part, false)
	if err != nil {
		return false
	}
	if !s.isGlob {
		return string(part) == s.before
	}
	return len(part) >= len(s.before)+len(s.after) &&
		string(part[:len(s.before)]) == s.before && string(part[len(part)-len(s.after):]) == s.after
}
