package main

import (
	"context"
	"sync"

	"drover/bucketmap"
	"drover/bucketmap/file"
)

// source is the map's store, opened when it is first needed and can be: a
// store that is down must not keep a proxy from starting by its last good map.
type source struct {
	open func() (*file.Store, error)

	mu    sync.Mutex // guards store
	store *file.Store
}

func newSource(dir string) *source {
	return &source{open: func() (*file.Store, error) { return file.Open(dir, file.Options{}) }}
}

func (s *source) get() (*file.Store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.store != nil {
		return s.store, nil
	}
	store, err := s.open()
	if err == nil {
		s.store = store
	}
	return store, err
}

// Load is bucketmap.Source's.
func (s *source) Load(ctx context.Context) (*bucketmap.Snapshot, error) {
	store, err := s.get()
	if err != nil {
		return nil, err
	}
	return store.Load(ctx)
}

// Watch is bucketmap.Source's. It fails at once when the store is down.
func (s *source) Watch(ctx context.Context, changed func(*bucketmap.Snapshot, error)) error {
	store, err := s.get()
	if err != nil {
		return err
	}
	return store.Watch(ctx, changed)
}

// Ack is bucketmap.Source's.
func (s *source) Ack(ctx context.Context, ack bucketmap.Ack) error {
	store, err := s.get()
	if err != nil {
		return err
	}
	return store.Ack(ctx, ack)
}

// close takes the acknowledgements back.
func (s *source) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.store == nil {
		return nil
	}
	return s.store.Close()
}
