package whitelist

import (
	"io/fs"
	"os"

	"github.com/fsnotify/fsnotify"
)

// stamp tells a file's contents apart without reading them.
type stamp struct {
	info fs.FileInfo // nil: it cannot be looked at
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{info}
}

func (s stamp) same(o stamp) bool {
	if s.info == nil || o.info == nil {
		return s.info == nil && o.info == nil
	}
	return os.SameFile(s.info, o.info) && s.info.ModTime().Equal(o.info.ModTime()) && s.info.Size() == o.info.Size()
}

// folder tells of changes in the file's folder: the file may be replaced, and
// may be a link. Where the system tells nothing, Recheck finds them.
type folder struct {
	path    string
	watcher *fsnotify.Watcher // nil for none
	watched stamp
}

func newFolder(path string) *folder {
	d := &folder{path: path}
	d.renew()
	return d
}

// renew watches the folder again where it was made anew.
func (d *folder) renew() {
	info, err := os.Stat(d.path)
	if err == nil && d.watcher != nil && os.SameFile(info, d.watched.info) {
		return
	}
	d.close()
	if err != nil {
		return
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return
	}
	if err := watcher.Add(d.path); err != nil {
		_ = watcher.Close() // it watches nothing
		return
	}
	d.watcher, d.watched = watcher, stamp{info}
}

func (d *folder) close() {
	if d.watcher != nil {
		_ = d.watcher.Close() // it only read
		d.watcher = nil
	}
}

func (d *folder) events() <-chan fsnotify.Event {
	if d.watcher == nil {
		return nil
	}
	return d.watcher.Events
}

func (d *folder) errors() <-chan error {
	if d.watcher == nil {
		return nil
	}
	return d.watcher.Errors
}
