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
	"drover/proxy/internal/routing/cohort"
)

// Options are what a Table works with. All but MaxChange, Cache, OnSwap and
// Cohorts are wanted.
type Options struct {
	Source bucketmap.Source
	Proxy  string // this proxy's id
	// Datacenters says for which datacenters there are upstreams.
	Datacenters map[bucketmap.Datacenter]bool
	// MaxChange is the share of the buckets, 0 to 1, that one map may send to
	// another datacenter beside what its publishers declared. 0 is no bound.
	MaxChange float64
	// Cache is the path of the last good map; empty keeps none.
	Cache string
	// OnSwap is called with each map that comes into force, before its
	// acknowledgement.
	OnSwap func(*bucketmap.Snapshot)
	// Cohorts is told of every map, before it comes into force; nil: nobody is.
	Cohorts *cohort.Set
	Metrics *metrics.Metrics
	Log     *zap.Logger
}

// Table holds the map in force.
type Table struct {
	options Options
	guard   bucketmap.Guard
	current atomic.Pointer[force]

	turn    chan struct{}        // held by who changes what is in force
	leaving []*force             // by which requests may still be sent; needs turn
	users   *bucketmap.Whitelist // of SetUsers; needs turn, and listing
	listing chan struct{}        // held by SetUsers, before turn
	kept    bool                 // the map in force is from the cache, and no store has confirmed it; needs turn
	unkept  bool                 // the file of cohorts could not be used; set before Run
	late    chan struct{}        // asks Run to wait for leaving

	acks  mailbox[bucketmap.Ack]
	saves mailbox[*bucketmap.Snapshot]

	mu struct {
		sync.Mutex
		settled bucketmap.Ack // without the refusal: the map by which all is sent
		refused Refusal       // the last one, empty once a newer map is in force
		store   string        // why the store cannot be read, empty when it can
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
	Rule    bucketmap.Rule    `json:"rule"`
	Reason  string            `json:"reason"`
	When    time.Time         `json:"when"`
}

// Status is what the admin server shows.
type Status struct {
	Version bucketmap.Version `json:"version"`
	Digest  bucketmap.Digest  `json:"digest,omitzero"`
	Buckets uint32            `json:"buckets"`
	Since   time.Time         `json:"since"`
	Holds   []bucketmap.Hold  `json:"holds"`
	Refused *Refusal          `json:"last_refusal,omitempty"`
	// StoreError says why the store cannot be read.
	StoreError string `json:"store_error,omitempty"`
}

// New returns a table with no map.
func New(options Options) *Table {
	t := &Table{
		options: options, turn: make(chan struct{}, 1), listing: make(chan struct{}, 1), late: make(chan struct{}, 1),
		guard: bucketmap.Guard{Reader: true, Datacenters: options.Datacenters, MaxChange: options.MaxChange},
	}
	t.mu.settled.Proxy = options.Proxy
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
	s.StoreError = t.mu.store
	if t.mu.refused.Reason != "" {
		refused := t.mu.refused
		s.Refused = &refused
	}
	t.mu.Unlock()
	f := t.current.Load()
	if f == nil {
		return s
	}
	s.Version, s.Digest, s.Buckets, s.Since = f.snapshot.Version(), f.snapshot.Digest(), f.snapshot.Buckets(), f.since
	s.Holds = append(s.Holds, f.snapshot.Holds()...)
	return s
}
