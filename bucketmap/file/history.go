package file

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

// The files of a version. A version with a record was in force; the one that
// map.yaml has is in force, too. A content or a delta says nothing.
const (
	contentSuffix = ".yaml"
	finalSuffix   = ".json"
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

// namesAtOnce is how many names of the history are in memory at a time.
const namesAtOnce = 1024

// eachFinal calls found with each version that has a final record, in no order.
func (s *Store) eachFinal(found func(bucketmap.Version)) (err error) {
	dir, err := os.OpenFile(s.historyDir(), os.O_RDONLY|syscall.O_DIRECTORY, 0) // which waits for nothing
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	for {
		names, err := dir.Readdirnames(namesAtOnce)
		for _, name := range names {
			digits, ok := strings.CutSuffix(name, finalSuffix)
			// A name that historyPath does not give is no version's.
			if !ok || len(digits) != versionDigits {
				continue
			}
			if v, err := strconv.ParseUint(digits, 10, 64); err == nil && v >= 1 {
				found(bucketmap.Version(v))
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// highest is the newest version with a final record, as long as the folder does
// not change.
type highest struct {
	version bucketmap.Version
	folder  fs.FileInfo // nil for nothing known
}

// highestFinal returns the newest version with a final record, 0 for none. To
// list a history of thousands takes milliseconds, so what was found is kept. It
// is believed while the folder has the same time, and, as two changes can have
// the same, there is no record of the version after.
func (s *Store) highestFinal() (bucketmap.Version, error) {
	folder, err := os.Stat(s.historyDir())
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	known := s.mu.highest
	s.mu.Unlock()
	if known.folder != nil && os.SameFile(known.folder, folder) && known.folder.ModTime().Equal(folder.ModTime()) && !s.hasFinal(known.version+1) {
		return known.version, nil
	}
	var version bucketmap.Version
	if err := s.eachFinal(func(v bucketmap.Version) { version = max(version, v) }); err != nil {
		return 0, err
	}
	s.mu.Lock()
	s.mu.highest = highest{version, folder}
	s.mu.Unlock()
	return version, nil
}

// rememberHighest notes the version whose record has just become final. It needs
// the publishers' lock: nobody else's has.
func (s *Store) rememberHighest(version bucketmap.Version) {
	folder, err := os.Stat(s.historyDir())
	if err != nil {
		return
	}
	s.mu.Lock()
	s.mu.highest = highest{version, folder}
	s.mu.Unlock()
}

// hasFinal says whether there is a record, or that it is not known.
func (s *Store) hasFinal(version bucketmap.Version) bool {
	_, err := os.Lstat(s.historyPath(version, finalSuffix))
	return !errors.Is(err, fs.ErrNotExist)
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

// encodeRecord returns what a record's file holds.
func encodeRecord(r bucketmap.Record) ([]byte, error) {
	line, err := json.Marshal(record{r.Version, r.Who, r.Why, r.When, r.Digest})
	if err != nil {
		return nil, err
	}
	if len(line) >= documentBytesMax {
		return nil, fmt.Errorf("a record of %d bytes, and nobody reads more than %d; shorten who and why", len(line)+1, documentBytesMax)
	}
	return append(line, '\n'), nil
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
	var versions []bucketmap.Version
	if err := s.eachFinal(func(v bucketmap.Version) { versions = append(versions, v) }); err != nil {
		return nil, err
	}
	var records []bucketmap.Record
	for _, v := range versions {
		r, err := s.readRecord(v, s.historyPath(v, finalSuffix))
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	// The map in force may have no final record yet. One that cannot be read
	// is not in force anywhere.
	now := s.read()
	current, err := s.decode(now)
	if err == nil && !slices.Contains(versions, current.Version()) {
		r, err := s.recordInForce(current.Version(), now.data)
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	slices.SortFunc(records, func(a, b bucketmap.Record) int { return cmp.Compare(b.Version, a.Version) })
	return records, nil
}

// recordInForce is the record of the map in force, where it is not final. data is
// map.yaml.
func (s *Store) recordInForce(version bucketmap.Version, data []byte) (bucketmap.Record, error) {
	if path := s.stagedRecord(version, data); path != "" {
		return s.readRecord(version, path)
	}
	return s.recordOfHandEdit(version)
}

func (s *Store) readRecord(version bucketmap.Version, path string) (bucketmap.Record, error) {
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
	if current, err := s.decode(s.read()); err == nil && current.Version() == version {
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
