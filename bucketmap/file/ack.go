package file

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"drover/bucketmap"
	"drover/bucketmap/file/regular"
)

const (
	liveSuffix = ".live"
	ackSuffix  = ".json"
)

const (
	// ackBytes is what an acknowledgement is padded to, so that the next one has
	// room in the same place.
	ackBytes = 512
	// ackTries bounds the readings of one that is being written, which takes
	// microseconds.
	ackTries = 20
	ackPause = time.Millisecond
)

// ack is a bucketmap.Ack on disk.
type ack struct {
	Proxy   string            `json:"proxy"`
	Version bucketmap.Version `json:"version"`
	Digest  bucketmap.Digest  `json:"digest,omitzero"`
	Since   time.Time         `json:"since"`
	Refused bucketmap.Version `json:"refused,omitempty"`
	Reason  string            `json:"reason,omitempty"`
	// Check is a CRC-32C of the rest: who reads while it is written may get the
	// beginning of one and the end of another.
	Check uint32 `json:"check,omitempty"`
}

// sum is that of what Marshal makes of the rest.
func (a ack) sum() (uint32, error) {
	a.Check = 0
	data, err := json.Marshal(a)
	return sumOf(data), err
}

// sumOf is never 0, which is an acknowledgement without a check.
func sumOf(data []byte) uint32 {
	return crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)) | 1
}

// life is a proxy that this process speaks for.
type life struct {
	lock *flock.Flock
	// path is the lock's, and locked the file that is open.
	path   string
	locked os.FileInfo
	// file is the acknowledgement, nil before the first; size is its length.
	file    *os.File
	written os.FileInfo
	ackPath string
	size    int
	line    []byte // room for the next one
}

func (l *life) close() error {
	if l.file == nil {
		return l.lock.Close()
	}
	return errors.Join(l.file.Close(), l.lock.Close())
}

func (s *Store) proxiesDir() string { return filepath.Join(s.dir, proxiesName) }

func (s *Store) proxiesLock() string { return filepath.Join(s.proxiesDir(), lockName) }

func (s *Store) livePath(proxy string) string {
	return filepath.Join(s.proxiesDir(), proxy+liveSuffix)
}

func (s *Store) ackPath(proxy string) string {
	return filepath.Join(s.proxiesDir(), proxy+ackSuffix)
}

// Ack makes known what a proxy runs, until Close or the end of the process.
func (s *Store) Ack(ctx context.Context, a bucketmap.Ack) error {
	if !bucketmap.ValidName(a.Proxy) {
		return fmt.Errorf("acknowledge the map: proxy id %q: want a name of up to %d letters, digits, '.', '_' or '-'",
			a.Proxy, bucketmap.NameMax)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return ErrClosed
	}
	var room []byte
	if held := s.mu.live[a.Proxy]; held != nil {
		room = held.line
	}
	data, err := ack{a.Proxy, a.Version, a.Digest, a.Since.UTC(), a.Refused, a.Reason, 0}.appendTo(room[:0])
	if err != nil {
		return fmt.Errorf("acknowledge the map: %w", err)
	}
	if len(data) > documentBytesMax {
		return fmt.Errorf("acknowledge the map: %d bytes, and nobody reads more than %d; shorten the reason", len(data), documentBytesMax)
	}
	l, err := s.live(ctx, a.Proxy)
	if err == nil {
		err = s.tell(l, data)
	}
	if err != nil {
		return fmt.Errorf("acknowledge the map: %w", err)
	}
	return nil
}

