package haproxy

import (
	"math"
	"math/rand/v2"
	"testing"

	"drover/bucketmap"
	"drover/bucketmap/internal/export"
)

func TestEveryCodeIsUnpackedByDivision(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, codes := range []int{1, 2, 3, 4, 10, 255, 256, 65_536, bucketmap.BucketsMax + 1} {
		table := &export.Table{Codes: make([]export.Code, codes), Of: make([]uint32, 5000)}
		for b := range table.Of {
			table.Of[b] = r.Uint32N(uint32(codes))
			if b < 200 {
				table.Of[b] = uint32(codes - 1) // the largest numbers there are
			}
		}
		p := pack(table)
		block := uint64(len(p.powers))
		if codes == 3 && block != 39 || codes <= 2 && block != 62 {
			t.Errorf("%d codes: %d buckets a block", codes, block)
		}
		for b, want := range table.Of {
			word := p.words[uint64(b)/block]
			if word > math.MaxInt64 {
				t.Fatalf("%d codes: %d does not fit", codes, word)
			}
			if got := word / p.powers[uint64(b)%block] % p.base; got != uint64(want) {
				t.Fatalf("%d codes, bucket %d: %d, want %d", codes, b, got, want)
			}
		}
	}
}
