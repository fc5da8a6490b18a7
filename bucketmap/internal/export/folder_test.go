package export

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"drover/bucketmap"
)

func bundle(version bucketmap.Version, content string) Bundle {
	return Bundle{
		Version: version,
		Files:   map[string][]byte{"a": []byte(content), "b": []byte(strings.Repeat(content, 10_000))},
		Beside:  map[string][]byte{"headers": []byte("always")},
		Name:    "main",
		Main:    func(folder string) []byte { return []byte("read " + folder + "\n") },
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, dir string, b Bundle) string {
	t.Helper()
	path, err := Write(dir, b)
	must(t, err)
	return path
}

var readLine = regexp.MustCompile(`(?m)^read (\S+)$`)

// load reads what a main file leads to.
func load(path string) (string, error) {
	main, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	words := readLine.FindSubmatch(main)
	if words == nil {
		return "", fmt.Errorf("main file %q", main)
	}
	a, err := os.ReadFile(filepath.Join(string(words[1]), "a"))
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile(filepath.Join(string(words[1]), "b"))
	if err != nil {
		return "", err
	}
	if string(b) != strings.Repeat(string(a), 10_000) {
		return "", fmt.Errorf("a is %q, and b is of another export", a)
	}
	return string(a), nil
}

func folders(t testing.TB, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "drover-*"))
	must(t, err)
	return found
}

func TestTheMainFileLeadsToItsOwnFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	for v := bucketmap.Version(1); v <= 5; v++ {
		want := fmt.Sprint("content ", v)
		got, err := load(write(t, dir, bundle(v, want)))
		if err != nil || got != want {
			t.Fatalf("version %d: %q, %v", v, got, err)
		}
		if n := len(folders(t, dir)); n != min(int(v), 2) {
			t.Fatalf("version %d: %d folders, want this one and the one before", v, n)
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, "headers")); err != nil || string(text) != "always" {
		t.Fatalf("%q, %v", text, err)
	}
}

func TestAnOlderMapIsRefusedAndTheSameOneIsNot(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, bundle(7, "seven"))
	write(t, dir, bundle(7, "seven"))
	write(t, dir, bundle(7, "seven, with other options"))
	if _, err := Write(dir, bundle(6, "six")); !errors.Is(err, ErrOlder) {
		t.Fatalf("%v, want ErrOlder", err)
	}
	if got, err := load(path); err != nil || got != "seven, with other options" {
		t.Fatalf("%q, %v", got, err)
	}
	must(t, os.Remove(path))
	write(t, dir, bundle(6, "six"))
}

func TestWhatIsNotAnExportsIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"drover-notes", "drover-1", "drover-1-xyz", "mine"} {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o700))
	}
	must(t, os.WriteFile(filepath.Join(dir, "drover-1-abc"), nil, 0o600))
	for v := bucketmap.Version(1); v <= 3; v++ {
		write(t, dir, bundle(v, fmt.Sprint(v)))
	}
	for _, name := range []string{"drover-notes", "drover-1", "drover-1-xyz", "mine", "drover-1-abc"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	must(t, os.WriteFile(filepath.Join(dir, "main"), []byte("an operator's file\n"), 0o600))
	if _, err := Write(dir, bundle(4, "four")); err == nil {
		t.Error("a file that is not an export's was overwritten")
	}
}

func TestWhatAnInterruptedExportLeftIsNoHindrance(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, bundle(1, "one"))
	b := bundle(2, "two")
	partial := filepath.Join(dir, "drover-2-"+hash(b.Files)+".partial")
	must(t, os.Mkdir(partial, 0o700))
	must(t, os.WriteFile(filepath.Join(partial, "a"), []byte("tw"), 0o600))
	must(t, os.WriteFile(path+".partial", []byte("# Drover m"), 0o600))
	must(t, os.Mkdir(filepath.Join(dir, "drover-9-abcdef.partial"), 0o700))
	if got, err := load(write(t, dir, b)); err != nil || got != "two" {
		t.Fatalf("%q, %v", got, err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*.partial")); err != nil || len(left) != 0 {
		t.Fatalf("%v, %v left behind", left, err)
	}
}

func TestAReaderNeverSeesFilesOfTwoExports(t *testing.T) {
	const versions = 40
	dir := t.TempDir()
	path := write(t, dir, bundle(1, "1"))
	var all sync.WaitGroup
	for writer := range 2 {
		all.Go(func() {
			for v := bucketmap.Version(2); v <= versions; v++ {
				if _, err := Write(dir, bundle(v, fmt.Sprint(v, writer))); err != nil && !errors.Is(err, ErrOlder) {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		default:
		}
		before, err := os.ReadFile(path)
		must(t, err)
		if _, err := load(path); err != nil {
			// A reader as slow as two exports may come too late, and sees it:
			// a file is missing. It never sees a mixture.
			after, failure := os.ReadFile(path)
			must(t, failure)
			if !errors.Is(err, os.ErrNotExist) || string(before) == string(after) {
				t.Fatal(err)
			}
		}
	}
}

func TestAPathThatWouldBreakAConfigurationIsRefused(t *testing.T) {
	for _, name := range []string{"with blank", "semi;colon", "quote\"", "new\nline", "dollar$", "comma,", "paren(", "brace{"} {
		if _, err := Write(filepath.Join(t.TempDir(), name), bundle(1, "one")); err == nil {
			t.Errorf("%q: written", name)
		}
	}
}

func TestAFolderThatCannotBeWrittenKeepsTheOldExport(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, bundle(1, "one"))
	b := bundle(2, "two")
	b.Files["no/such/folder"] = []byte("x")
	if _, err := Write(dir, b); err == nil {
		t.Fatal("written")
	}
	if got, err := load(path); err != nil || got != "one" {
		t.Fatalf("%q, %v", got, err)
	}
	if n := len(folders(t, dir)); n != 1 {
		t.Fatalf("%d folders left", n)
	}
}
