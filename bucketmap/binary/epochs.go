package binary

import (
	"encoding/binary"
	"slices"

	"drover/bucketmap"
)

// The epochs are a list of the numbers that occur beside 1, and, if there are
// any, a row of symbols, one a bucket: 0 for epoch 1, else the place in the
// list plus one. During a campaign, when half of the buckets have moved in no
// order, that is one bit a bucket.

// firstMoved is the epoch of a bucket that moved once.
const firstMoved = bucketmap.FirstEpoch + 1

func appendEpochs(dst []byte, c bucketmap.Content) []byte {
	known := slices.Clone(c.Epochs)
	slices.Sort(known)
	known = slices.Compact(known)
	dst = binary.AppendUvarint(dst, uint64(len(known)))
	if len(known) == 0 {
		return dst
	}
	lowest := firstMoved
	places := make(map[bucketmap.Epoch]uint32, len(known))
	for i, e := range known {
		dst = binary.AppendUvarint(dst, uint64(e-lowest))
		lowest = e + 1
		places[e] = uint32(i + 1)
	}
	symbols := make([]uint32, len(c.Homes))
	for i, b := range c.EpochBuckets {
		symbols[b] = places[c.Epochs[i]]
	}
	return appendSymbols(dst, symbols, len(known)+1)
}

func (r *reader) epochs(buckets int) ([]bucketmap.BucketID, []bucketmap.Epoch) {
	at := r.off
	known := make([]bucketmap.Epoch, r.count(1, "epochs that occur"))
	if r.err != nil || len(known) == 0 {
		return nil, nil
	}
	lowest := firstMoved
	for i := range known {
		known[i] = r.epochAfter(lowest, "epoch")
		lowest = known[i] + 1 // 0 after the highest that there is, and then nothing is below -lowest
	}
	if r.err != nil {
		return nil, nil
	}
	symbols := make([]uint32, buckets)
	readSymbols(r, symbols, len(known)+1)
	if r.err != nil {
		return nil, nil
	}
	moved := 0
	seen := make([]bool, len(known)+1)
	for _, s := range symbols {
		seen[s] = true
		if s != 0 {
			moved++
		}
	}
	if unseen := slices.Index(seen[1:], false); unseen >= 0 {
		r.fail(at, "epochs that occur: no bucket has %d", known[unseen])
		return nil, nil
	}
	ids, epochs := make([]bucketmap.BucketID, 0, moved), make([]bucketmap.Epoch, 0, moved)
	for b, s := range symbols {
		if s != 0 {
			ids = append(ids, bucketmap.BucketID(b))
			epochs = append(epochs, known[s-1])
		}
	}
	return ids, epochs
}
