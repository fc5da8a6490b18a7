package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bytes is a size: a whole number of bytes, or one with a unit of KiB, MiB or
// GiB.
type Bytes int64

// The units of Bytes.
const (
	KiB Bytes = 1 << 10
	MiB Bytes = 1 << 20
	GiB Bytes = 1 << 30
)

var units = []struct {
	name string
	size Bytes
}{{"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}}

// ParseBytes reads "512", "64KiB" or "64 KiB".
func ParseBytes(text string) (Bytes, error) {
	number, size := text, Bytes(1)
	for _, u := range units {
		if n, ok := strings.CutSuffix(text, u.name); ok {
			number, size = strings.TrimRight(n, " "), u.size
			break
		}
	}
	n, err := strconv.ParseUint(number, 10, 63)
	if err != nil || n > math.MaxInt64/uint64(size) {
		return 0, fmt.Errorf("size %q: want a whole number, alone or with KiB, MiB or GiB", text)
	}
	return Bytes(n) * size, nil
}

// String gives the size in the largest unit that keeps it whole.
func (b Bytes) String() string {
	for _, u := range units {
		if b != 0 && b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// UnmarshalYAML reads what ParseBytes does.
func (b *Bytes) UnmarshalYAML(text []byte) error {
	parsed, err := ParseBytes(strings.Trim(strings.TrimSpace(string(text)), `"'`))
	if err != nil {
		return err
	}
	*b = parsed
	return nil
}

// MarshalYAML writes what String gives.
func (b Bytes) MarshalYAML() ([]byte, error) { return []byte(b.String()), nil }
