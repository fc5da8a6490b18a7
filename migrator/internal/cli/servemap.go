package cli

import (
	"cmp"
	"context"
	"errors"
	"sync"

	"drover/bucketmap"
	"drover/migrator/internal/console"
)

// sharedMap is the map as all parts of the console see it. They look at it many
// times a second, and to read one of a million buckets in no order takes a
// second: so it is followed once, by run, and read by nobody else. What changes
// the map, or proves something by it, asks the store itself.
type sharedMap struct {
	store

	mu struct {
		sync.Mutex
		seq  uint64 // of what was told, 0 before the first
		snap *bucketmap.Snapshot
		err  error         // why the newest cannot be read
		next chan struct{} // closed when there is more
	}
}

func newSharedMap(s store) *sharedMap {
	m := &sharedMap{store: s}
	m.mu.next = make(chan struct{})
	return m
}

// run follows the map until ctx ends, which is no error.
func (m *sharedMap) run(ctx context.Context) error {
	console.WatchAgain(ctx, func() error {
		return cmp.Or(m.store.Watch(ctx, m.told), errors.New("the watch of the map ended by itself, and begins again"))
	}, func(err error) { m.told(nil, err) })
	return nil
}

// told takes what the store tells.
func (m *sharedMap) told(snap *bucketmap.Snapshot, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.err = err; err == nil {
		m.mu.snap = snap
	}
	m.mu.seq++
	close(m.mu.next)
	m.mu.next = make(chan struct{})
}

// Watch calls changed with the newest map, at once and at every change.
func (m *sharedMap) Watch(ctx context.Context, changed func(*bucketmap.Snapshot, error)) error {
	for seen := uint64(0); ; {
		m.mu.Lock()
		seq, snap, err, next := m.mu.seq, m.mu.snap, m.mu.err, m.mu.next
		m.mu.Unlock()
		if seq != seen {
			if seen = seq; err != nil {
				snap = nil
			}
			changed(snap, err)
		}
		select {
		case <-next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Load returns the newest map that was told, and waits for the first.
func (m *sharedMap) Load(ctx context.Context) (*bucketmap.Snapshot, error) {
	for {
		m.mu.Lock()
		seq, snap, err, next := m.mu.seq, m.mu.snap, m.mu.err, m.mu.next
		m.mu.Unlock()
		switch {
		case seq != 0 && err != nil:
			return nil, err
		case seq != 0:
			return snap, nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
