package binary

import "math/bits"

// A model gives each symbol a share of 2^scale slots, by how often it occurs.
// The encoder and the decoder make it from the same counts, with integers
// alone, so that they agree on every machine.
type model struct {
	scale uint
	// freqs and starts are a symbol's slots: how many and the first one.
	freqs, starts []uint32
	// cost is what all symbols together take, in 1/65536 bit.
	cost uint64
}

const (
	// scaleMin keeps the decoder's table of slots within the nearest cache.
	scaleMin, scaleMax, scaleStep = 12, 20, 2
	// lossShift: a smaller scale is taken when it costs no more than 1/64
	// above the largest one.
	lossShift = 6
	// alphabetMax is how many symbols can be entropy coded: one is kept in 16
	// bits in the table of slots, and each that occurs needs a slot.
	alphabetMax = 1 << 16
)

// newModel chooses the smallest scale that is good enough. The counts' sum is
// n, 1 to 2^20.
func newModel(counts []uint32, n int) *model {
	present := 0
	for _, c := range counts {
		if c != 0 {
			present++
		}
	}
	best := scaled(counts, n, present, scaleMax)
	for scale := uint(scaleMin); scale < scaleMax; scale += scaleStep {
		if present > 1<<scale/2 {
			continue
		}
		if m := scaled(counts, n, present, scale); m.cost <= best.cost+best.cost>>lossShift {
			return m
		}
	}
	return best
}

// scaled gives one slot to each symbol that occurs and shares out the others
// by rounding the running sum of the counts. So the slots are 2^scale exactly,
// no symbol that occurs has none, and there is nothing to correct afterwards.
func scaled(counts []uint32, n, present int, scale uint) *model {
	m := &model{scale: scale, freqs: make([]uint32, len(counts)), starts: make([]uint32, len(counts))}
	shared := uint64(1)<<scale - uint64(present)
	var sum, given uint64
	var start uint32
	for i, c := range counts {
		m.starts[i] = start
		if c == 0 {
			continue
		}
		sum += uint64(c)
		upTo := sum * shared / uint64(n)
		f := uint32(upTo-given) + 1
		given = upTo
		m.freqs[i] = f
		start += f
		m.cost += uint64(c) * (uint64(scale)<<16 - log2(f))
	}
	return m
}

// log2 returns the binary logarithm of f, 1 to 2^31, in 1/65536, rounded down.
// It is made of integer operations because a floating point one may differ in
// its last bit from machine to machine.
func log2(f uint32) uint64 {
	whole := bits.Len32(f) - 1
	z := uint64(f) << (31 - whole) // 1 to 2, in units of 2^-31
	l := uint64(whole)
	for range 16 {
		z = z * z >> 31
		l = l<<1 | z>>32
		z >>= z >> 32
	}
	return l
}
