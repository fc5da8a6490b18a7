package bucketmap

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash/maphash"
	"iter"
	"math/bits"
	"slices"
	"unsafe"
)

// builder makes a whitelist. Each user goes to the end of its page at once, so
// that memory is written and read in rows: users sorted into pages afterwards
// cost a cache's miss each, which was more than all the rest.
type builder struct {
	pages       [userPages]pageBuilder
	length      int
	unordered   bool // pages have to be put in order
	datacenters []Datacenter
	known       map[Datacenter]uint32
}

// pageBuilder is the users of a page as they came, in the form that the page
// will have; their datacenters are those of the builder until it has.
type pageBuilder struct {
	ids     []byte
	entries []userEntry
}

func (p *pageBuilder) add(id []byte, datacenter uint32) {
	p.ids = append(p.ids, id...)
	p.entries = append(p.entries, userEntry{end: uint32(len(p.ids)), datacenter: datacenter})
}

// users iterates over what came, with the places of the datacenters.
func (p *pageBuilder) users() iter.Seq2[[]byte, uint32] {
	return func(yield func([]byte, uint32) bool) {
		start := uint32(0)
		for _, e := range p.entries {
			if !yield(p.ids[start:e.end], e.datacenter) {
				return
			}
			start = e.end
		}
	}
}

// NewWhitelist returns the whitelist of these ids, in any order. The same id
// twice with the same datacenter is there once; with another it is an error.
// The error is an *InvalidError.
func NewWhitelist(ids iter.Seq2[string, Datacenter]) (*Whitelist, error) {
	b := newBuilder()
	b.unordered = true
	if ids != nil {
		for id, dc := range ids {
			// Nothing writes to these bytes: a conversion would copy them.
			if err := b.add(unsafe.Slice(unsafe.StringData(id), len(id)), dc); err != nil {
				return nil, err
			}
		}
	}
	return b.whitelist()
}

// NewSortedWhitelist is NewWhitelist for ids that rise, each once, which it does
// not look at; an id is copied before yield returns. About how many users there
// are saves memory and time, and need not be right.
func NewSortedWhitelist(users int, ids iter.Seq2[[]byte, Datacenter]) (*Whitelist, error) {
	b := newBuilder()
	for id, dc := range ids {
		if b.length == reserveMin {
			b.reserve(users)
		}
		if err := b.add(id, dc); err != nil {
			return nil, err
		}
	}
	return b.whitelist()
}

func newBuilder() *builder { return &builder{known: map[Datacenter]uint32{}} }

func (b *builder) whitelist() (*Whitelist, error) {
	w := &Whitelist{seed: maphash.MakeSeed()}
	if err := b.make(w); err != nil {
		return nil, err
	}
	w.seal()
	return w, nil
}

// make makes the pages, of a large whitelist by two goroutines, half each: it
// is what a proxy waits for when it reads a map.
func (b *builder) make(w *Whitelist) error {
	const half = userPages / 2
	var err error
	if b.length < reserveMin {
		err = b.makePages(w, 0, userPages)
	} else {
		done := make(chan error, 1)
		go func() { done <- b.makePages(w, half, userPages) }()
		err = b.makePages(w, 0, half)
		if other := <-done; err == nil {
			err = other
		}
	}
	for i := range b.pages {
		w.length += len(b.pages[i].entries)
	}
	return err
}

func (b *builder) makePages(w *Whitelist, from, to int) error {
	m := pageMaker{builder: b, seed: w.seed}
	for i := from; i < to; i++ {
		p := &b.pages[i]
		if b.unordered {
			if err := b.order(p); err != nil {
				return err
			}
		}
		w.pages[i] = m.make(p)
	}
	return nil
}

// reserveMin is how many users are worth reserving for, and tell how long the
// others' ids will be.
const reserveMin = 4 * userPages

// reserve makes room in each page for its share, and a quarter more, since
// chance is not even.
func (b *builder) reserve(users int) {
	users = min(users, WhitelistMax)
	if users < 2*reserveMin {
		return
	}
	bytes := 0
	for i := range b.pages {
		bytes += len(b.pages[i].ids)
	}
	bytes = bytes * (users / userPages) / b.length
	for i := range b.pages {
		p := &b.pages[i]
		p.entries = slices.Grow(p.entries, users/userPages*5/4)
		p.ids = slices.Grow(p.ids, bytes*5/4)
	}
}

