package binary

import "encoding/binary"

// A row of symbols, such as the homes of all buckets, is written in the
// smaller of two forms. Which one that is, an integer rule says, and the
// decoder asks it too: a row in the wrong form is refused.
const (
	formRuns    = 0 // runs: length less one, symbol; neighbours differ
	formEntropy = 1 // a count for each symbol, then the entropy coder's words
)

// appendSymbols writes symbols, each less than alphabet.
func appendSymbols[T symbol](dst []byte, symbols []T, alphabet int) []byte {
	m, counts, size := entropyOf(symbols, alphabet)
	if !runsExceed(symbols, size) {
		dst = append(dst, formRuns)
		for first := 0; first < len(symbols); {
			next := runEnd(symbols, first)
			dst = binary.AppendUvarint(dst, uint64(next-first-1))
			dst = binary.AppendUvarint(dst, uint64(symbols[first]))
			first = next
		}
		return dst
	}
	dst = append(dst, formEntropy)
	for _, c := range counts {
		dst = binary.AppendUvarint(dst, uint64(c))
	}
	return appendRANS(dst, symbols, m)
}

// readSymbols fills symbols, which has one to 2^20 places.
func readSymbols[T symbol](r *reader, symbols []T, alphabet int) {
	at := r.off
	switch form := r.byte("form of the assignment"); {
	case r.err != nil:
	case form == formRuns:
		readRuns(r, symbols, alphabet)
		if r.err != nil {
			return
		}
		if _, _, size := entropyOf(symbols, alphabet); runsExceed(symbols, size) {
			r.fail(at, "form of the assignment: want %d, the entropy coder, which is smaller here", formEntropy)
		}
	case form == formEntropy && alphabet <= alphabetMax:
		counts := r.counts(len(symbols), alphabet)
		if r.err != nil {
			return
		}
		m := newModel(counts, len(symbols))
		readRANS(r, symbols, counts, m)
		if r.err == nil && !runsExceed(symbols, entropySize(m, counts)) {
			r.fail(at, "form of the assignment: want %d, runs, which are smaller here", formRuns)
		}
	default:
		r.fail(at, "form of the assignment: %d: want %d or %d", form, formRuns, formEntropy)
	}
}

func readRuns[T symbol](r *reader, symbols []T, alphabet int) {
	for first := 0; first < len(symbols); {
		length := int(r.below(uint64(len(symbols)-first), "length of a run less one")) + 1
		at := r.off
		s := T(r.below(uint64(alphabet), "symbol of a run"))
		if r.err != nil {
			return
		}
		if first != 0 && symbols[first-1] == s {
			r.fail(at, "symbol of a run: want another than the run before has")
			return
		}
		run := symbols[first : first+length]
		for i := range run {
			run[i] = s
		}
		first += length
	}
}

// counts reads how often each symbol occurs, n times together.
func (r *reader) counts(n, alphabet int) []uint32 {
	at := r.off
	if alphabet > r.left() {
		r.fail(at, "counts of the symbols: want %d, %d bytes are left", alphabet, r.left())
		return nil
	}
	counts := make([]uint32, alphabet)
	sum := uint64(0)
	for i := range counts {
		c := r.below(uint64(n)+1, "count of a symbol")
		counts[i] = uint32(c)
		sum += c // at most 2^16 × 2^20
	}
	if r.err == nil && sum != uint64(n) {
		r.fail(at, "counts of the symbols: their sum is %d: want %d", sum, n)
	}
	return counts
}

// entropyOf returns what the entropy coder needs, and how many bytes it will
// take, nearly.
func entropyOf[T symbol](symbols []T, alphabet int) (*model, []uint32, int) {
	if alphabet > alphabetMax {
		return nil, nil, 1 << 62 // runs, whatever they take
	}
	// Two rows for the reason that readRANS has two.
	counts, odd := make([]uint32, alphabet), make([]uint32, alphabet)
	n := len(symbols) &^ 1
	for i := 0; i < n; i += 2 {
		counts[symbols[i]]++
		odd[symbols[i+1]]++
	}
	if n < len(symbols) {
		counts[symbols[n]]++
	}
	for s, c := range odd {
		counts[s] += c
	}
	m := newModel(counts, len(symbols))
	return m, counts, entropySize(m, counts)
}

// entropySize is the size by the rule: the counts, the two states, and the
// symbols' cost in whole bytes, rounded down.
func entropySize(m *model, counts []uint32) int {
	size := 2*stateSize + int(m.cost>>16/8)
	for _, c := range counts {
		size += uvarintLen(uint64(c))
	}
	return size
}

// runsExceed says whether the runs take more than size bytes. It stops
// counting as soon as they do.
func runsExceed[T symbol](symbols []T, size int) bool {
	// A run takes two bytes at least; counting runs is much quicker than
	// measuring them, and in random order it is all that is needed.
	if 2*runsUpTo(symbols, size/2+1) > size {
		return true
	}
	for first := 0; first < len(symbols) && size >= 0; {
		next := runEnd(symbols, first)
		size -= uvarintLen(uint64(next-first-1)) + uvarintLen(uint64(symbols[first]))
		first = next
	}
	return size < 0
}

// runsUpTo counts the runs, and stops some way above limit.
func runsUpTo[T symbol](symbols []T, limit int) int {
	const chunk = 4096
	runs := uint64(1)
	for len(symbols) > 1 && runs < uint64(limit) {
		n := min(chunk, len(symbols)-1)
		for i, s := range symbols[:n] {
			// 1 where neighbours differ, without a branch to guess wrong.
			runs += (uint64(s^symbols[i+1]) + 1<<32 - 1) >> 32
		}
		symbols = symbols[n:]
	}
	return int(runs)
}

// runEnd returns the place after the run that begins at first.
func runEnd[T symbol](symbols []T, first int) int {
	s := symbols[first]
	next := first + 1
	for next < len(symbols) && symbols[next] == s {
		next++
	}
	return next
}
