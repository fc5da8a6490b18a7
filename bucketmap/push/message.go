package push

import (
	"crypto/ed25519"
	"sync"

	"drover/bucketmap"
	"drover/bucketmap/binary"
)

// message is one map in the forms in which it is sent. Each form is made once,
// when the first proxy needs it.
type message struct {
	snapshot *bucketmap.Snapshot
	whole    func() []byte
	// delta leads to it from the version before; nil when that is not at hand.
	delta func() []byte
	from  func() bucketmap.Digest
}

func newMessage(snapshot, before *bucketmap.Snapshot, sign ed25519.PrivateKey) *message {
	m := &message{
		snapshot: snapshot,
		whole:    sync.OnceValue(func() []byte { return binary.Append(nil, snapshot, sign) }),
	}
	if before != nil {
		m.delta = sync.OnceValue(func() []byte { return binary.AppendDelta(nil, binary.MakeDelta(before, snapshot), sign) })
		m.from = before.Digest
	}
	return m
}

// fits says whether the delta may be for a proxy's map. Of one that has not
// been asked yet it may: a proxy that is up to date runs the version before.
func (m *message) fits(known knowledge) bool {
	if m.delta == nil {
		return false
	}
	if !known.asked || known.version+1 == m.snapshot.Version() && known.digest == (bucketmap.Digest{}) {
		return true
	}
	return known.digest == m.from()
}

// isRunBy says whether a proxy runs this map or a later one.
func (m *message) isRunBy(known knowledge) bool {
	version := m.snapshot.Version()
	if known.version != version || known.digest == (bucketmap.Digest{}) {
		return known.version >= version
	}
	return known.digest == m.snapshot.Digest()
}
