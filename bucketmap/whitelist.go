package bucketmap

import (
	"cmp"
	"crypto/sha256"
	"hash/maphash"
	"iter"
	"math/bits"
	"slices"
	"unsafe"
)

const (
	// WhitelistMax is the most users a whitelist may have: × UserIDMax bytes,
	// what 32 bits can number in one page.
	WhitelistMax = 1 << 23

	userPageBits = 8
	userPages    = 1 << userPageBits
)

// Whitelist is an immutable set of user ids, each with a datacenter. A lookup
// takes constant time and allocates nothing. It is safe for any number of
// goroutines.
//
// It is in pages by the highest bits of the id's CRC-32, which Decide has
// anyway. A change copies the pages that it touches, and versions share the
// others; the digest of a whitelist is made of those of its pages.
type Whitelist struct {
	seed   maphash.Seed         // of the tables: nobody can choose ids that fall together
	pages  [userPages]*userPage // nil where there is nobody
	tags   [userPages][]uint64  // those of pages, one step nearer
	length int
	digest Digest
}

// userPage has its ids in one string, in order, and an open-addressing table
// over them, in groups of eight slots. The table is one byte of the hash a
// slot, and the indexes apart: who is not on the whitelist costs one word, of a
// table so small that it mostly is in a cache, and no branch that cannot be
// foreseen.
type userPage struct {
	tags        []uint64 // eight a word; 0 is a free slot; more than half of them are
	slots       []uint32 // of tags: index in entries
	ids         string
	entries     []userEntry
	datacenters []Datacenter
	digest      Digest
}

type userEntry struct {
	end        uint32 // in ids; an id begins where the one before ends
	datacenter uint32 // index in datacenters
}

// user is an entry outside of a page.
type user struct {
	id         string
	datacenter Datacenter
}

func wrongUser(value, bound string) error {
	return &InvalidError{Problems: []Problem{{"whitelist", value, bound}}}
}

func userPageOf(id string) uint32 {
	// Nothing writes to these bytes: a conversion would copy them.
	return checksum(unsafe.Slice(unsafe.StringData(id), len(id))) >> (32 - userPageBits)
}

// newUserPage makes a page of users in order, none twice.
func newUserPage(seed maphash.Seed, users []user) *userPage {
	b := builder{known: map[Datacenter]uint32{}}
	var p pageBuilder
	for _, u := range users {
		place, _ := b.place(u.datacenter)
		p.add([]byte(u.id), place)
	}
	m := pageMaker{builder: &b, seed: seed}
	return m.make(&p)
}

func (p *userPage) user(i int) user {
	start := uint32(0)
	if i != 0 {
		start = p.entries[i-1].end
	}
	e := p.entries[i]
	return user{p.ids[start:e.end], p.datacenters[e.datacenter]}
}

// users returns the users of a page, which may be nil, in order.
func (p *userPage) users() iter.Seq[user] {
	return func(yield func(user) bool) {
		if p == nil {
			return
		}
		for i := range p.entries {
			if !yield(p.user(i)) {
				return
			}
		}
	}
}

const (
	groupSlots = 8
	everyByte  = 0x0101010101010101 // × a byte is the byte eight times
	highBits   = 0x8080808080808080
)

// tagOf is the byte of a hash that a table keeps, never 0.
func tagOf(hash uint64) uint64 { return max(hash>>56, 1) }

// zeroBytes marks the highest bit of each byte of a word that is 0. It may
// mark one above the first too, but none when there is none.
func zeroBytes(word uint64) uint64 { return (word - everyByte) &^ word & highBits }

func (p *userPage) insert(hash uint64, index uint32) {
	last := uint32(len(p.tags) - 1)
	group := uint32(hash) & last
	for zeroBytes(p.tags[group]) == 0 {
		group = (group + 1) & last
	}
	free := bits.TrailingZeros64(zeroBytes(p.tags[group])) / 8
	p.tags[group] |= tagOf(hash) << (8 * free)
	p.slots[group*groupSlots+uint32(free)] = index
}

// lookup is Lookup for who knows the id's CRC-32.
func (w *Whitelist) lookup(id []byte, crc uint32) (Datacenter, bool) {
	page := crc >> (32 - userPageBits)
	tags := w.tags[page]
	if len(tags) == 0 {
		return "", false
	}
	hash := maphash.Bytes(w.seed, id)
	tag, last := tagOf(hash)*everyByte, uint32(len(tags)-1)
	for group := uint32(hash) & last; ; group = (group + 1) & last {
		word := tags[group]
		for found := zeroBytes(word ^ tag); found != 0; found &= found - 1 {
			p := w.pages[page]
			u := p.user(int(p.slots[group*groupSlots+uint32(bits.TrailingZeros64(found))/8]))
			if u.id == string(id) {
				return u.datacenter, true
			}
		}
		if zeroBytes(word) != 0 {
			return "", false
		}
	}
}

// Lookup returns the datacenter of a user on the whitelist.
func (w *Whitelist) Lookup(user []byte) (Datacenter, bool) {
	return w.lookup(user, checksum(user))
}

// Len returns how many users there are.
func (w *Whitelist) Len() int { return w.length }

// All iterates over the users, sorted by id. It sorts at each call.
func (w *Whitelist) All() iter.Seq2[string, Datacenter] {
	return func(yield func(string, Datacenter) bool) {
		all := make([]user, 0, w.length)
		for _, p := range w.pages {
			all = slices.AppendSeq(all, p.users())
		}
		slices.SortFunc(all, func(a, b user) int { return cmp.Compare(a.id, b.id) })
		for _, u := range all {
			if !yield(u.id, u.datacenter) {
				return
			}
		}
	}
}

// datacenters returns every datacenter that a user has.
func (w *Whitelist) datacenters() map[Datacenter]bool {
	all := map[Datacenter]bool{}
	for _, p := range w.pages {
		if p == nil {
			continue
		}
		for _, dc := range p.datacenters {
			all[dc] = true
		}
	}
	return all
}

// seal completes a whitelist whose pages are there.
func (w *Whitelist) seal() {
	out := make([]byte, 0, 1+userPages*len(Digest{}))
	out = append(out, digestWhitelist)
	for i, p := range w.pages {
		var d Digest
		w.tags[i] = nil
		if p != nil {
			d, w.tags[i] = p.digest, p.tags
		}
		out = append(out, d[:]...)
	}
	w.digest = sha256.Sum256(out)
}

// uses says whether somebody has this datacenter.
func (w *Whitelist) uses(dc Datacenter) bool {
	return slices.ContainsFunc(w.pages[:], func(p *userPage) bool {
		return p != nil && slices.Contains(p.datacenters, dc)
	})
}
