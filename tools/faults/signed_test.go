package faults

import (
	"crypto/ed25519"
	"crypto/sha256"
	stdbinary "encoding/binary"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/binary"
	"drover/bucketmap/push"
)

// headerSize is that of the binary form, as docs/format.md says, and
// lengthOffset and checksumOffset are places in it.
const (
	headerSize     = 48
	lengthOffset   = 8
	checksumOffset = 16
)

// signedFaults are pushed to a proxy that has a key.
func signedFaults() []fault {
	faults := append(signedMaps(), signedDeltas()...)
	for i := range faults {
		faults[i].store, faults[i].signed, faults[i].quietStart = "push", true, true
		if faults[i].kind == "" {
			faults[i].kind = push.ContentTypeMap
		}
	}
	return faults
}

// whole is the good next map, signed, with its bytes changed.
func whole(name string, change func(w *world, data []byte) []byte) fault {
	return bad(name, func(w *world) []byte { return change(w, binary.Append(nil, w.maps[good+1], w.sign)) })
}

// flipped changes the lowest bit of a byte, counted from the end when at is
// below 0.
func flipped(at int) func(*world, []byte) []byte {
	return func(_ *world, data []byte) []byte {
		data[(at+len(data))%len(data)] ^= 1
		return data
	}
}

// summed puts the checksum of the content right.
func summed(data []byte, signature int) []byte {
	sum := sha256.Sum256(data[headerSize : len(data)-signature])
	copy(data[checksumOffset:], sum[:])
	return data
}

const signatureSize = 8 + ed25519.SignatureSize

func signedMaps() []fault {
	return []fault{
		bad("not signed", func(w *world) []byte { return binary.Append(nil, w.maps[good+1], nil) }),
		bad("signed by an unknown key", func(w *world) []byte {
			_, other, err := ed25519.GenerateKey(nil)
			must(w, err)
			return binary.Append(nil, w.maps[good+1], other)
		}),
		whole("a bit of the signature flipped", flipped(-1)),
		whole("a bit of the key's id flipped", flipped(-signatureSize)),
		whole("a bit of the content flipped", flipped(headerSize+3)),
		whole("a bit of the checksum flipped", flipped(checksumOffset)),
		whole("the content changed, and the checksum put right", func(w *world, data []byte) []byte {
			return summed(flipped(headerSize+3)(w, data), signatureSize)
		}),
		whole("the signature of another version", func(w *world, data []byte) []byte {
			other := binary.Append(nil, w.maps[good], w.sign)
			return append(data[:len(data)-signatureSize], other[len(other)-signatureSize:]...)
		}),
		whole("cut by one byte", func(_ *world, data []byte) []byte { return data[:len(data)-1] }),
		whole("cut after its header", func(_ *world, data []byte) []byte { return data[:headerSize] }),
		whole("a byte too many", func(_ *world, data []byte) []byte { return append(data, 0) }),
		whole("a newer format", func(_ *world, data []byte) []byte { data[4] = 2; return data }),
		whole("a header that says 2 GiB", func(_ *world, data []byte) []byte {
			stdbinary.BigEndian.PutUint64(data[lengthOffset:], 2<<30)
			return data
		}),
		whole("a list that says 2^63 entries", func(_ *world, data []byte) []byte {
			// Version, moved and buckets take a byte each here; then comes a count.
			huge := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, data[headerSize+4:]...)
			data = append(data[:headerSize+3:headerSize+3], huge...)
			stdbinary.BigEndian.PutUint64(data[lengthOffset:], uint64(len(data)-headerSize-signatureSize))
			return summed(data, signatureSize)
		}),
		bad("an older version, rightly signed (sent again by somebody)", func(w *world) []byte { return binary.Append(nil, w.maps[2], w.sign) }),
		bad("the version in force with another content, rightly signed", func(w *world) []byte {
			return binary.Append(nil, w.after(w.maps[2], func(d *bucketmap.Draft) { d.Whitelist["other"] = "legacy" }), w.sign)
		}),
		{name: "a map in YAML", kind: "text/yaml", content: func(w *world) []byte { return []byte(w.text(good + 1)) }},
		{name: "a body of 2 GiB is announced", breaks: func(w *world) { w.announce(2 << 30) }, quiet: true},
		{name: "a body of which half comes", breaks: func(w *world) { w.announce(1000) }, quiet: true},
	}
}

// announce begins to push, and goes away.
func (w *world) announce(size int64) {
	w.Helper()
	c, err := net.Dial("tcp", w.edge.admin)
	must(w, err)
	defer c.Close()
	half := binary.Append(nil, w.maps[good+1], w.sign)[:headerSize]
	_, err = io.WriteString(c, "PUT /map HTTP/1.1\r\nHost: edge\r\nContent-Type: "+push.ContentTypeMap+
		"\r\nContent-Length: "+strconv.FormatInt(size, 10)+"\r\n\r\n"+string(half))
	must(w, err)
	must(w, c.(*net.TCPConn).CloseWrite())
	must(w, c.SetReadDeadline(time.Now().Add(patience)))
	answer := make([]byte, 12)
	if _, err := io.ReadFull(c, answer); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 4") {
		w.Errorf("%d bytes were announced, and the answer is %q, %v", size, answer, err)
	}
}

func signedDeltas() []fault {
	delta := func(name string, change func(w *world) []byte) fault {
		return fault{name: name, kind: push.ContentTypeDelta, content: change}
	}
	next := func(w *world) []byte {
		return binary.AppendDelta(nil, binary.MakeDelta(w.maps[good], w.maps[good+1]), w.sign)
	}
	faults := []fault{
		delta("a delta that is not signed", func(w *world) []byte {
			return binary.AppendDelta(nil, binary.MakeDelta(w.maps[good], w.maps[good+1]), nil)
		}),
		delta("a delta with a bit flipped", func(w *world) []byte { return flipped(headerSize+70)(w, next(w)) }),
		delta("a delta that was changed, with the checksum put right", func(w *world) []byte {
			return summed(flipped(headerSize+70)(w, next(w)), signatureSize)
		}),
		delta("a delta cut in the middle", func(w *world) []byte { d := next(w); return d[:len(d)/2] }),
		delta("a delta that leads elsewhere than it says, rightly signed", func(w *world) []byte {
			d := binary.MakeDelta(w.maps[good], w.maps[good+1])
			d.To[0] ^= 1
			return binary.AppendDelta(nil, d, w.sign)
		}),
		delta("a delta for another map, rightly signed", func(w *world) []byte {
			from := w.after(w.maps[2], func(d *bucketmap.Draft) { d.Whitelist["other"] = "legacy" })
			return binary.AppendDelta(nil, binary.MakeDelta(from, w.after(from, nil)), w.sign)
		}),
		delta("a delta for the version after next, rightly signed", func(w *world) []byte {
			return binary.AppendDelta(nil, binary.MakeDelta(w.maps[good+1], w.after(w.maps[good+1], nil)), w.sign)
		}),
	}
	faults[5].quiet, faults[6].quiet = true, true // the whole map may be right: it is the publisher who is told
	return faults
}
