package bucketmap

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// Digest identifies the content of a map, its version included: two maps with
// one digest are Equal. It is a tree of SHA-256 sums, so that a version that
// changes little is summed quickly from the one before:
//
//	digest    = SHA-256("drover map 1" · header · dictionary · buckets · whitelist · holds)
//
// where each of the five is a SHA-256 of its own, 32 bytes:
//
//	header     = SHA-256('h' · version u64 · buckets u32 · moved u64 · auto u8 (0 or 1) ·
//	             default datacenter text · default source text · default target text)
//	dictionary = SHA-256('d' · count u32 · (datacenter text)* ·
//	             count u32 · (shard name text · datacenter text · epoch u64)*)
//	buckets    = SHA-256('b' · (group)*)
//	group      = SHA-256('g' · (page)*)
//	page       = SHA-256('p' · (home u16)* · (epoch uvarint)*)
//	whitelist  = SHA-256('w' · (users)*)
//	users      = SHA-256('u' · (id length u16 · id · datacenter text)*), or 32 zero bytes for nobody
//	holds      = SHA-256('o' · count u32 · (first u32 · last u32 · shard text · move text · until i64)*)
//
// Numbers are little-endian; a uvarint has 7 bits a byte, the low ones first,
// the highest bit of a byte saying that more follow. A text is its length in one byte and its bytes. A
// page has 128 buckets, in order, the last page those that are left; a group has
// 16 pages, the last group those that are left. home is the index of the shard in
// the dictionary plus one, 0 for no home. The epochs of a page are left out
// when all are 1; else there is one a bucket, 0 standing for 1. The whitelist
// has 256 pages of users, by the highest 8 bits of CRC-32 (IEEE) of the id;
// within one, users are sorted by the bytes of the id. Datacenters, shards and
// holds are in the order of Snapshot.Datacenters, Shards and Holds; until is
// in milliseconds since 1970.
type Digest [sha256.Size]byte

const (
	digestName       = "drover map 1"
	digestHeader     = 'h'
	digestDictionary = 'd'
	digestBuckets    = 'b'
	digestGroup      = 'g'
	digestPage       = 'p'
	digestWhitelist  = 'w'
	digestUsers      = 'u'
	digestHolds      = 'o'
)

// String returns the digest in lower-case hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText returns String.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is ParseDigest.
func (d *Digest) UnmarshalText(text []byte) error {
	parsed, err := ParseDigest(string(text))
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}

// ParseDigest is the inverse of Digest.String. It takes nothing else, so that
// one digest has one text.
func ParseDigest(text string) (Digest, error) {
	var d Digest
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(d) || hex.EncodeToString(raw) != text {
		const shown = 80
		return Digest{}, fmt.Errorf("digest %.*q: want %d lower-case hexadecimal digits", shown, text, 2*len(d))
	}
	copy(d[:], raw)
	return d, nil
}

// digests are the sums of a snapshot's buckets, and the whole. They are
// computed when somebody asks, or from those of the version before.
type digests struct {
	once       sync.Once
	done       atomic.Bool           // what follows may be read
	pages      []*[groupPages]Digest // by group; versions share those of groups that are the same
	groups     []Digest
	dictionary Digest
	root       Digest
}

// Digest identifies the map's content. It is computed once; for a snapshot
// made by Apply or Edit from one whose digest is known, from what changed.
func (s *Snapshot) Digest() Digest {
	s.sums.once.Do(func() { s.sum(nil, nil) })
	return s.sums.root
}

// sumFrom computes the digest from that of the snapshot that s was made from,
// if it is known there.
func (s *Snapshot) sumFrom(base *Snapshot) {
	if base == nil || base.sums == nil || !base.sums.done.Load() {
		return
	}
	s.sums.once.Do(func() { s.sum(base, base.sums) })
}

