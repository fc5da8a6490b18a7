package mirror

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"drover/bucketmap"
	"drover/proxy/internal/metrics"
	"drover/proxy/internal/routing"
)

// Table gives the map in force; nil when there is none.
type Table interface {
	Current() *bucketmap.Snapshot
}

// Holds says whether requests of a bucket may have to wait.
type Holds interface {
	Covers(s *bucketmap.Snapshot, b bucketmap.BucketID, mapOnly bool) bool
}

// Counter counts outcomes.
type Counter interface {
	Mirrored(metrics.MirrorOutcome)
}

// Group says of which users requests are mirrored.
type Group uint8

// The groups.
const (
	GroupAll       Group = iota
	GroupWhitelist       // those whom a whitelist sends to their datacenter
	GroupListed          // those of Options.UserIDs
)

// Options are what a Mirror works with. All but UserIDs and Rules are wanted.
//
// Memory: (Queue + Concurrency) samples of twice HeaderBytes and BodyMax, and
// for each of the workers two more bodies and what they are parsed to, some
// twelve times their length. With the defaults (256, 8, 16 KiB, 64 KiB) that is
// 25 MiB and 13 MiB at worst; and what is known of route classes, 30 MiB at worst.
type Options struct {
	Proxy string // this proxy's name in reports
	// Share of the users, above 0 to 1, by a hash of id and salt.
	Share   float64
	Salt    string
	Group   Group
	UserIDs []string
	Methods []string // of GET and HEAD
	// Pair are the two datacenters: what one answered goes to the other.
	Pair    [2]bucketmap.Datacenter
	Targets map[bucketmap.Datacenter]Target

	Timeout, Connect time.Duration // of one mirrored request; of its connection
	KeepAlive        time.Duration // of an idle connection
	Concurrency      int           // mirrored requests under way
	Queue            int           // samples being copied or waiting
	BodyMax          int           // bytes of one answer's body
	HeaderBytes      int           // of one answer's head

	Rules *Rules // nil: none
	// Noise learns what is noise, by so great a share of the requests that are
	// sent twice to one datacenter; off, every difference counts.
	Noise      bool
	NoiseShare float64
	Examples   int // kept; 0: none

	Table   Table
	Holds   Holds
	Counter Counter
}

// Target is how a datacenter's application is reached.
type Target struct {
	Upstreams []string    // host:port
	TLS       *tls.Config // nil: plain
}

// Mirror mirrors requests.
type Mirror struct {
	options Options
	listed  map[string]bool
	limit   uint64 // hashes up to it are chosen
	methods [2]bool
	places  int64
	taken   atomic.Int64 // of places
	jobs    chan *Sample
	closed  atomic.Bool
	samples sync.Pool
	senders map[bucketmap.Datacenter]*sender
	drops   [dropCount]atomic.Uint64
	ledger  ledger
	began   time.Time
}

// New returns a mirror that takes samples; Run compares them.
func New(options Options) *Mirror {
	if options.Rules == nil {
		options.Rules = &Rules{}
	}
	places := options.Queue + options.Concurrency
	m := &Mirror{
		options: options, limit: limitOf(options.Share), places: int64(places),
		jobs:  make(chan *Sample, places), // so that End never waits
		began: time.Now(), senders: map[bucketmap.Datacenter]*sender{},
	}
	for _, method := range options.Methods {
		switch method {
		case methodGet:
			m.methods[0] = true
		case methodHead:
			m.methods[1] = true
		}
	}
	if options.Group == GroupListed {
		m.listed = map[string]bool{}
		for _, id := range options.UserIDs {
			m.listed[id] = true
		}
	}
	for _, dc := range options.Pair {
		m.senders[dc] = newSender(dc, options.Targets[dc], &m.options)
	}
	m.ledger.init(options.Examples)
	return m
}

