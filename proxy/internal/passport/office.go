package passport

import (
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Recorder counts what passports say.
type Recorder interface {
	// Request counts a request that has ended. The passport is not kept.
	Request(p *Passport)
}

// Format appends a request's line to dst, its newline included. The request
// ended at now.
type Format func(dst []byte, p *Passport, now time.Time) []byte

// Options says which passports leave a line, and where.
type Options struct {
	Slow     time.Duration // 0: none is slow
	Sample   float64       // 0 to 1
	Recent   int           // slow and failed ones kept
	Out      io.Writer     // nil: nothing is written. A Write is one line, and copies it
	Format   Format        // nil: AppendLine
	Every    bool          // every request leaves a line, not only the slow, failed and sampled
	Headers  bool          // Format wants UserAgent and Referer
	Recorder Recorder      // nil: nothing is counted
	Random   func() float64
	Now      func() time.Time
}

// lineBytesTypical is what a line's buffer begins with.
const lineBytesTypical = 1 << 10

// lineBytesKept bounds the buffers that are used again.
const lineBytesKept = 16 << 10

// Office begins and ends passports.
type Office struct {
	options Options
	pool    sync.Pool // of *Passport
	lines   sync.Pool // of *[]byte
	shards  atomic.Uint32
	recent  ring
}

// NewOffice returns an office.
func NewOffice(options Options) *Office {
	if options.Random == nil {
		options.Random = rand.Float64
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Format == nil {
		options.Format = AppendLine
	}
	return &Office{
		options: options,
		pool:    sync.Pool{New: func() any { return new(Passport) }},
		lines: sync.Pool{New: func() any {
			line := make([]byte, 0, lineBytesTypical)
			return &line
		}},
		recent: ring{max: options.Recent},
	}
}

// WantsHeaders says whether UserAgent and Referer are to be filled.
func (o *Office) WantsHeaders() bool { return o.options.Headers }

// Open returns the passport of a request whose head is here, from a pool.
func (o *Office) Open() *Passport {
	p := o.pool.Get().(*Passport) //nolint:forcetypeassert // the pool holds nothing else
	o.Begin(p)
	return p
}

// Close ends an opened passport and takes it back.
func (o *Office) Close(p *Passport) {
	o.End(p)
	o.pool.Put(p)
}

// Begin makes p the passport of a request whose head is here.
func (o *Office) Begin(p *Passport) { o.begin(p, Identifying, Now()) }

// BeginAt makes p the passport of a request whose first byte came at first. It
// is Receiving until it is stamped Identifying, when its head is complete.
func (o *Office) BeginAt(p *Passport, first Instant) { o.begin(p, Receiving, first) }

func (o *Office) begin(p *Passport, s State, at Instant) {
	if p.shard == 0 {
		p.shard = uint8(o.shards.Add(1))%255 + 1
	}
	p.begin(s, at)
	p.sampled = o.options.Sample > 0 && o.options.Random() < o.options.Sample
}

// End counts the passport and writes its line if it is worth one. A passport
// that was not begun, or has ended, is left alone.
func (o *Office) End(p *Passport) {
	if !p.open {
		return
	}
	p.open = false
	p.Finish()
	if p.Code == (EndCode{}) {
		p.Code = p.code()
	}
	if r := o.options.Recorder; r != nil {
		r.Request(p)
	}
	notable := p.End != EndAnswered || p.Status >= 500 || o.options.Slow > 0 && p.times.Total >= o.options.Slow
	if notable || p.sampled || o.options.Every {
		o.write(p, notable)
	}
}

func (o *Office) write(p *Passport, notable bool) {
	now := o.options.Now()
	if notable {
		o.recent.add(p, now)
	}
	if o.options.Out == nil {
		return
	}
	line := o.lines.Get().(*[]byte) //nolint:forcetypeassert // the pool holds nothing else
	*line = o.options.Format((*line)[:0], p, now)
	o.options.Out.Write(*line) //nolint:errcheck // a full disk must not fail a request
	if cap(*line) <= lineBytesKept {
		o.lines.Put(line)
	}
}

// Recent returns the last slow and failed requests, the newest first.
func (o *Office) Recent() []Line { return o.recent.lines() }
