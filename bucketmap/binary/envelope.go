package binary

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

var (
	// ErrCorrupt is the class of inputs that the encoder cannot have written.
	ErrCorrupt = errors.New("binary map is corrupt")
	// ErrChecksum is returned for an input that was damaged on its way.
	ErrChecksum = errors.New("binary map is damaged: its checksum is wrong")
	// ErrUnsigned is returned when keys are given and the input has no
	// signature.
	ErrUnsigned = errors.New("binary map is not signed")
	// ErrSignature is returned when none of the keys made the signature.
	ErrSignature = errors.New("binary map has no valid signature")
	// ErrFormat is returned for a format that is newer than this code.
	ErrFormat = errors.New("binary map has a newer format")
)

// The header, as docs/format.md says it.
const (
	magic         = "\x89DRM"
	formatVersion = 1

	kindMap   = 1
	kindDelta = 2

	flagSigned = 1

	formatOffset   = 4
	kindOffset     = 5
	flagsOffset    = 6
	reservedOffset = 7
	lengthOffset   = 8
	checksumOffset = 16
	headerSize     = checksumOffset + sha256.Size

	keyIDSize     = 8
	signatureSize = keyIDSize + ed25519.SignatureSize
)

// Is says whether data begins like a map in this form, of whatever format
// version. It does not look further.
func Is(data []byte) bool { return isKind(data, kindMap) }

// IsDelta says whether data begins like a delta, of whatever format version.
func IsDelta(data []byte) bool { return isKind(data, kindDelta) }

func isKind(data []byte, kind byte) bool {
	return len(data) > kindOffset && string(data[:len(magic)]) == magic && data[kindOffset] == kind
}

// appendEnvelope writes a header, what content appends, and the signature.
func appendEnvelope(dst []byte, kind byte, sign ed25519.PrivateKey, content func([]byte) []byte) []byte {
	start := len(dst)
	flags := byte(0)
	if len(sign) != 0 {
		flags = flagSigned
	}
	dst = append(dst, magic...)
	dst = append(dst, formatVersion, kind, flags, 0)
	dst = append(dst, make([]byte, headerSize-lengthOffset)...)
	dst = content(dst)
	header, body := dst[start:start+headerSize], dst[start+headerSize:]
	binary.BigEndian.PutUint64(header[lengthOffset:], uint64(len(body)))
	checksum := sha256.Sum256(body)
	copy(header[checksumOffset:], checksum[:])
	if flags == 0 {
		return dst
	}
	// The public half of a private key is its second half.
	id := keyID(ed25519.PublicKey(sign[ed25519.PrivateKeySize-ed25519.PublicKeySize:]))
	signature := ed25519.Sign(sign, signedPart(header, id))
	dst = append(dst, id...)
	return append(dst, signature...)
}

// openEnvelope checks everything around the content, and returns a reader
// that stands at its first byte.
func openEnvelope(data []byte, kind byte, keys []ed25519.PublicKey) (*reader, error) {
	if len(data) < headerSize || string(data[:len(magic)]) != magic {
		return nil, fmt.Errorf("%w at byte 0: want a header of %d bytes that begins with %q", ErrCorrupt, headerSize, magic)
	}
	if v := data[formatOffset]; v > formatVersion {
		return nil, fmt.Errorf("%w: %d at byte %d, and this program reads %d: update it", ErrFormat, v, formatOffset, formatVersion)
	}
	if data[formatOffset] != formatVersion {
		return nil, fmt.Errorf("%w at byte %d: format %d: want %d", ErrCorrupt, formatOffset, data[formatOffset], formatVersion)
	}
	if data[kindOffset] != kind {
		return nil, fmt.Errorf("%w at byte %d: kind %d: want %d (%d is a map, %d a delta)", ErrCorrupt, kindOffset, data[kindOffset], kind, kindMap, kindDelta)
	}
	if data[flagsOffset]&^flagSigned != 0 || data[reservedOffset] != 0 {
		return nil, fmt.Errorf("%w at byte %d: flags %#x %#x: want 0 or 1, and 0", ErrCorrupt, flagsOffset, data[flagsOffset], data[reservedOffset])
	}
	after := uint64(len(data) - headerSize)
	signed := data[flagsOffset]&flagSigned != 0
	if signed {
		if after < signatureSize {
			return nil, fmt.Errorf("%w at byte %d: want a signature of %d bytes at the end, %d bytes are left", ErrCorrupt, headerSize, signatureSize, after)
		}
		after -= signatureSize
	}
	if length := binary.BigEndian.Uint64(data[lengthOffset:]); length != after {
		return nil, fmt.Errorf("%w at byte %d: content of %d bytes: want the %d that are here", ErrCorrupt, lengthOffset, length, after)
	}
	end := headerSize + int(after)
	if sum := sha256.Sum256(data[headerSize:end]); !bytes.Equal(sum[:], data[checksumOffset:headerSize]) {
		return nil, fmt.Errorf("%w: %x at byte %d: want %x; send it again", ErrChecksum, data[checksumOffset:headerSize], checksumOffset, sum)
	}
	if err := verify(data[:headerSize], data[end:], keys); err != nil {
		return nil, err
	}
	return &reader{data: data[:end], off: headerSize}, nil
}

// finish returns what is wrong with the content, bytes after it included.
func (r *reader) finish() error {
	if r.err == nil && r.left() != 0 {
		r.fail(r.off, "want the end, %d bytes are left", r.left())
	}
	return r.err
}
