package routing

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"drover/bucketmap"
	"drover/bucketmap/binary"
	"drover/bucketmap/file/regular"
	"drover/bucketmap/yaml"
	"drover/internal/pause"
)

// cacheBytesMax bounds the file of the last good map: 1,048,576 buckets with an
// epoch each and 2,000,000 whitelisted users of 100 bytes.
const cacheBytesMax = 256 << 20

// savePause bounds what keeping maps costs: × the time that the last one took,
// so a tenth of a processor however fast versions come, and savePauseMin at
// least, because a sync keeps the disk from whoever publishes there too.
const (
	savePause    = 9
	savePauseMin = time.Second
)

// ReadCache returns the last good map that a proxy kept in the file at path, or
// nil when there is none. A file that is neither such a map nor one in YAML, as
// older proxies kept it, or is not whole, is an error.
func ReadCache(path string) (*bucketmap.Snapshot, error) {
	data, err := regular.Read(path, cacheBytesMax)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if binary.Is(data) {
		// Of this machine's own writing: its checksum says that it is whole.
		return binary.Decode(data, nil)
	}
	s, err := yaml.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("it is no map that a proxy kept: neither binary nor YAML: %w", err)
	}
	return s, nil
}

// readCache returns the last good map if it may be used here.
func (t *Table) readCache() (*bucketmap.Snapshot, error) {
	if t.options.Cache == "" {
		return nil, nil
	}
	s, err := ReadCache(t.options.Cache)
	if s == nil || err != nil {
		return nil, err
	}
	if err := t.guard.Check(nil, s); err != nil {
		return nil, err
	}
	return s, nil
}

// save writes each good map to the cache, the newest only, and the last one
// even when ctx has ended meanwhile.
func (t *Table) save(ctx context.Context) error {
	t.saveUnkept()
	for {
		s, err := t.saves.take(ctx)
		if err != nil {
			if s, ok := t.saves.poll(); ok {
				t.saveOne(s)
			}
			return err
		}
		begun := time.Now()
		t.saveOne(s)
		_ = pause.For(ctx, max(savePauseMin, savePause*time.Since(begun))) // take sees the end
	}
}

func (t *Table) saveOne(s *bucketmap.Snapshot) {
	if t.options.Cache == "" {
		return
	}
	t.saveCohorts()
	data := binary.Append(nil, s, nil)
	err := fmt.Errorf("%d bytes are more than the %d that are read again", len(data), cacheBytesMax)
	if len(data) <= cacheBytesMax {
		err = writeFile(t.options.Cache, data)
	}
	if err != nil {
		t.options.Metrics.MapCacheErrors.Inc()
		t.options.Log.Error("the map could not be kept on disk; the proxy cannot start without the store",
			zap.String("path", t.options.Cache), zap.Error(err))
	}
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
