package routing

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.uber.org/zap"

	"drover/bucketmap"
	"drover/bucketmap/yaml"
)

// readCache returns the last good map, or nil when none was kept.
func (t *Table) readCache() (*bucketmap.Snapshot, error) {
	if t.options.Cache == "" {
		return nil, nil
	}
	text, err := os.ReadFile(t.options.Cache)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s, err := yaml.Decode(text)
	if err != nil {
		return nil, err
	}
	if err := t.checkUpstreams(s); err != nil {
		return nil, err
	}
	t.remember(s.Version(), text)
	return s, nil
}

// save writes each good map to the cache, the newest only, and the last one
// even when ctx has ended meanwhile.
func (t *Table) save(ctx context.Context) error {
	for {
		s, err := t.saves.take(ctx)
		if err == nil {
			t.saveOne(s)
			continue
		}
		if !t.saves.empty() {
			if s, err := t.saves.take(context.Background()); err == nil {
				t.saveOne(s)
			}
		}
		return err
	}
}

func (t *Table) saveOne(s *bucketmap.Snapshot) {
	text, err := yaml.Encode(s)
	if err == nil {
		t.remember(s.Version(), text)
		if t.options.Cache == "" {
			return
		}
		err = writeFile(t.options.Cache, text)
	}
	if err != nil {
		t.options.Log.Error("the map could not be kept on disk; the proxy cannot start without the store",
			zap.String("path", t.options.Cache), zap.Error(err))
	}
}

func (t *Table) remember(version bucketmap.Version, text []byte) {
	sum := sha256.Sum256(text)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.hash, t.mu.hashOf = hex.EncodeToString(sum[:]), version
}

// writeFile replaces the file as a whole: after a crash at any instant it is
// the old one or the new one. Order: write, sync, rename, sync the folder.
func writeFile(path string, text []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("make a temporary file: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if _, err = f.Write(text); err != nil {
		return errors.Join(fmt.Errorf("write: %w", err), f.Close())
	}
	if err = f.Sync(); err != nil {
		return errors.Join(fmt.Errorf("sync: %w", err), f.Close())
	}
	if err = f.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("rename: %w", err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open the folder: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}