// Run compares until ctx ends; what waits then is dropped. It returns nil.
func (m *Mirror) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for range m.options.Concurrency {
		group.Go(func() error {
			m.work(ctx)
			return nil
		})
	}
	err := group.Wait()
	m.closed.Store(true)
	for _, s := range m.senders {
		s.close()
	}
	return err
}

func (m *Mirror) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-m.jobs:
			m.judge(ctx, s)
			m.give(s)
		}
	}
}

// other is the datacenter of the pair that dc is not.
func (m *Mirror) other(dc bucketmap.Datacenter) (bucketmap.Datacenter, bool) {
	switch dc {
	case m.options.Pair[0]:
		return m.options.Pair[1], true
	case m.options.Pair[1]:
		return m.options.Pair[0], true
	default:
		return "", false
	}
}

// settled says whether the map still says the same of a sample's user as when
// the request was sent, and nothing of the bucket is held.
func (m *Mirror) settled(s *Sample) bool {
	now := m.options.Table.Current()
	if now == nil || m.options.Holds.Covers(now, s.decision.Bucket, false) {
		return false
	}
	return now == s.snapshot || now.Decide(s.user) == s.decision &&
		routing.RouteOf(now, s.decision.Bucket) == routing.RouteOf(s.snapshot, s.decision.Bucket)
}

// errMoved is a user of whom the map says something else than before.
var errMoved = errors.New("the bucket moves, or has moved")

// judge compares one sample.
func (m *Mirror) judge(ctx context.Context, s *Sample) {
	c := m.ledger.class(s.class())
	target, ok := m.other(s.decision.Datacenter)
	if !ok {
		return // Begin has seen to it
	}
	theirs, err := m.ask(ctx, s, target)
	if err != nil {
		m.unanswered(ctx, c, target, err)
		return
	}
	ours := s.answer()
	known := m.ledger.known(c)
	found := compare(&ours, theirs, m.options.Rules, known)
	planned := m.options.Noise && (m.ledger.learning(c) || rand.Float64() < m.options.NoiseShare) //nolint:gosec // a sample, no secret
	rest := found.differences
	if planned || m.options.Noise && len(rest) != 0 {
		again, err := m.ask(ctx, s, s.decision.Datacenter)
		switch {
		case err == nil:
			own := compare(&ours, again, m.options.Rules, nil)
			if planned {
				m.ledger.learn(c, own)
			}
			rest = own.without(rest)
		case len(rest) != 0 || errors.Is(err, errMoved): // nobody can say whose difference it is
			m.unanswered(ctx, c, s.decision.Datacenter, err)
			return
		}
	}
	switch {
	case len(rest) != 0:
		m.ledger.different(c, rest, s.example(c.name, target, rest))
		m.options.Counter.Mirrored(metrics.MirrorDifferent)
	case len(found.differences) != 0 || found.blind:
		m.ledger.count(c, metrics.MirrorNoise)
		m.options.Counter.Mirrored(metrics.MirrorNoise)
	default:
		m.ledger.count(c, metrics.MirrorSame)
		m.options.Counter.Mirrored(metrics.MirrorSame)
	}
}

// ask sends the sample's request and looks, before and after, whether its user
// stays.
func (m *Mirror) ask(ctx context.Context, s *Sample, dc bucketmap.Datacenter) (*answer, error) {
	if !m.settled(s) {
		return nil, errMoved
	}
	a, err := m.senders[dc].send(ctx, s)
	if !m.settled(s) {
		return nil, errMoved
	}
	return a, err
}

// unanswered counts a sample that there is nothing to compare with.
func (m *Mirror) unanswered(ctx context.Context, c *class, dc bucketmap.Datacenter, err error) {
	outcome := metrics.MirrorFailed
	switch {
	case ctx.Err() != nil:
		m.drop(dropEnded)
		return
	case errors.Is(err, errMoved):
		m.drop(dropMoving)
		return
	case isTimeout(err):
		outcome = metrics.MirrorTimeout
	}
	m.ledger.failed(c, outcome, dc, err)
	m.options.Counter.Mirrored(outcome)
}
