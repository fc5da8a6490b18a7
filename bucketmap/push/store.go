package push

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/file"
)

// mapName is the folder's file that a publication replaces. It is looked at
// here, never read: a change of it says that a Load is worth its while.
const mapName = "map.yaml"

// folder keeps its methods and hides its field.
type folder = file.Store

// Store is a map in a folder that is sent to each proxy. Load, Watch, Ack, At
// and History are the folder's.
type Store struct {
	*folder
	options   Options
	client    *http.Client
	closeIdle func()
	static    []string // the addresses of Options.Proxies

	mu struct {
		sync.Mutex
		proxies map[string]*proxy // by address; every one that was ever sent to or asked
		newest  *message          // the newest map known to have been in force; nil for none
		loaded  os.FileInfo       // map.yaml as refresh last loaded it
		seen    os.FileInfo       // map.yaml as refresh last saw it
	}
}

var _ bucketmap.Store = (*Store)(nil)

// Open returns the store in a folder, which it makes when there is none. It
// sends nothing.
func Open(options Options) (*Store, error) {
	if err := options.check(); err != nil {
		return nil, fmt.Errorf("open the store that pushes: %w", err)
	}
	static, err := baseAddresses(options.Proxies)
	if err != nil {
		return nil, fmt.Errorf("open the store that pushes: %w", err)
	}
	// Absolute, as the folder's own: a later change of the working directory
	// changes nothing.
	if options.Dir, err = filepath.Abs(options.Dir); err != nil {
		return nil, fmt.Errorf("open the store that pushes: %w", err)
	}
	kept, err := file.Open(options.Dir, options.Folder)
	if err != nil {
		return nil, err
	}
	s := &Store{folder: kept, options: options.withDefaults(), static: static}
	s.client, s.closeIdle = options.client()
	s.mu.proxies = map[string]*proxy{}
	return s, nil
}

// Close ends every Watch and WatchAcks with file.ErrClosed. It may be called
// twice.
func (s *Store) Close() error {
	err := s.folder.Close()
	s.closeIdle()
	return err
}

// Load returns the map in force.
func (s *Store) Load(ctx context.Context) (*bucketmap.Snapshot, error) {
	snapshot, err := s.folder.Load(ctx)
	if err == nil {
		s.remember(snapshot, nil)
	}
	return snapshot, err
}

// Publish puts next in force and sends it to every proxy. Its error is the
// folder's: once the folder has the map, the map is in force, and a proxy that
// has not got it shows in Acks.
func (s *Store) Publish(ctx context.Context, next *bucketmap.Snapshot, change bucketmap.Change) error {
	return s.publish(ctx, next, func() error { return s.folder.Publish(ctx, next, change) })
}

// publish sends next to every proxy once inFolder has put it in force.
func (s *Store) publish(ctx context.Context, next *bucketmap.Snapshot, inFolder func() error) error {
	var before *bucketmap.Snapshot
	if m := s.newest(); m != nil && m.snapshot.Version()+1 == next.Version() {
		before = m.snapshot
	}
	if err := inFolder(); err != nil {
		// After ErrOutcomeUnknown, too: a map that the folder may lose again
		// must run nowhere.
		return err
	}
	m := s.remember(next, before)
	_ = s.send(ctx, m) // Acks tells, and WatchAcks and Push repeat
	return nil
}

// Push sends the newest map to every proxy that does not run it. The error
// joins one *ProxyError for each that could not be brought to run it.
func (s *Store) Push(ctx context.Context) error {
	snapshot, err := s.folder.Load(ctx)
	if err != nil {
		return fmt.Errorf("push the map: %w", err)
	}
	m := s.remember(snapshot, nil)
	// What is known of the proxies may be old: one that began again without
	// its last good map runs none.
	_, err = s.askAll(ctx)
	if err != nil {
		return fmt.Errorf("push the map: %w", err)
	}
	if err := s.send(ctx, m); err != nil {
		return fmt.Errorf("push version %d: %w", m.snapshot.Version(), err)
	}
	return nil
}

func (s *Store) newest() *message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.newest
}

// remember keeps the newest map, and returns it as a message to the proxies.
// before is the map of the version before, nil when it is not at hand.
func (s *Store) remember(snapshot, before *bucketmap.Snapshot) *message {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.mu.newest; m != nil {
		if m.snapshot.Version() > snapshot.Version() {
			return newMessage(snapshot, before, s.options.Sign) // somebody was faster
		}
		if m.snapshot.Version() == snapshot.Version() && m.snapshot.Digest() == snapshot.Digest() &&
			(m.delta != nil || before == nil) {
			return m
		}
	}
	m := newMessage(snapshot, before, s.options.Sign)
	s.mu.newest = m
	return m
}

// settle is how long map.yaml must have stayed the same before it is sent
// unasked: an edit by hand may be half written, and half a file can be a map.
const settle = 1 * time.Second

// refresh loads the map if map.yaml is another than the one loaded last and is
// not being edited.
func (s *Store) refresh(ctx context.Context) error {
	path := filepath.Join(s.options.Dir, mapName)
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // nothing to send
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	loaded, seen := sameFile(s.mu.loaded, info), sameFile(s.mu.seen, info)
	s.mu.seen = info
	s.mu.Unlock()
	if loaded || !seen && time.Since(info.ModTime()) < settle {
		return nil
	}
	snapshot, err := s.folder.Load(ctx)
	if err != nil {
		return err
	}
	if after, err := os.Stat(path); err != nil || !sameFile(after, info) {
		return nil //nolint:nilerr // it is changing: looked at again in a moment
	}
	s.remember(snapshot, nil)
	s.mu.Lock()
	s.mu.loaded = info
	s.mu.Unlock()
	return nil
}

// sameFile says whether a file was neither replaced nor written to. a may be
// nil.
func sameFile(a, b os.FileInfo) bool {
	return a != nil && os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// fleet returns the proxies that there are now, those that answered last time
// first: the dead ones, with their timeouts, must not make them wait.
func (s *Store) fleet(ctx context.Context) ([]*proxy, error) {
	addresses := s.static
	if s.options.Discover != nil {
		found, err := s.options.Discover(ctx)
		if err != nil {
			return nil, fmt.Errorf("find the proxies: %w", err)
		}
		if addresses, err = baseAddresses(found); err != nil {
			return nil, fmt.Errorf("find the proxies: %w", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var answering, silent []*proxy
	for _, address := range addresses {
		p := s.mu.proxies[address]
		if p == nil {
			if len(s.mu.proxies) >= 2*ProxiesMax {
				clear(s.mu.proxies) // only knowledge of fleets of the past
			}
			p = newProxy(address)
			s.mu.proxies[address] = p
		}
		if p.isSilent() {
			silent = append(silent, p)
		} else {
			answering = append(answering, p)
		}
	}
	return append(answering, silent...), nil
}
