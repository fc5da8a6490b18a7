package binary

import (
	"bytes"
	"errors"
	"testing"
)

// fuzz tries data as it is, and as a content with a right header; behind a
// checksum, no input that is made by chance gets anywhere.
func fuzz(t *testing.T, data []byte, kind byte, constant int, again func([]byte) ([]byte, error), decode func([]byte) error) {
	for _, input := range [][]byte{data, seal(kind, data)} {
		var err error
		limit := uint64(constant + memoryTimes*len(input))
		if n := allocated(func() { err = decode(input) }); n > limit {
			t.Fatalf("%d bytes allocated for %d: want at most %d", n, len(input), limit)
		}
		if err != nil {
			if !classed(err) {
				t.Fatalf("an error of no class: %v", err)
			}
			continue
		}
		out, err := again(input)
		if err != nil {
			t.Fatalf("accepted once, and then: %v", err)
		}
		if bytes.Equal(out, input) {
			continue
		}
		// Without keys a signature is not looked at, and is not part of it.
		if input[flagsOffset]&flagSigned == 0 || !bytes.Equal(out[headerSize:], input[headerSize:len(input)-signatureSize]) {
			t.Fatalf("accepted\n%x, which encodes to\n%x", input, out)
		}
	}
}

func FuzzDecode(f *testing.F) {
	_, private := testKey()
	data := Append(nil, small(f), nil)
	f.Add(data)
	f.Add(Append(nil, small(f), private))
	f.Add(data[headerSize:])
	f.Add(Append(nil, changed(f), nil)[headerSize:])
	f.Add(Append(nil, scattered(f), nil)[headerSize:])
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzz(t, data, kindMap, memoryConstant,
			func(data []byte) ([]byte, error) { return againMap(data, nil) },
			func(data []byte) error { _, err := Decode(data, nil); return err })
	})
}

func FuzzDecodeDelta(f *testing.F) {
	_, private := testKey()
	delta := MakeDelta(small(f), changed(f))
	data := AppendDelta(nil, delta, nil)
	f.Add(data)
	f.Add(AppendDelta(nil, delta, private))
	f.Add(data[headerSize:])
	f.Add(AppendDelta(nil, MakeDelta(changed(f), small(f)), nil)[headerSize:])
	f.Add(AppendDelta(nil, MakeDelta(nil, changed(f)), nil)[headerSize:])
	begins := changed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzz(t, data, kindDelta, memoryDelta,
			func(data []byte) ([]byte, error) { return againDelta(data, nil) },
			func(data []byte) error { _, err := DecodeDelta(data, nil); return err })
		// Whatever it says, it does no harm to a map.
		if d, err := DecodeDelta(seal(kindDelta, data), nil); err == nil {
			d.From = begins.Digest()
			if next, err := d.Apply(begins); err == nil && next.Digest() != d.To {
				t.Fatal("it led to another map than it says")
			} else if err != nil && next != nil {
				t.Fatalf("a map and an error: %v", errors.Unwrap(err))
			}
		}
	})
}
