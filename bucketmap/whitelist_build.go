package bucketmap

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"iter"
	"math/bits"
	"slices"
	"strings"
)

// listed is a user of a whitelist that is being made: id is a part of the
// builder's ids.
type listed struct {
	start, end uint32
	datacenter uint32 // index in the builder's datacenters
	page       uint8
}

// builder makes a whitelist. Ids stay in one piece of memory, and their order
// is by numbers: with strings and a slice for each page, copying them took
// longer than all the rest.
type builder struct {
	ids         []byte
	users       []listed
	unordered   bool // an id came that is not higher than the one before
	datacenters []Datacenter
	known       map[Datacenter]uint32
	places      []uint32 // of datacenters: index in those of the page that is made, plus one; 0 outside of page
	buffer      []byte   // for digests
}

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
	users = min(max(users, 0), WhitelistMax)
	b := builder{
		known: map[Datacenter]uint32{},
		users: make([]listed, 0, users), ids: make([]byte, 0, min(max(bytes, 0), users*UserIDMax)),
	}
	for id, dc := range ids {
		if err := b.add(id, dc); err != nil {
			return nil, err
		}
	}
	order, ends := b.byPage()
	start := 0
	for i, end := range ends {
		users, err := b.distinct(order[start:end])
		if err != nil {
			return nil, err
		}
		start = end
		w.pages[i] = b.page(w.seed, users)
		w.length += len(users)
	}
	w.seal()
	return w, nil
}

func (b *builder) add(id string, dc Datacenter) error {
	if len(b.users) >= WhitelistMax {
		return wrongUser(fmt.Sprintf("more than %d users", WhitelistMax), "fewer")
	}
	if len(id) < 1 || len(id) > UserIDMax {
		return wrongUser(fmt.Sprintf("an id of %d bytes", len(id)), idBound)
	}
	var place uint32
	if n := len(b.users); n != 0 && b.datacenters[b.users[n-1].datacenter] == dc {
		place = b.users[n-1].datacenter
	} else if known, ok := b.known[dc]; ok {
		place = known
	} else {
		if !ValidName(string(dc)) {
			return wrongUser(fmt.Sprintf("%q in datacenter %q", UserID(id).String(), dc), nameBound)
		}
		place = uint32(len(b.datacenters))
		b.known[dc] = place
		b.datacenters = append(b.datacenters, dc)
	}
	if n := len(b.users); n != 0 && !b.unordered {
		b.unordered = string(b.id(b.users[n-1])) >= id
	}
	start := len(b.ids)
	b.ids = append(double(b.ids, len(id)), id...)
	b.users = append(double(b.users, 1), listed{
		start: uint32(start), end: uint32(len(b.ids)), datacenter: place,
		page: uint8(checksum(b.ids[start:]) >> (32 - userPageBits)),
	})
	return nil
}

// double makes room for n more, twice as much as there is at least: append
// grows long slices by a quarter, and copies them as often.
func double[T any](s []T, n int) []T {
	if cap(s)-len(s) >= n {
		return s
	}
	return slices.Grow(s, max(len(s), n, 1024))
}

func (b *builder) id(u listed) []byte { return b.ids[u.start:u.end] }

// byPage returns the users' numbers page by page, each page's in the order in
// which they came, and where each page ends.
func (b *builder) byPage() ([]uint32, [userPages]int) {
	var ends [userPages]int
	for i := range b.users {
		ends[b.users[i].page]++
	}
	at := 0
	for i, n := range ends {
		ends[i] = at
		at += n
	}
	order := make([]uint32, len(b.users))
	for i := range b.users {
		end := &ends[b.users[i].page]
		order[*end] = uint32(i)
		*end++
	}
	return order, ends
}

// distinct returns a page's users in order, each once. It works in place.
func (b *builder) distinct(users []uint32) ([]uint32, error) {
	if !b.unordered {
		return users, nil
	}
	slices.SortFunc(users, func(a, o uint32) int { return bytes.Compare(b.id(b.users[a]), b.id(b.users[o])) })
	kept := users[:0]
	for _, i := range users {
		u := b.users[i]
		if n := len(kept); n != 0 && bytes.Equal(b.id(b.users[kept[n-1]]), b.id(u)) {
			if was := b.users[kept[n-1]].datacenter; was != u.datacenter {
				pair := []Datacenter{b.datacenters[was], b.datacenters[u.datacenter]}
				slices.Sort(pair)
				return nil, wrongUser(fmt.Sprintf("%q in %s and in %s", UserID(b.id(u)).String(), pair[0], pair[1]), "one datacenter a user")
			}
			continue
		}
		kept = append(kept, i)
	}
	return kept, nil
}

// page makes a page of users in order, none twice.
func (b *builder) page(seed maphash.Seed, users []uint32) *userPage {
	if len(users) == 0 {
		return nil
	}
	size := 0
	for _, i := range users {
		size += int(b.users[i].end - b.users[i].start)
	}
	slots := max(groupSlots, 1<<bits.Len(uint(2*len(users)-1)))
	p := &userPage{
		tags:    make([]uint64, slots/groupSlots),
		slots:   make([]uint32, slots),
		entries: make([]userEntry, len(users)),
	}
	var ids strings.Builder
	ids.Grow(size)
	b.places = slices.Grow(b.places, len(b.datacenters))[:len(b.datacenters)]
	b.buffer = append(b.buffer[:0], digestUsers)
	for i, number := range users {
		u := b.users[number]
		id, dc := b.id(u), b.datacenters[u.datacenter]
		ids.Write(id)
		place := b.places[u.datacenter]
		if place == 0 {
			p.datacenters = append(p.datacenters, dc)
			place = uint32(len(p.datacenters))
			b.places[u.datacenter] = place
		}
		p.entries[i] = userEntry{end: uint32(ids.Len()), datacenter: place - 1}
		p.insert(maphash.Bytes(seed, id), uint32(i))
		b.buffer = binary.LittleEndian.AppendUint16(b.buffer, uint16(len(id)))
		b.buffer = append(b.buffer, id...)
		b.buffer = append(b.buffer, byte(len(dc)))
		b.buffer = append(b.buffer, dc...)
	}
	for _, i := range users {
		b.places[b.users[i].datacenter] = 0
	}
	p.ids = ids.String()
	p.digest = sha256.Sum256(b.buffer)
	return p
}
