package file

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"drover/bucketmap"
	"drover/bucketmap/file/regular"
)

// settleTries bounds the wait for a file that never stays the same: it is
// then read as it is.
const settleTries = 20

// Watch calls changed with the map at once and at every change.
func (s *Store) Watch(ctx context.Context, changed func(*bucketmap.Snapshot, error)) error {
	// Notified first, read after: a change in between is seen twice, not never.
	notes := newNotes(s.dir)
	defer notes.close()
	w := mapWatch{store: s, changed: changed}
	settle := time.NewTimer(0)
	settle.Stop()
	defer settle.Stop()
	look := func(timeUp bool) {
		if w.look(timeUp) {
			settle.Reset(s.options.Settle)
		}
	}
	look(false)
	recheck := time.NewTicker(notes.interval(s.options.Recheck))
	defer recheck.Stop()
	for {
		// Asked first: select picks any of those that are ready.
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if s.isClosed() {
			return ErrClosed
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.done:
			return ErrClosed
		case event, ok := <-notes.events():
			if !ok {
				notes.close()
				recheck.Reset(notes.interval(s.options.Recheck))
			} else if !ownName(event.Name) {
				look(false)
			}
		case <-notes.errors(): //nolint:errcheck // notifications were lost, whatever the reason
			look(false)
		case <-recheck.C:
			notes.renew()
			recheck.Reset(notes.interval(s.options.Recheck))
			look(false)
		case <-settle.C:
			look(true)
		}
	}
}

// ownName says whether a file of the folder has nothing to do with the map.
// Any other may have: map.yaml can be a link.
func ownName(path string) bool {
	switch filepath.Base(path) {
	case lockName, historyName, proxiesName, filepath.Base(temporaryOf(mapName)):
		return true
	default:
		return false
	}
}

// bufferMax is how much room a watch keeps for the next version: a map of
// 65,536 buckets in no order.
const bufferMax = 1 << 20

// mapWatch knows what was reported last.
type mapWatch struct {
	store    *Store
	changed  func(*bucketmap.Snapshot, error)
	started  bool
	reported contentKey
	last     *bucketmap.Snapshot // the newest map that was reported; nil for none
	// pending was seen tries times, and waits to stay the same. tries is 0
	// when nothing waits.
	pending contentKey
	tries   int
	// buffer and delta are room for what is read.
	buffer, delta []byte
}

// look reads the map and reports it if it is new and complete. timeUp says
// that what is pending had its time to change. look returns true when
// something new is pending and its time begins.
func (w *mapWatch) look(timeUp bool) bool {
	now := w.store.readInto(w.buffer)
	if now.err == nil && cap(now.data) <= bufferMax {
		w.buffer = now.data // package yaml keeps nothing of it
	}
	key := now.key()
	if w.started && key == w.reported {
		w.tries = 0
		return false
	}
	waits := w.tries != 0 && key == w.pending
	if waits && !timeUp {
		return false
	}
	if waits || w.tries >= settleTries || !w.started && now.err != nil {
		snapshot, err := now.decode()
		w.report(key, snapshot, err)
		return false
	}
	if snapshot := w.climb(now, key); snapshot != nil {
		w.report(key, snapshot, nil)
		return false
	}
	snapshot, err := now.decode()
	if err == nil && w.store.isPublished(snapshot.Version(), now.data) {
		w.report(key, snapshot, nil)
		return false
	}
	w.pending = key
	w.tries++
	return true
}

func (w *mapWatch) report(key contentKey, snapshot *bucketmap.Snapshot, err error) {
	w.tries, w.started, w.reported = 0, true, key
	if err == nil {
		w.last = snapshot
	}
	w.changed(snapshot, err)
}

// isPublished says whether a publisher wrote this content: then it is
// complete, because a publisher writes it into the history before.
func (s *Store) isPublished(version bucketmap.Version, data []byte) bool {
	kept, err := regular.Read(s.historyPath(version, contentSuffix), mapBytesMax)
	return err == nil && bytes.Equal(kept, data)
}

// notes are the notifications of one folder. Where the system gives none,
// because its limit of watches is reached or the folder is missing, there are
// none until renew succeeds, and interval makes the caller look more often.
type notes struct {
	dir     string
	watcher *fsnotify.Watcher // nil for none
	watched os.FileInfo       // the folder that is watched
}

// intervalBlind is how often to look without notifications. One stat and one
// read of a small file cost nothing at that rate.
const intervalBlind = 100 * time.Millisecond

func newNotes(dir string) *notes {
	n := &notes{dir: dir}
	n.renew()
	return n
}

// renew watches the folder again if it was deleted and made again meanwhile.
func (n *notes) renew() {
	info, err := os.Stat(n.dir)
	if err == nil && n.watcher != nil && os.SameFile(info, n.watched) {
		return
	}
	n.close()
	if err != nil {
		return
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return
	}
	if err := watcher.Add(n.dir); err != nil {
		_ = watcher.Close() // it watches nothing
		return
	}
	n.watcher, n.watched = watcher, info
}

func (n *notes) close() {
	if n.watcher != nil {
		_ = n.watcher.Close() // it only read
		n.watcher = nil
	}
}

func (n *notes) events() <-chan fsnotify.Event {
	if n.watcher == nil {
		return nil
	}
	return n.watcher.Events
}

func (n *notes) errors() <-chan error {
	if n.watcher == nil {
		return nil
	}
	return n.watcher.Errors
}

func (n *notes) interval(normal time.Duration) time.Duration {
	if n.watcher == nil {
		return min(normal, intervalBlind)
	}
	return normal
}
