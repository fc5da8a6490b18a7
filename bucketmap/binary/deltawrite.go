package binary

import (
	"encoding/binary"
	"maps"
	"slices"

	"drover/bucketmap"
)

// deltaWriter numbers the names of datacenters, shards and moves from 1 on; 0
// is no name.
type deltaWriter struct {
	names map[string]uint64
}

func (w *deltaWriter) header(dst []byte, d *Delta) []byte {
	dst = binary.AppendUvarint(dst, uint64(d.Difference.FromVersion))
	dst = binary.AppendUvarint(dst, uint64(d.Difference.ToVersion))
	dst = append(dst, d.From[:]...)
	dst = append(dst, d.To[:]...)
	dst = binary.AppendUvarint(dst, d.Difference.FromMoved)
	dst = binary.AppendUvarint(dst, d.Difference.ToMoved)
	dst = binary.AppendUvarint(dst, uint64(d.Difference.FromBuckets))
	return binary.AppendUvarint(dst, uint64(d.Difference.ToBuckets))
}

// dictionary writes the names, and then the changes of default, datacenters
// and shards.
func (w *deltaWriter) dictionary(dst []byte, d *bucketmap.Difference) []byte {
	w.collect(d)
	sorted := slices.Sorted(maps.Keys(w.names))
	dst = binary.AppendUvarint(dst, uint64(len(sorted)))
	prev := ""
	for i, name := range sorted {
		w.names[name] = uint64(i + 1)
		dst = appendKey(dst, prev, name)
		prev = name
	}
	w.names[""] = 0

	switch {
	case d.Default == nil:
		dst = append(dst, defaultSame)
	case d.Default.From == nil:
		dst = append(dst, defaultNew)
	default:
		dst = w.dflt(append(dst, defaultOther), d.Default.From)
	}
	if d.Default != nil {
		dst = w.dflt(dst, d.Default.To)
	}
	dst = binary.AppendUvarint(dst, uint64(len(d.Datacenters)))
	for _, c := range d.Datacenters {
		dst = w.name(w.name(dst, string(c.From)), string(c.To))
	}
	dst = binary.AppendUvarint(dst, uint64(len(d.Shards)))
	for _, c := range d.Shards {
		dst = w.name(dst, string(c.Name))
		dst = w.name(w.name(dst, string(c.From)), string(c.To))
		dst = binary.AppendUvarint(dst, uint64(c.FromEpoch))
		dst = binary.AppendUvarint(dst, uint64(c.ToEpoch))
	}
	return dst
}

// collect finds every name that the difference uses.
func (w *deltaWriter) collect(d *bucketmap.Difference) {
	add := func(names ...string) {
		for _, name := range names {
			if name != "" {
				w.names[name] = 0
			}
		}
	}
	if d.Default != nil {
		for _, c := range []*bucketmap.Default{d.Default.From, d.Default.To} {
			if c != nil {
				add(string(c.Datacenter), string(c.Source), string(c.Target))
			}
		}
	}
	for _, c := range d.Datacenters {
		add(string(c.From), string(c.To))
	}
	for _, c := range d.Shards {
		add(string(c.Name), string(c.From), string(c.To))
	}
	for _, c := range d.Homes {
		add(string(c.From), string(c.To))
	}
	for _, c := range d.Whitelist {
		add(string(c.From), string(c.To))
	}
	for _, c := range d.Holds {
		if h, _ := holdOf(c); h != nil {
			add(string(h.Shard), string(h.Move))
		}
	}
}

func (w *deltaWriter) name(dst []byte, name string) []byte {
	return binary.AppendUvarint(dst, w.names[name])
}

func (w *deltaWriter) dflt(dst []byte, d *bucketmap.Default) []byte {
	auto := byte(0)
	if d.Auto {
		auto = 1
	}
	dst = append(dst, auto)
	for _, dc := range []bucketmap.Datacenter{d.Datacenter, d.Source, d.Target} {
		dst = w.name(dst, string(dc))
	}
	return dst
}

