package file

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"drover/bucketmap"
	"drover/bucketmap/file/regular"
)

// A staged version is a few files in history/staged whose names begin alike:
// with the version, with the sum of its map.yaml, by which the record of a map
// is found whose publisher died right after the commit point, and with a random
// word, so that nobody touches the files of another publisher.
//
// The commit moves them away, the record last: it is in staged until the new map
// is in force, and durably so.
//
// Rejected: map.yaml as a second link to the content. An editor that writes in
// place would change the history.
const (
	newMapSuffix = ".map"

	// stagedFilesMax bounds the files that dead publishers leave between two
	// publications: 4 each, so 64 of them. Beyond it the oldest go.
	stagedFilesMax = 4 * 64
	// sumBytes is how much of the sum a name has: nobody has to be kept from
	// making two alike.
	sumBytes = 16
)

// staged is one version in history/staged.
type staged struct {
	store  *Store
	next   *bucketmap.Snapshot
	base   content // map.yaml, upon which it is staged
	data   []byte  // the new map.yaml
	sum    [sha256.Size]byte
	record []byte
	prefix string // of its files' paths
	delta  bool   // there is one, so data is known to decode to next
	ended  bool   // nothing is left to commit or to discard
}

// write stages next. The history must have current.
func (s *Store) write(base content, current, next *bucketmap.Snapshot, data []byte, change bucketmap.Change) (_ *staged, err error) {
	if err := s.makeFolders(); err != nil {
		return nil, err
	}
	// The commit before left that to this one: see commit.
	if err := s.sys.syncDir("history.syncdir", s.historyDir()); err != nil {
		return nil, err
	}
	s.clearStaged(next.Version())
	st := &staged{store: s, next: next, base: base, data: data, sum: sha256.Sum256(data)}
	st.prefix = filepath.Join(s.stagedDir(), stagedPrefix(next.Version(), st.sum)+rand.Text())
	st.record, err = encodeRecord(bucketmap.Record{Version: next.Version(), Change: change, When: s.options.Now().UTC(), Digest: next.Digest()})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = st.clear() // the next publisher clears away what is left
		}
	}()
	for _, f := range []struct {
		name, suffix string
		data         []byte
	}{
		{"record", finalSuffix, st.record},
		{"content", contentSuffix, data},
		{"map", newMapSuffix, data},
	} {
		if err := writeNew(s.sys, f.name, st.prefix+f.suffix, f.data, s.fileMode, true); err != nil {
			return nil, err
		}
	}
	if delta := encodeDelta(current, next, data); delta != nil {
		// Who finds none reads the YAML.
		_ = writeNew(s.sys, "delta", st.prefix+deltaSuffix, delta, s.fileMode, false)
		st.delta = true
	}
	return st, s.sys.syncDir("staged.syncdir", s.stagedDir())
}

// Commit puts the version in force.
func (st *staged) Commit(ctx context.Context) error {
	if err := st.putInForce(ctx); err != nil {
		return fmt.Errorf("publish version %d: %w", st.next.Version(), err)
	}
	return nil
}

func (st *staged) putInForce(ctx context.Context) error {
	if st.ended {
		return fmt.Errorf("it was committed or discarded before: %w", bucketmap.ErrConflict)
	}
	err := st.store.exclusive(ctx, func() error {
		if st.store.isClosed() {
			return ErrClosed
		}
		if err := st.stillFits(); err != nil {
			return err
		}
		return st.commit()
	})
	if !st.ended { // it did not come to the commit
		_ = st.clear() // the next publisher clears away what is left
	}
	return err
}

// Discard clears the version away.
func (st *staged) Discard(context.Context) error {
	if st.ended {
		return nil
	}
	return st.clear()
}

// stillFits says whether everything is as it was staged. It compares bytes:
// what a file system says of a file can be old, and the lock makes a file that
// is opened now a new one. It needs the lock.
func (st *staged) stillFits() error {
	s := st.store
	now := s.read()
	switch {
	case now.err != nil && !errors.Is(now.err, bucketmap.ErrNoMap):
		return now.err
	case !now.same(st.base):
		return fmt.Errorf("map.yaml is not the one that it was staged upon: %w", bucketmap.ErrConflict)
	case s.hasFinal(st.next.Version()):
		// map.yaml was set back by hand. Publish says so.
		return fmt.Errorf("the history has that version: %w", bucketmap.ErrConflict)
	}
	record, err := regular.Read(st.prefix+finalSuffix, documentBytesMax)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !bytes.Equal(record, st.record) {
		return st.gone()
	}
	return nil
}

func (st *staged) gone() error {
	return fmt.Errorf("what was staged has been cleared away: %w", bucketmap.ErrConflict)
}

// commit renames the new map over the old, which must be the one that it is
// staged upon. It needs the lock.
//
// The content is moved before, for watchers; it need not be durable before the
// map is, which has the same bytes. The record is moved after. None of the two is
// synced here: that is the next publisher's first step, before its map is in
// force and this one only in the history.
func (st *staged) commit() error {
	s, version := st.store, st.next.Version()
	if st.delta {
		_ = s.sys.rename("delta.rename", st.prefix+deltaSuffix, s.historyPath(version, deltaSuffix)) // as in write
	}
	if err := s.sys.rename("content.rename", st.prefix+contentSuffix, s.historyPath(version, contentSuffix)); err != nil {
		return st.failed(err)
	}
	if err := s.sys.rename("map.rename", st.prefix+newMapSuffix, s.mapPath()); err != nil {
		// It can have been done though its answer was lost, on a network file
		// system.
		now, readErr := regular.Read(s.mapPath(), mapBytesMax)
		if readErr != nil || !bytes.Equal(now, st.data) {
			return st.failed(err)
		}
	}
	st.ended = true
	if err := s.sys.syncDir("map.syncdir", s.dir); err != nil {
		return fmt.Errorf("%w: version %d is in force, but may be lost if the power fails now: %w",
			bucketmap.ErrOutcomeUnknown, version, err)
	}
	// The map is in force and its record is safe. What fails from here on the
	// next publisher does again, so it is not this one's error.
	if s.sys.rename("final.rename", st.prefix+finalSuffix, s.historyPath(version, finalSuffix)) == nil {
		s.rememberHighest(version)
	}
	if st.delta {
		s.remember(st.sum, st.next)
	}
	return nil
}

// failed clears away what a commit that did not happen leaves, and says why it
// did not.
func (st *staged) failed(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		err = st.gone()
	}
	_ = st.clear() // the next publisher clears away what is left
	return err
}

// clear removes what is left of the staged files.
func (st *staged) clear() error {
	st.ended = true
	var errs []error
	for _, suffix := range []string{finalSuffix, contentSuffix, newMapSuffix, deltaSuffix} {
		if err := st.store.sys.remove("staged.remove", st.prefix+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// makeFolders makes history and staged. That the former is there is durable
// then.
func (s *Store) makeFolders() error {
	_, err := os.Stat(s.historyDir())
	made := errors.Is(err, fs.ErrNotExist)
	if err := s.sys.mkdir("history.mkdir", s.historyDir(), s.dirMode); err != nil {
		return err
	}
	if err := s.sys.mkdir("staged.mkdir", s.stagedDir(), s.dirMode); err != nil {
		return err
	}
	s.mu.Lock()
	synced := s.mu.foldersSynced && !made
	s.mu.Unlock()
	if synced {
		return nil
	}
	// Whoever made it may have died before this.
	if err := s.sys.syncDir("history.syncparent", s.dir); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.foldersSynced = true
	return nil
}
