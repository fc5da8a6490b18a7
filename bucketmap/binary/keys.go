package binary

import (
	"bytes"
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

// keyReader reads the keys of one list.
type keyReader struct {
	*reader
	what      string
	lengthMax int
	key       []byte // the one read last
	kept      pieces
}

// next reads a key and keeps it.
func (k *keyReader) next() string { return k.kept.keep(k.pass()) }

// pass reads a key that is the caller's until the next one is read. It refuses
// one that is not higher than the one before, and one that shares more with it
// than it says.
func (k *keyReader) pass() []byte {
	at := k.off
	shared, rest := k.parts()
	switch {
	case k.err != nil:
		return nil
	case shared > uint64(len(k.key)):
		k.fail(at, "%s: it shares %d bytes with the one before: want no more than the %d that there are", k.what, shared, len(k.key))
	case int(shared)+len(rest) > k.lengthMax:
		k.fail(at, "%s of %d bytes: want 1 to %d", k.what, int(shared)+len(rest), k.lengthMax)
	case !higher(rest, k.key[shared:]):
		k.fail(at, "%s: want a higher one than the one before", k.what)
	case shared < sharedMax && int(shared) < len(k.key) && rest[0] == k.key[shared]:
		k.fail(at, "%s: it shares more than %d bytes with the one before: want all that it shares, up to %d", k.what, shared, sharedMax)
	}
	if k.err != nil {
		return nil
	}
	k.key = append(k.key[:shared], rest...)
	return k.key
}

// parts reads how many bytes a key shares with the one before, and those that
// follow.
func (k *keyReader) parts() (shared uint64, rest []byte) {
	if left := k.data[k.off:]; k.err == nil && len(left) > half {
		// Nearly all are like this.
		shared, follow := left[0]>>4, left[0]&half
		if shared != half && follow != half {
			k.off += int(follow) + 2
			return uint64(shared), left[1 : follow+2]
		}
	}
	header := k.byte(k.what)
	shared, follow := uint64(header>>4), uint64(header&half)
	if shared == half {
		shared += k.below(sharedMax-half+1, k.what)
	}
	if follow == half {
		follow += k.below(uint64(k.lengthMax), k.what)
	}
	return shared, k.bytes(int(follow)+1, k.what)
}

// higher says whether b, which is not empty, is above a. Mostly the first bytes
// say it.
func higher(b, a []byte) bool {
	return len(a) == 0 || b[0] > a[0] || b[0] == a[0] && bytes.Compare(b, a) > 0
}

// pieces keeps keys one after the other in pieces of memory: each of a million
// user ids by itself would be a million allocations, and one piece that grows
// would be copied again and again.
type pieces struct {
	piece strings.Builder
	size  int
}

const pieceMin, pieceMax = 512, 64 << 10

func (p *pieces) keep(key []byte) string {
	if p.piece.Cap()-p.piece.Len() < len(key) {
		// The keys in the piece before keep it.
		p.size = min(max(2*p.size, pieceMin), pieceMax)
		p.piece.Reset()
		p.piece.Grow(p.size)
	}
	start := p.piece.Len()
	p.piece.Write(key)
	return p.piece.String()[start:]
}
