package script

import (
	"sync"
	"time"
)

// board is what a case's connections have seen so far. One lock for all: a
// check that looks at both sides sees one moment.
type board struct {
	mu      sync.Mutex
	changed chan struct{} // closed at the next change
}

func newBoard() *board { return &board{changed: make(chan struct{})} }

// update changes what is on the board, and wakes who waits.
func (b *board) update(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
	close(b.changed)
	b.changed = make(chan struct{})
}

// look runs a function under the lock.
func (b *board) look(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

// wait waits until the condition holds, and says whether it did in time.
func (b *board) wait(longest time.Duration, holds func() bool) bool {
	timer := time.NewTimer(longest)
	defer timer.Stop()
	for {
		b.mu.Lock()
		ok, changed := holds(), b.changed
		b.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-timer.C:
			return false
		}
	}
}
