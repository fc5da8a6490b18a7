package file

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// system is the file operations of a publication. Each call has a name
// ("map.rename"), so that a test can fail or crash at exactly one.
type system interface {
	mkdir(name, dir string, mode fs.FileMode) error
	create(name, path string, mode fs.FileMode) (*os.File, error)
	write(name string, f *os.File, data []byte) error
	rewrite(name string, f *os.File, data []byte) error // from the file's beginning
	sync(name string, f *os.File) error
	close(name string, f *os.File) error
	rename(name, from, to string) error
	remove(name, path string) error
	syncDir(name, dir string) error
}

// disk is the system that there is.
type disk struct{}

// mkdir makes one folder. That it exists is no error.
func (disk) mkdir(_, dir string, mode fs.FileMode) error {
	err := os.Mkdir(dir, mode.Perm())
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Chmod(dir, mode) // whatever the umask
}

// create makes a new file in the place of one that a crash left: an old one
// may belong to another user, and would keep its permissions.
func (disk) create(_, path string, mode fs.FileMode) (*os.File, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(mode); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (disk) write(_ string, f *os.File, data []byte) error {
	_, err := f.Write(data)
	return err
}

func (disk) rewrite(_ string, f *os.File, data []byte) error {
	_, err := f.WriteAt(data, 0)
	return err
}

func (disk) sync(_ string, f *os.File) error { return f.Sync() }

func (disk) close(_ string, f *os.File) error { return f.Close() }

func (disk) rename(_, from, to string) error { return os.Rename(from, to) }

func (disk) remove(_, path string) error { return os.Remove(path) }

func (disk) syncDir(_, dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// replace puts data in the place of path in one step; durable says that it
// must survive a loss of power, once the folder is synced too. The temporary
// file has a fixed name, so that crashes leave one at most: the caller holds a
// lock.
func replace(sys system, name, path string, data []byte, mode fs.FileMode, durable bool) error {
	temporary := temporaryOf(path)
	if err := writeNew(sys, name, temporary, data, mode, durable); err != nil {
		return err
	}
	return sys.rename(name+".rename", temporary, path)
}

// writeNew writes a new file, complete or not at all as long as nobody reads it
// before it returns.
func writeNew(sys system, name, path string, data []byte, mode fs.FileMode, durable bool) error {
	f, err := sys.create(name+".create", path, mode)
	if err != nil {
		return err
	}
	err = sys.write(name+".write", f, data)
	if err == nil && durable {
		err = sys.sync(name+".sync", f)
	}
	if closeErr := sys.close(name+".close", f); err == nil {
		err = closeErr
	}
	return err
}

func temporaryOf(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".tmp")
}
