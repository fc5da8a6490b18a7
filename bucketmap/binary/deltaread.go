package binary

import (
	"time"

	"drover/bucketmap"
)

// deltaReader is the other side of deltaWriter, field by field.
type deltaReader struct {
	*reader
	d     *bucketmap.Difference
	names []string
	used  []bool
}

func (r *deltaReader) header(delta *Delta) {
	r.d.FromVersion = bucketmap.Version(r.uvarint("version before"))
	r.d.ToVersion = bucketmap.Version(r.uvarint("version after"))
	copy(delta.From[:], r.bytes(len(delta.From), "digest before"))
	copy(delta.To[:], r.bytes(len(delta.To), "digest after"))
	r.d.FromMoved = r.uvarint("moved before")
	r.d.ToMoved = r.uvarint("moved after")
	r.d.FromBuckets = uint32(r.below(bucketmap.BucketsMax+1, "buckets before"))
	r.d.ToBuckets = uint32(r.below(bucketmap.BucketsMax+1, "buckets after"))
}

func (r *deltaReader) dictionary() {
	// A name takes two bytes at least.
	r.names = make([]string, r.count(2, "names"))
	r.used = make([]bool, len(r.names))
	keys := keyReader{reader: r.reader, what: "name", lengthMax: bucketmap.NameMax}
	for i := range r.names {
		at := r.off
		r.names[i] = keys.next()
		if r.err == nil && !bucketmap.ValidName(r.names[i]) {
			r.fail(at, "name %q: want letters, digits, '.', '_' or '-', the first not '.' or '-'", r.names[i])
		}
		if r.err != nil {
			return
		}
	}
	at := r.off
	switch form := r.byte("form of the default"); form {
	case defaultSame:
	case defaultNew:
		r.d.Default = &bucketmap.DefaultChange{To: r.dflt()}
	case defaultOther:
		r.d.Default = &bucketmap.DefaultChange{From: r.dflt(), To: r.dflt()}
	default:
		r.fail(at, "form of the default: %d: want %d to %d", form, defaultSame, defaultOther)
	}
	for range r.count(2, "changes of datacenters") {
		r.d.Datacenters = append(r.d.Datacenters, bucketmap.DatacenterChange{From: r.place(), To: r.place()})
		if r.err != nil {
			return
		}
	}
	for range r.count(5, "changes of shards") {
		r.d.Shards = append(r.d.Shards, bucketmap.ShardChange{
			Name:      bucketmap.ShardName(r.name("name of a shard")),
			From:      r.place(),
			To:        r.place(),
			FromEpoch: bucketmap.Epoch(r.uvarint("epoch before")),
			ToEpoch:   bucketmap.Epoch(r.uvarint("epoch after")),
		})
		if r.err != nil {
			return
		}
	}
}

// name reads the number of a name, 0 for none.
func (r *deltaReader) name(what string) string {
	i := r.below(uint64(len(r.names))+1, what)
	if r.err != nil || i == 0 {
		return ""
	}
	r.used[i-1] = true
	return r.names[i-1]
}

func (r *deltaReader) place() bucketmap.Datacenter { return bucketmap.Datacenter(r.name("datacenter")) }

func (r *deltaReader) dflt() *bucketmap.Default {
	auto := r.below(2, "auto of the default")
	return &bucketmap.Default{Auto: auto == 1, Datacenter: r.place(), Source: r.place(), Target: r.place()}
}

// bucketRange reads buckets that come after those before next.
func (r *deltaReader) bucketRange(next uint64) (first, last uint64) {
	first = next + r.below(bucketmap.BucketsMax-next, "first bucket")
	if r.err != nil {
		return 0, 0
	}
	return first, first + r.below(bucketmap.BucketsMax-first, "buckets less one")
}

// pairReader is the other side of pairWriter.
type pairReader struct {
	pairs []pair
	known map[pair]bool
}

