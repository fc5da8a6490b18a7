package consul

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/hashicorp/consul/api"

	"drover/bucketmap"
)

const (
	// waitMax is how long Consul keeps a blocking query that sees no change. One
	// that is cut off without a word is noticed answerMax later.
	waitMax = 30 * time.Second
	// answerMax is what an answer may take beside the wait, of which Consul adds
	// a sixteenth on its own.
	answerMax = waitMax/16 + requestMax
	// damagedRecheck is how often a map that cannot be read is looked at again:
	// who repairs a chunk does not touch the pointer.
	damagedRecheck = 5 * time.Second
	// unreachableMin is how long Consul must have been out of reach before it is
	// said: an election is none of the reader's business.
	unreachableMin = 5 * time.Second
)

// Watch calls changed with the map at once and at every change.
func (s *Store) Watch(ctx context.Context, changed func(*bucketmap.Snapshot, error)) error {
	if s.life.Err() != nil {
		return ErrClosed
	}
	bounded, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	l, err := newLine(s.options, s.transport)
	if err != nil {
		return fmt.Errorf("watch the map: %w", err)
	}
	defer l.close()
	w := watch{store: s, line: l, caller: ctx, changed: changed, pace: newRetry()}
	for {
		// Asked first: changed may have ended it.
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if s.life.Err() != nil {
			return ErrClosed
		}
		w.step(bounded)
	}
}

// watch knows what was reported last, and what to wait for.
type watch struct {
	store   *Store
	line    *line
	caller  context.Context //nolint:containedctx // the one of the call that owns this
	changed func(*bucketmap.Snapshot, error)
	pace    *backoff.ExponentialBackOff

	index    uint64 // of the last answer; 0 asks for one at once
	reported string // what the last call of changed was about; empty before the first
	version  bucketmap.Version
	damaged  bool      // what is published cannot be read
	lostAt   time.Time // when Consul was first out of reach; zero while it is not
}

// step waits for one change and reports it.
func (w *watch) step(ctx context.Context) {
	asked := time.Now()
	pair, index, err := w.wait(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		w.lost(ctx, err)
		return
	}
	took := time.Since(asked)
	if stale(w.index, index, took, w.waitTime()) {
		w.index = 0
		wait(ctx, w.pace.NextBackOff()) // what answers like that always is asked rarely
		return
	}
	key := pointerState(pair)
	if key != w.reported || took >= w.waitTime()/2 {
		w.pace.Reset()
	}
	if key == w.reported && !w.damaged {
		w.found(index)
		return
	}
	snapshot, err := w.store.read(ctx, pair)
	if err == nil && snapshot.Version() < w.version {
		// A leader that was replaced and does not know it yet may answer like
		// that. Whoever leads now knows.
		if pair, err = w.store.getConsistent(ctx, w.store.pointerKey()); err == nil {
			key = pointerState(pair)
			snapshot, err = w.store.read(ctx, pair)
		}
	}
	switch {
	case ctx.Err() != nil:
	case err == nil:
		w.found(index)
		w.damaged = false
		if key != w.reported {
			w.reported, w.version = key, snapshot.Version()
			w.changed(snapshot, nil)
		}
	case errors.Is(err, bucketmap.ErrNoMap), errors.Is(err, bucketmap.ErrRefused):
		w.found(index)
		w.damaged = true
		w.report("error: "+err.Error(), err)
	default:
		w.lost(ctx, err)
	}
}

// found notes that Consul answered. Its documentation wants no index below 1,
// which would not block.
func (w *watch) found(index uint64) {
	w.index = max(index, 1)
	w.lostAt = time.Time{}
}

// stale says whether an answer shows that Consul was restored from a snapshot,
// or made anew, so that its indexes begin again: a lower one, or the same long
// before the time is up, which is how a blocking query ends whose data were
// replaced under it. Who goes on with the old index waits for nothing.
func stale(asked, got uint64, took, waitTime time.Duration) bool {
	return got < asked || asked != 0 && got == asked && took < waitTime/2
}

// waitTime is how long to wait for a change.
func (w *watch) waitTime() time.Duration {
	if w.damaged {
		return damagedRecheck
	}
	return waitMax
}

// wait is one blocking query on the pointer. The pair is good until the next.
func (w *watch) wait(ctx context.Context) (*api.KVPair, uint64, error) {
	query := make([]byte, 0, 64)
	if w.index != 0 {
		query = strconv.AppendUint(append(query, "index="...), w.index, 10)
		query = append(query, '&')
	}
	waitTime := w.waitTime()
	query = strconv.AppendInt(append(query, "wait="...), waitTime.Milliseconds(), 10)
	query = append(query, "ms"...)
	value, index, err := w.line.get(ctx, w.store.pointerKey(), string(query), waitTime+answerMax)
	if err != nil || value == nil {
		return nil, index, err
	}
	return &api.KVPair{Key: w.store.pointerKey(), Value: value}, index, nil
}

// lost waits before the next try, and reports what lasts. That a right is
// missing is reported at once, and so is the first failure of all.
func (w *watch) lost(ctx context.Context, err error) {
	now := time.Now()
	if w.lostAt.IsZero() {
		w.lostAt = now
	}
	err = w.store.explain(w.caller, err)
	if w.reported == "" || !errors.Is(err, ErrUnreachable) || now.Sub(w.lostAt) >= unreachableMin {
		key := "lost: unreachable"
		if !errors.Is(err, ErrUnreachable) {
			key = "lost: " + err.Error()
		}
		w.report(key, fmt.Errorf("watch the map: %w", err))
	}
	w.index = 0
	wait(ctx, w.pace.NextBackOff())
}

// report tells of an error, once while it stays the same.
func (w *watch) report(key string, err error) {
	if key == w.reported {
		return
	}
	w.reported = key
	w.changed(nil, err)
}

// pointerState is the same for the same pointer.
func pointerState(pair *api.KVPair) string {
	if pair == nil {
		return "no pointer"
	}
	sum := sha256.Sum256(pair.Value)
	return "pointer: " + string(sum[:])
}