// A pair, from and to, is written where it occurs first; then it has the
// number of pairs before it.
type pair struct{ from, to uint64 }

type pairWriter map[pair]uint64

func (w pairWriter) put(dst []byte, p pair) []byte {
	if i, ok := w[p]; ok {
		return binary.AppendUvarint(dst, i)
	}
	dst = binary.AppendUvarint(dst, uint64(len(w)))
	w[p] = uint64(len(w))
	dst = binary.AppendUvarint(dst, p.from)
	return binary.AppendUvarint(dst, p.to)
}

// appendRange writes the buckets first to last, which come after those before
// next, and returns the next after them.
func appendRange(dst []byte, next, first, last bucketmap.BucketID) ([]byte, bucketmap.BucketID) {
	dst = binary.AppendUvarint(dst, uint64(first)-uint64(next))
	dst = binary.AppendUvarint(dst, uint64(last)-uint64(first))
	return dst, last + 1
}

func (w *deltaWriter) homes(dst []byte, changes []bucketmap.HomeChange) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(changes)))
	pairs := pairWriter{}
	next := bucketmap.BucketID(0)
	for _, c := range changes {
		dst, next = appendRange(dst, next, c.First, c.Last)
		dst = pairs.put(dst, pair{w.names[string(c.From)], w.names[string(c.To)]})
	}
	return dst
}

// The forms of the epochs' ranges.
const (
	rangesOwn   = 0
	rangesHomes = 1 // those of the homes, which is what a move changes
)

func (w *deltaWriter) epochs(dst []byte, d *bucketmap.Difference) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(d.Epochs)))
	if len(d.Epochs) == 0 {
		return dst
	}
	form := byte(rangesOwn)
	if sameRanges(d) {
		form = rangesHomes
	}
	dst = append(dst, form)
	pairs := pairWriter{}
	next := bucketmap.BucketID(0)
	for _, c := range d.Epochs {
		if form == rangesOwn {
			dst, next = appendRange(dst, next, c.First, c.Last)
		}
		dst = pairs.put(dst, pair{uint64(c.From), uint64(c.To)})
	}
	return dst
}

func sameRanges(d *bucketmap.Difference) bool {
	return slices.EqualFunc(d.Homes, d.Epochs, func(h bucketmap.HomeChange, e bucketmap.EpochChange) bool {
		return h.First == e.First && h.Last == e.Last
	})
}

// The flags of a hold that changes.
const (
	holdBegun   = 1 // else it ended
	holdOfShard = 2 // else of a range
)

// holdOf returns the hold that ended or began. A change that is both or
// neither has no form; the flags that it gets are refused by a reader.
func holdOf(c bucketmap.HoldChange) (*bucketmap.Hold, byte) {
	switch {
	case c.From == nil && c.To == nil || c.From != nil && c.To != nil:
		return nil, 0xff
	case c.To != nil:
		return c.To, holdBegun
	default:
		return c.From, 0
	}
}

func (w *deltaWriter) holds(dst []byte, changes []bucketmap.HoldChange) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(changes)))
	until := int64(0)
	for _, c := range changes {
		h, flags := holdOf(c)
		switch {
		case h == nil:
			dst = append(dst, flags)
			continue
		case h.Shard != "":
			dst = w.name(append(dst, flags|holdOfShard), string(h.Shard))
		default:
			dst, _ = appendRange(append(dst, flags), 0, h.First, h.Last)
		}
		dst = w.name(dst, string(h.Move))
		dst = appendSvarint(dst, h.Until.UnixMilli()-until)
		until = h.Until.UnixMilli()
	}
	return dst
}

func (w *deltaWriter) whitelist(dst []byte, changes []bucketmap.UserChange) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(changes)))
	prev := ""
	for _, c := range changes {
		dst = appendKey(dst, prev, string(c.User))
		dst = w.name(w.name(dst, string(c.From)), string(c.To))
		prev = string(c.User)
	}
	return dst
}
