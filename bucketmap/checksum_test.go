package bucketmap

import (
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

func TestChecksumIsCRC32OfTheStandardLibrary(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for length := range 2 * checksumShort {
		for range 50 {
			p := make([]byte, length)
			for i := range p {
				p[i] = byte(r.Uint32())
			}
			if got, want := checksum(p), crc32.ChecksumIEEE(p); got != want {
				t.Fatalf("%x: %08x, want %08x", p, got, want)
			}
		}
	}
}
