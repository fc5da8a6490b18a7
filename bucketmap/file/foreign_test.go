package file

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/file/regular"
	"drover/bucketmap/storetest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// inPlace puts a pipe in a file's place. Who opens it as an ordinary file waits
// for ever.
func inPlace(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	must(t, syscall.Mkfifo(path, 0o644))
}

// soon fails the test where f waits.
func soon(t *testing.T, what string, f func(context.Context) error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitMax)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		t.Fatalf("%s does not come back", what)
		return nil
	}
}

func TestAPipeInThePlaceOfTheMapKeepsNobody(t *testing.T) {
	dir := t.TempDir()
	s := quick(t, dir)
	first := storetest.First(t)
	publish(t, s, first)
	second := with(t, first, "emp-8")
	next := watching(t, s)
	wantVersion(t, next(), 1)
	inPlace(t, s.mapPath())
	if c := next(); !errors.Is(c.err, regular.ErrNotRegular) {
		t.Errorf("Watch calls with %+v", c)
	}
	for what, f := range map[string]func(context.Context) error{
		"Load":    func(ctx context.Context) error { _, err := s.Load(ctx); return err },
		"Publish": func(ctx context.Context) error { return s.Publish(ctx, second, bucketmap.Change{}) },
	} {
		err := soon(t, what, f)
		if !errors.Is(err, regular.ErrNotRegular) || !strings.Contains(err.Error(), "map.yaml is a pipe") {
			t.Errorf("%s: got %v", what, err)
		}
	}
	for what, f := range map[string]func(context.Context) error{
		"At":      func(ctx context.Context) error { _, err := s.At(ctx, 1); return err },
		"History": func(ctx context.Context) error { _, err := s.History(ctx); return err },
	} {
		if err := soon(t, what, f); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	must(t, os.Remove(s.mapPath()))
	writeMap(t, dir, encode(t, first))
	wantVersion(t, next(), 1)
	publish(t, s, second)
	wantVersion(t, next(), 2)
}

func TestPipesElsewhereInTheFolderKeepNobody(t *testing.T) {
	for name, path := range map[string]func(*Store) string{
		"content": func(s *Store) string { return s.historyPath(1, contentSuffix) },
		"record":  func(s *Store) string { return s.historyPath(1, finalSuffix) },
		"history": func(s *Store) string { must(t, os.RemoveAll(s.historyDir())); return s.historyDir() },
		"lock":    func(s *Store) string { return s.dir + "/" + lockName },
		"ack":     func(s *Store) string { return s.ackPath("p1") },
		"live":    func(s *Store) string { return s.livePath("p2") },
		"proxies": (*Store).proxiesLock,
	} {
		t.Run(name, func(t *testing.T) {
			s := quick(t, t.TempDir())
			first := storetest.First(t)
			publish(t, s, first)
			must(t, s.Ack(t.Context(), bucketmap.Ack{Proxy: "p1", Version: 1, Since: time.Now()}))
			inPlace(t, path(s))
			for what, f := range map[string]func(context.Context) error{
				"Load":    func(ctx context.Context) error { _, err := s.Load(ctx); return err },
				"At":      func(ctx context.Context) error { _, err := s.At(ctx, 1); return err },
				"History": func(ctx context.Context) error { _, err := s.History(ctx); return err },
				"Acks":    func(ctx context.Context) error { _, err := s.Acks(ctx); return err },
				"Ack":     func(ctx context.Context) error { return s.Ack(ctx, bucketmap.Ack{Proxy: "p2", Version: 1}) },
				"Publish": func(ctx context.Context) error {
					return s.Publish(ctx, with(t, first, "emp-8"), bucketmap.Change{})
				},
			} {
				err := soon(t, what, f)
				if what == "Load" && err != nil {
					t.Errorf("Load: %v", err)
				}
				t.Logf("%s: %v", what, err)
			}
		})
	}
}

func TestAMapThatIsTooLargeIsNotRead(t *testing.T) {
	s := quick(t, t.TempDir())
	publish(t, s, storetest.First(t))
	must(t, os.Truncate(s.mapPath(), 2<<30))
	if allocated := testing.AllocsPerRun(1, func() {
		if _, err := s.Load(t.Context()); !errors.Is(err, regular.ErrTooLarge) {
			t.Errorf("got %v", err)
		}
	}); allocated > 100 {
		t.Errorf("%v allocations", allocated)
	}
}

func TestWhatNobodyWouldReadIsNotWritten(t *testing.T) {
	s := quick(t, t.TempDir())
	first := storetest.First(t)
	long := strings.Repeat("x", documentBytesMax)
	if err := s.Publish(t.Context(), first, bucketmap.Change{Why: long}); err == nil {
		t.Error("a record of 1 MiB is written")
	}
	if err := s.Ack(t.Context(), bucketmap.Ack{Proxy: "p1", Version: 1, Reason: long}); err == nil {
		t.Error("an acknowledgement of 1 MiB is written")
	}
	publish(t, s, first)
	checkHistory(t, "after a long record", s, first)
}

// One that does not fit could not be followed by any.
func TestAFileWithAnotherNameThanARecordsIsNone(t *testing.T) {
	s := quick(t, t.TempDir())
	first := storetest.First(t)
	publish(t, s, first)
	for _, name := range []string{"18446744073709551615.json", "7.json", "000000000000.json", "x.json"} {
		must(t, os.WriteFile(s.historyDir()+"/"+name, []byte("{}"), 0o644))
	}
	second := with(t, first, "emp-8")
	publish(t, s, second)
	checkHistory(t, "beside other files", s, first, second)
}
