package binary

import (
	"crypto/ed25519"
	"fmt"
	"slices"

	"drover/bucketmap"
)

// Delta leads from one version of the map to another.
type Delta struct {
	Difference *bucketmap.Difference
	From, To   bucketmap.Digest // of the two maps
}

// MakeDelta returns what leads from one map to another. from may be nil, where
// there is no map yet.
func MakeDelta(from, to *bucketmap.Snapshot) *Delta {
	return &Delta{Difference: bucketmap.Diff(from, to), From: digestOf(from), To: to.Digest()}
}

// digestOf is zero where there is no map.
func digestOf(s *bucketmap.Snapshot) bucketmap.Digest {
	if s == nil {
		return bucketmap.Digest{}
	}
	return s.Digest()
}

// Apply returns the map that the delta leads to from s, which is nil where
// there is no map. The error is of the class bucketmap.ErrMismatch when s is
// not the map that the delta begins at, and of the class ErrCorrupt when the
// delta does not lead where it says. After either, the reader gets the whole
// map instead.
func (d *Delta) Apply(s *bucketmap.Snapshot) (*bucketmap.Snapshot, error) {
	if have := digestOf(s); have != d.From {
		return nil, fmt.Errorf("%w: the delta begins at version %d, digest %v, and the map here has digest %v; load the whole map",
			bucketmap.ErrMismatch, d.Difference.FromVersion, d.From, have)
	}
	next, err := s.Apply(d.Difference)
	if err != nil {
		return nil, fmt.Errorf("delta: %w", err)
	}
	if got := next.Digest(); got != d.To {
		return nil, fmt.Errorf("%w: the delta leads to version %d, digest %v: want digest %v; load the whole map", ErrCorrupt, next.Version(), got, d.To)
	}
	return next, nil
}

// AppendDelta appends the delta to dst and returns the longer slice. Its
// difference must be in the order that Diff gives; DecodeDelta refuses what
// becomes of another. For sign see Append.
func AppendDelta(dst []byte, d *Delta, sign ed25519.PrivateKey) []byte {
	return appendEnvelope(dst, kindDelta, sign, func(dst []byte) []byte {
		w := deltaWriter{names: map[string]uint64{}}
		dst = w.header(dst, d)
		dst = w.dictionary(dst, d.Difference)
		dst = w.homes(dst, d.Difference.Homes)
		dst = w.epochs(dst, d.Difference)
		dst = w.holds(dst, d.Difference.Holds)
		return w.whitelist(dst, d.Difference.Whitelist)
	})
}

// DecodeDelta reads a delta, with the errors of Decode. What it allocates is
// bounded by the input's length.
func DecodeDelta(data []byte, keys []ed25519.PublicKey) (*Delta, error) {
	r, err := openEnvelope(data, kindDelta, keys)
	if err != nil {
		return nil, err
	}
	dr := deltaReader{reader: r, d: &bucketmap.Difference{}}
	delta := &Delta{Difference: dr.d}
	dr.header(delta)
	dr.dictionary()
	dr.homes()
	dr.epochs()
	dr.holds()
	dr.whitelist()
	if unused := slices.Index(dr.used, false); r.err == nil && unused >= 0 {
		r.fail(headerSize, "name %q: want only names that something uses", dr.names[unused])
	}
	if err := r.finish(); err != nil {
		return nil, err
	}
	return delta, nil
}

// The forms of a default that changes.
const (
	defaultSame  = 0
	defaultNew   = 1 // there was no map before
	defaultOther = 2 // the one before, the one after
)
