package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"drover/bucketmap"
	"drover/bucketmap/file/regular"
	"drover/bucketmap/yaml"
)

// Publish puts next in force. See the package's comment for the steps.
func (s *Store) Publish(ctx context.Context, next *bucketmap.Snapshot, change bucketmap.Change) error {
	if s.isClosed() {
		return ErrClosed
	}
	data, err := yaml.Encode(next)
	if err != nil {
		return err
	}
	if len(data) > mapBytesMax {
		return fmt.Errorf("publish version %d: %d bytes in YAML, and nobody reads more than %d; use the consul or the push store for a map of that size",
			next.Version(), len(data), mapBytesMax)
	}
	err = s.locked(ctx, filepath.Join(s.dir, lockName), false, func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return s.publish(next, data, change)
	})
	if err != nil {
		return fmt.Errorf("publish version %d: %w", next.Version(), err)
	}
	return nil
}

// publish needs the lock.
func (s *Store) publish(next *bucketmap.Snapshot, data []byte, change bucketmap.Change) error {
	now := s.read()
	current, err := now.decode()
	if err != nil && !errors.Is(err, bucketmap.ErrNoMap) {
		return err
	}
	var version bucketmap.Version
	if current != nil {
		version = current.Version()
	}
	if next.Version() != version+1 {
		return fmt.Errorf("version %d is in force: %w", version, bucketmap.ErrConflict)
	}
	if err := bucketmap.CheckSuccessor(current, next); err != nil {
		return err
	}
	if err := s.sys.mkdir("history.mkdir", s.historyDir(), s.dirMode); err != nil {
		return err
	}
	if current != nil {
		if err := s.settleHistory(current, now.data); err != nil {
			return err
		}
	}
	record := bucketmap.Record{Version: next.Version(), Change: change, When: s.options.Now().UTC(), Digest: next.Digest()}
	if err := s.writePending("", record, data); err != nil {
		return err
	}
	s.writeDelta(current, next, data)
	if err := s.commit(next, data); err != nil {
		return err
	}
	// The map is in force and its record is safe. What fails from here on the
	// next publisher does again, so it is not this one's error.
	_ = s.makeFinal("", next.Version())
	return nil
}

// commit renames the new map over the old.
func (s *Store) commit(next *bucketmap.Snapshot, data []byte) error {
	err := replace(s.sys, "map", s.mapPath(), data, s.fileMode, true)
	if err != nil {
		// A rename can have been done though its answer was lost, on a network
		// file system.
		now, readErr := regular.Read(s.mapPath(), mapBytesMax)
		if readErr != nil || !bytes.Equal(now, data) {
			return err
		}
	}
	if err := s.sys.syncDir("map.syncdir", s.dir); err != nil {
		return fmt.Errorf("%w: version %d is in force, but may be lost if the power fails now: %w",
			bucketmap.ErrOutcomeUnknown, next.Version(), err)
	}
	return nil
}

// settleHistory makes sure that the history has the map in force before
// another one replaces it. data is map.yaml.
func (s *Store) settleHistory(current *bucketmap.Snapshot, data []byte) error {
	version := current.Version()
	highest, err := s.highestFinal()
	if err != nil {
		return err
	}
	if version < highest {
		return fmt.Errorf("version %d is in map.yaml, but version %d was in force: %w", version, highest, ErrEdited)
	}
	same, err := s.historyHas(current, data)
	if err != nil {
		return err
	}
	final := version == highest
	switch {
	case final && same:
		return nil
	case final:
		return fmt.Errorf("version %d of map.yaml is not version %d of the history: %w", version, version, ErrEdited)
	case same && s.hasPending(version):
		return s.makeFinal("settle.", version)
	}
	record, err := s.recordOfHandEdit(version)
	if err != nil {
		return err
	}
	if err := s.writePending("settle.", record, data); err != nil {
		return err
	}
	return s.makeFinal("settle.", version)
}
