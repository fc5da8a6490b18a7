package accesslog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"drover/proxy/internal/passport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type counter struct {
	mu sync.Mutex
	n  float64
}

func (c *counter) Add(n float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += n
}

func (c *counter) value() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int(c.n)
}

func open(t *testing.T, o Options) *Log {
	t.Helper()
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func line(t *testing.T, l *Log, text string) {
	t.Helper()
	if n, err := l.Write([]byte(text)); n != len(text) || err != nil {
		t.Errorf("%q: %d, %v", text, n, err)
	}
}

// running runs a log; the function that it returns ends it and closes it.
func running(t *testing.T, l *Log) func() {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	return func() {
		cancel()
		if err := errors.Join(<-done, l.Close()); err != nil {
			t.Error(err)
		}
	}
}

func TestEveryLineIsWrittenWholeOnceAndInOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	dropped := &counter{}
	l := open(t, Options{Path: path, Dropped: dropped})
	stop := running(t, l)
	const writers, each = 4, 500
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := range each {
				line(t, l, fmt.Sprintf("%d %d %s\n", w, i, strings.Repeat("x", 100)))
			}
		})
	}
	group.Wait()
	stop()
	var next [writers]int
	for got := range strings.Lines(read(t, path)) {
		var w, i int
		var rest string
		if _, err := fmt.Sscanf(got, "%d %d %s\n", &w, &i, &rest); err != nil || len(rest) != 100 || next[w] != i {
			t.Fatalf("%q after %v: %v", got, next, err)
		}
		next[w]++
	}
	if next != [writers]int{each, each, each, each} || dropped.value() != 0 {
		t.Errorf("got %v lines, %d dropped", next, dropped.value())
	}
}

// seen is a file that says when it was written.
type seen chan string

func (s seen) Write(p []byte) (int, error) {
	s <- string(p)
	return len(p), nil
}

func TestALineIsWrittenSoonWithoutAnother(t *testing.T) {
	out := make(seen, 1)
	l := open(t, Options{Path: PathStdout, Stdout: out})
	defer running(t, l)()
	line(t, l, "one\n")
	if got := <-out; got != "one\n" {
		t.Errorf("got %q", got)
	}
	line(t, l, "two\n")
	if got := <-out; got != "two\n" {
		t.Errorf("got %q", got)
	}
}

func TestAFullBufferDropsCountsAndNeverWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	dropped := &counter{}
	l := open(t, Options{Path: path, Dropped: dropped}) // and nobody runs it
	text := strings.Repeat("x", 1023) + "\n"
	for range bufferMax/len(text) + 3 {
		line(t, l, text)
	}
	if dropped.value() != 3 {
		t.Errorf("%d dropped, want 3", dropped.value())
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := len(read(t, path)); got != bufferMax {
		t.Errorf("%d bytes written, want %d", got, bufferMax)
	}
}

// A pipe that nobody reads takes 64 KiB; what is behind that is lost at the
// end, and counted.
func TestAReaderThatStopsHoldsNothingUp(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	// As a program's stdout is: a write to it would wait.
	if raw := w.Fd(); raw == 0 {
		t.Fatal("no pipe")
	}
	dropped := &counter{}
	l := open(t, Options{Path: PathStdout, Stdout: w, Dropped: dropped})
	stop := running(t, l)
	text := strings.Repeat("x", 1023) + "\n"
	const lines = 256
	for range lines {
		line(t, l, text)
	}
	stop()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if _, err := got.ReadFrom(r); err != nil {
		t.Fatal(err)
	}
	written := strings.Count(got.String(), text)
	if written == 0 || written == lines || written+dropped.value() != lines || got.Len() != written*len(text) {
		t.Errorf("%d lines written in %d bytes, %d dropped, of %d", written, got.Len(), dropped.value(), lines)
	}
}

func TestARenamedFileIsOpenedAnewAndNoLineIsLost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l := open(t, Options{Path: path})
	stop := running(t, l)
	const lines, renames = 2000, 5
	var old string
	for i := range lines {
		line(t, l, fmt.Sprintf("%d\n", i))
		if i%(lines/renames) == 100 {
			moved := fmt.Sprintf("%s.%d", path, i)
			if err := os.Rename(path, moved); err != nil {
				t.Fatal(err)
			}
			if err := l.Reopen(); err != nil {
				t.Fatal(err)
			}
			old += read(t, moved) // nothing is written to it any more
		}
	}
	stop()
	i := 0
	for got := range strings.Lines(old + read(t, path)) {
		if got != fmt.Sprintf("%d\n", i) {
			t.Fatalf("got %q, want %d", got, i)
		}
		i++
	}
	if i != lines {
		t.Errorf("%d lines", i)
	}
}

func TestAFileThatCannotBeOpenedAnewIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l := open(t, Options{Path: filepath.Join(dir, "log")})
	moved := dir + ".old"
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err == nil {
		t.Error("want an error: the folder is gone")
	}
	line(t, l, "kept\n")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(moved, "log")); got != "kept\n" {
		t.Errorf("got %q", got)
	}
}

// full is a disk that is full.
type full struct{}

func (full) Write(p []byte) (int, error) { return len(p) / 2, errors.New("no space left on device") }

func TestWhatCannotBeWrittenIsCounted(t *testing.T) {
	dropped := &counter{}
	l := open(t, Options{Path: PathStderr, Stderr: full{}, Dropped: dropped})
	line(t, l, "one\ntwo\n")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if dropped.value() != 1 {
		t.Errorf("%d dropped, want 1", dropped.value())
	}
}

func TestNoLogIsNone(t *testing.T) {
	l := open(t, Options{Path: PathNone, Format: FormatJSON})
	o := passport.Options{}
	l.Configure(&o)
	if l != nil || o.Out != nil || o.Every {
		t.Errorf("got %+v", o)
	}
	if err := l.Reopen(); err != nil {
		t.Error(err)
	}
	running(t, l)()
}

func TestALogThatCannotBeOpenedSaysWhat(t *testing.T) {
	if _, err := Open(Options{Path: filepath.Join(t.TempDir(), "no", "log")}); err == nil || !strings.Contains(err.Error(), "folder") {
		t.Errorf("got %v", err)
	}
}

func BenchmarkWrite(b *testing.B) {
	l, err := Open(Options{Path: filepath.Join(b.TempDir(), "log")})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	text := []byte(strings.Repeat("x", 400) + "\n")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Write(text); err != nil {
			b.Fatal(err)
		}
	}
	cancel()
	if err := errors.Join(<-done, l.Close()); err != nil {
		b.Fatal(err)
	}
}
