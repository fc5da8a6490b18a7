package mirror

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	segmentsMax = 12  // of a route class
	tokenMin    = 16  // bytes of a segment that may be a token
	segmentMax  = 40  // bytes of one segment of it, or of a key
	pathShown   = 200 // bytes of an example's path
	valueShown  = 120 // bytes of a value
	fieldMax    = 240 // bytes of a header field's name, of an error

	anyID   = "{id}"
	anyUser = "{user}"
)

// classOf is a path with what names one thing of many left out: the user, ids,
// numbers.
func classOf(path, user string) string {
	segments := strings.Split(path, "/")
	if len(segments) > segmentsMax {
		segments = append(segments[:segmentsMax:segmentsMax], "...")
	}
	for i, one := range segments {
		if one == user && one != "" {
			segments[i] = anyUser
			continue
		}
		if isToken(one) {
			segments[i] = anyID
			continue
		}
		segments[i] = shape(one)
	}
	return strings.ToValidUTF8(strings.Join(segments, "/"), "?")
}

// shape is a segment of a path, or a key of an object, with numbers and ids
// replaced. A version such as v2 is a name.
func shape(segment string) string {
	digits := 0
	for i := range len(segment) {
		if isDigit(segment[i]) {
			digits++
		}
	}
	switch {
	case digits == 0 && len(segment) <= segmentMax && !strings.Contains(segment, "@"), isVersion(segment):
		return segment
	case digits == len(segment), strings.Contains(segment, "@"), len(segment) > segmentMax,
		len(segment) >= 8 && isHex(segment), digits >= 3 && len(segment) >= 16:
		return anyID
	}
	var b strings.Builder
	for i := 0; i < len(segment); {
		if !isDigit(segment[i]) {
			b.WriteByte(segment[i])
			i++
			continue
		}
		for i < len(segment) && isDigit(segment[i]) {
			i++
		}
		b.WriteString("{n}")
	}
	return b.String()
}

// isToken says whether a segment of a path looks like base64: long, with capital
// and small letters and digits. A key of an object may well look so.
func isToken(s string) bool {
	var upper, lower, digit bool
	for i := range len(s) {
		upper = upper || 'A' <= s[i] && s[i] <= 'Z'
		lower = lower || 'a' <= s[i] && s[i] <= 'z'
		digit = digit || isDigit(s[i])
	}
	return len(s) >= tokenMin && upper && lower && digit
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isVersion(s string) bool {
	return (len(s) == 2 || len(s) == 3) && s[0] == 'v' && isDigit(s[1]) && isDigit(s[len(s)-1])
}

// isHex says whether s is hexadecimal, with hyphens as a UUID has them.
func isHex(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case isDigit(c), 'a' <= c && c <= 'f', 'A' <= c && c <= 'F', c == '-':
		default:
			return false
		}
	}
	return true
}

// step is one step into a JSON value: a key, or with inList an index.
type step struct {
	key    string
	index  int
	inList bool
}

// stepsNamed is how many steps a field's name has: what lies deeper is the same
// field.
const stepsNamed = 12

// place names a value exactly, and the fields that it is in by their shape, the
// outermost first, itself last.
func place(path []step) (exact string, within []string) {
	var e, f strings.Builder
	e.WriteByte('$')
	f.WriteByte('$')
	ends := []int{f.Len()}
	for _, s := range path[:min(len(path), stepsNamed)] {
		if s.inList {
			e.WriteString("[" + strconv.Itoa(s.index) + "]")
			f.WriteString("[*]")
		} else {
			writeKey(&e, shorten(s.key, segmentMax))
			writeKey(&f, shorten(shape(s.key), segmentMax))
		}
		ends = append(ends, f.Len())
	}
	field := f.String()
	for _, end := range ends {
		within = append(within, field[:end])
	}
	return e.String(), within
}

func writeKey(b *strings.Builder, key string) {
	if key != "" && !strings.ContainsAny(key, ".[]'* ") {
		b.WriteString("." + key)
		return
	}
	b.WriteString("['" + key + "']")
}

// shorten makes s valid, printable and at most max bytes long, and three dots.
func shorten(s string, max int) string {
	cut := len(s) > max
	if cut {
		for max > 0 && !utf8.RuneStart(s[max]) {
			max--
		}
		s = s[:max]
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError, r < ' ', r >= 0x7f && r < 0xa0, r == 0x2028, r == 0x2029, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return '?' // it could steer a terminal
		default:
			return r
		}
	}, s)
	if cut {
		s += "..."
	}
	return s
}