// tell puts an acknowledgement in its file: the first as a new file, later ones
// over the one before. To make a file and a name for each would be most of what
// a proxy spends on a version, and would wait for the publisher's syncs. A
// longer one gets a new file, because a full disk could cut it. It needs s.mu.
//
// Nothing here is durable: it means nothing after a loss of power, and holds
// wait for it.
func (s *Store) tell(l *life, data []byte) (err error) {
	if l.file != nil {
		if len(data) <= l.size && isAt(l.written, l.ackPath) {
			l.line = padded(data, l.size)
			if s.sys.rewrite("ack.rewrite", l.file, l.line) == nil {
				return nil
			}
		}
		_ = l.file.Close() // of no more use
		l.file = nil
	}
	data = padded(data, ackBytes)
	if err := replace(s.sys, "ack", l.ackPath, data, s.fileMode, false); err != nil {
		return err
	}
	file, err := os.OpenFile(l.ackPath, os.O_WRONLY|noWait, 0)
	if err != nil {
		return err
	}
	if l.written, err = file.Stat(); err != nil {
		return errors.Join(err, file.Close())
	}
	l.file, l.size, l.line = file, len(data), data
	return nil
}

// padded appends blanks up to a size.
func padded(data []byte, size int) []byte {
	for len(data) < size {
		data = append(data, ' ')
	}
	return data
}

// live makes sure that this process holds the proxy's .live file, and that it
// is the one in the folder: somebody may have removed it by hand. It needs
// s.mu.
func (s *Store) live(ctx context.Context, proxy string) (*life, error) {
	if held := s.mu.live[proxy]; held != nil {
		if isAt(held.locked, held.path) {
			return held, nil
		}
		delete(s.mu.live, proxy)
		if err := held.close(); err != nil {
			return nil, err
		}
	}
	if err := s.sys.mkdir("proxies.mkdir", s.proxiesDir(), s.dirMode); err != nil {
		return nil, err
	}
	// The folder's lock is held while a proxy comes to life and while Acks
	// looks who lives. So nobody takes the moment between the lock on .live and
	// the removal of .json for a live proxy with its dead predecessor's word,
	// and nobody removes a .live file that is being locked.
	err := s.locked(ctx, s.proxiesLock(), false, func() error {
		lock := flock.New(s.livePath(proxy), flock.SetPermissions(s.fileMode), flock.SetFlag(os.O_RDONLY|os.O_CREATE|noWait))
		got, err := lock.TryLock()
		if err != nil {
			return errors.Join(err, lock.Close())
		}
		if !got {
			return errors.Join(fmt.Errorf("proxy %s: %w", proxy, ErrProxyTaken), lock.Close())
		}
		if err := os.Remove(s.ackPath(proxy)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(err, lock.Close())
		}
		locked, err := lock.Stat()
		if err != nil {
			return errors.Join(err, lock.Close())
		}
		s.mu.live[proxy] = &life{lock: lock, path: s.livePath(proxy), locked: locked, ackPath: s.ackPath(proxy)}
		return nil
	})
	return s.mu.live[proxy], err
}

// isAt says whether a file that is open is the one of that name. What it was
// when it was opened says so: while it is open, no other gets its number.
func isAt(held os.FileInfo, path string) bool {
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(held, there)
}

// Acks returns the acknowledgement of every live proxy, sorted by id, and
// clears away what dead ones left.
func (s *Store) Acks(ctx context.Context) ([]bucketmap.Ack, error) {
	if s.isClosed() {
		return nil, ErrClosed
	}
	var acks []bucketmap.Ack
	var dead []string
	look := func() (err error) {
		acks, dead, err = s.lookAtProxies()
		return err
	}
	err := s.locked(ctx, s.proxiesLock(), true, look)
	if errors.Is(err, fs.ErrNotExist) {
		err = look() // no proxy ever lived here, or somebody removed the lock
	}
	if err != nil {
		return nil, fmt.Errorf("acknowledgements: %w", err)
	}
	if len(dead) != 0 {
		// Only to be tidy: an operator may not have the permission.
		_ = s.locked(ctx, s.proxiesLock(), false, func() error { return s.bury(dead) })
	}
	return acks, nil
}

