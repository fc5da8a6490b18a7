package export

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"drover/bucketmap"
)

// ErrOlder is returned where a folder has a newer map than the one to export.
var ErrOlder = errors.New("a newer map was exported here")

const (
	lockName    = ".drover.lock"
	lockWaitMax = 30 * time.Second // for another export: it writes a few dozen MB
	lockPoll    = 20 * time.Millisecond
	headMax     = 512 // bytes of a main file's first line
	hashBytes   = 6   // of a folder's name: tells apart exports of one version
)

// Bundle is the files of one export.
type Bundle struct {
	Version bucketmap.Version
	// Files go into a folder of their own.
	Files map[string][]byte
	// Beside are files beside the main file. They must not depend on the map.
	Beside map[string][]byte
	// Name is the main file's, and Main makes it, given the absolute path of
	// the folder of Files. A line that says the version comes before it.
	Name string
	Main func(folder string) []byte
}

var (
	firstLine  = regexp.MustCompile(`^# Drover map version ([0-9]+), files in (drover-[0-9]+-[0-9a-f]+)\.`)
	folderName = regexp.MustCompile(`^drover-[0-9]+-[0-9a-f]+$`)
	plainPath  = regexp.MustCompile(`^[A-Za-z0-9/._-]+$`)
)

// Write writes the bundle into a folder, which it makes if need be, and
// returns the path of the main file.
func Write(dir string, b Bundle) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("export: %w", err)
	}
	if !plainPath.MatchString(dir) {
		return "", fmt.Errorf("export into %q: the path goes into a configuration; use one of letters, digits, '/', '.', '_' and '-'", dir)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("export: %w", err)
	}
	lock := flock.New(filepath.Join(dir, lockName))
	ctx, cancel := context.WithTimeout(context.Background(), lockWaitMax)
	defer cancel()
	if ok, err := lock.TryLockContext(ctx, lockPoll); !ok {
		return "", fmt.Errorf("export into %s: no lock after %v, is another export under way? %w", dir, lockWaitMax, err)
	}
	path, err := b.write(dir)
	return path, errors.Join(err, lock.Close())
}

// write is Write under the lock.
func (b *Bundle) write(dir string) (string, error) {
	path := filepath.Join(dir, b.Name)
	version, before, err := exported(path)
	if err != nil {
		return "", err
	}
	if version > b.Version {
		return "", fmt.Errorf("%w: %s has version %d, this is %d; remove that file to go back all the same", ErrOlder, path, version, b.Version)
	}
	name := fmt.Sprintf("drover-%d-%s", b.Version, hash(b.Files))
	if err := writeFolder(dir, name, b.Files); err != nil {
		return "", fmt.Errorf("export: %w", err)
	}
	for _, beside := range slices.Sorted(maps.Keys(b.Beside)) {
		if err := writeFile(filepath.Join(dir, beside), b.Beside[beside]); err != nil {
			return "", fmt.Errorf("export: %w", err)
		}
	}
	main := fmt.Appendf(nil, "# Drover map version %d, files in %s. Written by an export: what is changed here is lost.\n", b.Version, name)
	main = append(main, b.Main(filepath.Join(dir, name))...)
	if err := writeFile(path, main); err != nil {
		return "", fmt.Errorf("export: %w", err)
	}
	if err := removeOthers(dir, name, before); err != nil {
		return "", fmt.Errorf("export: %s is in place, but old files are left: %w", path, err)
	}
	return path, nil
}

// exported says which version a main file has, and which folder it names.
func exported(path string) (version bucketmap.Version, folder string, err error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, "", nil
	}
	if err != nil {
		return 0, "", fmt.Errorf("export: %w", err)
	}
	defer file.Close()
	head := make([]byte, headMax)
	n, _ := file.Read(head) // nothing read is no export's file
	words := firstLine.FindSubmatch(head[:n])
	if words == nil {
		return 0, "", fmt.Errorf("export: %s is not an export's file; remove it or use another folder", path)
	}
	number, err := strconv.ParseUint(string(words[1]), 10, 64)
	if err != nil {
		return 0, "", fmt.Errorf("export: the version in %s: %w", path, err)
	}
	return bucketmap.Version(number), string(words[2]), nil
}

func hash(files map[string][]byte) string {
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(sum, "%s %d\n", name, len(files[name]))
		sum.Write(files[name])
	}
	return hex.EncodeToString(sum.Sum(nil)[:hashBytes])
}

// writeFolder makes a folder complete, or finds it so: its name says what is
// in it.
func writeFolder(dir, name string, files map[string][]byte) error {
	target := filepath.Join(dir, name)
	if _, err := os.Stat(target); err == nil {
		return nil
	}
	partial := target + ".partial" // the lock's holder is the only one
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	if err := os.Mkdir(partial, 0o755); err != nil {
		return err
	}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if err := writeFile(filepath.Join(partial, file), files[file]); err != nil {
			return errors.Join(err, os.RemoveAll(partial))
		}
	}
	if err := os.Rename(partial, target); err != nil {
		return errors.Join(err, os.RemoveAll(partial))
	}
	return syncFolder(dir)
}

// writeFile puts a file in the place of the one that is there, whole.
func writeFile(path string, content []byte) error {
	partial := path + ".partial"
	file, err := os.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(partial))
	}
	if err := os.Rename(partial, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(dir string) error {
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

// removeOthers removes the folders of exports before the last but one: an edge
// that is being reloaded may still read that one.
func removeOthers(dir string, keep ...string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".partial")
		if !e.IsDir() || !folderName.MatchString(name) || slices.Contains(keep, e.Name()) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
