package file

import (
	"bytes"
	"crypto/sha256"
	"strconv"

	"drover/bucketmap"
	"drover/bucketmap/binary"
	"drover/bucketmap/file/regular"
	"drover/bucketmap/yaml"
)

// A delta file says how a watcher that has version v-1 gets v without reading
// YAML, which is most of what a version costs a proxy:
//
//	SHA-256 of map.yaml, 32 bytes · delta in the binary form, not signed
//
// It is for speed alone, so it is neither synced nor kept in order with
// anything. Whatever is there, a file of a publication that never was in force,
// of another folder, or half a file: it is used where its sum is that of the
// map.yaml that was read, which is complete then, the delta begins at the map
// that the watcher has and leads to the one that it says, both by their
// digests. Else the watcher reads the YAML.

// climbMax is how many deltas a watcher applies that missed versions: each is a
// file, and a hundred are as much work as the map.
const climbMax = 16

// encodeDelta returns a delta file, nil where it would be too long, or where a
// watcher would not come to next by it as by the YAML in data.
func encodeDelta(current, next *bucketmap.Snapshot, data []byte) []byte {
	if current == nil {
		return nil
	}
	written, err := yaml.Decode(data)
	if err != nil || written.Digest() != next.Digest() {
		return nil
	}
	sum := sha256.Sum256(data)
	encoded := binary.AppendDelta(sum[:], binary.MakeDelta(current, next), nil)
	if len(encoded) > deltaBytesMax {
		return nil
	}
	if reached, err := applyDelta(current, encoded[len(sum):]); err != nil || !reached.Equal(next) {
		return nil
	}
	return encoded
}

func applyDelta(from *bucketmap.Snapshot, encoded []byte) (*bucketmap.Snapshot, error) {
	delta, err := binary.DecodeDelta(encoded, nil)
	if err != nil {
		return nil, err
	}
	return delta.Apply(from)
}

// climb returns the map that now holds, reached by deltas from the one reported
// last; nil where that cannot be done, for whatever reason.
func (w *mapWatch) climb(now content, key contentKey) *bucketmap.Snapshot {
	if w.last == nil || now.err != nil {
		return nil
	}
	// No lower version is climbed to, and neither is one of very many digits.
	version, ok := versionOf(now.data)
	if !ok || version <= w.last.Version() || version-w.last.Version() > climbMax {
		return nil
	}
	reached := w.last
	for v := w.last.Version() + 1; v <= version; v++ {
		data, err := regular.Append(w.delta[:0], w.store.historyPath(v, deltaSuffix), deltaBytesMax)
		if err != nil || len(data) < len(key.sum) {
			return nil
		}
		w.delta = data
		// Those on the way need none: the last delta begins where they lead.
		if v == version && !bytes.Equal(data[:len(key.sum)], key.sum[:]) {
			return nil
		}
		reached, err = applyDelta(reached, data[len(key.sum):])
		if err != nil || reached.Version() != v {
			return nil
		}
	}
	return reached
}

// versionOf returns the version of what Encode of package yaml wrote, which
// begins with it.
func versionOf(data []byte) (bucketmap.Version, bool) {
	line, _, _ := bytes.Cut(data[:min(len(data), len(versionKey)+versionDigits+1)], []byte("\n"))
	digits, ok := bytes.CutPrefix(line, []byte(versionKey))
	if !ok {
		return 0, false
	}
	version, err := strconv.ParseUint(string(digits), 10, 64)
	return bucketmap.Version(version), err == nil
}

const versionKey = "version: "
