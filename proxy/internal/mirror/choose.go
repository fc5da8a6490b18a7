package mirror

import (
	"math"

	"drover/bucketmap"
)

// The methods that may be mirrored: those that are safe (RFC 9110, 9.2.1) and
// whose answers say something of the user.
const (
	methodGet  = "GET"
	methodHead = "HEAD"
)

// Header marks a mirrored request.
const Header = "X-Drover-Mirror"

// Request is one that the edge has an answer to. What it points to is the
// edge's: it is copied, or not kept.
type Request struct {
	Method   string
	User     []byte
	Snapshot *bucketmap.Snapshot // that decided
	Decision bucketmap.Decision
	// Head is the request's head as it goes to the application, less the empty
	// line and the datacenter.
	Head   []byte
	Status int
	// Length is of the answer's body, -1 when it is not known.
	Length int64
}

// Begin returns a sample to copy the answer to, nil when the request is not
// mirrored. End must follow.
func (m *Mirror) Begin(r *Request) *Sample {
	if !m.Wants(r.Method, r.User, r.Decision) {
		return nil
	}
	switch {
	case m.closed.Load():
		return nil
	case m.options.Holds.Covers(r.Snapshot, r.Decision.Bucket, false):
		return nil
	case r.Method != methodHead && r.Length > int64(m.options.BodyMax):
		m.drop(dropBody)
		return nil
	case m.taken.Add(1) > m.places:
		m.taken.Add(-1)
		m.drop(dropFull)
		return nil
	}
	s, ok := m.samples.Get().(*Sample)
	if !ok {
		s = &Sample{}
	}
	s.begin(m, r)
	return s
}

// Wants says whether requests of this method and user are mirrored. The decision
// is by the map in force. It allocates nothing.
func (m *Mirror) Wants(method string, user []byte, d bucketmap.Decision) bool {
	switch method {
	case methodGet:
		if !m.methods[0] {
			return false
		}
	case methodHead:
		if !m.methods[1] {
			return false
		}
	default:
		return false
	}
	if len(user) == 0 || !d.HasBucket || hash(m.options.Salt, user) > m.limit {
		return false
	}
	switch m.options.Group {
	case GroupWhitelist:
		if d.Reason != bucketmap.ReasonWhitelist {
			return false
		}
	case GroupListed:
		if !m.listed[string(user)] {
			return false
		}
	case GroupAll:
	}
	_, ok := m.other(d.Datacenter)
	return ok
}

// limitOf is the highest hash of a share of the users.
func limitOf(share float64) uint64 {
	if share >= 1 {
		return math.MaxUint64
	}
	return uint64(share * (1 << 63) * 2)
}

// hash is FNV-1a of salt, a zero byte and user, with the last steps of
// MurmurHash3 so that every bit of the result depends on every byte. It is the
// same in every proxy.
func hash(salt string, user []byte) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for i := range len(salt) {
		h = (h ^ uint64(salt[i])) * prime
	}
	h *= prime
	for _, c := range user {
		h = (h ^ uint64(c)) * prime
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
