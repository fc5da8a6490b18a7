package binary

import (
	"encoding/binary"
	"time"

	"drover/bucketmap"
)

// Holds are those of ranges of buckets and then those of shards. A move's name
// is written once for holds of the same move that follow one another: a length
// of 0 is the name before. A deadline is written as its difference to the one
// before.

// holdWriter and holdReader keep what the next hold may refer to.
type holdWriter struct {
	move  bucketmap.MoveID
	until int64
}

func (w *holdWriter) put(dst []byte, h bucketmap.Hold) []byte {
	if h.Move == w.move {
		dst = append(dst, 0)
	} else {
		dst = binary.AppendUvarint(dst, uint64(len(h.Move)))
		dst = append(dst, h.Move...)
		w.move = h.Move
	}
	until := h.Until.UnixMilli()
	dst = appendSvarint(dst, until-w.until)
	w.until = until
	return dst
}

type holdReader struct {
	*reader
	move  bucketmap.MoveID
	until int64
}

// next reads the move and the deadline of a hold.
func (r *holdReader) next(h *bucketmap.Hold) {
	at := r.off
	if n := r.below(bucketmap.NameMax+1, "length of a move's name"); n != 0 {
		name := r.bytes(int(n), "name of a move")
		if r.err == nil && string(name) == string(r.move) {
			r.fail(at, "name of a move: want 0 for the name before")
		}
		r.move = bucketmap.MoveID(name)
	}
	r.until += r.svarint("deadline of a hold")
	h.Move, h.Until = r.move, time.UnixMilli(r.until).UTC()
}

func appendHolds(dst []byte, holds []bucketmap.Hold, shards map[bucketmap.ShardName]uint64) []byte {
	ranges := 0
	for ranges < len(holds) && holds[ranges].Shard == "" {
		ranges++
	}
	var w holdWriter
	dst = binary.AppendUvarint(dst, uint64(ranges))
	next := bucketmap.BucketID(0)
	for _, h := range holds[:ranges] {
		dst = binary.AppendUvarint(dst, uint64(h.First-next))
		dst = binary.AppendUvarint(dst, uint64(h.Last-h.First))
		dst = w.put(dst, h)
		next = h.Last + 1
	}
	dst = binary.AppendUvarint(dst, uint64(len(holds)-ranges))
	nextShard := uint64(0)
	for _, h := range holds[ranges:] {
		dst = binary.AppendUvarint(dst, shards[h.Shard]-nextShard)
		dst = w.put(dst, h)
		nextShard = shards[h.Shard] + 1
	}
	return dst
}

func (r *reader) holds(shards []bucketmap.Shard, buckets int) []bucketmap.Hold {
	hr := holdReader{reader: r}
	// First, last, move and deadline.
	ofRanges := r.count(4, "holds of buckets")
	holds := make([]bucketmap.Hold, 0, ofRanges)
	next := uint64(0)
	for range ofRanges {
		var h bucketmap.Hold
		first := next + r.below(uint64(buckets)-next, "first bucket of a hold")
		if r.err != nil {
			return nil
		}
		last := first + r.below(uint64(buckets)-first, "buckets of a hold less one")
		h.First, h.Last = bucketmap.BucketID(first), bucketmap.BucketID(last)
		next = last + 1
		hr.next(&h)
		holds = append(holds, h)
	}
	// Shard, move and deadline.
	ofShards := r.count(3, "holds of shards")
	nextShard := uint64(0)
	for range ofShards {
		i := nextShard + r.below(uint64(len(shards))-nextShard, "shard of a hold")
		if r.err != nil {
			return nil
		}
		h := bucketmap.Hold{Shard: shards[i].Name}
		nextShard = i + 1
		hr.next(&h)
		holds = append(holds, h)
	}
	return holds
}