func (b *builder) add(id []byte, dc Datacenter) error {
	if b.length >= WhitelistMax {
		return wrongUser(fmt.Sprintf("more than %d users", WhitelistMax), "fewer")
	}
	if len(id) < 1 || len(id) > UserIDMax {
		return wrongUser(fmt.Sprintf("an id of %d bytes", len(id)), idBound)
	}
	place, fresh := b.place(dc)
	if fresh && !ValidName(string(dc)) {
		return wrongUser(fmt.Sprintf("%q in datacenter %q", UserID(id).String(), dc), nameBound)
	}
	b.pages[checksum(id)>>(32-userPageBits)].add(id, place)
	b.length++
	return nil
}

// place returns the index of a datacenter, and whether it came for the first
// time.
func (b *builder) place(dc Datacenter) (place uint32, fresh bool) {
	// Mostly there are few, and comparing costs less than a map's hash.
	for i, known := range b.datacenters[:min(len(b.datacenters), 4)] {
		if known == dc {
			return uint32(i), false
		}
	}
	place, known := b.known[dc]
	if !known {
		place = uint32(len(b.datacenters))
		b.known[dc] = place
		b.datacenters = append(b.datacenters, dc)
	}
	return place, !known
}

// order puts a page's users in order, each once.
func (b *builder) order(p *pageBuilder) error {
	if p.rises() {
		return nil
	}
	type listed struct {
		id         []byte
		datacenter uint32
	}
	users := make([]listed, 0, len(p.entries))
	for id, dc := range p.users() {
		users = append(users, listed{id, dc})
	}
	slices.SortFunc(users, func(u, o listed) int { return bytes.Compare(u.id, o.id) })
	kept := pageBuilder{ids: make([]byte, 0, len(p.ids)), entries: p.entries[:0]}
	for i, u := range users {
		if i == 0 || !bytes.Equal(u.id, users[i-1].id) {
			kept.add(u.id, u.datacenter)
			continue
		}
		if was := users[i-1].datacenter; was != u.datacenter {
			pair := []Datacenter{b.datacenters[was], b.datacenters[u.datacenter]}
			slices.Sort(pair)
			return wrongUser(fmt.Sprintf("%q in %s and in %s", UserID(u.id).String(), pair[0], pair[1]), "one datacenter a user")
		}
	}
	*p = kept
	return nil
}

// rises says whether the users are in order, each once.
func (p *pageBuilder) rises() bool {
	var last []byte // before every id
	for id := range p.users() {
		if bytes.Compare(last, id) >= 0 {
			return false
		}
		last = id
	}
	return true
}

// text returns all ids as one string. What has little room to spare is taken as
// it is.
func (p *pageBuilder) text() string {
	if cap(p.ids)-len(p.ids) > len(p.ids)/2 {
		return string(p.ids)
	}
	return unsafe.String(unsafe.SliceData(p.ids), len(p.ids)) // nothing writes to these bytes any more
}

// pageMaker makes pages, one after the other.
type pageMaker struct {
	*builder
	seed   maphash.Seed
	places []uint32 // of datacenters: index in those of the page that is made, plus one; 0 between pages
	used   []uint32 // those that places has a place for
	buffer []byte   // for digests
}

// make makes a page of users in order, none twice.
func (m *pageMaker) make(from *pageBuilder) *userPage {
	n := len(from.entries)
	if n == 0 {
		return nil
	}
	slots := max(groupSlots, 1<<bits.Len(uint(2*n-1)))
	p := &userPage{
		tags:    make([]uint64, slots/groupSlots),
		slots:   make([]uint32, slots),
		entries: from.entries,
		ids:     from.text(),
	}
	if m.places == nil {
		m.places = make([]uint32, len(m.datacenters))
	}
	out := append(m.buffer[:0], digestUsers)
	i := uint32(0)
	for id, of := range from.users() {
		dc, place := m.datacenters[of], m.places[of]
		if place == 0 {
			p.datacenters = append(p.datacenters, dc)
			m.used = append(m.used, of)
			place = uint32(len(p.datacenters))
			m.places[of] = place
		}
		p.entries[i].datacenter = place - 1
		p.insert(maphash.Bytes(m.seed, id), i)
		out = append(out, byte(len(id)), byte(len(id)>>8)) // 256 needs both
		out = append(out, id...)
		out = append(out, byte(len(dc)))
		out = append(out, dc...)
		i++
	}
	for _, of := range m.used {
		m.places[of] = 0
	}
	m.used = m.used[:0]
	p.digest = sha256.Sum256(out)
	m.buffer = out
	return p
}
