package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"drover/bucketmap"
	"drover/bucketmap/storetest"
)

// mishap is what happens at one named operation.
type mishap string

const (
	nothing     mishap = ""
	diskFull    mishap = "the operation fails"
	crashBefore mishap = "crash before"
	crashAfter  mishap = "crash after"
)

// powerLoss is what a crash does to what was not synced.
type powerLoss string

const (
	noLoss      powerLoss = "" // the process died alone
	loseRenames powerLoss = "power lost, unsynced renames are undone"
	loseData    powerLoss = "power lost, unsynced data is gone"
)

var errCrashed = errors.New("the process is dead")

// faulty is a disk with one mishap. It is slow at nothing: it does not sync.
type faulty struct {
	disk
	at      int // which call, from 0
	mishap  mishap
	calls   []string
	dead    bool
	dirty   map[string]bool // files with unsynced data
	renames []renamed       // not synced
	losses  [][]powerLoss   // after each call: those that would lose something, and none
}

type renamed struct {
	from, to string
	old      []byte // what was at to; nil for nothing
}

func (f *faulty) do(name string, operation func() error) error {
	if f.dead {
		return errCrashed
	}
	f.calls = append(f.calls, name)
	defer func() { f.losses = append(f.losses, f.losable()) }()
	if len(f.calls)-1 != f.at {
		return operation()
	}
	switch f.mishap {
	case nothing:
		return operation()
	case diskFull:
		return syscall.ENOSPC
	case crashBefore:
		f.dead = true
		return errCrashed
	case crashAfter:
		f.dead = true
		return errors.Join(errCrashed, operation())
	default:
		panic(f.mishap)
	}
}

// losable are the losses of power that differ now.
func (f *faulty) losable() []powerLoss {
	losses := []powerLoss{noLoss}
	if len(f.renames) != 0 {
		losses = append(losses, loseRenames)
	}
	if len(f.dirty) != 0 {
		losses = append(losses, loseData)
	}
	return losses
}

func (f *faulty) mkdir(name, dir string, mode fs.FileMode) error {
	return f.do(name, func() error { return f.disk.mkdir(name, dir, mode) })
}

func (f *faulty) create(name, path string, mode fs.FileMode) (file *os.File, err error) {
	err = f.do(name, func() error {
		if f.dirty == nil {
			f.dirty = map[string]bool{}
		}
		f.dirty[path] = true
		file, err = f.disk.create(name, path, mode)
		return err
	})
	if err != nil && file != nil {
		err = errors.Join(err, file.Close())
	}
	return file, err
}

func (f *faulty) write(name string, file *os.File, data []byte) error {
	alive := !f.dead
	err := f.do(name, func() error { return f.disk.write(name, file, data) })
	if alive && errors.Is(err, syscall.ENOSPC) {
		err = errors.Join(err, f.disk.write(name, file, data[:len(data)/2]))
	}
	return err
}

func (f *faulty) rewrite(name string, file *os.File, data []byte) error {
	alive := !f.dead
	err := f.do(name, func() error { return f.disk.rewrite(name, file, data) })
	if alive && errors.Is(err, syscall.ENOSPC) {
		err = errors.Join(err, f.disk.rewrite(name, file, data[:len(data)/2]))
	}
	return err
}

func (f *faulty) sync(name string, file *os.File) error {
	return f.do(name, func() error { delete(f.dirty, file.Name()); return nil })
}

// close closes whatever happens, as the end of a process does.
func (f *faulty) close(name string, file *os.File) error {
	return errors.Join(f.do(name, func() error { return nil }), file.Close())
}

func (f *faulty) rename(name, from, to string) error {
	return f.do(name, func() error {
		old, err := os.ReadFile(to)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := f.disk.rename(name, from, to); err != nil {
			return err
		}
		if f.dirty[from] {
			f.dirty[to] = true
		}
		delete(f.dirty, from)
		f.renames = append(f.renames, renamed{from, to, old})
		return nil
	})
}

func (f *faulty) remove(name, path string) error {
	return f.do(name, func() error {
		delete(f.dirty, path)
		return f.disk.remove(name, path)
	})
}

func (f *faulty) syncDir(name, dir string) error {
	return f.do(name, func() error {
		f.renames = slices.DeleteFunc(f.renames, func(r renamed) bool { return filepath.Dir(r.to) == dir })
		return nil
	})
}

// lose does what a loss of power can do.
func (f *faulty) lose(t *testing.T, loss powerLoss) {
	t.Helper()
	check := func(err error) {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	switch loss {
	case noLoss:
	case loseRenames:
		for _, r := range slices.Backward(f.renames) {
			check(os.Rename(r.to, r.from))
			if r.old != nil {
				check(os.WriteFile(r.to, r.old, 0o644))
			}
		}
	case loseData:
		for path := range f.dirty {
			check(os.Truncate(path, 0))
		}
	}
}

func TestCrashAtAnyOperationLeavesTheOldMapOrTheNew(t *testing.T) {
	for name, prepare := range before {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			crashEverywhere(t, prepare, atOnce)
		})
	}
	// The steps are the same, and with nothing to settle there is no lock.
	for _, name := range []string{"a map", "a map edited by hand"} {
		t.Run(name+", staged", func(t *testing.T) {
			t.Parallel()
			crashEverywhere(t, before[name], inTwoSteps)
		})
	}
}

