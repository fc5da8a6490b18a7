package hold

import (
	"slices"
	"time"

	"drover/bucketmap"
)

// Ticket is a request that asks to wait.
type Ticket struct {
	Bucket bucketmap.BucketID
	// Snapshot is the map by which the request was decided.
	Snapshot *bucketmap.Snapshot
	// Entered is when the request met its first hold.
	Entered time.Time
	// MapOnly is of a request that was answered 421 itself: reactive holds are
	// not for it, since it is the one that finds out when they can end.
	MapOnly bool
	// Bytes is what the request takes while it waits.
	Bytes int64
	// Gone says whether the client is gone; nil: never.
	Gone func() bool
	// Notify, when not nil, is given what is to be called when the client goes,
	// and nil once nobody waits any more.
	Notify func(gone func())
}

// Wait waits until the bucket's hold ends, and says how the wait ended.
func (m *Manager) Wait(t Ticket) Outcome {
	w, outcome := m.enter(t)
	if w == nil {
		return outcome
	}
	if t.Notify != nil {
		t.Notify(func() { poke(w) })
		defer t.Notify(nil)
	}
	timer := time.NewTimer(w.bound.Sub(w.entered))
	defer timer.Stop()
	for {
		if t.Gone != nil && t.Gone() {
			m.leave(w, ClientGone)
		}
		m.mu.Lock()
		deadline := w.deadline
		outcome := w.outcome
		m.mu.Unlock()
		if outcome != NotHeld {
			return outcome
		}
		now := m.options.Now()
		if !now.Before(deadline) {
			m.leave(w, Expired)
			continue
		}
		timer.Reset(deadline.Sub(now))
		select {
		case <-w.poke:
		case <-timer.C:
		}
	}
}

// enter queues the request, or says why it need not or may not wait.
func (m *Manager) enter(t Ticket) (*waiter, Outcome) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.options.Now()
	known := m.mu.snapshot
	if known != nil && known.Version() > t.Snapshot.Version() {
		return nil, NotHeld // decided by an older map: what ended then would never end again
	}
	// The other way round, Swap is still to come with the ticket's map.
	until, ok := m.untilOf(t.Snapshot, t.Bucket, t.MapOnly, now)
	if !ok {
		return nil, NotHeld
	}
	m.options.Metrics.HoldEntered.Inc()
	w := &waiter{
		bucket: t.Bucket, bytes: t.Bytes, entered: now,
		bound: t.Entered.Add(m.options.WaitMax), poke: make(chan struct{}, 1),
	}
	w.deadline = earlier(until, w.bound)
	q := m.mu.queues[t.Bucket]
	switch {
	case m.mu.draining:
		return nil, m.count(Shutdown)
	case !now.Before(w.deadline):
		return nil, m.count(Expired)
	case q != nil && len(q.waiters) >= m.options.RequestsMax,
		m.mu.held >= m.options.Total, m.mu.bytes+t.Bytes > m.options.Bytes:
		return nil, m.count(Full)
	}
	if q == nil {
		q = &queue{}
		m.mu.queues[t.Bucket] = q
	}
	q.waiters = append(q.waiters, w)
	m.hold(1, w.bytes)
	return w, NotHeld
}

// leave ends a wait from the request's side, unless it has ended already or
// its deadline has moved on. One whose hold ended and whose turn did not come
// counts as released.
func (m *Manager) leave(w *waiter, outcome Outcome) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if w.outcome != NotHeld || outcome == Expired && m.options.Now().Before(w.deadline) {
		return
	}
	if w.ending {
		m.mu.releases = slices.DeleteFunc(m.mu.releases, func(other *waiter) bool { return other == w })
		if outcome == Expired {
			outcome = Released
			m.mu.unsent++
		}
	} else {
		m.dequeue(w)
	}
	m.finish(w, outcome)
}

func (m *Manager) dequeue(w *waiter) {
	q := m.mu.queues[w.bucket]
	q.waiters = slices.DeleteFunc(q.waiters, func(other *waiter) bool { return other == w })
	if len(q.waiters) == 0 {
		delete(m.mu.queues, w.bucket)
	}
}

// finish gives a waiter that is in no queue its outcome.
func (m *Manager) finish(w *waiter, outcome Outcome) {
	w.outcome = m.count(outcome)
	m.hold(-1, -w.bytes)
	poke(w)
}

func (m *Manager) count(outcome Outcome) Outcome {
	m.outcomes[outcome].Inc()
	return outcome
}

func (m *Manager) hold(requests int, bytes int64) {
	m.mu.held += requests
	m.mu.bytes += bytes
	m.options.Metrics.Held.Set(float64(m.mu.held))
	m.options.Metrics.HeldBytes.Set(float64(m.mu.bytes))
}

func poke(w *waiter) {
	select {
	case w.poke <- struct{}{}:
	default:
	}
}
