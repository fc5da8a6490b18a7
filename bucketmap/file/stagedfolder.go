package file

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"drover/bucketmap"
)

const stagedName = "staged"

func (s *Store) stagedDir() string { return filepath.Join(s.historyDir(), stagedName) }

// stagedPrefix is what the names of all files begin with that would put this
// content in force.
func stagedPrefix(version bucketmap.Version, sum [sha256.Size]byte) string {
	return fmt.Sprintf("%0*d-%x-", versionDigits, version, sum[:sumBytes])
}

// stagedVersion is the version of a staged file, 0 of any other file.
func stagedVersion(name string) bucketmap.Version {
	digits, _, ok := strings.Cut(name, "-")
	version, err := strconv.ParseUint(digits, 10, 64)
	if !ok || err != nil || len(digits) != versionDigits {
		return 0
	}
	return bucketmap.Version(version)
}

// stagedNames returns the names of all staged files, in order; none where the
// folder cannot be read, which is where there is none, mostly.
func (s *Store) stagedNames() []string {
	dir, err := os.OpenFile(s.stagedDir(), os.O_RDONLY|syscall.O_DIRECTORY, 0) // which waits for nothing
	if err != nil {
		return nil
	}
	defer dir.Close()                // read only: nothing to lose
	names, _ := dir.Readdirnames(-1) // those that could be read
	names = slices.DeleteFunc(names, func(name string) bool { return stagedVersion(name) == 0 })
	slices.Sort(names)
	return names
}

// stagedRecord is the path of the record of the map in force, if its publisher
// died before the record was final; empty for none. data is map.yaml. Of two that
// staged the same bytes it may be the other's: they differ in who, why and when
// at most.
func (s *Store) stagedRecord(version bucketmap.Version, data []byte) string {
	prefix := stagedPrefix(version, sha256.Sum256(data))
	for _, name := range s.stagedNames() {
		if strings.HasPrefix(name, prefix) && strings.HasSuffix(name, finalSuffix) {
			return filepath.Join(s.stagedDir(), name)
		}
	}
	return ""
}

// clearStaged removes what is staged of versions before this one, which can never
// be in force any more, and whose records are durable if they were. What cannot
// be removed is in nobody's way.
func (s *Store) clearStaged(before bucketmap.Version) {
	for _, name := range s.stagedNames() {
		if stagedVersion(name) < before {
			_ = s.sys.remove("staged.clear", filepath.Join(s.stagedDir(), name))
		}
	}
}

// evict removes the oldest staged files, down to half of stagedFilesMax. It needs
// the lock, and removes nothing where map.yaml is another by now: then a record
// may be among them that is not final yet.
func (s *Store) evict(base content) {
	if !s.read().same(base) {
		return // the commit will find out
	}
	type old struct {
		path string
		time time.Time
	}
	var files []old
	for _, name := range s.stagedNames() {
		path := filepath.Join(s.stagedDir(), name)
		if info, err := os.Lstat(path); err == nil {
			files = append(files, old{path, info.ModTime()})
		}
	}
	slices.SortStableFunc(files, func(a, b old) int { return cmp.Or(a.time.Compare(b.time), cmp.Compare(a.path, b.path)) })
	for len(files) > stagedFilesMax/2 {
		_ = s.sys.remove("staged.evict", files[0].path) // as in clearStaged
		files = files[1:]
	}
}
