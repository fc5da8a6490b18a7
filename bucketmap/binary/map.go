package binary

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"

	"drover/bucketmap"
)

// Append appends the map to dst and returns the longer slice. The same map
// gives the same bytes. A nil key leaves the map unsigned; one that is not an
// Ed25519 key panics, as it does in ed25519.Sign.
func Append(dst []byte, s *bucketmap.Snapshot, sign ed25519.PrivateKey) []byte {
	return appendEnvelope(dst, kindMap, sign, func(dst []byte) []byte { return appendContent(dst, s.Content()) })
}

// Decode reads a map. With keys, one of them must have signed it; without, a
// signature is not looked at. The error is of the class ErrCorrupt,
// ErrChecksum, ErrUnsigned, ErrSignature or ErrFormat; where the map is
// readable and not valid it is also a *bucketmap.InvalidError.
//
// What it allocates is bounded by the input's length and by the bucket count,
// which is at most bucketmap.BucketsMax: a map of a few bytes may have a
// million buckets on one shard.
func Decode(data []byte, keys []ed25519.PublicKey) (*bucketmap.Snapshot, error) {
	r, err := openEnvelope(data, kindMap, keys)
	if err != nil {
		return nil, err
	}
	content := r.content()
	if err := r.finish(); err != nil {
		if content.Await != nil {
			content.Await() //nolint:errcheck // the goroutine has to end, and the map is refused already
		}
		return nil, err
	}
	s, err := content.Snapshot()
	if err != nil && !errors.Is(err, ErrCorrupt) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return s, err
}

// The forms of a default.
const (
	defaultPinned = 0 // its datacenter
	defaultSource = 1 // source, target; the source is in force
	defaultTarget = 2 // source, target; the target is in force
)

func appendContent(dst []byte, c bucketmap.Content) []byte {
	dst = binary.AppendUvarint(dst, uint64(c.Version))
	dst = binary.AppendUvarint(dst, c.Moved)
	dst = binary.AppendUvarint(dst, uint64(len(c.Homes)))

	datacenters := make(map[bucketmap.Datacenter]uint64, len(c.Datacenters))
	dst = binary.AppendUvarint(dst, uint64(len(c.Datacenters)))
	prev := ""
	for i, dc := range c.Datacenters {
		datacenters[dc] = uint64(i)
		dst = appendKey(dst, prev, string(dc))
		prev = string(dc)
	}
	dst = appendDefault(dst, c.Default, datacenters)

	shards := make(map[bucketmap.ShardName]uint64, len(c.Shards))
	dst = binary.AppendUvarint(dst, uint64(len(c.Shards)))
	prev = ""
	for i, s := range c.Shards {
		shards[s.Name] = uint64(i)
		dst = appendKey(dst, prev, string(s.Name))
		dst = binary.AppendUvarint(dst, datacenters[s.Datacenter])
		dst = binary.AppendUvarint(dst, uint64(s.Epoch-bucketmap.FirstEpoch))
		prev = string(s.Name)
	}

	dst = appendWhitelist(dst, c.Whitelist, datacenters)
	dst = appendSymbols(dst, c.Homes, len(c.Shards)+1)
	dst = appendEpochs(dst, c)
	return appendHolds(dst, c.Holds, shards)
}

func (r *reader) content() bucketmap.Content {
	c := bucketmap.Content{
		Version: bucketmap.Version(r.uvarint("version")),
		Moved:   r.uvarint("moved"),
	}
	at := r.off
	buckets := r.uvarint("buckets")
	if r.err == nil && (buckets < 1 || buckets > bucketmap.BucketsMax) {
		r.fail(at, "buckets: %d: want 1 to %d", buckets, bucketmap.BucketsMax)
	}
	c.Datacenters = r.datacenters()
	c.Default = r.dflt(c.Datacenters)
	c.Shards = r.shards(c.Datacenters)
	if r.err != nil {
		return c
	}
	c.Await = r.whitelist(c.Datacenters)
	c.Homes = make([]uint16, buckets)
	readSymbols(r, c.Homes, len(c.Shards)+1)
	c.EpochBuckets, c.Epochs = r.epochs(len(c.Homes))
	c.Holds = r.holds(c.Shards, len(c.Homes))
	return c
}

func (r *reader) datacenters() []bucketmap.Datacenter {
	// A name takes two bytes at least.
	names := make([]bucketmap.Datacenter, r.count(2, "datacenters"))
	keys := keyReader{reader: r, what: "name of a datacenter", lengthMax: bucketmap.NameMax}
	for i := range names {
		names[i] = bucketmap.Datacenter(keys.next())
		if r.err != nil {
			return nil
		}
	}
	return names
}

// place reads the index of a datacenter.
func (r *reader) place(datacenters []bucketmap.Datacenter, what string) bucketmap.Datacenter {
	if r.err == nil && r.off < len(r.data) && r.data[r.off] < uint8(min(len(datacenters), 0x80)) {
		r.off++ // one byte: it is asked once a user
		return datacenters[r.data[r.off-1]]
	}
	i := r.below(uint64(len(datacenters)), what)
	if r.err != nil {
		return ""
	}
	return datacenters[i]
}

func appendDefault(dst []byte, d bucketmap.Default, datacenters map[bucketmap.Datacenter]uint64) []byte {
	if !d.Auto {
		dst = append(dst, defaultPinned)
		return binary.AppendUvarint(dst, datacenters[d.Datacenter])
	}
	form := byte(defaultSource)
	if d.Datacenter == d.Target {
		form = defaultTarget
	}
	dst = append(dst, form)
	dst = binary.AppendUvarint(dst, datacenters[d.Source])
	return binary.AppendUvarint(dst, datacenters[d.Target])
}

func (r *reader) dflt(datacenters []bucketmap.Datacenter) bucketmap.Default {
	at := r.off
	form := r.byte("form of the default")
	if form == defaultPinned {
		return bucketmap.Default{Datacenter: r.place(datacenters, "default datacenter")}
	}
	d := bucketmap.Default{Auto: true}
	d.Source = r.place(datacenters, "source of the default")
	d.Target = r.place(datacenters, "target of the default")
	switch form {
	case defaultSource:
		d.Datacenter = d.Source
	case defaultTarget:
		d.Datacenter = d.Target
	default:
		r.fail(at, "form of the default: %d: want %d to %d", form, defaultPinned, defaultTarget)
	}
	return d
}

func (r *reader) shards(datacenters []bucketmap.Datacenter) []bucketmap.Shard {
	at := r.off
	// Two bytes of name, a datacenter and an epoch.
	count := r.count(4, "shards")
	if r.err == nil && count > bucketmap.ShardsMax {
		r.fail(at, "shards: %d: want at most %d", count, bucketmap.ShardsMax)
		return nil
	}
	shards := make([]bucketmap.Shard, count)
	keys := keyReader{reader: r, what: "name of a shard", lengthMax: bucketmap.NameMax}
	for i := range shards {
		shards[i] = bucketmap.Shard{
			Name:       bucketmap.ShardName(keys.next()),
			Datacenter: r.place(datacenters, "datacenter of a shard"),
			Epoch:      r.epochAfter(bucketmap.FirstEpoch, "epoch of a shard"),
		}
		if r.err != nil {
			return nil
		}
	}
	return shards
}

// epochAfter reads an epoch as what it is above lowest.
func (r *reader) epochAfter(lowest bucketmap.Epoch, what string) bucketmap.Epoch {
	return lowest + bucketmap.Epoch(r.below(-uint64(lowest), what))
}
