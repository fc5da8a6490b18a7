package bucketmap

import (
	"encoding/hex"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// hexPrefix marks the text form of a user id that is not fit to print.
const hexPrefix = "hex:"

// UserID is a user id where people read and write it. User ids are opaque
// bytes, and some cannot be printed; String and ParseUserID are a form that
// keeps every byte.
type UserID string

// String returns the id itself, or, when it is not printable UTF-8 or begins
// with "hex:", "hex:" and its bytes in hexadecimal.
func (u UserID) String() string {
	id := string(u)
	if !utf8.ValidString(id) || strings.HasPrefix(id, hexPrefix) || strings.ContainsFunc(id, notPrint) {
		return hexPrefix + hex.EncodeToString([]byte(id))
	}
	return id
}

func notPrint(r rune) bool { return !unicode.IsPrint(r) }

// MarshalText returns String.
func (u UserID) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText is ParseUserID.
func (u *UserID) UnmarshalText(text []byte) error {
	id, err := ParseUserID(string(text))
	if err != nil {
		return err
	}
	*u = id
	return nil
}

// ParseUserID is the inverse of UserID.String. It checks the length too.
func ParseUserID(text string) (UserID, error) {
	id := text
	if digits, ok := strings.CutPrefix(text, hexPrefix); ok {
		raw, err := hex.DecodeString(digits)
		if err != nil {
			return "", fmt.Errorf("user id %q: after %q want pairs of hexadecimal digits", text, hexPrefix)
		}
		id = string(raw)
	}
	if len(id) < 1 || len(id) > UserIDMax {
		return "", fmt.Errorf("user id of %d bytes: want 1 to %d", len(id), UserIDMax)
	}
	return UserID(id), nil
}
