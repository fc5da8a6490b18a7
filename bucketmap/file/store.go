package file

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"drover/bucketmap"
	"drover/bucketmap/file/regular"
	"drover/bucketmap/yaml"
)

const (
	mapName     = "map.yaml"
	lockName    = "lock"
	queueName   = "queue"
	historyName = "history"
	proxiesName = "proxies"

	// lockRetry is how often a lock that somebody holds is tried again: a
	// publication takes a few milliseconds.
	lockRetry = 2 * time.Millisecond

	// mapBytesMax bounds a map's file: the most that package yaml reads.
	mapBytesMax = 64 << 20
	// deltaBytesMax bounds the delta from the version before: a longer one saves
	// nobody much.
	deltaBytesMax = 256 << 10
	// documentBytesMax bounds a record of the history and an acknowledgement.
	// Who, why and a reason are a person's or a proxy's sentence each.
	documentBytesMax = 1 << 20

	// noWait opens a lock file that somebody has replaced by a pipe without
	// waiting for a writer.
	noWait = syscall.O_NONBLOCK
)

var (
	// ErrClosed is returned by a Store after Close.
	ErrClosed = errors.New("the store is closed")
	// ErrMapGone is returned where map.yaml is missing though the history says
	// that a map was in force.
	ErrMapGone = errors.New("map.yaml is gone; copy the newest .yaml file of the history over it")
	// ErrEdited is returned by Publish where map.yaml was changed by hand
	// without a higher version.
	ErrEdited = errors.New("map.yaml was changed by hand without a higher version; " +
		"raise its version, or copy the newest .yaml file of the history over it")
	// ErrLocked is returned where another publisher kept the lock for longer
	// than Options.LockWait.
	ErrLocked = errors.New("another publisher holds the lock; see who has the lock file open (fuser)")
	// ErrProxyTaken is returned by Ack where another live process uses the
	// same proxy id.
	ErrProxyTaken = errors.New("another live process uses this proxy id; give each proxy its own")
)

// Options are the limits of a Store. A zero field has its default.
type Options struct {
	// Recheck is how often Watch reads map.yaml though nothing was notified:
	// on network file systems nothing ever is. 2 s.
	Recheck time.Duration
	// AcksRecheck is how often WatchAcks looks which proxies are alive: the
	// death of a process notifies nobody. 200 ms.
	AcksRecheck time.Duration
	// Settle is how long an edit by hand must have stayed the same before it
	// is read: half a file can be a valid map. 50 ms.
	Settle time.Duration
	// LockWait bounds the wait for other publishers. 10 s.
	LockWait time.Duration
	// Now is the clock of the history's records. time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	setDefault(&o.Recheck, 2*time.Second)
	setDefault(&o.AcksRecheck, 200*time.Millisecond)
	setDefault(&o.Settle, 50*time.Millisecond)
	setDefault(&o.LockWait, 10*time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func setDefault(d *time.Duration, value time.Duration) {
	if *d <= 0 {
		*d = value
	}
}

// Store is a map in a folder.
type Store struct {
	dir      string
	options  Options
	sys      system
	fileMode fs.FileMode
	dirMode  fs.FileMode
	done     chan struct{} // closed by Close

	mu struct {
		sync.Mutex
		closed bool
		live   map[string]*life // by proxy id

		highest       highest
		foldersSynced bool
		// newest is the map that the last content was, which publishers read
		// again and again.
		newest    *bucketmap.Snapshot
		newestSum [sha256.Size]byte
	}
}

var _ bucketmap.Store = (*Store)(nil)

// Open returns the store in a folder, which it makes when there is none.
func Open(dir string, opts Options) (*Store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open the map's folder: %w", err)
	}
	// Absolute, so that a later change of the working directory changes
	// nothing.
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open the map's folder: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("open the map's folder: %w", err)
	}
	perm := info.Mode().Perm() &^ 0o002
	s := &Store{
		dir:      dir,
		options:  opts.withDefaults(),
		sys:      disk{},
		fileMode: perm&0o666 | 0o600,
		dirMode:  info.Mode()&fs.ModeSetgid | perm | 0o700,
		done:     make(chan struct{}),
	}
	s.mu.live = map[string]*life{}
	return s, nil
}

