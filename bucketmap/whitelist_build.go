package bucketmap

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash/maphash"
	"iter"
	"math/bits"
	"slices"
)

// builder makes a whitelist. Each user goes to the end of its page at once, so
// that memory is written and read in rows: users sorted into pages afterwards
// cost a cache's miss each, which was more than all the rest.
type builder struct {
	pages       [userPages]pageBuilder
	length      int
	previous    string // the id before
	unordered   bool   // an id came that is not higher than the one before
	datacenters []Datacenter
	known       map[Datacenter]uint32
}

// pageBuilder is the users of a page as they came.
type pageBuilder struct {
	ids   []byte
	users []listed
}

// listed is a user: its id is a part of the page's ids.
type listed struct {
	start, end uint32
	datacenter uint32 // index in the builder's datacenters
}

func (p *pageBuilder) id(u listed) []byte { return p.ids[u.start:u.end] }

// NewWhitelist returns the whitelist of these ids, in any order. The same id
// twice with the same datacenter is there once; with another it is an error.
// The error is an *InvalidError.
func NewWhitelist(ids iter.Seq2[string, Datacenter]) (*Whitelist, error) {
	return NewWhitelistOf(0, 0, ids)
}

// NewWhitelistOf is NewWhitelist for who knows about how many users there are,
// and how long their ids are together in bytes. It saves memory and time, and
// need not be right.
func NewWhitelistOf(users, bytes int, ids iter.Seq2[string, Datacenter]) (*Whitelist, error) {
	w := &Whitelist{seed: maphash.MakeSeed()}
	if ids == nil {
		w.seal()
		return w, nil
	}
	b := builder{known: map[Datacenter]uint32{}}
	b.reserve(users, bytes)
	for id, dc := range ids {
		if err := b.add(id, dc); err != nil {
			return nil, err
		}
	}
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
		w.length += len(b.pages[i].users)
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

// reserveMin is how many users are worth reserving for.
const reserveMin = 4 * userPages

// reserve makes room in each page for its share, and a quarter more, since
// chance is not even.
func (b *builder) reserve(users, bytes int) {
	users = min(users, WhitelistMax)
	if users < reserveMin {
		return
	}
	bytes = min(max(bytes, 0), users*UserIDMax)
	for i := range b.pages {
		b.pages[i].users = make([]listed, 0, users/userPages*5/4)
		b.pages[i].ids = make([]byte, 0, bytes/userPages*5/4)
	}
}

func (b *builder) add(id string, dc Datacenter) error {
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
	b.unordered = b.unordered || b.length != 0 && b.previous >= id
	b.previous = id
	p := &b.pages[userPageOf(id)]
	start := len(p.ids)
	p.ids = append(p.ids, id...)
	p.users = append(p.users, listed{start: uint32(start), end: uint32(len(p.ids)), datacenter: place})
	b.length++
	return nil
}

// place returns the index of a datacenter, and whether it came for the first
// time.
func (b *builder) place(dc Datacenter) (place uint32, fresh bool) {
	// Mostly there are few, and comparing costs less than a map's hash.
	if i := slices.Index(b.datacenters[:min(len(b.datacenters), 4)], dc); i >= 0 {
		return uint32(i), false
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
	slices.SortFunc(p.users, func(u, o listed) int { return bytes.Compare(p.id(u), p.id(o)) })
	ids := make([]byte, 0, len(p.ids))
	kept := p.users[:0]
	var last []byte
	for _, u := range p.users {
		id := p.id(u)
		if n := len(kept); n != 0 && bytes.Equal(last, id) {
			if was := kept[n-1].datacenter; was != u.datacenter {
				pair := []Datacenter{b.datacenters[was], b.datacenters[u.datacenter]}
				slices.Sort(pair)
				return wrongUser(fmt.Sprintf("%q in %s and in %s", UserID(id).String(), pair[0], pair[1]), "one datacenter a user")
			}
			continue
		}
		start := uint32(len(ids))
		ids = append(ids, id...)
		last = ids[start:]
		kept = append(kept, listed{start: start, end: uint32(len(ids)), datacenter: u.datacenter})
	}
	p.ids, p.users = ids, kept
	return nil
}

// pageMaker makes pages, one after the other.
type pageMaker struct {
	*builder
	seed   maphash.Seed
	places []uint32 // of datacenters: index in those of the page that is made, plus one; 0 between pages
	buffer []byte   // for digests
}

// make makes a page of users in order, none twice.
func (m *pageMaker) make(from *pageBuilder) *userPage {
	users := from.users
	if len(users) == 0 {
		return nil
	}
	slots := max(groupSlots, 1<<bits.Len(uint(2*len(users)-1)))
	p := &userPage{
		tags:    make([]uint64, slots/groupSlots),
		slots:   make([]uint32, slots),
		entries: make([]userEntry, len(users)),
		ids:     string(from.ids),
	}
	if m.places == nil {
		m.places = make([]uint32, len(m.datacenters))
	}
	out := append(m.buffer[:0], digestUsers)
	for i, u := range users {
		id, dc := from.id(u), m.datacenters[u.datacenter]
		place := m.places[u.datacenter]
		if place == 0 {
			p.datacenters = append(p.datacenters, dc)
			place = uint32(len(p.datacenters))
			m.places[u.datacenter] = place
		}
		p.entries[i] = userEntry{end: u.end, datacenter: place - 1}
		p.insert(maphash.Bytes(m.seed, id), uint32(i))
		out = append(out, byte(len(id)), byte(len(id)>>8)) // 256 needs both
		out = append(out, id...)
		out = append(out, byte(len(dc)))
		out = append(out, dc...)
	}
	for _, u := range users {
		m.places[u.datacenter] = 0
	}
	p.digest = sha256.Sum256(out)
	m.buffer = out
	return p
}
