package file

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/file/regular"
	"drover/bucketmap/yaml"
)

// The files of a version. A version with a final record was in force; one with
// a pending record was in force if map.yaml says so. A delta says nothing.
const (
	contentSuffix = ".yaml"
	finalSuffix   = ".json"
	pendingSuffix = ".pending"
	deltaSuffix   = ".delta"
)

// versionDigits are those of bucketmap.VersionMax.
const versionDigits = 12

// record is a bucketmap.Record on disk.
type record struct {
	Version bucketmap.Version `json:"version"`
	Who     string            `json:"who"`
	Why     string            `json:"why"`
	When    time.Time         `json:"when"`
	// Digest is zero in records of maps that no publisher wrote, and of before
	// records had it.
	Digest bucketmap.Digest `json:"digest,omitzero"`
}

func (s *Store) historyDir() string { return filepath.Join(s.dir, historyName) }

// historyPath pads the version, so that a listing is in order.
func (s *Store) historyPath(version bucketmap.Version, suffix string) string {
	return filepath.Join(s.historyDir(), fmt.Sprintf("%0*d%s", versionDigits, version, suffix))
}

// finals returns the versions with a final record, in order.
func (s *Store) finals() ([]bucketmap.Version, error) {
	dir, err := os.OpenFile(s.historyDir(), os.O_RDONLY|syscall.O_DIRECTORY, 0) // which waits for nothing
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names, err := dir.Readdirnames(-1)
	if err = errors.Join(err, dir.Close()); err != nil {
		return nil, err
	}
	var versions []bucketmap.Version
	for _, name := range names {
		digits, ok := strings.CutSuffix(name, finalSuffix)
		if !ok {
			continue
		}
		v, err := strconv.ParseUint(digits, 10, 64)
		// A name that historyPath does not give is no version's.
		if err == nil && len(digits) == versionDigits && v >= 1 {
			versions = append(versions, bucketmap.Version(v))
		}
	}
	slices.Sort(versions)
	return versions, nil
}

func (s *Store) highestFinal() (bucketmap.Version, error) {
	versions, err := s.finals()
	if err != nil || len(versions) == 0 {
		return 0, err
	}
	return versions[len(versions)-1], nil
}

func (s *Store) hasPending(version bucketmap.Version) bool {
	_, err := os.Stat(s.historyPath(version, pendingSuffix))
	return err == nil
}

// historyHas says whether the history's content of the version is this map.
// Comments do not count.
func (s *Store) historyHas(snapshot *bucketmap.Snapshot, data []byte) (bool, error) {
	kept, err := regular.Read(s.historyPath(snapshot.Version(), contentSuffix), mapBytesMax)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if bytes.Equal(kept, data) {
		return true, nil
	}
	other, err := yaml.Decode(kept)
	return err == nil && other.Equal(snapshot), nil
}

// writePending writes a version's content and record, and syncs them.
func (s *Store) writePending(prefix string, r bucketmap.Record, data []byte) error {
	line, err := json.Marshal(record{r.Version, r.Who, r.Why, r.When, r.Digest})
	if err != nil {
		return err
	}
	if len(line) >= documentBytesMax {
		return fmt.Errorf("a record of %d bytes, and nobody reads more than %d; shorten who and why", len(line)+1, documentBytesMax)
	}
	if err := replace(s.sys, prefix+"content", s.historyPath(r.Version, contentSuffix), data, s.fileMode, true); err != nil {
		return err
	}
	if err := replace(s.sys, prefix+"record", s.historyPath(r.Version, pendingSuffix), append(line, '\n'), s.fileMode, true); err != nil {
		return err
	}
	// The folder that holds the history, too: it may be new.
	if err := s.sys.syncDir(prefix+"history.syncdir", s.historyDir()); err != nil {
		return err
	}
	return s.sys.syncDir(prefix+"history.syncparent", s.dir)
}

// makeFinal says that the version was in force.
func (s *Store) makeFinal(prefix string, version bucketmap.Version) error {
	from, to := s.historyPath(version, pendingSuffix), s.historyPath(version, finalSuffix)
	if err := s.sys.rename(prefix+"final.rename", from, to); err != nil {
		return err
	}
	return s.sys.syncDir(prefix+"final.syncdir", s.historyDir())
}

// recordOfHandEdit is the record of a map that no publisher wrote.
func (s *Store) recordOfHandEdit(version bucketmap.Version) (bucketmap.Record, error) {
	info, err := os.Stat(s.mapPath())
	if err != nil {
		return bucketmap.Record{}, err
	}
	change := bucketmap.Change{Who: "unknown", Why: "map.yaml edited by hand"}
	return bucketmap.Record{Version: version, Change: change, When: info.ModTime().UTC()}, nil
}

// History returns the record of every version that was in force, the newest
// first.
func (s *Store) History(ctx context.Context) ([]bucketmap.Record, error) {
	if s.isClosed() {
		return nil, ErrClosed
	}
	var records []bucketmap.Record
	read := func() (err error) {
		records, err = s.history()
		return err
	}
	// The lock keeps a record from being renamed while the folder is listed:
	// a listing can miss such a file under both its names.
	err := s.locked(ctx, filepath.Join(s.dir, lockName), true, read)
	if errors.Is(err, fs.ErrNotExist) {
		err = read() // nothing was ever published here
	}
	if err != nil {
		return nil, fmt.Errorf("history of the map: %w", err)
	}
	return records, nil
}

func (s *Store) history() ([]bucketmap.Record, error) {
	versions, err := s.finals()
	if err != nil {
		return nil, err
	}
	var records []bucketmap.Record
	for _, v := range versions {
		r, err := s.readRecord(v, finalSuffix)
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	// The map in force may have no final record yet. One that cannot be read
	// is not in force anywhere.
	current, err := s.read().decode()
	if err == nil && !slices.Contains(versions, current.Version()) {
		r, err := s.readRecord(current.Version(), pendingSuffix)
		if errors.Is(err, fs.ErrNotExist) {
			r, err = s.recordOfHandEdit(current.Version())
		}
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	slices.SortFunc(records, func(a, b bucketmap.Record) int { return cmp.Compare(b.Version, a.Version) })
	return records, nil
}

func (s *Store) readRecord(version bucketmap.Version, suffix string) (bucketmap.Record, error) {
	path := s.historyPath(version, suffix)
	data, err := regular.Read(path, documentBytesMax)
	if err != nil {
		return bucketmap.Record{}, err
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return bucketmap.Record{}, fmt.Errorf("%s: %w", path, err)
	}
	return bucketmap.Record{Version: version, Change: bucketmap.Change{Who: r.Who, Why: r.Why}, When: r.When.UTC(), Digest: r.Digest}, nil
}

// At returns the map of one version.
func (s *Store) At(ctx context.Context, version bucketmap.Version) (*bucketmap.Snapshot, error) {
	if s.isClosed() {
		return nil, ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// First the map in force, then the final record: a version that stops
	// being in force has its final record before.
	if current, err := s.read().decode(); err == nil && current.Version() == version {
		return current, nil
	}
	_, err := os.Stat(s.historyPath(version, finalSuffix))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("version %d is not in the history: %w", version, bucketmap.ErrNoMap)
	}
	if err != nil {
		return nil, err
	}
	path := s.historyPath(version, contentSuffix)
	data, err := regular.Read(path, mapBytesMax)
	if err != nil {
		return nil, fmt.Errorf("version %d of the map: %w", version, err)
	}
	return content{path: path, data: data}.decode()
}
