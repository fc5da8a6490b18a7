package hold

import (
	"time"

	"drover/bucketmap"
	"drover/proxy/internal/routing"
)

// reactive is a hold that an application's 421 began.
type reactive struct {
	route routing.Route // by which the request answered 421 was decided
	until time.Time
}

// React begins a reactive hold for the bucket of a request that was decided by
// used and answered 421, unless the map in force already says something else
// of the bucket. It ends with a map that does, with EndReactive, or with its
// time. The first 421 counts: later ones do not make it longer.
func (m *Manager) React(used *bucketmap.Snapshot, b bucketmap.BucketID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.options.Now()
	route := routing.RouteOf(used, b)
	if m.mu.draining || m.options.ReactiveMax <= 0 || m.reactiveOf(b, now) != nil {
		return
	}
	if m.mu.snapshot != nil && routing.RouteOf(m.mu.snapshot, b) != route {
		return
	}
	if len(m.mu.reactive) >= m.options.Total {
		return // as many buckets as requests could be held for
	}
	m.mu.reactive[b] = &reactive{route: route, until: now.Add(m.options.ReactiveMax)}
	m.reactives.Store(int64(len(m.mu.reactive)))
	m.options.Metrics.ReactiveHolds.Inc()
}

// EndReactive ends a bucket's reactive hold: a request that had been answered
// 421 was served, by the same map. So a move that stepped back costs its
// bucket's requests no more than the first of them waited.
func (m *Manager) EndReactive(b bucketmap.BucketID) {
	if m.reactives.Load() == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.reactive[b] == nil {
		return
	}
	m.dropReactive(b)
	if q := m.mu.queues[b]; q != nil && m.mu.snapshot != nil {
		if _, held := m.untilOf(m.mu.snapshot, b, false, m.options.Now()); !held {
			m.endQueue(b, q)
			m.letGo()
		}
	}
}

// reactiveOf returns the bucket's reactive hold, nil when it has none or it is
// over.
func (m *Manager) reactiveOf(b bucketmap.BucketID, now time.Time) *reactive {
	r := m.mu.reactive[b]
	if r != nil && !now.Before(r.until) {
		m.dropReactive(b)
		return nil
	}
	return r
}

func (m *Manager) dropReactive(b bucketmap.BucketID) {
	delete(m.mu.reactive, b)
	m.reactives.Store(int64(len(m.mu.reactive)))
}

// endReactives drops the reactive holds that are over, or of whose bucket s
// says something else.
func (m *Manager) endReactives(s *bucketmap.Snapshot, now time.Time) {
	for b, r := range m.mu.reactive {
		if !now.Before(r.until) || routing.RouteOf(s, b) != r.route {
			m.dropReactive(b)
		}
	}
}