// Close ends every Watch and WatchAcks with ErrClosed and takes back the
// acknowledgements given through this store. It may be called twice.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return nil
	}
	s.mu.closed = true
	close(s.done)
	var errs []error
	for proxy, live := range s.mu.live {
		// While the lock is still held: after it the file is another's.
		if err := os.Remove(s.ackPath(proxy)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		errs = append(errs, live.close())
	}
	clear(s.mu.live)
	return errors.Join(errs...)
}

func (s *Store) isClosed() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

func (s *Store) mapPath() string { return filepath.Join(s.dir, mapName) }

// Load returns the map in force.
func (s *Store) Load(ctx context.Context) (*bucketmap.Snapshot, error) {
	if s.isClosed() {
		return nil, ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.decode(s.read())
}

// content is what map.yaml holds at one moment, or why it cannot be read.
type content struct {
	path string
	data []byte
	err  error
}

func (s *Store) read() content { return s.readInto(nil) }

// readInto uses a buffer's room.
func (s *Store) readInto(buffer []byte) content {
	c := content{path: s.mapPath()}
	c.data, c.err = regular.Append(buffer[:0], c.path, mapBytesMax)
	if errors.Is(c.err, fs.ErrNotExist) {
		highest, err := s.highestFinal()
		if err == nil && highest != 0 {
			// The first one may have been published between the two looks: the
			// map is there before the history says so.
			c.data, c.err = regular.Append(buffer[:0], c.path, mapBytesMax)
		}
		switch {
		case err != nil:
			c.err = err
		case !errors.Is(c.err, fs.ErrNotExist):
		case highest != 0:
			c.err = fmt.Errorf("%s: version %d was in force, but %w", s.dir, highest, ErrMapGone)
		default:
			c.err = fmt.Errorf("%s: %w", s.dir, bucketmap.ErrNoMap)
		}
	}
	return c
}

// contentKey is the same for the same content and the same error. The sum is of
// the one or of the other.
type contentKey struct {
	failed bool
	sum    [sha256.Size]byte
}

func (c content) key() contentKey {
	if c.err != nil {
		return contentKey{true, sha256.Sum256([]byte(c.err.Error()))}
	}
	return contentKey{false, sha256.Sum256(c.data)}
}

func (c content) decode() (*bucketmap.Snapshot, error) {
	if c.err != nil {
		return nil, c.err
	}
	snapshot, err := yaml.Decode(c.data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.path, err)
	}
	return snapshot, nil
}

// same says whether map.yaml is the same, or missing in both cases.
func (c content) same(other content) bool {
	if c.err != nil || other.err != nil {
		return errors.Is(c.err, bucketmap.ErrNoMap) && errors.Is(other.err, bucketmap.ErrNoMap)
	}
	return bytes.Equal(c.data, other.data)
}

// decode is content's, and knows the content that was decoded last.
func (s *Store) decode(c content) (*bucketmap.Snapshot, error) {
	if c.err != nil {
		return nil, c.err
	}
	sum := sha256.Sum256(c.data)
	s.mu.Lock()
	snapshot := s.mu.newest
	known := snapshot != nil && s.mu.newestSum == sum
	s.mu.Unlock()
	if known {
		return snapshot, nil
	}
	snapshot, err := c.decode()
	if err == nil {
		s.remember(sum, snapshot)
	}
	return snapshot, err
}

func (s *Store) remember(sum [sha256.Size]byte, snapshot *bucketmap.Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.newest, s.mu.newestSum = snapshot, sum
}

// locked runs f while it holds a lock file, exclusive or shared.
func (s *Store) locked(ctx context.Context, path string, shared bool, f func() error) (err error) {
	wait, cancel := context.WithTimeout(ctx, s.options.LockWait)
	defer cancel()
	lock := flock.New(path, flock.SetPermissions(s.fileMode), flock.SetFlag(os.O_RDONLY|os.O_CREATE|noWait))
	try := lock.TryLockContext
	if shared {
		// A reader may not be allowed to make files.
		lock = flock.New(path, flock.SetFlag(os.O_RDONLY|noWait))
		try = lock.TryRLockContext
	}
	if _, err := try(wait, lockRetry); err != nil {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case wait.Err() != nil:
			return fmt.Errorf("%s: %w", path, ErrLocked)
		default:
			return fmt.Errorf("lock: %w", err)
		}
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	return f()
}
