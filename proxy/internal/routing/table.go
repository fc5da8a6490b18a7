package routing

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"drover/bucketmap"
	"drover/proxy/internal/metrics"
)

// Options are what a Table works with. All but Cache and OnSwap are wanted.
type Options struct {
	Source bucketmap.Source
	Proxy  string // this proxy's id
	// Datacenters says for which datacenters there are upstreams.
	Datacenters map[bucketmap.Datacenter]bool
	// Cache is the path of the last good map; empty keeps none.
	Cache string
	// OnSwap is called with each map that comes into force, before its
	// acknowledgement.
	OnSwap  func(*bucketmap.Snapshot)
	Metrics *metrics.Metrics
	Log     *zap.Logger
}

// Table holds the map in force.
type Table struct {
	options Options
	current atomic.Pointer[force]

	offering sync.Mutex // one Offer after the other

	acks  mailbox[bucketmap.Ack]
	saves mailbox[*bucketmap.Snapshot]

	mu struct {
		sync.Mutex
		refused Refusal // the last one, empty once a newer map is in force
		hash    string  // of the last map saved or read
		hashOf  bucketmap.Version
	}
}

// force is one map in force.
type force struct {
	snapshot *bucketmap.Snapshot
	since    time.Time
	// sending counts the requests between Enter and Leave.
	sending atomic.Int64
	// over is closed when another map comes into force.
	over chan struct{}
}

// Refusal says which map was refused, and why. Version is 0 when it could not
// be read.
type Refusal struct {
	Version bucketmap.Version `json:"version"`
	Reason  string            `json:"reason"`
	When    time.Time         `json:"when"`
}

// Status is what the admin server shows.
type Status struct {
	Version bucketmap.Version `json:"version"`
	Hash    string            `json:"hash,omitempty"` // SHA-256 of the map's YAML, once it is known
	Buckets uint32            `json:"buckets"`
	Since   time.Time         `json:"since"`
	Holds   []bucketmap.Hold  `json:"holds"`
	Refused *Refusal          `json:"last_refusal,omitempty"`
}

// New returns a table with no map.
func New(options Options) *Table {
	t := &Table{options: options}
	t.acks.init()
	t.saves.init()
	return t
}

// Current returns the map in force, nil when there is none yet.
func (t *Table) Current() *bucketmap.Snapshot {
	if f := t.current.Load(); f != nil {
		return f.snapshot
	}
	return nil
}

// Sending is the right to send one request upstream, until Leave.
type Sending struct{ force *force }

// Enter asks to send a request that was decided by a version. It refuses when
// that is not the map in force: the request must be decided again.
//
// The count goes up before the second look at the pointer: either this sees
// the new map, or the swap sees the count.
func (t *Table) Enter(version bucketmap.Version) (Sending, bool) {
	f := t.current.Load()
	if f == nil || f.snapshot.Version() != version {
		return Sending{}, false
	}
	f.sending.Add(1)
	if t.current.Load() != f {
		f.sending.Add(-1)
		return Sending{}, false
	}
	return Sending{f}, true
}

// Leave says that the request's head is written.
func (s Sending) Leave() { s.force.sending.Add(-1) }

// WaitNewer returns the map in force as soon as it is newer than version, or
// ctx's error.
func (t *Table) WaitNewer(ctx context.Context, version bucketmap.Version) (*bucketmap.Snapshot, error) {
	for {
		f := t.current.Load()
		if f == nil {
			return nil, bucketmap.ErrNoMap
		}
		if f.snapshot.Version() > version {
			return f.snapshot, nil
		}
		select {
		case <-f.over:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Ready says why requests cannot be routed; nil when they can.
func (t *Table) Ready() error {
	if t.current.Load() == nil {
		return errors.New("no map yet: publish one, or look at the log for why it was refused")
	}
	return nil
}

// Status returns what the admin server shows.
func (t *Table) Status() Status {
	s := Status{Holds: []bucketmap.Hold{}}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.refused.Reason != "" {
		refused := t.mu.refused
		s.Refused = &refused
	}
	f := t.current.Load()
	if f == nil {
		return s
	}
	s.Version, s.Buckets, s.Since = f.snapshot.Version(), f.snapshot.Buckets(), f.since
	s.Holds = append(s.Holds, f.snapshot.Holds()...)
	if t.mu.hashOf == s.Version {
		s.Hash = t.mu.hash
	}
	return s
}

// Offer puts a map in force if it may be, and acknowledges. It returns why the
// map was refused.
func (t *Table) Offer(ctx context.Context, next *bucketmap.Snapshot) error {
	t.offering.Lock()
	defer t.offering.Unlock()
	begun := time.Now()
	old := t.current.Load()
	if old != nil && old.snapshot.Version() == next.Version() && bucketmap.Diff(old.snapshot, next).Empty() {
		t.clearRefusal()
		return nil // seen already
	}
	if err := t.check(next); err != nil {
		t.refuse(next.Version(), err)
		return err
	}
	t.swap(next)
	if old != nil {
		waitSent(ctx, old)
	}
	t.options.Metrics.MapSwapSeconds.Observe(time.Since(begun).Seconds())
	if ctx.Err() == nil { // else a request may still be going out by the old map
		t.acknowledge()
	}
	t.saves.put(next)
	return nil
}

func (t *Table) swap(next *bucketmap.Snapshot) {
	old := t.current.Load()
	t.current.Store(&force{snapshot: next, since: time.Now().UTC(), over: make(chan struct{})})
	t.mu.Lock()
	t.mu.refused = Refusal{}
	t.mu.Unlock()
	// After the swap: who wakes finds the new map.
	if old != nil {
		close(old.over)
	}
	if t.options.OnSwap != nil {
		t.options.OnSwap(next)
	}
	t.options.Metrics.MapVersion.Set(float64(next.Version()))
	t.options.Log.Info("map in force", zap.Uint64("version", uint64(next.Version())), zap.Int("holds", len(next.Holds())))
}

// clearRefusal forgets the last refusal: the newest map is the one in force.
func (t *Table) clearRefusal() {
	t.mu.Lock()
	was := t.mu.refused
	t.mu.refused = Refusal{}
	t.mu.Unlock()
	if was.Reason != "" {
		t.acknowledge()
	}
}

// sentPoll is how often the swap looks whether the last request by the old map
// is sent. Most often none is: a head is written in microseconds.
const sentPoll = 100 * time.Microsecond

// waitSent waits until nobody is sending by the old map. Writing a head is
// bounded by the idle timeout, and so is this.
func waitSent(ctx context.Context, old *force) {
	if old.sending.Load() == 0 {
		return
	}
	tick := time.NewTicker(sentPoll)
	defer tick.Stop()
	for old.sending.Load() != 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// refuse keeps the reason, counts it and tells it in an acknowledgement.
func (t *Table) refuse(version bucketmap.Version, reason error) {
	t.mu.Lock()
	known := t.mu.refused.Version == version && t.mu.refused.Reason == reason.Error()
	if !known {
		t.mu.refused = Refusal{Version: version, Reason: reason.Error(), When: time.Now().UTC()}
	}
	t.mu.Unlock()
	if known {
		return // the watch came back to the same map
	}
	t.options.Metrics.MapRefused.Inc()
	t.options.Log.Error("map refused; going on with the one in force", zap.Uint64("version", uint64(version)), zap.Error(reason))
	t.acknowledge()
}
