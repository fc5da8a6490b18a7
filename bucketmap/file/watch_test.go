package file

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/storetest"
	"drover/bucketmap/yaml"
)

const waitMax = 20 * time.Second

type call struct {
	snapshot *bucketmap.Snapshot
	err      error
}

// watching starts Watch and returns how to get its next call.
func watching(t *testing.T, s *Store) func() call {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitMax)
	calls := make(chan call)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Watch(ctx, func(m *bucketmap.Snapshot, err error) {
			select {
			case calls <- call{m, err}:
			case <-ctx.Done():
			}
		})
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return func() call {
		t.Helper()
		select {
		case c := <-calls:
			return c
		case <-ctx.Done():
			t.Fatal("Watch did not call")
			return call{}
		}
	}
}

func wantVersion(t *testing.T, c call, version bucketmap.Version) {
	t.Helper()
	if c.err != nil || c.snapshot.Version() != version {
		t.Fatalf("call with %+v, want version %d", c, version)
	}
}

func encode(t *testing.T, s *bucketmap.Snapshot) string {
	t.Helper()
	data, err := yaml.Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Every call is awaited before the next change, so a call too many would be
// taken for the next one and fail the test.
func TestBrokenFileIsOneCallAndAGoodOneRecovers(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{Settle: time.Millisecond, Recheck: 5 * time.Millisecond})
	next := watching(t, s)
	if c := next(); c.snapshot != nil || !errors.Is(c.err, bucketmap.ErrNoMap) {
		t.Fatalf("at first %+v, want ErrNoMap", c)
	}
	first := storetest.First(t)
	publish(t, s, first)
	wantVersion(t, next(), 1)
	wantBroken := func(want error) {
		t.Helper()
		c := next()
		if c.snapshot != nil || c.err == nil || want != nil && !errors.Is(c.err, want) {
			t.Fatalf("call with %+v, want an error %v", c, want)
		}
	}
	for _, broken := range []string{"", "garbage", encode(t, first)[:40], "\x00\x00"} {
		replaceMap(t, dir, broken)
		wantBroken(nil)
	}
	if err := os.Remove(filepath.Join(dir, mapName)); err != nil {
		t.Fatal(err)
	}
	wantBroken(ErrMapGone)
	replaceMap(t, dir, encode(t, first))
	wantVersion(t, next(), 1)
	publish(t, s, with(t, first, "emp-2"))
	wantVersion(t, next(), 2)
}

// replaceMap renames over map.yaml, as most editors do.
func replaceMap(t *testing.T, dir, text string) {
	t.Helper()
	name := filepath.Join(dir, "editor~")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name, filepath.Join(dir, mapName)); err != nil {
		t.Fatal(err)
	}
}

func TestHandEditIsSeen(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{Settle: time.Millisecond})
	first := storetest.First(t)
	publish(t, s, first)
	next := watching(t, s)
	wantVersion(t, next(), 1)
	second := with(t, first, "emp-2")
	replaceMap(t, dir, "# over it\n"+encode(t, second))
	wantVersion(t, next(), 2)
	third := with(t, second, "emp-3")
	text := encode(t, third)
	data := []byte("# in place\n" + text)
	if err := os.WriteFile(filepath.Join(dir, mapName), data, 0o644); err != nil {
		t.Fatal(err)
	}
	// Between truncation and the end of the write the file can be empty for
	// longer than this test's Settle.
	c := next()
	for c.err != nil {
		c = next()
	}
	wantVersion(t, c, 3)
}

