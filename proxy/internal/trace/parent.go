package trace

import "encoding/hex"

// The layout of a traceparent: version "-" trace id "-" parent id "-" flags,
// in lower-case hexadecimal (W3C Trace Context, 3.2).
const (
	parentBytes = 55
	traceStart  = 3
	spanStart   = 36
	flagsStart  = 53
)

// The flags that are passed on; the others are reserved.
const (
	flagSampled = 1
	flagRandom  = 2 // the trace id is random (level 2)
)

// parse reads a traceparent of any version but ff. It says whether it is one.
func (s *Span) parse(text []byte) bool {
	if len(text) < parentBytes || text[2] != '-' || text[spanStart-1] != '-' || text[flagsStart-1] != '-' {
		return false
	}
	var version, flags [1]byte
	if !unhex(version[:], text[:2]) || version[0] == 0xff {
		return false
	}
	if len(text) > parentBytes && (version[0] == 0 || text[parentBytes] != '-') {
		return false // only a later version may have more
	}
	if !unhex(s.trace[:], text[traceStart:spanStart-1]) || !unhex(s.parent[:], text[spanStart:flagsStart-1]) ||
		!unhex(flags[:], text[flagsStart:parentBytes]) {
		return false
	}
	s.flags = flags[0] & (flagSampled | flagRandom)
	return s.trace != [16]byte{} && s.parent != [8]byte{}
}

// unhex decodes lower-case digits alone: upper case is invalid.
func unhex(dst, text []byte) bool {
	for _, b := range text {
		if b >= 'A' && b <= 'F' {
			return false
		}
	}
	_, err := hex.Decode(dst, text)
	return err == nil
}

// Header appends the traceparent that goes upstream, and nothing when there is
// no tracer: the client's passes then. A request that is not sampled keeps the
// parent that it came with, since the edge makes no span.
func (s *Span) Header(dst []byte) []byte {
	if !s.begun {
		return dst
	}
	id := s.id
	if !s.recording() && s.parent != [8]byte{} {
		id = s.parent
	}
	dst = hex.AppendEncode(append(dst, "00-"...), s.trace[:])
	dst = hex.AppendEncode(append(dst, '-'), id[:])
	return append(dst, '-', '0', '0'+s.flags)
}

// Fresh says that the trace begins here: a tracestate that came with the
// request belongs to no trace, and is not passed on.
func (s *Span) Fresh() bool { return s.begun && s.parent == [8]byte{} }

// Sampled says whether the request leaves a span.
func (s *Span) Sampled() bool { return s.recording() }

func (s *Span) recording() bool { return s.begun && s.flags&flagSampled != 0 }
