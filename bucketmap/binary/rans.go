package binary

import (
	"encoding/binary"
	"slices"
)

// The entropy coder is static rANS of order 0 (J. Duda, "Asymmetric numeral
// systems", arXiv:1311.2540; F. Giesen, "Interleaved entropy coders",
// arXiv:1402.3392): a 64-bit state that is renormalised by words of 32 bits.
// Two states take turns, symbols of even places and of odd, so that a
// processor works on both at once; they share one row of words.
//
// Both begin, in the encoder, at ransLow, and a state is always in [ransLow,
// 2^32 × ransLow). In that range each step of the decoder has exactly one
// inverse. A decoder that ends with both states at ransLow and no word left,
// and has counted what the counts say, has therefore read the very bytes that
// the encoder writes.
const (
	ransLow   = 1 << 31
	ransTop   = 63 // the states' upper bound is 2^63
	stateSize = 8
	wordSize  = 4
)

type symbol interface{ ~uint16 | ~uint32 }

// appendRANS writes the number of words, the two states and the words.
func appendRANS[T symbol](dst []byte, symbols []T, m *model) []byte {
	states := [2]uint64{ransLow, ransLow}
	words := make([]uint32, 0, m.cost>>16/32+2)
	for i, s := range slices.Backward(symbols) {
		x, f := states[i&1], uint64(m.freqs[s])
		if x >= f<<(ransTop-m.scale) {
			words = append(words, uint32(x))
			x >>= 32
		}
		states[i&1] = x/f<<m.scale + x%f + uint64(m.starts[s])
	}
	dst = binary.AppendUvarint(dst, uint64(len(words)))
	dst = binary.BigEndian.AppendUint64(dst, states[0])
	dst = binary.BigEndian.AppendUint64(dst, states[1])
	dst = slices.Grow(dst, len(words)*wordSize)
	for _, w := range slices.Backward(words) {
		dst = binary.BigEndian.AppendUint32(dst, w)
	}
	return dst
}

// share is a symbol's slots: how many and the first one.
type share struct{ freq, start uint32 }

// readRANS fills symbols. counts is what the model was made from.
func readRANS[T symbol](r *reader, symbols []T, counts []uint32, m *model) {
	at := r.off
	count := r.count(wordSize, "words of the entropy coder")
	x0 := r.state()
	x1 := r.state()
	words := r.bytes(count*wordSize, "words of the entropy coder")
	if r.err != nil {
		return
	}
	slots := make([]uint16, 1<<m.scale)
	shares := make([]share, len(counts))
	for s, f := range m.freqs {
		shares[s] = share{f, m.starts[s]}
		fill(slots[m.starts[s]:m.starts[s]+f], uint16(s))
	}
	// Two rows of counts, because one would make each symbol wait for the
	// count of the one before when there are few shards.
	seen := [2][]uint32{make([]uint32, len(counts)), make([]uint32, len(counts))}
	mask := uint64(len(slots) - 1)
	n := len(symbols)
	for i := 0; i < n; i += 2 {
		s := slots[x0&mask]
		symbols[i] = T(s)
		seen[0][s]++
		x0 = uint64(shares[s].freq)*(x0>>m.scale) + x0&mask - uint64(shares[s].start)
		if x0 < ransLow {
			if len(words) < wordSize {
				r.fail(at, "entropy coder: want more words than %d", count)
				return
			}
			x0 = x0<<32 | uint64(binary.BigEndian.Uint32(words))
			words = words[wordSize:]
		}
		if i+1 == n {
			break
		}
		s = slots[x1&mask]
		symbols[i+1] = T(s)
		seen[1][s]++
		x1 = uint64(shares[s].freq)*(x1>>m.scale) + x1&mask - uint64(shares[s].start)
		if x1 < ransLow {
			if len(words) < wordSize {
				r.fail(at, "entropy coder: want more words than %d", count)
				return
			}
			x1 = x1<<32 | uint64(binary.BigEndian.Uint32(words))
			words = words[wordSize:]
		}
	}
	if x0 != ransLow || x1 != ransLow || len(words) != 0 {
		r.fail(at, "entropy coder: want both states to end at %#x and no word left over", uint64(ransLow))
	}
	for s, c := range counts {
		if seen[0][s]+seen[1][s] != c {
			r.fail(at, "entropy coder: symbol %d occurs %d times: want %d, as its count says", s, seen[0][s]+seen[1][s], c)
			return
		}
	}
}

func (r *reader) state() uint64 {
	at := r.off
	b := r.bytes(stateSize, "state of the entropy coder")
	if r.err != nil {
		return ransLow
	}
	x := binary.BigEndian.Uint64(b)
	if x < ransLow || x >= 1<<ransTop {
		r.fail(at, "state of the entropy coder: want 2^31 to 2^63")
	}
	return x
}

func fill(slots []uint16, s uint16) {
	for i := range slots {
		slots[i] = s
	}
}
