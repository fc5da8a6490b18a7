package main

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// timed runs the migrator and notes how long each of its commands took. It is
// safe for concurrent use.
type timed struct {
	run func(ctx context.Context, args ...string) error

	mu struct {
		sync.Mutex
		took map[string][]time.Duration // by command, such as "bucket move"
	}
}

// Migrator runs a command; what fails is not noted.
func (t *timed) Migrator(ctx context.Context, args ...string) error {
	began := time.Now()
	err := t.run(ctx, args...)
	if err != nil {
		return err
	}
	name := args[0]
	if name == "bucket" {
		name += " " + args[1]
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.took == nil {
		t.mu.took = map[string][]time.Duration{}
	}
	t.mu.took[name] = append(t.mu.took[name], time.Since(began))
	return nil
}

// commandTimes is how long the runs of one command took, the shortest first.
type commandTimes struct {
	name string
	took []time.Duration
}

// times returns them by name.
func (t *timed) times() []commandTimes {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []commandTimes
	for _, name := range slices.Sorted(maps.Keys(t.mu.took)) {
		all = append(all, commandTimes{name, slices.Sorted(slices.Values(t.mu.took[name]))})
	}
	return all
}
