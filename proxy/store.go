package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/consul"
	"drover/bucketmap/file"
	"drover/bucketmap/push"
	"drover/proxy/internal/config"
)

// store is what a proxy needs of the map's store.
type store interface {
	bucketmap.Source
	Close() error
}

// openStore opens the store of the configuration.
func openStore(m *config.Map) (store, error) {
	switch m.Store {
	case config.StoreConsul:
		keys, err := m.PublicKeys()
		if err != nil {
			return nil, err
		}
		return openConsul(&m.Consul, keys)
	case config.StorePush:
		return nothing{}, nil
	default:
		s, err := file.Open(m.Dir, file.Options{})
		if err != nil {
			return nil, err
		}
		return folder{s}, nil
	}
}

func openConsul(c *config.Consul, keys []ed25519.PublicKey) (store, error) {
	o := consul.Options{
		Address: c.Address, Datacenter: c.Datacenter, Prefix: c.Prefix, Token: c.Token, TokenFile: c.TokenFile, Keys: keys,
	}
	if c.TLS != (config.ConsulTLS{}) {
		o.TLS = &consul.TLS{CA: c.TLS.CA, Cert: c.TLS.Cert, Key: c.TLS.Key, ServerName: c.TLS.ServerName}
	}
	s, err := consul.Open(o)
	if err != nil {
		return nil, err // not s: a nil store is no nil interface
	}
	return s, nil
}

// folder is the file store, which has no word of its own for what is no map.
type folder struct{ *file.Store }

// Load is bucketmap.Source's.
func (f folder) Load(ctx context.Context) (*bucketmap.Snapshot, error) {
	next, err := f.Store.Load(ctx)
	return next, unreadable(ctx, err)
}

// Watch is bucketmap.Source's.
func (f folder) Watch(ctx context.Context, changed func(*bucketmap.Snapshot, error)) error {
	return f.Store.Watch(ctx, func(next *bucketmap.Snapshot, err error) { changed(next, unreadable(ctx, err)) })
}

// unreadable tells a file that is no map, or that somebody took away, from a
// folder that cannot be read.
func unreadable(ctx context.Context, err error) error {
	var path *fs.PathError
	if err == nil || ctx.Err() != nil || errors.As(err, &path) || errors.Is(err, bucketmap.ErrNoMap) || errors.Is(err, file.ErrClosed) {
		return err
	}
	return &bucketmap.RefusedError{Rule: bucketmap.RuleUnreadable, Detail: err.Error(), Remedy: "check it with migrator map verify, mend it, and publish it again"}
}

// nothing is the store of a proxy that is pushed to: publishers come to it.
type nothing struct{}

// Load is bucketmap.Source's.
func (nothing) Load(context.Context) (*bucketmap.Snapshot, error) { return nil, bucketmap.ErrNoMap }

// Watch is bucketmap.Source's.
func (nothing) Watch(ctx context.Context, _ func(*bucketmap.Snapshot, error)) error {
	<-ctx.Done()
	return ctx.Err()
}

// Ack is bucketmap.Source's.
func (nothing) Ack(context.Context, bucketmap.Ack) error { return nil }

// Close is store's.
func (nothing) Close() error { return nil }

// source is the map's store, opened when it is first needed and can be: a
// store that is down must not keep a proxy from starting by its last good map.
type source struct {
	open func() (store, error)

	mu struct {
		sync.Mutex
		store store // nil until it is open
	}
}

func newSource(m *config.Map) *source {
	return &source{open: func() (store, error) { return openStore(m) }}
}

func (s *source) get() (store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.store != nil {
		return s.mu.store, nil
	}
	opened, err := s.open()
	if err == nil {
		s.mu.store = opened
	}
	return opened, err
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
	if s.mu.store == nil {
		return nil
	}
	return s.mu.store.Close()
}

// loadOnce loads the map of a store that is open for nothing else, and changes
// nothing there.
func loadOnce(ctx context.Context, m *config.Map) (*bucketmap.Snapshot, error) {
	if m.Store == config.StoreFile {
		if _, err := os.Stat(m.Dir); err != nil { // opening the store would make it
			return nil, err
		}
	}
	s := newSource(m)
	next, err := s.Load(ctx)
	return next, errors.Join(err, s.close())
}

// loadWaitMax bounds what a command waits for the store.
const loadWaitMax = 5 * time.Second

// loadWithin is loadOnce within loadWaitMax.
func loadWithin(ctx context.Context, m *config.Map) (*bucketmap.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, loadWaitMax)
	defer cancel()
	return loadOnce(ctx, m)
}

// receiving is a source beside which maps are pushed. Publishers who ask this
// proxy hear what it runs.
type receiving struct {
	*source
	receiver *push.Receiver
	pushed   bool // nothing but what is pushed comes
}

// Watch is bucketmap.Source's. Maps that are pushed have been offered already:
// only what is no map is left to be said, and, where there is a store, that is
// for who pushed it alone. That nothing was pushed yet is no news either, and may
// be over by the time that it is heard.
func (r receiving) Watch(ctx context.Context, changed func(*bucketmap.Snapshot, error)) error {
	if !r.pushed {
		return r.source.Watch(ctx, changed)
	}
	return r.receiver.Watch(ctx, func(_ *bucketmap.Snapshot, err error) {
		if err != nil && !errors.Is(err, bucketmap.ErrNoMap) {
			changed(nil, err)
		}
	})
}

// Ack is bucketmap.Source's.
func (r receiving) Ack(ctx context.Context, ack bucketmap.Ack) error {
	return errors.Join(r.receiver.Ack(ctx, ack), r.source.Ack(ctx, ack))
}
