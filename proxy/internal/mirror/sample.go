package mirror

import (
	"bytes"
	"strings"
	"time"

	"drover/bucketmap"
	"drover/internal/parity"
	"drover/proxy/internal/metrics"
)

// drop is why a request was not compared.
type drop uint8

const (
	dropFull       drop = iota // no place is free
	dropBody                   // the answer is longer than BodyMax
	dropHead                   // the answer's head is longer than HeaderBytes
	dropIncomplete             // the answer did not get to its end, or to its client
	dropMoving                 // the user's bucket is held or has moved meanwhile
	dropEnded                  // the program ends
	dropCount
)

func (d drop) String() string {
	return [dropCount]string{"queue_full", "body_max", "header_bytes", "incomplete", "moving", "ended"}[d]
}

func (m *Mirror) drop(why drop) {
	m.drops[why].Add(1)
	m.options.Counter.Mirrored(metrics.MirrorDropped)
}

// sampleIdleMax is how large the buffers of a sample may be that is used again.
const sampleIdleMax = 128 << 10

// Sample is one request with the answer that its user got.
type Sample struct {
	mirror   *Mirror
	method   string
	user     []byte
	snapshot *bucketmap.Snapshot
	decision bucketmap.Decision
	head     []byte // of the request
	status   int
	text     []byte // of the answer's head: names and values, one after the other
	spans    []span
	body     []byte
	at       time.Time
	dropped  bool
}

// span is a field of the answer in text.
type span struct{ start, middle, end int }

func (s *Sample) begin(m *Mirror, r *Request) {
	s.mirror, s.method, s.snapshot, s.decision, s.status = m, r.Method, r.Snapshot, r.Decision, r.Status
	s.user = append(s.user[:0], r.User...)
	s.head = append(s.head[:0], r.Head...)
	s.text, s.spans, s.body = s.text[:0], s.spans[:0], s.body[:0]
	s.at, s.dropped = time.Now(), false
}

// Field copies a field of the answer's head.
func (s *Sample) Field(name, value []byte) {
	if s.dropped {
		return
	}
	if len(s.text)+len(name)+len(value) > s.mirror.options.HeaderBytes {
		s.drop(dropHead)
		return
	}
	start := len(s.text)
	s.text = append(append(s.text, name...), value...)
	s.spans = append(s.spans, span{start, start + len(name), len(s.text)})
}

// Body copies a piece of the answer's body.
func (s *Sample) Body(piece []byte) {
	if s.dropped {
		return
	}
	if len(s.body)+len(piece) > s.mirror.options.BodyMax {
		s.drop(dropBody)
		return
	}
	s.body = append(s.body, piece...)
}

// drop gives the place back early: the answer may take long.
func (s *Sample) drop(why drop) {
	s.dropped = true
	s.mirror.drop(why)
	s.mirror.taken.Add(-1)
}

// End gives the sample to a worker; whole says that the answer came, and went to
// its client, to its last byte. The sample is not the caller's any more.
func (s *Sample) End(whole bool) {
	m := s.mirror
	if !whole && !s.dropped {
		s.drop(dropIncomplete)
	}
	if s.dropped {
		m.keep(s)
		return
	}
	m.jobs <- s // there is a place in it for each that is taken
}

// give gives a sample's place back.
func (m *Mirror) give(s *Sample) {
	m.taken.Add(-1)
	m.keep(s)
}

// keep keeps a sample's memory for the next, unless it is large.
func (m *Mirror) keep(s *Sample) {
	s.snapshot, s.mirror = nil, nil
	if cap(s.body)+cap(s.text)+cap(s.head) <= sampleIdleMax {
		m.samples.Put(s)
	}
}

// answer is what the user got. It aliases the sample's body.
func (s *Sample) answer() answer {
	a := answer{status: s.status, body: s.body, toHead: s.method == methodHead}
	for _, f := range s.spans {
		a.fields = append(a.fields, field{strings.ToLower(string(s.text[f.start:f.middle])), string(s.text[f.middle:f.end])})
	}
	return a
}

// target is the request's target, as it goes to the application.
func (s *Sample) target() string {
	line, _, _ := bytes.Cut(s.head, []byte("\r\n"))
	_, rest, _ := bytes.Cut(line, []byte(" "))
	if i := bytes.LastIndexByte(rest, ' '); i >= 0 {
		rest = rest[:i]
	}
	return string(rest)
}

func (s *Sample) path() string {
	path, _, _ := strings.Cut(s.target(), "?")
	return path
}

func (s *Sample) class() string { return s.method + " " + classOf(s.path(), string(s.user)) }

// example is what the report may show of a difference.
func (s *Sample) example(class string, target bucketmap.Datacenter, found []difference) parity.Example {
	e := parity.Example{
		At: s.at, Proxy: s.mirror.options.Proxy, Class: class, Path: shorten(s.path(), pathShown),
		Bucket: uint32(s.decision.Bucket), Source: string(s.decision.Datacenter), Target: string(target),
	}
	for _, d := range found[:min(len(found), shownMax)] {
		e.Differences = append(e.Differences, parity.Difference{Field: d.field, Place: d.place, Source: d.source, Target: d.target})
	}
	return e
}