func (s *Snapshot) sum(base *Snapshot, known *digests) {
	if base == nil {
		base, known = &Snapshot{}, &digests{}
	}
	sums := s.sums
	sums.pages, sums.groups = make([]*[groupPages]Digest, len(s.groups)), make([]Digest, len(s.groups))
	buffer := make([]byte, 0, 1+groupPages*len(Digest{}))
	for g := range s.groups {
		if s.sharesGroup(base, g) {
			sums.pages[g], sums.groups[g] = known.pages[g], known.groups[g]
			continue
		}
		pages, n := new([groupPages]Digest), s.groupPages(g)
		if g < len(known.pages) {
			*pages = *known.pages[g]
		}
		for i := range n {
			if p := g*groupPages + i; !s.samePage(base, p) {
				pages[i] = s.sumPage(p)
			}
		}
		buffer = appendAll(buffer[:0], digestGroup, pages[:n])
		sums.pages[g], sums.groups[g] = pages, sha256.Sum256(buffer)
	}
	sums.dictionary = known.dictionary
	if base.version == 0 || !slices.Equal(s.datacenters, base.datacenters) || !slices.Equal(s.shards, base.shards) {
		sums.dictionary = s.sumDictionary()
	}
	sums.root = s.sumRoot(sha256.Sum256(appendAll(make([]byte, 0, 1+len(sums.groups)*len(Digest{})), digestBuckets, sums.groups)))
	sums.done.Store(true)
}

// samePage says whether a page is shared with base. The last page of a map
// may have the same array and be of another length.
func (s *Snapshot) samePage(base *Snapshot, p int) bool {
	return s.homePage(p) == base.homePage(p) && s.epochPage(p) == base.epochPage(p) && s.pageLen(p) == base.pageLen(p)
}

func appendAll(out []byte, kind byte, parts []Digest) []byte {
	out = append(out, kind)
	for i := range parts {
		out = append(out, parts[i][:]...)
	}
	return out
}

func (s *Snapshot) sumPage(p int) Digest {
	var buffer [1 + pageLen*2 + pageLen*binary.MaxVarintLen64]byte
	out := append(buffer[:0], digestPage)
	n := s.pageLen(p)
	for _, home := range s.homePage(p)[:n] {
		out = binary.LittleEndian.AppendUint16(out, home)
	}
	if epochs := s.epochPage(p); epochs != nil {
		for _, e := range epochs[:n] {
			out = binary.AppendUvarint(out, uint64(e))
		}
	}
	return sha256.Sum256(out)
}

func (s *Snapshot) sumRoot(buckets Digest) Digest {
	var all []byte
	all = append(all, digestName...)
	for _, part := range []Digest{s.sumHeader(), s.sums.dictionary, buckets, s.whitelist.digest, s.sumHolds()} {
		all = append(all, part[:]...)
	}
	return sha256.Sum256(all)
}

func (s *Snapshot) sumHeader() Digest {
	out := []byte{digestHeader}
	out = binary.LittleEndian.AppendUint64(out, uint64(s.version))
	out = binary.LittleEndian.AppendUint32(out, s.buckets)
	out = binary.LittleEndian.AppendUint64(out, s.moved)
	auto := byte(0)
	if s.dflt.Auto {
		auto = 1
	}
	out = append(out, auto)
	for _, dc := range []Datacenter{s.dflt.Datacenter, s.dflt.Source, s.dflt.Target} {
		out = appendText(out, dc)
	}
	return sha256.Sum256(out)
}

func (s *Snapshot) sumDictionary() Digest {
	out := make([]byte, 0, 64*(1+len(s.datacenters)+len(s.shards)))
	out = append(out, digestDictionary)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(s.datacenters)))
	for _, dc := range s.datacenters {
		out = appendText(out, dc)
	}
	out = binary.LittleEndian.AppendUint32(out, uint32(len(s.shards)))
	for _, sh := range s.shards {
		out = appendText(appendText(out, sh.Name), sh.Datacenter)
		out = binary.LittleEndian.AppendUint64(out, uint64(sh.Epoch))
	}
	return sha256.Sum256(out)
}

func (s *Snapshot) sumHolds() Digest {
	out := []byte{digestHolds}
	out = binary.LittleEndian.AppendUint32(out, uint32(len(s.holds)))
	for _, h := range s.holds {
		out = binary.LittleEndian.AppendUint32(out, uint32(h.First))
		out = binary.LittleEndian.AppendUint32(out, uint32(h.Last))
		out = appendText(appendText(out, h.Shard), h.Move)
		out = binary.LittleEndian.AppendUint64(out, uint64(h.Until.UnixMilli()))
	}
	return sha256.Sum256(out)
}

// appendText writes a name. Names are at most NameMax bytes.
func appendText[T ~string](out []byte, text T) []byte {
	return append(append(out, byte(len(text))), text...)
}
