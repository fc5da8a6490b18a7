package shardlib

// Samples of what a shard's primary has committed, and when.
//
// A sample says: everything that the shard had committed when the sample was
// begun is at its position or before it. So a replica that has reached the
// position shows all of that. Its order is what makes it true:
//
//  1. the time is taken, by the clock that this process alone goes by;
//  2. the server's fence row of the shard says that it is the primary;
//  3. the server's position is read.
//
// With 3 before 2, a server that was promoted between the two would give the
// position of the replica it was. One statement does 2 and 3, in that order.
//
// There is one sampler for each primary whose replica is asked for. It has no
// goroutine of its own: a read that finds no sample young enough begins one and
// waits, one that finds the newest past half its time begins one and does not.
// One at a time is under way, and a primary that does not answer is left alone
// for a while.

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"drover/shardlib/fence"
)

// sample is one look at a primary.
type sample struct {
	begun    time.Time
	position position
	primary  uint32 // its server_id
}

const (
	// samplesMax bounds the samples of a primary: older ones serve a replica
	// that is behind. Each takes 48 bytes and 16 a domain: 64 × 64 B = 4 KiB.
	samplesMax = 64
	// sampleGap is the least time between two samples of a primary begin: at
	// most 100 a second, whatever the reads ask for.
	sampleGap = 10 * time.Millisecond
	// samplePauseMin is how long a primary is left alone that gave no sample, or
	// a replica that did not answer,
	// doubled each time up to samplePauseMax.
	samplePauseMin = 100 * time.Millisecond
	samplePauseMax = 5 * time.Second
)

var (
	errNoSample   = errors.New("the primary gave no sample in time")
	errNotPrimary = errors.New("the server is not the shard's primary")
	errNoPosition = errors.New("the server has no binary log position")
	// errDiverged: the replica has what its primary has not.
	errDiverged = errors.New("a replica is ahead of the primary: one of them was set back or lost transactions; make the replica anew")
)

// samplers has a sampler for each primary; the shard list bounds them.
type samplers struct {
	work sync.WaitGroup // the samples under way

	mu struct {
		sync.Mutex
		byServer map[server]*sampler
	}
}

func newSamplers() *samplers {
	s := new(samplers)
	s.mu.byServer = map[server]*sampler{}
	return s
}

func (s *samplers) of(home Home) *sampler {
	key := server{home.Shard, home.Datacenter}
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.mu.byServer[key]
	if one == nil {
		one = new(sampler)
		s.mu.byServer[key] = one
	}
	return one
}

// forget drops all samples: the servers are others.
func (s *samplers) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.mu.byServer)
}

type sampler struct {
	mu struct {
		sync.Mutex
		samples []sample      // oldest first; replaced, never changed
		flight  chan struct{} // closed when the sample under way has ended; nil: there is none
		last    time.Time     // when the last one began
		until   time.Time     // the primary is left alone until then
		pause   time.Duration
		err     error
		// replica is the furthest that the replica was seen at. What the primary
		// has committed after that was seen is not less.
		replica position
		// A replica that did not answer is left alone for as long as a primary.
		replicaUntil time.Time
		replicaPause time.Duration
	}
}

// away says whether the replica is left alone now.
func (s *sampler) away() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(s.mu.replicaUntil)
}

// avoid leaves the replica alone for a while.
func (s *sampler) avoid() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.replicaPause = min(max(2*s.mu.replicaPause, samplePauseMin), samplePauseMax)
	s.mu.replicaUntil = time.Now().Add(s.mu.replicaPause)
}

// want returns the samples, oldest first, of which the newest was begun at
// oldest or later. It begins one if there is need, and waits until ctx ends.
func (s *sampler) want(ctx context.Context, oldest time.Time, begin func()) ([]sample, error) {
	for {
		s.mu.Lock()
		samples, flight, err := s.mu.samples, s.mu.flight, s.mu.err
		now := time.Now()
		newest := time.Time{}
		if len(samples) != 0 {
			newest = samples[len(samples)-1].begun
		}
		enough := !newest.Before(oldest)
		ripe := !enough || now.Sub(newest) > now.Sub(oldest)/2
		if ripe && flight == nil && !now.Before(s.mu.until) && now.Sub(s.mu.last) >= sampleGap {
			flight = make(chan struct{})
			s.mu.flight, s.mu.last = flight, now
			begin()
		}
		s.mu.Unlock()
		if enough {
			return samples, nil
		}
		if flight == nil {
			return nil, errors.Join(errNoSample, err)
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(errNoSample, context.Cause(ctx))
		case <-flight:
		}
	}
}