// lookAtProxies needs the folder's lock.
func (s *Store) lookAtProxies() (acks []bucketmap.Ack, dead []string, err error) {
	entries, err := os.ReadDir(s.proxiesDir()) // sorted, but by file name: "a-b.live" is before "a.live"
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	for _, entry := range entries {
		proxy, ok := strings.CutSuffix(entry.Name(), liveSuffix)
		if !ok || !bucketmap.ValidName(proxy) {
			continue
		}
		alive, err := s.isAlive(proxy)
		if err != nil {
			return nil, nil, err
		}
		if !alive {
			dead = append(dead, proxy)
			continue
		}
		a, err := s.readAck(proxy)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it lives, but has not said anything yet
		}
		if err != nil {
			return nil, nil, err
		}
		acks = append(acks, a)
	}
	slices.SortFunc(acks, func(a, b bucketmap.Ack) int { return strings.Compare(a.Proxy, b.Proxy) })
	return acks, dead, nil
}

// isAlive says whether somebody holds the .live file.
func (s *Store) isAlive(proxy string) (bool, error) {
	probe := flock.New(s.livePath(proxy), flock.SetFlag(os.O_RDONLY|noWait))
	got, err := probe.TryRLock()
	err = errors.Join(err, probe.Close())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return !got, err
}

// readAck reads an acknowledgement, again while it is being written.
func (s *Store) readAck(proxy string) (a bucketmap.Ack, err error) {
	for try := range ackTries {
		if try != 0 {
			time.Sleep(ackPause)
		}
		var data []byte
		if data, err = regular.Read(s.ackPath(proxy), documentBytesMax); err != nil {
			return bucketmap.Ack{}, err
		}
		if a, err = decodeAck(proxy, data); err == nil {
			return a, nil
		}
	}
	return bucketmap.Ack{}, fmt.Errorf("%s: %w; remove the file, and the proxy writes it at its next acknowledgement", s.ackPath(proxy), err)
}

// errTorn is an acknowledgement that is not what one writing wrote.
var errTorn = errors.New("its check is not that of its content")

func decodeAck(proxy string, data []byte) (bucketmap.Ack, error) {
	var a ack
	if err := json.Unmarshal(data, &a); err != nil {
		return bucketmap.Ack{}, err
	}
	if sum, err := a.sum(); err != nil {
		return bucketmap.Ack{}, err
	} else if a.Check != 0 && a.Check != sum {
		return bucketmap.Ack{}, errTorn
	}
	return bucketmap.Ack{
		Proxy: proxy, Version: a.Version, Digest: a.Digest, Since: a.Since.UTC(), Refused: a.Refused, Reason: a.Reason,
	}, nil
}

// bury removes the files of proxies that are still dead. It needs the folder's
// lock, exclusive: a proxy that comes to life waits.
func (s *Store) bury(dead []string) error {
	var errs []error
	for _, proxy := range dead {
		alive, err := s.isAlive(proxy)
		if err != nil || alive {
			errs = append(errs, err)
			continue
		}
		for _, path := range []string{s.ackPath(proxy), temporaryOf(s.ackPath(proxy)), s.livePath(proxy)} {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// WatchAcks calls changed with all acknowledgements, at once and whenever one
// changes, a proxy comes to life or one dies.
func (s *Store) WatchAcks(ctx context.Context, changed func([]bucketmap.Ack) bool) error {
	notes := newNotes(s.proxiesDir())
	defer notes.close()
	recheck := time.NewTicker(s.options.AcksRecheck)
	defer recheck.Stop()
	var reported []bucketmap.Ack
	for first := true; ; first = false {
		acks, err := s.Acks(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		if first || !slices.Equal(acks, reported) {
			reported = acks
			if !changed(slices.Clone(acks)) {
				return nil
			}
		}
		if err := s.waitForAcks(ctx, notes, recheck.C); err != nil {
			return err
		}
	}
}

// waitForAcks returns when there may be something new.
func (s *Store) waitForAcks(ctx context.Context, notes *notes, recheck <-chan time.Time) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.done:
			return ErrClosed
		case event, ok := <-notes.events():
			if !ok {
				notes.close()
			} else if !strings.HasSuffix(event.Name, ackSuffix) {
				continue // .live and temporary files; a proxy counts from its .json on
			}
			return nil
		case <-notes.errors(): //nolint:errcheck // whatever was lost, a look finds it
			return nil
		case <-recheck:
			notes.renew()
			return nil
		}
	}
}
