package yaml

import (
	"bytes"
	"strconv"
	"time"

	"drover/bucketmap"
)

// decodeOwn reads a document that Encode wrote, many times faster than the
// library and with a tenth of the garbage: a proxy reads each version of a
// published map while it serves requests.
//
// It need not be strict, because it does not decide what is right: only a map
// whose encoding is this very document is returned. Anything else, from a
// comment to a mistake, is left to the library, which finds the lines.
func decodeOwn(data []byte) (*bucketmap.Snapshot, bool) {
	r := ownReader{rest: data}
	content := r.content()
	if r.failed || len(r.rest) != 0 {
		return nil, false
	}
	snapshot, err := content.Snapshot()
	if err != nil {
		return nil, false
	}
	return snapshot, encodesTo(snapshot, data)
}

// ownReader reads from the front of rest. Once something is not as expected it
// has failed, and every loop over it ends.
type ownReader struct {
	rest   []byte
	failed bool
}

func (r *ownReader) fail() { r.rest, r.failed = nil, true }

// try skips a text if it is next.
func (r *ownReader) try(text string) bool {
	if len(r.rest) < len(text) || string(r.rest[:len(text)]) != text {
		return false
	}
	r.rest = r.rest[len(text):]
	return true
}

func (r *ownReader) want(text string) {
	if !r.try(text) {
		r.fail()
	}
}