func TestHalfWrittenValidMapIsNotReported(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	first := storetest.First(t)
	publish(t, s, first)
	var calls []call
	w := mapWatch{store: s, changed: func(m *bucketmap.Snapshot, err error) { calls = append(calls, call{m, err}) }}
	if w.look(false) || len(calls) != 1 {
		t.Fatalf("a published map waits, or was not reported: %v", calls)
	}
	second := with(t, first, "emp-2")
	half := second.Edit()
	half.Version = 2
	clear(half.Whitelist)
	handEdit(t, dir, half) // a valid map, but not all of it
	if !w.look(false) || w.look(false) || len(calls) != 1 {
		t.Fatal("half a map was reported at once, or waits twice")
	}
	writeMap(t, dir, encode(t, second))
	if !w.look(true) || len(calls) != 1 {
		t.Fatal("what changed while it waited does not wait anew")
	}
	if w.look(true) || len(calls) != 2 || !calls[1].snapshot.Equal(second) {
		t.Fatalf("the whole map was not reported: %v", calls)
	}
	if w.look(false) || w.look(true) || len(calls) != 2 {
		t.Fatal("reported twice")
	}
	for range settleTries { // a file that never stays the same
		second = with(t, second, "x")
		writeMap(t, dir, encode(t, second))
		w.look(true)
	}
	writeMap(t, dir, encode(t, with(t, second, "y")))
	if w.look(true); len(calls) != 3 {
		t.Fatal("a file that never stays the same was never read")
	}
}

func TestWatchSurvivesANewFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "map")
	s := open(t, dir, Options{Recheck: 5 * time.Millisecond, Settle: time.Millisecond})
	first := storetest.First(t)
	publish(t, s, first)
	next := watching(t, s)
	wantVersion(t, next(), 1)
	other := dir + "-new"
	second := with(t, first, "emp-2")
	o := open(t, other, Options{})
	publish(t, o, first)
	publish(t, o, second)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if c := next(); c.err == nil {
		t.Fatalf("call with %+v for a folder that is gone", c)
	}
	if err := os.Rename(other, dir); err != nil {
		t.Fatal(err)
	}
	c := next()
	for c.err != nil { // the folder may be gone in more than one way meanwhile
		c = next()
	}
	wantVersion(t, c, 2)
	publish(t, s, with(t, second, "emp-3"))
	wantVersion(t, next(), 3)
}

// A link that is switched, as Kubernetes does with a mounted map.
func TestSwitchedLinkIsSeen(t *testing.T) {
	dir := t.TempDir()
	first := storetest.First(t)
	for name, m := range map[string]*bucketmap.Snapshot{"1": first, "2": with(t, first, "emp-2")} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		writeMap(t, filepath.Join(dir, name), encode(t, m))
	}
	link := func(from, to string) {
		t.Helper()
		if err := os.Symlink(from, filepath.Join(dir, "tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "tmp"), filepath.Join(dir, to)); err != nil {
			t.Fatal(err)
		}
	}
	link("1", "..data")
	link("..data/"+mapName, mapName)
	s := open(t, dir, Options{Recheck: time.Hour, Settle: time.Millisecond})
	next := watching(t, s)
	wantVersion(t, next(), 1)
	link("2", "..data")
	wantVersion(t, next(), 2)
}

func TestCloseEndsWatches(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	ended := make(chan error, 2)
	ready := make(chan struct{}, 2)
	go func() {
		ended <- s.Watch(t.Context(), func(*bucketmap.Snapshot, error) { ready <- struct{}{} })
	}()
	go func() {
		ended <- s.WatchAcks(t.Context(), func([]bucketmap.Ack) bool { ready <- struct{}{}; return true })
	}()
	<-ready
	<-ready
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-ended; !errors.Is(err, ErrClosed) {
			t.Errorf("ended with %v, want ErrClosed", err)
		}
	}
	if _, err := s.Load(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Load after Close: %v", err)
	}
}

// BenchmarkWatch measures from the call of Publish to the call of changed.
func BenchmarkWatch(b *testing.B) {
	s := open(b, b.TempDir(), Options{})
	current := storetest.First(b)
	if err := s.Publish(b.Context(), current, bucketmap.Change{}); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	versions := make(chan bucketmap.Version)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Watch(ctx, func(m *bucketmap.Snapshot, err error) {
			if err == nil {
				versions <- m.Version()
			}
		})
	}()
	<-versions
	for b.Loop() {
		current = with(b, current, "emp-2")
		if err := s.Publish(b.Context(), current, bucketmap.Change{}); err != nil {
			b.Fatal(err)
		}
		if v := <-versions; v != current.Version() {
			b.Fatalf("version %d", v)
		}
	}
	cancel()
	<-ended
}
