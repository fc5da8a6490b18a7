package cohort

import (
	"hash/crc64"
	"iter"
	"math/bits"

	"drover/bucketmap"
)

const (
	// UsersMax bounds the users who came to or left the whitelist within
	// WindowMax and are followed: × 16 bytes × 4 at worst are 8 MiB.
	UsersMax = 1 << 17
	// listMax bounds the whitelist files whose users are compared: going over
	// them takes a second for a million, because they are sorted.
	listMax = 1 << 18
)

// table is that of the hashes of user ids. A hash that two users share, by
// chance once in 2^64, or because somebody chose the id, makes one more request
// count as moved.
var table = crc64.MakeTable(crc64.ECMA)

func hashOf[ID ~string | ~[]byte](id ID) uint64 { return crc64.Checksum([]byte(id), table) }

// userMarks is an open-addressing table, which is immutable. nil has nobody.
type userMarks struct {
	newest moment
	count  int
	slots  []userMark // a power of two, at most half of them taken
}

// userMark is a user who came to or left the whitelist; at is 0 in a free slot.
type userMark struct {
	hash uint64
	at   moment
}

// newUserMarks makes a table for up to so many users.
func newUserMarks(users int) *userMarks {
	return &userMarks{slots: make([]userMark, 1<<bits.Len(uint(max(2*users, 2)-1)))}
}

// slot returns the place of a hash, which is free when it is not there.
func (u *userMarks) slot(hash uint64) *userMark {
	last := uint64(len(u.slots) - 1)
	for i := hash & last; ; i = (i + 1) & last {
		if s := &u.slots[i]; s.at == 0 || s.hash == hash {
			return s
		}
	}
}

func (u *userMarks) put(hash uint64, at moment) {
	s := u.slot(hash)
	if s.at == 0 {
		u.count++
	}
	s.hash, s.at = hash, max(s.at, at)
	u.newest = max(u.newest, at)
}

func (u *userMarks) len() int {
	if u == nil {
		return 0
	}
	return u.count
}

func (u *userMarks) moved(user []byte, oldest moment) bool {
	return u != nil && u.newest > oldest && len(user) != 0 && u.slot(hashOf(user)).at > oldest
}

// after iterates over those who are marked later than a moment.
func (u *userMarks) after(oldest moment) iter.Seq[userMark] {
	return func(yield func(userMark) bool) {
		if u == nil {
			return
		}
		for _, s := range u.slots {
			if s.at > oldest && !yield(s) {
				return
			}
		}
	}
}

// changedUsers leaves out those for whom the whitelist file says the same before
// and after. The map's own entry wins.
func changedUsers(changes []bucketmap.UserChange, list *bucketmap.Whitelist) []uint64 {
	hashes := make([]uint64, 0, len(changes))
	for i := range changes {
		from, to := changes[i].From, changes[i].To
		if list != nil && (from == "" || to == "") {
			other, _ := list.Lookup([]byte(changes[i].User))
			if from == "" {
				from = other
			} else {
				to = other
			}
		}
		if from != to {
			hashes = append(hashes, hashOf(changes[i].User))
		}
	}
	return hashes
}

// markUsers adds users, and leaves out those of before WindowMax. When they are
// too many, the older ones are forgotten, or all.
func (s *Set) markUsers(next *marks, hashes []uint64, at moment) {
	if len(hashes) == 0 {
		return
	}
	if len(hashes) > s.usersMax {
		next.known, next.users = s.wall(), nil
		return
	}
	users := newUserMarks(next.users.len() + len(hashes))
	for u := range next.users.after(at - windowTicks) {
		users.put(u.hash, u.at)
	}
	for _, hash := range hashes {
		users.put(hash, at)
	}
	if users.count > s.usersMax {
		next.known, users = s.wall(), newUserMarks(len(hashes))
		for _, hash := range hashes {
			users.put(hash, at)
		}
	}
	next.users = users
}

// Fingerprint tells the users of one whitelist file from those of another. 0 is
// that of a file too long to be compared.
type Fingerprint uint64

// noList is the fingerprint of no users.
const noList Fingerprint = 1

// fingerprint does not depend on the order of users.
func (s *Set) fingerprint(list *bucketmap.Whitelist) Fingerprint {
	switch {
	case list == nil || list.Len() == 0:
		return noList
	case list.Len() > s.listMax:
		return 0
	}
	sum := Fingerprint(list.Len())
	line := make([]byte, 0, bucketmap.UserIDMax+bucketmap.NameMax+1)
	for id, dc := range list.All() {
		line = append(append(append(line[:0], id...), 0), dc...)
		sum += Fingerprint(hashOf(line))
	}
	return max(sum, noList+1)
}

// Listed is the difference between two whitelist files.
type Listed struct {
	ids   []string
	list  Fingerprint
	known bool // the files were compared
}

// Compare compares the users of two whitelist files, either of which may be nil.
// It takes the time of sorting both.
func (s *Set) Compare(from, to *bucketmap.Whitelist) Listed {
	l := Listed{list: s.fingerprint(to)}
	l.known = l.list != 0 && (from == nil || from.Len() <= s.listMax)
	if !l.known {
		return l
	}
	differ := func(a, b *bucketmap.Whitelist, both bool) {
		if a == nil {
			return
		}
		for id, dc := range a.All() {
			var other bucketmap.Datacenter
			if b != nil {
				other, _ = b.Lookup([]byte(id))
			}
			if other == "" || both && other != dc {
				l.ids = append(l.ids, id)
			}
		}
	}
	differ(from, to, true)
	differ(to, from, false)
	return l
}

// List marks the users whom another whitelist file concerns, before it is in
// force beside m. It says whether there was anything to mark.
func (s *Set) List(m *bucketmap.Snapshot, l Listed) bool {
	k := s.marks.Load()
	if k == nil {
		return false // the first map is still to come
	}
	next := *k
	next.list = l.list
	hashes := make([]uint64, 0, len(l.ids))
	for _, id := range l.ids {
		if _, ok := m.Whitelisted().Lookup([]byte(id)); !ok {
			hashes = append(hashes, hashOf(id))
		}
	}
	if !l.known {
		next.known = s.wall()
	}
	s.markUsers(&next, hashes, momentOf(s.now()))
	s.marks.Store(&next)
	return len(hashes) != 0 || next.list != k.list || !l.known
}