func crashEverywhere(t *testing.T, prepare func(*testing.T, string) *bucketmap.Snapshot, f way) {
	t.Helper()
	template := t.TempDir()
	old := prepare(t, template)
	next := storetest.First(t)
	if old != nil {
		next = with(t, old, "emp-new")
	}
	// Without a mishap, to know the operations.
	whole := tryPublish(t, f, template, old, next, -1, nothing, noLoss)
	for at := range whole.calls {
		tryPublish(t, f, template, old, next, at, diskFull, noLoss)
		if at == 0 { // with nothing done; before any other is after the one before it
			tryPublish(t, f, template, old, next, at, crashBefore, noLoss)
		}
		for _, loss := range whole.losses[at] {
			tryPublish(t, f, template, old, next, at, crashAfter, loss)
		}
	}
}

// tryPublish publishes next in a copy of the template, with one mishap, and
// checks what is left.
func tryPublish(t *testing.T, f way, template string, old, next *bucketmap.Snapshot, at int, m mishap, loss powerLoss) *faulty {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "map")
	if err := os.CopyFS(dir, os.DirFS(template)); err != nil {
		t.Fatal(err)
	}
	sys := &faulty{at: at, mishap: m}
	s := open(t, dir, Options{})
	s.sys = sys
	published := f(t, s, next)
	if published == nil && loss == noLoss && m != nothing {
		loss = loseRenames // what was acknowledged survives the loss of power
	}
	sys.lose(t, loss)
	place := "no mishap"
	if at >= 0 {
		place = fmt.Sprintf("%s %s, %s", m, sys.calls[at], loss)
	}

	after := quick(t, dir)
	now, err := after.Load(t.Context())
	if old == nil && errors.Is(err, bucketmap.ErrNoMap) {
		now, err = nil, nil
	}
	switch {
	case err != nil:
		t.Fatalf("%s: no map is left: %v", place, err)
	case !now.Equal(old) && !now.Equal(next):
		t.Fatalf("%s: neither the old map nor the new is left: version %d", place, now.Version())
	case published == nil && !now.Equal(next):
		t.Fatalf("%s: published, but the old map is in force", place)
	case published != nil && m == diskFull && !errors.Is(published, bucketmap.ErrOutcomeUnknown) && !now.Equal(old):
		t.Fatalf("%s: failed with %v, but the new map is in force", place, published)
	}
	checkHistory(t, place, after, old, now)
	checkWatch(t, place, after, old, now)
	if now.Equal(next) {
		records, err := after.History(t.Context())
		if err != nil || records[0].Who != "ann" {
			t.Fatalf("%s: in force, but who published it is forgotten: %v, %v", place, records, err)
		}
	}

	// The next publisher copes, with other content under the same version if
	// the new map was never in force.
	third := storetest.First(t)
	if now != nil {
		third = with(t, now, "emp-third")
	}
	if err := after.Publish(t.Context(), third, bucketmap.Change{Who: "bob"}); err != nil {
		t.Fatalf("%s: the next publisher: %v", place, err)
	}
	checkHistory(t, place+", then published", after, old, now, third)
	checkWatch(t, place+", then published", after, now, third)
	after.clearStaged(third.Version() + 1) // as the next publisher does
	if left := after.stagedNames(); len(left) != 0 {
		t.Fatalf("%s: two versions later there is still %v", place, left)
	}
	return sys
}

// checkWatch checks what a watch reports that reported another map before.
func checkWatch(t *testing.T, place string, s *Store, before, now *bucketmap.Snapshot) {
	t.Helper()
	if now == nil {
		return
	}
	w, calls := watchOf(s, before)
	if w.look(false) {
		w.look(true) // an edit by hand
	}
	if len(*calls) != 1 || !(*calls)[0].snapshot.Equal(now) {
		t.Fatalf("%s: reported %+v, want version %d", place, *calls, now.Version())
	}
}

// checkHistory checks that the maps that were in force are in the history,
// and that everything in the history can be read.
func checkHistory(t *testing.T, place string, s *Store, inForce ...*bucketmap.Snapshot) {
	t.Helper()
	records, err := s.History(t.Context())
	if err != nil {
		t.Fatalf("%s: %v", place, err)
	}
	for _, want := range inForce {
		if want == nil {
			continue
		}
		if !slices.ContainsFunc(records, func(r bucketmap.Record) bool { return r.Version == want.Version() }) {
			t.Fatalf("%s: version %d was in force and has no record: %v", place, want.Version(), records)
		}
		got, err := s.At(t.Context(), want.Version())
		if err != nil || !got.Equal(want) {
			t.Fatalf("%s: version %d was in force and is not in the history: %v", place, want.Version(), err)
		}
	}
	for i, r := range records {
		if _, err := s.At(t.Context(), r.Version); err != nil {
			t.Fatalf("%s: %v", place, err)
		}
		if i != 0 && r.Version >= records[i-1].Version {
			t.Fatalf("%s: records out of order: %v", place, records)
		}
		if last := inForce[len(inForce)-1]; last == nil || r.Version > last.Version() {
			t.Fatalf("%s: version %d was never in force and has a record", place, r.Version)
		}
	}
}
