package trace

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"time"

	"drover/proxy/internal/passport"
)

// Counter counts spans that were dropped.
type Counter interface{ Add(n float64) }

// Options say what is traced, and where to.
type Options struct {
	// Endpoint is the collector's URL, http or https. Without a path it is
	// completed by /v1/traces.
	Endpoint string
	Headers  map[string]string // sent with each export
	Ratio    float64           // of the requests that come without a trace: 0 to 1
	Service  string            // service.name
	Instance string            // service.instance.id
	Stages   bool              // a child span for each state of a request
	Wait     time.Duration     // how long a span waits for others; 0: five seconds
	Dropped  Counter           // nil: drops are not counted
	Random   func() uint64     // nil: the runtime's
	Now      func() time.Time
}

// Span is one request's. It is used again for others: Begin forgets the last.
type Span struct {
	trace  [16]byte
	id     [8]byte
	parent [8]byte // zero: the trace began here
	flags  byte
	begun  bool
}

// Tracer begins and ends spans.
type Tracer struct {
	options  Options
	endpoint string
	bound    uint64 // of the trace ids that are sampled
	queue    chan *finished
	many     chan struct{} // 1: there is a batch
}

// finished is an ended request, copied.
type finished struct {
	span     Span
	passport passport.Passport
	end      time.Time
}

// New returns a tracer. Nothing runs yet, and the collector is not asked.
func New(o Options) (*Tracer, error) {
	u, err := url.Parse(o.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("the collector's endpoint %q: want a URL such as http://collector:4318: %w", o.Endpoint, err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("the collector's endpoint %q: want a URL such as http://collector:4318", o.Endpoint)
	}
	if !(o.Ratio >= 0 && o.Ratio <= 1) {
		return nil, errors.New("the ratio of traced requests: want 0 to 1")
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	if o.Wait <= 0 {
		o.Wait = batchWait
	}
	if o.Random == nil {
		o.Random = rand.Uint64
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Tracer{
		options: o, endpoint: u.String(), bound: uint64(o.Ratio * (1 << 63)),
		queue: make(chan *finished, queueMax), many: make(chan struct{}, 1),
	}, nil
}

// Begin goes on with the trace that came, or begins one. Incoming is the value
// of the request's one traceparent header; nil for none, or several.
func (t *Tracer) Begin(incoming []byte, s *Span) {
	if t == nil {
		return
	}
	*s = Span{}
	if !s.parse(incoming) {
		*s = Span{flags: flagRandom}
		for s.trace == [16]byte{} {
			binary.BigEndian.PutUint64(s.trace[:8], t.options.Random())
			binary.BigEndian.PutUint64(s.trace[8:], t.options.Random())
		}
		// As the OpenTelemetry SDKs decide, so that all who use one ratio agree.
		if binary.BigEndian.Uint64(s.trace[8:])>>1 < t.bound {
			s.flags |= flagSampled
		}
	}
	s.id = t.newID()
	s.begun = true
}

func (t *Tracer) newID() (id [8]byte) {
	for id == [8]byte{} {
		binary.BigEndian.PutUint64(id[:], t.options.Random())
	}
	return id
}

// End hands the request's span to the exporter, if it is sampled. It comes
// before Office.End, while the passport's slices are valid.
func (t *Tracer) End(s *Span, p *passport.Passport) {
	if t == nil || !s.recording() {
		return
	}
	p.Finish()
	f := &finished{span: *s, passport: *p, end: t.options.Now()}
	f.passport.Path, f.passport.UserAgent, f.passport.Referer = bytes.Clone(p.Path), bytes.Clone(p.UserAgent), nil
	select {
	case t.queue <- f:
	default:
		t.drop(1)
		return
	}
	if len(t.queue) >= batchMax {
		select {
		case t.many <- struct{}{}:
		default: // it is due already
		}
	}
}

func (t *Tracer) drop(n int) {
	if t.options.Dropped != nil {
		t.options.Dropped.Add(float64(n))
	}
}