func (r *ownReader) number() uint64 {
	n := 0
	for n < len(r.rest) && '0' <= r.rest[n] && r.rest[n] <= '9' {
		n++
	}
	v, err := strconv.ParseUint(string(r.rest[:n]), 10, 64)
	if err != nil {
		r.fail()
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// text reads one string, with quotes or without.
func (r *ownReader) text() string {
	if r.try(`"`) {
		return r.quoted()
	}
	n := bytes.IndexAny(r.rest, ",]}:\n")
	if n < 1 {
		r.fail()
		return ""
	}
	text := string(r.rest[:n])
	r.rest = r.rest[n:]
	return text
}

func (r *ownReader) quoted() string {
	var out []byte
	for i := 0; i < len(r.rest); i++ {
		switch c := r.rest[i]; {
		case c == '"':
			r.rest = r.rest[i+1:]
			return string(out)
		case c == '\\' && i+1 < len(r.rest):
			i++
			out = append(out, r.rest[i])
		default:
			out = append(out, c)
		}
	}
	r.fail()
	return ""
}

// flow reads a list or mapping in brackets, of which the first is read.
func (r *ownReader) flow(shut string, item func()) {
	for {
		r.space()
		if r.try(shut) || r.failed {
			break
		}
		item()
		r.try(",")
	}
	r.want("\n")
}

func (r *ownReader) space() {
	n := 0
	for n < len(r.rest) && (r.rest[n] == ' ' || r.rest[n] == '\n') {
		n++
	}
	r.rest = r.rest[n:]
}

// span reads "17" or "17-40", both in quotes.
func (r *ownReader) span(buckets uint32) (first, last bucketmap.BucketID) {
	r.want(`"`)
	from := r.number()
	to := from
	if r.try("-") {
		to = r.number()
	}
	r.want(`"`)
	if from > to || to >= uint64(buckets) {
		r.fail()
	}
	if r.failed {
		return 1, 0 // a range of none
	}
	return bucketmap.BucketID(from), bucketmap.BucketID(to)
}

func (r *ownReader) content() (c bucketmap.Content) {
	r.want("version: ")
	c.Version = bucketmap.Version(r.number())
	if r.try("\nmoved: ") {
		c.Moved = r.number()
	}
	r.want("\nbuckets: ")
	buckets := r.number()
	if buckets < 1 || buckets > bucketmap.BucketsMax {
		r.fail()
		return c
	}
	r.want("\n")
	c.Default = r.dflt()
	r.want("datacenters: [")
	r.flow("]", func() { c.Datacenters = append(c.Datacenters, bucketmap.Datacenter(r.text())) })
	if r.try("shards:\n") {
		c.Shards = r.shards()
	}
	c.Homes = make([]uint16, buckets)
	if r.try("homes:\n") {
		r.homes(c.Shards, c.Homes)
	}
	if r.try("whitelist:\n") {
		c.Whitelist = r.whitelist()
	}
	if r.try("epochs: {") {
		r.epochs(&c)
	}
	if r.try("holds:\n") {
		for r.try("  - {") {
			c.Holds = append(c.Holds, r.hold())
		}
	}
	return c
}

func (r *ownReader) dflt() (d bucketmap.Default) {
	r.want("default: {mode: ")
	if d.Auto = r.try("auto, source: "); d.Auto {
		d.Source = bucketmap.Datacenter(r.text())
		r.want(", target: ")
		d.Target = bucketmap.Datacenter(r.text())
	} else {
		r.want("pinned")
	}
	r.want(", datacenter: ")
	d.Datacenter = bucketmap.Datacenter(r.text())
	r.want("}\n")
	return d
}

func (r *ownReader) shards() (shards []bucketmap.Shard) {
	for r.try("  ") && len(shards) < bucketmap.ShardsMax {
		s := bucketmap.Shard{Name: bucketmap.ShardName(r.text())}
		r.want(": {datacenter: ")
		s.Datacenter = bucketmap.Datacenter(r.text())
		r.want(", epoch: ")
		s.Epoch = bucketmap.Epoch(r.number())
		r.want("}\n")
		shards = append(shards, s)
	}
	return shards
}

// homes refuses a bucket that has one: a short document of very many ranges
// over one another would be a day's work.
func (r *ownReader) homes(shards []bucketmap.Shard, homes []uint16) {
	next := 0
	for r.try("  ") {
		name := bucketmap.ShardName(r.text())
		for next < len(shards) && shards[next].Name != name {
			next++ // both are sorted
		}
		r.want(": [")
		if next == len(shards) {
			r.fail()
		}
		r.flow("]", func() {
			first, last := r.span(uint32(len(homes)))
			for b := int(first); b <= int(last); b++ {
				if homes[b] != 0 {
					r.fail()
					return
				}
				homes[b] = uint16(next + 1)
			}
		})
	}
}

func (r *ownReader) whitelist() *bucketmap.Whitelist {
	w, err := bucketmap.NewWhitelist(func(yield func(string, bucketmap.Datacenter) bool) {
		for r.try("  ") {
			dc := bucketmap.Datacenter(r.text())
			one := func() {
				id, err := bucketmap.ParseUserID(r.text())
				if err != nil || r.failed || !yield(string(id), dc) {
					r.fail()
				}
			}
			if r.try(": [") {
				r.flow("]", one)
				continue
			}
			r.want(":\n")
			for r.try("    - ") {
				one()
				r.want("\n")
			}
		}
	})
	if err != nil {
		r.fail()
	}
	return w
}

func (r *ownReader) epochs(c *bucketmap.Content) {
	next := bucketmap.BucketID(0)
	r.flow("}", func() {
		first, last := r.span(uint32(len(c.Homes)))
		r.want(": ")
		epoch := bucketmap.Epoch(r.number())
		if first < next || r.failed {
			r.fail() // as with homes
			return
		}
		next = last + 1
		for b := first; b <= last; b++ {
			c.EpochBuckets, c.Epochs = append(c.EpochBuckets, b), append(c.Epochs, epoch)
		}
	})
}

func (r *ownReader) hold() (h bucketmap.Hold) {
	if r.try("shard: ") {
		h.Shard = bucketmap.ShardName(r.text())
	} else {
		r.want("buckets: ")
		h.First, h.Last = r.span(bucketmap.BucketsMax)
	}
	r.want(", move: ")
	h.Move = bucketmap.MoveID(r.text())
	r.want(", until: ")
	text, rest, _ := bytes.Cut(r.rest, []byte("}\n"))
	until, err := time.Parse(untilFormat, string(text))
	if err != nil {
		r.fail()
		return h
	}
	h.Until, r.rest = until, rest
	return h
}
