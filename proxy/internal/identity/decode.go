package identity

import (
	"bytes"

	"drover/bucketmap"
)

// decode percent-decodes an id, and + to a blank in a form. The result is src
// itself where nothing had to be decoded, or lies in scratch.
func decode(scratch, src []byte, form bool) ([]byte, error) {
	if bytes.IndexByte(src, '%') < 0 && (!form || bytes.IndexByte(src, '+') < 0) {
		return src, nil
	}
	dst := scratch[:0]
	for i := 0; i < len(src); i++ {
		c := src[i]
		switch {
		case c == '%':
			if i+2 >= len(src) {
				return nil, ErrEscape
			}
			high, low := unhex(src[i+1]), unhex(src[i+2])
			if high > 15 || low > 15 {
				return nil, ErrEscape
			}
			c = high<<4 | low
			i += 2
		case c == '+' && form:
			c = ' '
		}
		if len(dst) == bucketmap.UserIDMax {
			return nil, ErrTooLong
		}
		dst = append(dst, c)
	}
	return dst, nil
}

// decodeID decodes an id and checks that a header can carry it.
func decodeID(scratch, src []byte, form bool) ([]byte, error) {
	id, err := decode(scratch, src, form)
	if err == nil && !sendable(id) {
		return nil, ErrBytes
	}
	return id, err
}

// sendable says whether an id that was decoded can be the value of a header
// (RFC 9110, 5.5), which is how the application is told. A line break would
// begin another header, and blanks at the ends would be lost.
func sendable[T string | []byte](id T) bool {
	for i := range len(id) {
		if c := id[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return len(id) == 0 || !blank(id[0]) && !blank(id[len(id)-1])
}

func blank(b byte) bool { return b == ' ' || b == '\t' }

// unhex returns a hexadecimal digit's value, or more than 15.
func unhex(b byte) byte {
	switch {
	case '0' <= b && b <= '9':
		return b - '0'
	case 'a' <= b && b <= 'f':
		return b - 'a' + 10
	case 'A' <= b && b <= 'F':
		return b - 'A' + 10
	default:
		return 0xff
	}
}
