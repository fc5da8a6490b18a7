package binary

import (
	"encoding/binary"
	"fmt"
)

// reader reads fields one after the other. The first thing that is wrong ends
// the reading: what comes after gives zeros, so that a caller looks at err once
// in a while and not at each field. Offsets in errors are those of the input.
type reader struct {
	data []byte
	off  int
	err  error
}

func (r *reader) left() int { return len(r.data) - r.off }

// fail keeps the first error, with the place that it is about.
func (r *reader) fail(off int, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w at byte %d: %s", ErrCorrupt, off, fmt.Sprintf(format, args...))
	}
}

func (r *reader) byte(what string) byte {
	b := r.bytes(1, what)
	if r.err != nil {
		return 0
	}
	return b[0]
}

// bytes returns the next n bytes of the input itself, not of a copy.
func (r *reader) bytes(n int, what string) []byte {
	if r.err != nil {
		return nil
	}
	if n > r.left() {
		r.fail(r.off, "%s: want %d bytes, %d are left", what, n, r.left())
		return nil
	}
	r.off += n
	return r.data[r.off-n : r.off]
}

// uvarint reads a number of 7 bits a byte, the lowest first. Each number has
// one form, the shortest.
func (r *reader) uvarint(what string) uint64 {
	if r.err != nil {
		return 0
	}
	if r.off < len(r.data) && r.data[r.off] < 0x80 {
		r.off++
		return uint64(r.data[r.off-1])
	}
	v, n := binary.Uvarint(r.data[r.off:])
	switch {
	case n == 0:
		r.fail(r.off, "%s: want a number, the input ends", what)
		return 0
	case n < 0:
		r.fail(r.off, "%s: want a number below 2^64", what)
		return 0
	case r.data[r.off+n-1] == 0:
		r.fail(r.off, "%s: want the shortest form of the number", what)
		return 0
	}
	r.off += n
	return v
}

// below reads a number that must be less than bound.
func (r *reader) below(bound uint64, what string) uint64 {
	at := r.off
	v := r.uvarint(what)
	if r.err == nil && v >= bound {
		r.fail(at, "%s: %d: want less than %d", what, v, bound)
		return 0
	}
	return v
}

// svarint reads a number with a sign: 0, -1, 1, -2, … as 0, 1, 2, 3, …
func (r *reader) svarint(what string) int64 {
	v := r.uvarint(what)
	return int64(v>>1) ^ -int64(v&1)
}

// count reads how many things of at least size bytes follow. What the rest of
// the input cannot hold is refused before anything is allocated for it.
func (r *reader) count(size int, what string) int {
	at := r.off
	v := r.uvarint(what)
	if r.err == nil && v > uint64(r.left()/size) {
		r.fail(at, "%s: %d of them: want no more than the %d bytes that are left can hold", what, v, r.left())
		return 0
	}
	return int(v)
}

func appendSvarint(dst []byte, v int64) []byte {
	return binary.AppendUvarint(dst, uint64(v)<<1^uint64(v>>63))
}

// uvarintLen is how many bytes a number takes.
func uvarintLen(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}
