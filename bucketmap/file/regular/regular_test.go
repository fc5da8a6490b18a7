package regular_test

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"drover/bucketmap/file/regular"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A read that waits for a writer hangs the test.
func TestWhatIsNoRegularFileIsRefusedAtOnce(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must(t, os.Mkdir(at("folder"), 0o755))
	must(t, syscall.Mkfifo(at("pipe"), 0o644))
	must(t, os.Symlink("pipe", at("link")))
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", at("socket"))
	must(t, err)
	defer func() { must(t, listener.Close()) }()
	for path, kind := range map[string]string{
		at("folder"): "a folder", at("pipe"): "a pipe", at("link"): "a pipe", at("socket"): "a socket", "/dev/zero": "a device",
	} {
		_, err := regular.Read(path, 1<<20)
		var of *fs.PathError
		if !errors.Is(err, regular.ErrNotRegular) || errors.As(err, &of) || !strings.Contains(err.Error(), path+" is "+kind) {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

func TestAFileIsReadUpToItsBoundAndNotBeyond(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for size := range 5 {
		must(t, os.WriteFile(path, bytes.Repeat([]byte("x"), size), 0o644))
		data, err := regular.Read(path, 3)
		if size > 3 {
			if !errors.Is(err, regular.ErrTooLarge) || data != nil {
				t.Errorf("%d bytes: got %q, %v", size, data, err)
			}
			continue
		}
		if err != nil || len(data) != size {
			t.Errorf("%d bytes: got %q, %v", size, data, err)
		}
	}
}

// A file of /proc says that it has no bytes.
func TestAFileThatHasMoreThanItSaysIsBounded(t *testing.T) {
	const path = "/proc/self/status"
	if _, err := regular.Read(path, 10); !errors.Is(err, regular.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	if data, err := regular.Read(path, 1<<20); err != nil || len(data) == 0 {
		t.Errorf("got %d bytes, %v", len(data), err)
	}
}

func TestAFileThatIsTooLargeTakesNoMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(path, nil, 0o644))
	must(t, os.Truncate(path, 2<<30))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := regular.Read(path, 64<<20)
	runtime.ReadMemStats(&after)
	if !errors.Is(err, regular.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes were allocated", n)
	}
}

func TestAFileThatIsNotThereIsSaidToBe(t *testing.T) {
	var of *fs.PathError
	if _, err := regular.Read(filepath.Join(t.TempDir(), "file"), 1); !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &of) {
		t.Errorf("got %v", err)
	}
}
