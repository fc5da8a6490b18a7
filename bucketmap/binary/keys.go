package binary

import (
	"encoding/binary"
	"strings"
)

// Sorted lists of names and of user ids are front coded: how many bytes a key
// shares with the one before, how many follow, and these. Both numbers are in
// one byte, the shared ones in its upper half; a half of 15 says that the rest
// of the number follows. The number of those that follow is written less one,
// because a key that is higher than the one before has at least one.
const (
	// sharedMax bounds what a few bytes of input can become: a key of 4 bytes
	// stands for 65 at most.
	sharedMax = 64
	half      = 15
)

// appendKey writes key, which must be higher than prev.
func appendKey(dst []byte, prev, key string) []byte {
	shared := sharedBytes(prev, key)
	follow := len(key) - shared - 1
	dst = append(dst, byte(min(shared, half)<<4|min(follow, half)))
	if shared >= half {
		dst = binary.AppendUvarint(dst, uint64(shared-half))
	}
	if follow >= half {
		dst = binary.AppendUvarint(dst, uint64(follow-half))
	}
	return append(dst, key[shared:]...)
}

func sharedBytes(prev, key string) int {
	n := 0
	for n < min(len(prev), len(key)-1, sharedMax) && prev[n] == key[n] {
		n++
	}
	return n
}

// keyReader puts the keys that it reads one after the other in pieces of
// memory: each of a million user ids by itself would be a million allocations,
// and one piece that grows would be copied again and again.
type keyReader struct {
	*reader
	what      string
	lengthMax int
	prev      string
	piece     strings.Builder
	pieceSize int
}

const pieceMin, pieceMax = 512, 64 << 10

// next reads a key. It refuses one that is not higher than the one before, and
// one that shares more with it than it says.
func (k *keyReader) next() string {
	at := k.off
	header := k.byte(k.what)
	shared, follow := uint64(header>>4), uint64(header&half)
	if shared == half {
		shared += k.below(sharedMax-half+1, k.what)
	}
	if follow == half {
		follow += k.below(uint64(k.lengthMax), k.what)
	}
	prev := k.prev
	rest := k.bytes(int(follow)+1, k.what)
	switch {
	case k.err != nil:
		return ""
	case shared > uint64(len(prev)):
		k.fail(at, "%s: it shares %d bytes with the one before: want no more than the %d that there are", k.what, shared, len(prev))
	case int(shared)+len(rest) > k.lengthMax:
		k.fail(at, "%s of %d bytes: want 1 to %d", k.what, int(shared)+len(rest), k.lengthMax)
	case string(rest) <= prev[shared:]:
		k.fail(at, "%s: want a higher one than the one before", k.what)
	case shared < sharedMax && int(shared) < len(prev) && rest[0] == prev[shared]:
		k.fail(at, "%s: it shares more than %d bytes with the one before: want all that it shares, up to %d", k.what, shared, sharedMax)
	}
	if k.err != nil {
		return ""
	}
	length := int(shared) + len(rest)
	if k.piece.Cap()-k.piece.Len() < length {
		// The keys in the piece before keep it.
		k.pieceSize = min(max(2*k.pieceSize, pieceMin), pieceMax)
		k.piece.Reset()
		k.piece.Grow(k.pieceSize)
	}
	start := k.piece.Len()
	k.piece.WriteString(prev[:shared])
	k.piece.Write(rest)
	k.prev = k.piece.String()[start:]
	return k.prev
}
