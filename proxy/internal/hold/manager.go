package hold

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"drover/bucketmap"
	"drover/proxy/internal/metrics"
	"drover/proxy/internal/routing"
)

// Options bound a Manager.
type Options struct {
	RequestsMax  int           // in one bucket
	Total        int           // in all
	Bytes        int64         // in all
	WaitMax      time.Duration // of one request, all its holds together
	ReactiveMax  time.Duration // of one reactive hold
	ReleaseRate  int           // requests a second
	Metrics      *metrics.Metrics
	Now          func() time.Time // nil: time.Now
	ClientPoll   time.Duration    // 0: 100 ms
	ReleaseBurst int              // 0: what ReleaseRate gives in a tick, 1 ms
	// UnsentMax bounds the requests that were let go and are not sent yet, by
	// Sent; 0: no bound, and nobody needs to call Sent. It is less than what
	// waits for a connection to one upstream at most: a release must not fill
	// that queue, and have requests refused for which nothing was wrong.
	UnsentMax int
}

const (
	clientPoll  = 100 * time.Millisecond
	releaseTick = time.Millisecond
)

// Manager holds requests.
type Manager struct {
	options  Options
	outcomes [Shutdown + 1]prometheus.Counter
	wake     chan struct{} // capacity 1: something is to be released

	// reactives is the number of reactive holds, for Covers.
	reactives atomic.Int64

	mu struct {
		sync.Mutex
		snapshot *bucketmap.Snapshot // the last one swapped in
		queues   map[bucketmap.BucketID]*queue
		reactive map[bucketmap.BucketID]*reactive
		releases []*waiter // hold ended, not yet let go; first in first out
		tokens   int       // how many may go before the next tick
		unsent   int       // let go, not sent
		held     int
		bytes    int64
		draining bool
	}
}

// queue is one bucket's, in order of arrival.
type queue struct {
	waiters []*waiter
}

// waiter is one held request. Its fields are guarded by the manager's lock,
// but for what never changes.
type waiter struct {
	bucket  bucketmap.BucketID
	bytes   int64
	entered time.Time
	bound   time.Time // the latest end, whatever the map says
	// poke has capacity 1; a token in it says: look at outcome and deadline.
	poke chan struct{}

	deadline time.Time
	outcome  Outcome // NotHeld while it waits
	ending   bool    // its hold ended; it is in releases
}

// New returns a manager that holds nothing.
func New(options Options) *Manager {
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.ClientPoll == 0 {
		options.ClientPoll = clientPoll
	}
	if options.ReleaseBurst == 0 {
		options.ReleaseBurst = max(int(int64(options.ReleaseRate)*int64(releaseTick)/int64(time.Second)), 1)
	}
	m := &Manager{options: options, wake: make(chan struct{}, 1)}
	m.mu.queues = map[bucketmap.BucketID]*queue{}
	m.mu.reactive = map[bucketmap.BucketID]*reactive{}
	m.mu.tokens = options.ReleaseBurst
	for _, o := range Outcomes() {
		m.outcomes[o] = options.Metrics.Holds.WithLabelValues(o.String())
	}
	return m
}

// Covers says whether a request that was decided by s may have to wait. mapOnly
// leaves reactive holds out, as in Ticket. It takes no lock when there are no
// holds.
func (m *Manager) Covers(s *bucketmap.Snapshot, b bucketmap.BucketID, mapOnly bool) bool {
	if h, ok := s.HoldOf(b); ok && m.options.Now().Before(h.Until) {
		return true
	}
	if mapOnly || m.reactives.Load() == 0 {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reactiveOf(b, m.options.Now()) != nil
}

// Swap moves on the requests whose hold the new map ended. Calls come one
// after the other, after s is in force.
func (m *Manager) Swap(s *bucketmap.Snapshot) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.mu.snapshot
	m.mu.snapshot = s
	now := m.options.Now()
	m.endReactives(s, now)
	for b, q := range m.mu.queues {
		// Another move's hold is another hold: its requests are decided again
		// and queue anew, within the same bound.
		sameHold := old != nil && routing.RouteOf(old, b).Move == routing.RouteOf(s, b).Move
		until, ok := m.untilOf(s, b, false, now)
		if !ok || !sameHold && m.mu.reactive[b] == nil {
			m.endQueue(b, q)
			continue
		}
		for _, w := range q.waiters {
			w.deadline = earlier(until, w.bound)
			poke(w)
		}
	}
	m.letGo()
}

// Drain ends every hold, now and from now on: held requests go out by the
// current map.
func (m *Manager) Drain() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.draining = true
	for b, q := range m.mu.queues {
		m.endQueue(b, q)
	}
	for _, w := range m.mu.releases {
		m.finish(w, Shutdown)
	}
	m.mu.releases = nil
}

// Held is what the admin server shows of one bucket.
type Held struct {
	Bucket   bucketmap.BucketID `json:"bucket"`
	Requests int                `json:"requests"`
	Oldest   time.Time          `json:"oldest"`
	Reactive bool               `json:"reactive"`
}

// Status is what the admin server shows.
type Status struct {
	Requests  int    `json:"requests"`
	Bytes     int64  `json:"bytes"`
	Releasing int    `json:"releasing"`
	Buckets   []Held `json:"buckets"`
}

// Status returns what is held now.
func (m *Manager) Status() Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := Status{Requests: m.mu.held, Bytes: m.mu.bytes, Releasing: len(m.mu.releases), Buckets: []Held{}}
	for b, q := range m.mu.queues {
		s.Buckets = append(s.Buckets, Held{Bucket: b, Requests: len(q.waiters), Oldest: q.waiters[0].entered, Reactive: m.mu.reactive[b] != nil})
	}
	slices.SortFunc(s.Buckets, func(a, b Held) int { return int(a.Bucket) - int(b.Bucket) })
	return s
}

// untilOf returns when the hold of a bucket ends at the latest. ok is false
// when none covers it.
func (m *Manager) untilOf(s *bucketmap.Snapshot, b bucketmap.BucketID, mapOnly bool, now time.Time) (until time.Time, ok bool) {
	if h, held := s.HoldOf(b); held && now.Before(h.Until) {
		until, ok = h.Until, true
	}
	if mapOnly {
		return until, ok
	}
	if r := m.reactiveOf(b, now); r != nil && (!ok || r.until.After(until)) {
		until, ok = r.until, true
	}
	return until, ok
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
