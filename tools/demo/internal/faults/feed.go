package faults

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// feedMax bounds what is kept: an hour of 25 lines a second. What comes after is
// not kept, and Until says so.
const feedMax = 90_000

// Feed collects what the lines of a program say.
type Feed[T any] struct {
	read func(line []byte) (T, bool)

	mu struct {
		sync.Mutex
		all     []T
		changed chan struct{} // closed when something has come, or nothing will
		ended   bool
	}
}

// NewFeed returns a feed of the lines that read understands.
func NewFeed[T any](read func(line []byte) (T, bool)) *Feed[T] {
	f := &Feed[T]{read: read}
	f.mu.changed = make(chan struct{})
	return f
}

// Line takes a line.
func (f *Feed[T]) Line(text []byte) {
	one, ok := f.read(text)
	if !ok {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.mu.all) < feedMax {
		f.mu.all = append(f.mu.all, one)
		f.wake()
	}
}

// End says that no line comes any more.
func (f *Feed[T]) End() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.ended = true
	f.wake()
}

// wake needs the lock.
func (f *Feed[T]) wake() {
	close(f.mu.changed)
	f.mu.changed = make(chan struct{})
}

// Len is how much has come.
func (f *Feed[T]) Len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.mu.all)
}

// Since returns what has come after so many.
func (f *Feed[T]) Since(from int) []T {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.mu.all[from:])
}

// Until waits for the first, after so many, that is what is wanted.
func (f *Feed[T]) Until(ctx context.Context, from int, what string, is func(T) bool) (T, error) {
	var none T
	for {
		f.mu.Lock()
		all, changed, ended := f.mu.all, f.mu.changed, f.mu.ended
		f.mu.Unlock()
		for ; from < len(all); from++ {
			if is(all[from]) {
				return all[from], nil
			}
		}
		if ended || len(all) == feedMax {
			return none, fmt.Errorf("%s: the program has ended, or said too much, and that was not in it", what)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return none, fmt.Errorf("%s: %w", what, context.Cause(ctx))
		}
	}
}
