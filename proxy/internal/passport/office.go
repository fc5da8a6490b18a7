package passport

import (
	"encoding/json"
	"io"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"drover/bucketmap"
)

// pathBytesMax bounds the path in a line.
const pathBytesMax = 256

// Recorder counts what passports say.
type Recorder interface {
	Request(p *Passport, elapsed time.Duration)
	Stage(datacenter bucketmap.Datacenter, state State, elapsed time.Duration)
}

// Options says which passports leave a line, and where.
type Options struct {
	Slow     time.Duration // 0: none is slow
	Sample   float64       // 0 to 1
	Recent   int           // lines kept, 1 or more
	Out      io.Writer     // nil: nothing is written
	Recorder Recorder      // nil: nothing is counted
	Random   func() float64
	Now      func() time.Time
}

// Office opens and closes passports.
type Office struct {
	options Options
	pool    sync.Pool

	mu     sync.Mutex // guards what follows, and writing to Out
	recent []Line     // a ring
	next   int
}

// NewOffice returns an office.
func NewOffice(options Options) *Office {
	if options.Random == nil {
		options.Random = rand.Float64
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	return &Office{options: options, pool: sync.Pool{New: func() any { return new(Passport) }}}
}

// Open returns the passport of a request whose head is here.
func (o *Office) Open() *Passport {
	p := o.pool.Get().(*Passport) //nolint:forcetypeassert // the pool holds nothing else
	stamps := p.stamps
	*p = Passport{stamps: stamps}
	p.sampled = o.options.Sample > 0 && o.options.Random() < o.options.Sample
	p.Stamp(Identifying)
	return p
}

// Close counts the passport, writes its line if it is worth one, and takes it
// back.
func (o *Office) Close(p *Passport) {
	p.Stamp(Done)
	elapsed := p.Elapsed()
	timers := p.timers()
	if r := o.options.Recorder; r != nil {
		r.Request(p, elapsed)
		for s := range Done {
			if timers[s] >= 0 {
				r.Stage(p.Datacenter, s, timers[s])
			}
		}
	}
	notable := p.End != EndAnswered || p.Status >= 500 || o.options.Slow > 0 && elapsed >= o.options.Slow
	if notable || p.sampled {
		o.write(newLine(p, o.options.Now(), elapsed, timers), notable)
	}
	o.pool.Put(p)
}

func (o *Office) write(line Line, notable bool) {
	text, err := json.Marshal(line)
	o.mu.Lock()
	defer o.mu.Unlock()
	if notable {
		if len(o.recent) < o.options.Recent {
			o.recent = append(o.recent, line)
		} else {
			o.recent[o.next] = line
		}
		o.next = (o.next + 1) % max(o.options.Recent, 1)
	}
	if o.options.Out != nil && err == nil {
		o.options.Out.Write(append(text, '\n')) //nolint:errcheck // a full disk must not fail a request
	}
}

// Recent returns the last slow and failed requests, the newest first.
func (o *Office) Recent() []Line {
	o.mu.Lock()
	defer o.mu.Unlock()
	lines := make([]Line, 0, len(o.recent))
	for i := range o.recent {
		lines = append(lines, o.recent[(o.next-1-i+2*len(o.recent))%len(o.recent)])
	}
	return lines
}

// Line is a passport as it is written. Timers are in milliseconds; -1 is a
// state that was not reached.
type Line struct {
	Time       time.Time            `json:"time"` // of its end, UTC
	Method     string               `json:"method"`
	Path       string               `json:"path"`
	Status     int                  `json:"status"`
	Bucket     int64                `json:"bucket"` // -1: no user
	Datacenter bucketmap.Datacenter `json:"datacenter"`
	Reason     string               `json:"reason"`
	MapVersion bucketmap.Version    `json:"map_version"`
	Attempts   int                  `json:"attempts"`
	Reroutes   int                  `json:"reroutes"`
	End        string               `json:"end"`
	TotalMS    float64              `json:"total_ms"`
	TimersMS   map[string]float64   `json:"timers_ms"`
}

func newLine(p *Passport, now time.Time, elapsed time.Duration, timers [stateCount]time.Duration) Line {
	line := Line{
		Time: now.UTC(), Method: p.Method, Path: p.Path, Status: p.Status, Bucket: -1,
		Datacenter: p.Datacenter, Reason: p.Reason, MapVersion: p.MapVersion,
		Attempts: p.Attempts, Reroutes: p.Reroutes, End: p.End,
		TotalMS: milliseconds(elapsed), TimersMS: make(map[string]float64, stateCount),
	}
	if len(line.Path) > pathBytesMax {
		line.Path = line.Path[:pathBytesMax]
	}
	if p.HasBucket {
		line.Bucket = int64(p.Bucket)
	}
	for s := range Done {
		line.TimersMS[names[s]] = milliseconds(timers[s])
	}
	return line
}

func milliseconds(d time.Duration) float64 {
	if d < 0 {
		return -1
	}
	return math.Round(float64(d)/float64(time.Microsecond)) / 1000
}
