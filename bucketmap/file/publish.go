package file

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"drover/bucketmap"
	"drover/bucketmap/yaml"
)

var _ bucketmap.Stager = (*Store)(nil)

// Publish puts next in force. See the package's comment for the steps.
func (s *Store) Publish(ctx context.Context, next *bucketmap.Snapshot, change bucketmap.Change) error {
	data, err := s.encode(next)
	if err != nil {
		return err
	}
	// One after the other, so that nobody writes what another one's commit makes
	// useless. A commit of what is staged does not wait for this: users may wait
	// for it.
	err = s.locked(ctx, filepath.Join(s.dir, queueName), false, func() error {
		staged, err := s.stage(ctx, next, data, change)
		if err != nil {
			return err
		}
		return staged.putInForce(ctx)
	})
	if err != nil {
		return fmt.Errorf("publish version %d: %w", next.Version(), err)
	}
	return nil
}

// Stage does all of Publish but the commit point. It has the lock only where the
// history is to be settled.
func (s *Store) Stage(ctx context.Context, next *bucketmap.Snapshot, change bucketmap.Change) (bucketmap.Staged, error) {
	data, err := s.encode(next)
	if err != nil {
		return nil, err
	}
	staged, err := s.stage(ctx, next, data, change)
	if err != nil {
		return nil, fmt.Errorf("stage version %d: %w", next.Version(), err)
	}
	return staged, nil
}

func (s *Store) stage(ctx context.Context, next *bucketmap.Snapshot, data []byte, change bucketmap.Change) (*staged, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	base, current, err := s.upon(next)
	if err != nil {
		return nil, err
	}
	if current != nil {
		// What looks wrong may be a publication under way.
		if settled, err := s.isSettled(current, base.data); err != nil || !settled {
			err = s.exclusive(ctx, func() error {
				if base, current, err = s.upon(next); err != nil {
					return err
				}
				return s.settle(current, base.data)
			})
			if err != nil {
				return nil, err
			}
		}
	}
	staged, err := s.write(base, current, next, data, change)
	if err != nil {
		return nil, err
	}
	if len(s.stagedNames()) > stagedFilesMax {
		if err := s.exclusive(ctx, func() error { s.evict(base); return nil }); err != nil {
			_ = staged.clear()
			return nil, err
		}
	}
	return staged, nil
}

// encode returns what map.yaml will hold.
func (s *Store) encode(next *bucketmap.Snapshot) ([]byte, error) {
	if s.isClosed() {
		return nil, ErrClosed
	}
	data, err := yaml.Encode(next)
	if err != nil {
		return nil, err
	}
	if len(data) > mapBytesMax {
		return nil, fmt.Errorf("publish version %d: %d bytes in YAML, and nobody reads more than %d; use the consul or the push store for a map of that size",
			next.Version(), len(data), mapBytesMax)
	}
	return data, nil
}

// exclusive runs f while it holds the publishers' lock.
func (s *Store) exclusive(ctx context.Context, f func() error) error {
	return s.locked(ctx, filepath.Join(s.dir, lockName), false, func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return f()
	})
}

// upon returns what map.yaml holds and the map in force, nil for none, if next
// may follow it.
func (s *Store) upon(next *bucketmap.Snapshot) (content, *bucketmap.Snapshot, error) {
	base := s.read()
	current, err := s.decode(base)
	if err != nil && !errors.Is(err, bucketmap.ErrNoMap) {
		return base, nil, err
	}
	var version bucketmap.Version
	if current != nil {
		version = current.Version()
	}
	if next.Version() != version+1 {
		return base, nil, fmt.Errorf("version %d is in force: %w", version, bucketmap.ErrConflict)
	}
	return base, current, bucketmap.CheckSuccessor(current, next)
}

// isSettled says whether the history has the map in force. data is map.yaml.
func (s *Store) isSettled(current *bucketmap.Snapshot, data []byte) (bool, error) {
	version := current.Version()
	highest, err := s.highestFinal()
	switch {
	case err != nil:
		return false, err
	case version < highest:
		return false, fmt.Errorf("version %d is in map.yaml, but version %d was in force: %w", version, highest, ErrEdited)
	case version > highest:
		return false, nil
	}
	same, err := s.historyHas(current, data)
	if err != nil || same {
		return same, err
	}
	// A loss of power can undo the rename of the content and not that of the
	// record.
	r, err := s.readRecord(version, s.historyPath(version, finalSuffix))
	if err == nil && r.Digest == current.Digest() {
		return false, nil
	}
	return false, fmt.Errorf("version %d of map.yaml is not version %d of the history: %w", version, version, ErrEdited)
}

// settle makes sure that the history has the map in force before another one
// replaces it. data is map.yaml. It needs the lock.
func (s *Store) settle(current *bucketmap.Snapshot, data []byte) error {
	if settled, err := s.isSettled(current, data); err != nil || settled {
		return err
	}
	if err := s.makeFolders(); err != nil {
		return err
	}
	// A publisher that died may have left it undone. A history that is ahead of
	// the map would stop everybody.
	if err := s.sys.syncDir("settle.map.syncdir", s.dir); err != nil {
		return err
	}
	version := current.Version()
	same, err := s.historyHas(current, data)
	if err != nil {
		return err
	}
	if !same {
		if err := replace(s.sys, "settle.content", s.historyPath(version, contentSuffix), data, s.fileMode, true); err != nil {
			return err
		}
		if err := s.sys.syncDir("settle.content.syncdir", s.historyDir()); err != nil {
			return err
		}
	}
	if s.hasFinal(version) {
		return nil
	}
	if path := s.stagedRecord(version, data); path != "" {
		return s.sys.rename("settle.final.rename", path, s.historyPath(version, finalSuffix))
	}
	record, err := s.recordOfHandEdit(version)
	if err != nil {
		return err
	}
	line, err := encodeRecord(record)
	if err != nil {
		return err
	}
	return replace(s.sys, "settle.final", s.historyPath(version, finalSuffix), line, s.fileMode, true)
}