func (p *pairReader) next(r *reader, read func() pair) pair {
	at := r.off
	i := r.below(uint64(len(p.pairs))+1, "number of a pair, from and to")
	if r.err != nil {
		return pair{}
	}
	if i < uint64(len(p.pairs)) {
		return p.pairs[i]
	}
	c := read()
	if r.err == nil && p.known[c] {
		r.fail(at, "pair, from and to: want the number of the one that is the same")
	}
	if p.known == nil {
		p.known = map[pair]bool{}
	}
	p.known[c] = true
	p.pairs = append(p.pairs, c)
	return c
}

func (r *deltaReader) homes() {
	// First, last and pair.
	count := r.count(3, "changes of homes")
	pairs, next := pairReader{}, uint64(0)
	for range count {
		first, last := r.bucketRange(next)
		c := pairs.next(r.reader, func() pair {
			bound := uint64(len(r.names)) + 1
			return pair{r.below(bound, "shard before"), r.below(bound, "shard after")}
		})
		if r.err != nil {
			return
		}
		r.d.Homes = append(r.d.Homes, bucketmap.HomeChange{
			First: bucketmap.BucketID(first), Last: bucketmap.BucketID(last),
			From: bucketmap.ShardName(r.named(c.from)), To: bucketmap.ShardName(r.named(c.to)),
		})
		next = last + 1
	}
}

func (r *deltaReader) named(i uint64) string {
	if i == 0 {
		return ""
	}
	r.used[i-1] = true
	return r.names[i-1]
}

func (r *deltaReader) epochs() {
	at := r.off
	count := r.count(1, "changes of epochs")
	if count == 0 {
		return
	}
	form := r.below(rangesHomes+1, "form of the ranges")
	if r.err == nil && form == rangesHomes && count != len(r.d.Homes) {
		r.fail(at, "changes of epochs: %d: want %d, as many as homes", count, len(r.d.Homes))
	}
	pairs, next := pairReader{}, uint64(0)
	for i := range count {
		var first, last uint64
		if form == rangesOwn {
			first, last = r.bucketRange(next)
		}
		c := pairs.next(r.reader, func() pair { return pair{r.uvarint("epoch before"), r.uvarint("epoch after")} })
		if r.err != nil {
			return
		}
		if form == rangesHomes {
			first, last = uint64(r.d.Homes[i].First), uint64(r.d.Homes[i].Last)
		}
		r.d.Epochs = append(r.d.Epochs, bucketmap.EpochChange{
			First: bucketmap.BucketID(first), Last: bucketmap.BucketID(last),
			From: bucketmap.Epoch(c.from), To: bucketmap.Epoch(c.to),
		})
		next = last + 1
	}
	if form == rangesOwn && sameRanges(r.d) {
		r.fail(at, "ranges of epochs: want form %d, those of the homes", rangesHomes)
	}
}

func (r *deltaReader) holds() {
	until := int64(0)
	// Flags, shard, move and deadline.
	for range r.count(4, "changes of holds") {
		flags := r.below(holdBegun|holdOfShard+1, "flags of a hold")
		h := &bucketmap.Hold{}
		if flags&holdOfShard != 0 {
			at := r.off
			h.Shard = bucketmap.ShardName(r.name("shard of a hold"))
			if r.err == nil && h.Shard == "" {
				r.fail(at, "shard of a hold: want a name")
			}
		} else {
			first, last := r.bucketRange(0)
			h.First, h.Last = bucketmap.BucketID(first), bucketmap.BucketID(last)
		}
		h.Move = bucketmap.MoveID(r.name("move of a hold"))
		until += r.svarint("deadline of a hold")
		h.Until = time.UnixMilli(until).UTC()
		if r.err != nil {
			return
		}
		c := bucketmap.HoldChange{From: h}
		if flags&holdBegun != 0 {
			c = bucketmap.HoldChange{To: h}
		}
		r.d.Holds = append(r.d.Holds, c)
	}
}

func (r *deltaReader) whitelist() {
	// Two bytes of id, from and to.
	count := r.count(4, "changes of the whitelist")
	keys := keyReader{reader: r.reader, what: "user id", lengthMax: bucketmap.UserIDMax}
	for range count {
		user := bucketmap.UserID(keys.next())
		r.d.Whitelist = append(r.d.Whitelist, bucketmap.UserChange{User: user, From: r.place(), To: r.place()})
		if r.err != nil {
			return
		}
	}
}
