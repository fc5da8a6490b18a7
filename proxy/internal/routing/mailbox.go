package routing

import (
	"context"
	"sync"
)

// mailbox hands the newest value to one reader. Values that nobody has taken
// are replaced.
type mailbox[T any] struct {
	mu    sync.Mutex // guards value and full
	value T
	full  bool
	wake  chan struct{}
}

func (m *mailbox[T]) init() { m.wake = make(chan struct{}, 1) }

func (m *mailbox[T]) put(v T) {
	m.mu.Lock()
	m.value, m.full = v, true
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// take waits for a value.
func (m *mailbox[T]) take(ctx context.Context) (T, error) {
	for {
		v, full := m.poll()
		if full {
			return v, nil
		}
		select {
		case <-m.wake:
		case <-ctx.Done():
			return v, context.Cause(ctx)
		}
	}
}

// poll returns the value, if there is one that nobody has taken.
func (m *mailbox[T]) poll() (v T, full bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, full = m.value, m.full
	m.full = false
	return v, full
}

// empty says whether there is no newer value.
func (m *mailbox[T]) empty() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.full
}
