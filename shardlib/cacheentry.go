package shardlib

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"

	"drover/bucketmap"
)

// nonce tells one reader's or writer's turn at a key from all others.
type nonce [16]byte

func newNonce() (n nonce) {
	rand.Read(n[:]) // never fails: it crashes the process instead
	return n
}

// entryKind is the first byte of what memcached holds under a key.
type entryKind byte

const (
	entryValue   entryKind = 'V' // user id, key and value, the first two with their lengths
	entryNone    entryKind = 'N' // user id and key: there is no value
	entryFilling entryKind = 'F' // the nonce of the reader who will fill it
	entryMarked  entryKind = 'M' // the nonces of the writers under way; none: too many of them
)

// marksMax bounds the writers in an entry. Rows are locked, so more than a few
// at once are writers whose outcome is unknown.
const marksMax = 32

func appendValue(b []byte, user bucketmap.UserID, key string, value []byte) []byte {
	b = append(b, byte(entryValue))
	b = append(binary.AppendUvarint(b, uint64(len(user))), user...)
	b = append(binary.AppendUvarint(b, uint64(len(key))), key...)
	return append(b, value...)
}

// parseValue returns the value, not copied, if the entry is a value of exactly
// this user and key.
func parseValue(entry []byte, user bucketmap.UserID, key string) ([]byte, bool) {
	rest, ok := bytes.CutPrefix(entry, []byte{byte(entryValue)})
	for _, want := range []string{string(user), key} {
		n, size := binary.Uvarint(rest)
		if !ok || size <= 0 || n != uint64(len(want)) || uint64(len(rest)-size) < n ||
			string(rest[size:size+len(want)]) != want {
			return nil, false
		}
		rest = rest[size+len(want):]
	}
	return rest, ok
}

// appendNone and parseNone are for an entry that says that there is no value.
func appendNone(b []byte, user bucketmap.UserID, key string) []byte {
	b = appendValue(b, user, key, nil)
	b[0] = byte(entryNone)
	return b
}

func parseNone(entry []byte, user bucketmap.UserID, key string) bool {
	return bytes.Equal(entry, appendNone(nil, user, key))
}

func fillingEntry(n nonce) []byte { return append([]byte{byte(entryFilling)}, n[:]...) }

// parseFilling returns the nonce of a filling entry.
func parseFilling(entry []byte) (n nonce, ok bool) {
	if len(entry) != 1+len(n) || entryKind(entry[0]) != entryFilling {
		return n, false
	}
	return nonce(entry[1:]), true
}

// withMark returns the marked entry that replaces another, and adds a writer
// to those in it.
func withMark(entry []byte, n nonce) []byte {
	marks := []byte{byte(entryMarked)}
	if isMarked(entry) {
		if len(entry) == 1 || len(entry) >= 1+marksMax*len(n) {
			return marks // nobody's to take away: it expires
		}
		marks = bytes.Clone(entry)
	}
	return append(marks, n[:]...)
}

// withoutMark takes a writer out of a marked entry. found is false if it is not
// in there.
func withoutMark(entry []byte, n nonce) (rest []byte, found bool) {
	if !isMarked(entry) {
		return nil, false
	}
	for i := 1; i < len(entry); i += len(n) {
		if bytes.Equal(entry[i:i+len(n)], n[:]) {
			return append(bytes.Clone(entry[:i]), entry[i+len(n):]...), true
		}
	}
	return nil, false
}

func isMarked(entry []byte) bool {
	return len(entry) != 0 && entryKind(entry[0]) == entryMarked && (len(entry)-1)%len(nonce{}) == 0
}
