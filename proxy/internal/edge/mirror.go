package edge

import (
	"drover/proxy/internal/mirror"
	"drover/proxy/internal/passport"
)

// mirrorName is mirror.Header, in lower case.
const mirrorName = "x-drover-mirror"

// isMirrorName says whether a field is the mark of a mirrored request, in any
// spelling that some application server takes for it.
func isMirrorName(name []byte) bool {
	if len(name) != len(mirrorName) || name[0]|0x20 != 'x' {
		return false
	}
	for i := range len(mirrorName) {
		c := name[i]
		switch {
		case c == '_':
			c = '-'
		case 'A' <= c && c <= 'Z':
			c |= 0x20
		}
		if c != mirrorName[i] {
			return false
		}
	}
	return true
}

// beginMirror begins to copy the request and its answer, whose head is here, if
// it is to be mirrored. What met a hold, a 421 or a failover is not: its answer
// is no example of anything. Nor is what another edge has mirrored.
func (r *request) beginMirror(m *mirror.Mirror) {
	a := r.answer
	if !m.Wants(r.passport.Method, r.found.User, r.decision) || a.Datacenter != r.decision.Datacenter || r.head.Length != 0 ||
		r.up.Upgrade || !r.entered.IsZero() || r.unheld || !r.misdirected.IsZero() || r.isMirror {
		return
	}
	s := m.Begin(&mirror.Request{
		Method: r.passport.Method, User: r.found.User, Snapshot: r.snapshot, Decision: r.decision,
		Head: r.mirrorHead(), Status: a.Head.Status, Length: a.Head.Length,
	})
	if s == nil {
		return
	}
	for i := range a.Head.Lines {
		if passesToClient(a.Head, i, false) {
			s.Field(a.Head.Fields[i].Name, a.Head.Fields[i].Value)
		}
	}
	r.mirrored = s
}

// endMirror gives the copies away. The answer may be nil: a bug ended it.
func (r *request) endMirror() {
	if r.mirrored == nil {
		return
	}
	s := r.mirrored
	r.mirrored = nil
	s.End(r.whole())
}

// whole says whether the application's answer came, and went to the client, to
// its last byte.
func (r *request) whole() bool {
	return r.answer != nil && r.answer.Complete() && r.passport.End == passport.EndAnswered
}

// mirrorHead is appendHead's, but for the datacenter and the empty line. It is
// in the memory behind base, which is nobody's.
func (r *request) mirrorHead() []byte {
	b := appendLine(r.base, headerUser, r.found.User)
	b = appendNumber(b, headerBucket, uint64(r.decision.Bucket))
	b = appendString(b, headerRoute, r.decision.Reason.String())
	return appendNumber(b, headerMapVersion, uint64(r.snapshot.Version()))
}
