package cohort

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"drover/bucketmap"
)

// A Set outlives its process in this form: head, the age of each bucket's last
// change, the users by their hash, the SHA-256 of all that; numbers are little-endian. Ages
// are in ticks, plus one; 0 is never. They count from head.Saved, so that they
// mean something to another process.
type head struct {
	Magic   [8]byte
	Version bucketmap.Version
	Digest  bucketmap.Digest
	Saved   int64 // ms of Unix time
	Known   int64 // so, too
	List    Fingerprint
	Buckets uint32
	Users   uint32
}

type keptUser struct {
	Hash uint64
	Age  uint32
}

// magic begins a file, with the number of its form at the end.
var magic = [8]byte{0x89, 'D', 'R', 'C', 'O', 'H', 0, 1}

// BytesMax bounds what Append appends.
const BytesMax = 128 + bucketmap.BucketsMax*4 + UsersMax*12 // 6 MiB

// ErrForeign is returned by Restore for what cannot say who was moved.
var ErrForeign = errors.New("who was just moved is not known from before")

// Append appends what is known to dst. It covers the map in force, and may cover
// a newer one. It returns dst as it is when there was no map yet.
func (s *Set) Append(dst []byte) []byte {
	k := s.marks.Load()
	if k == nil {
		return dst
	}
	now, saved := momentOf(s.now()), s.wall()
	age := func(at moment) uint32 {
		if at == 0 || now-min(at, now) > windowTicks {
			return 0
		}
		return uint32(now-min(at, now)) + 1
	}
	h := head{Magic: magic, Version: k.version, Digest: k.digest, List: k.list, Buckets: uint32(len(k.buckets)),
		Saved: saved.UnixMilli(), Known: min(k.known.UnixMilli(), saved.UnixMilli())}
	if k.of != nil {
		h.Digest = k.of.Digest()
	}
	ages := make([]uint32, len(k.buckets))
	for b := range ages {
		ages[b] = age(moment(k.buckets[b].Load()))
	}
	var users []keptUser
	for u := range k.users.after(now - windowTicks) {
		users = append(users, keptUser{u.hash, age(u.at)})
	}
	slices.SortFunc(users, func(a, b keptUser) int { return cmp.Compare(a.Hash, b.Hash) })
	h.Users = uint32(len(users))
	begin := len(dst)
	for _, part := range []any{h, ages, users} {
		var err error
		if dst, err = binary.Append(dst, binary.LittleEndian, part); err != nil {
			return dst[:begin] // cannot be: all are of fixed size
		}
	}
	sum := sha256.Sum256(dst[begin:])
	return append(dst, sum[:]...)
}

// Restore fills in what another process has known, and kept with m, the map with
// which this one begins, or with a newer one. list are the users of the whitelist
// file. With an error, ErrForeign, nothing is changed; Change with m begins anew
// then.
func (s *Set) Restore(data []byte, m *bucketmap.Snapshot, list *bucketmap.Whitelist) error {
	h, ages, users, err := decode(data)
	switch {
	case err != nil:
		return err
	case h.Buckets != m.Buckets():
		return foreign("it is of a map of %d buckets, not %d", h.Buckets, m.Buckets())
	case h.Version < m.Version():
		return foreign("it ends at version %d, and the last good map is version %d", h.Version, m.Version())
	case h.Version == m.Version() && h.Digest != m.Digest():
		return foreign("it is of another version %d than the last good map", h.Version)
	}
	now, wall := momentOf(s.now()), s.wall()
	saved := time.UnixMilli(h.Saved)
	// A clock that was put back: as if it had stood still.
	passed := moment(min(max(wall.Sub(saved), 0), WindowMax) / tick)
	at := func(age uint32) moment {
		if age == 0 || moment(age)-1+passed > windowTicks {
			return 0
		}
		return now - (moment(age) - 1 + passed)
	}
	k := &marks{version: h.Version, digest: h.Digest, list: s.fingerprint(list), buckets: make([]atomic.Uint32, h.Buckets)}
	for b, age := range ages {
		k.buckets[b].Store(uint32(at(age)))
	}
	k.users = newUserMarks(len(users))
	for _, u := range users {
		if when := at(u.Age); when != 0 {
			k.users.put(u.Hash, when)
		}
	}
	k.known = time.UnixMilli(min(h.Known, wall.UnixMilli()))
	if k.list != h.List || k.list == 0 {
		k.known = wall // somebody came or left meanwhile
	}
	s.marks.Store(k)
	return nil
}

func foreign(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrForeign}, args...)...)
}

// decode reads what Append wrote, and nothing else.
func decode(data []byte) (h head, ages []uint32, users []keptUser, err error) {
	fixed := binary.Size(h)
	if len(data) < fixed+sha256.Size {
		return h, nil, nil, foreign("%d bytes are too few", len(data))
	}
	content, sum := data[:len(data)-sha256.Size], data[len(data)-sha256.Size:]
	if own := sha256.Sum256(content); !bytes.Equal(own[:], sum) {
		return h, nil, nil, foreign("it is torn or damaged: its checksum is wrong")
	}
	n, err := binary.Decode(content, binary.LittleEndian, &h)
	if err != nil {
		return h, nil, nil, foreign("%v", err)
	}
	rest := content[n:]
	if h.Magic != magic || h.Buckets > bucketmap.BucketsMax || h.Users > UsersMax || h.Known > h.Saved ||
		uint64(len(rest)) != uint64(h.Buckets)*4+uint64(h.Users)*12 {
		return h, nil, nil, foreign("it is of another form or another program")
	}
	ages, users = make([]uint32, h.Buckets), make([]keptUser, h.Users)
	for _, part := range []any{ages, users} {
		if n, err = binary.Decode(rest, binary.LittleEndian, part); err != nil {
			return h, nil, nil, foreign("%v", err)
		}
		rest = rest[n:]
	}
	for i := range ages {
		if ages[i] > uint32(windowTicks)+1 {
			return h, nil, nil, foreign("bucket %d was moved longer ago than anything is kept", i)
		}
	}
	for i := range users {
		if i != 0 && users[i-1].Hash >= users[i].Hash {
			return h, nil, nil, foreign("its users are out of order")
		}
		if users[i].Age == 0 || users[i].Age > uint32(windowTicks)+1 {
			return h, nil, nil, foreign("user %d came longer ago than anything is kept", i)
		}
	}
	return h, ages, users, nil
}