// take ends the sample under way.
func (s *sampler) take(one sample, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && !one.position.reached(s.mu.replica) {
		err, s.mu.samples = errDiverged, nil
	}
	s.mu.err = err
	if err != nil {
		s.mu.pause = min(max(2*s.mu.pause, samplePauseMin), samplePauseMax)
		s.mu.until = time.Now().Add(s.mu.pause)
	} else {
		s.mu.pause = 0
		s.mu.samples = append(thinned(s.mu.samples), one)
	}
	close(s.mu.flight)
	s.mu.flight = nil
	return err
}

// thinned returns a copy with room: of the older half of a full one, every
// second is left, so that the samples reach far back and are dense at the end.
func thinned(samples []sample) []sample {
	room := make([]sample, 0, samplesMax)
	if len(samples) < samplesMax {
		return append(room, samples...)
	}
	for i, one := range samples {
		if i >= samplesMax/2 || i%2 == 0 {
			room = append(room, one)
		}
	}
	return room
}

// saw remembers how far the replica was: samples that begin after this must
// have it. One that is under way may be older, and is not held to it.
func (s *sampler) saw(p position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.replicaPause = 0
	if s.mu.flight == nil {
		s.mu.replica = s.mu.replica.merge(p)
	}
}

// sample asks a home's primary, in the background.
func (l *Library) sample(home Home, s *sampler) {
	l.samplers.work.Go(func() {
		ctx, cancel := context.WithTimeout(l.life, l.config.Replicas.Timeout)
		defer cancel()
		one, err := l.askPrimary(ctx, home)
		outcome := "taken"
		if err = s.take(one, err); err != nil {
			outcome = "failed"
		} else {
			l.writes.sampled(home.Shard, one)
		}
		l.metrics.samples.WithLabelValues(outcome).Inc()
	})
}

// A compound statement runs its parts in order, in one round trip, and takes no
// privilege. It is MariaDB's.
const sampleStatement = "BEGIN NOT ATOMIC " +
	"SELECT state, server_id, server_id = @@server_id FROM " + fence.Table + " FORCE INDEX (PRIMARY) WHERE bucket = -1; " +
	"SELECT @@log_bin, @@gtid_binlog_pos; END"

func (l *Library) askPrimary(ctx context.Context, home Home) (one sample, err error) {
	p, err := l.pools.get(home)
	if err != nil {
		return one, err
	}
	defer l.pools.release(p)
	inner, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return one, err
	}
	defer inner.Rollback()
	one.begun = time.Now() // before anything is sent
	rows, err := inner.QueryContext(ctx, sampleStatement)
	if err != nil {
		return one, err
	}
	defer rows.Close()
	var state fence.State
	var primary, logs bool
	var text string
	if err := scanOnly(rows, &state, &one.primary, &primary); err != nil {
		return one, fmt.Errorf("the fence row of the shard: %w", err)
	}
	if !rows.NextResultSet() {
		return one, errors.Join(errNoPosition, rows.Err())
	}
	if err := scanOnly(rows, &logs, &text); err != nil {
		return one, err
	}
	if !primary || !state.Readable() {
		return one, errNotPrimary
	}
	if one.position, err = parsePosition(text, ","); err == nil && (!logs || len(one.position) == 0) {
		err = errNoPosition
	}
	return one, err
}

// scanOnly reads the one row of a result.
func scanOnly(rows *sql.Rows, into ...any) error {
	if !rows.Next() {
		return errors.Join(sql.ErrNoRows, rows.Err())
	}
	return rows.Scan(into...)
}

// wantSamples returns the sampler of a home's primary, and samples of which the
// newest was begun at oldest or later.
func (l *Library) wantSamples(ctx context.Context, home Home, oldest time.Time) (*sampler, []sample, error) {
	s := l.samplers.of(home)
	samples, err := s.want(ctx, oldest, func() { l.sample(home, s) })
	return s, samples, err
}
