package file

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"drover/bucketmap"
	"drover/bucketmap/storetest"
)

const helperDir = "DROVER_TEST_PROXY_DIR"

// TestProxyProcess is another process: a proxy that acknowledges and waits.
func TestProxyProcess(t *testing.T) {
	dir := os.Getenv(helperDir)
	if dir == "" {
		t.Skip("run by TestAckEndsWithItsProcess")
	}
	s := open(t, dir, Options{})
	if err := s.Ack(t.Context(), bucketmap.Ack{Proxy: "p1", Version: 3}); err != nil {
		t.Fatal(err)
	}
	fmt.Println("acknowledged")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		t.Log(err) // the parent ended
	}
}

func TestAckEndsWithItsProcess(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), waitMax)
	defer cancel()
	proxy := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestProxyProcess$", "-test.v")
	proxy.Env = append(os.Environ(), helperDir+"="+dir)
	stdin, err := proxy.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stdin.Close() }()
	stdout, err := proxy.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && !strings.Contains(lines.Text(), "acknowledged") {
	}

	s := open(t, dir, Options{})
	acks, err := s.Acks(ctx)
	if err != nil || len(acks) != 1 || acks[0].Version != 3 {
		t.Fatalf("acknowledgements %v, %v of a live process", acks, err)
	}
	err = s.Ack(ctx, bucketmap.Ack{Proxy: "p1", Version: 4})
	if !errors.Is(err, ErrProxyTaken) {
		t.Errorf("a second process with the same id: %v, want ErrProxyTaken", err)
	}
	killed := false
	err = s.WatchAcks(ctx, func(acks []bucketmap.Ack) bool {
		if !killed {
			killed = true
			if err := proxy.Process.Kill(); err != nil {
				t.Error(err)
			}
			_ = proxy.Wait() // killed, it says
		}
		return len(acks) != 0
	})
	if err != nil {
		t.Fatalf("the death of the process was not seen: %v", err)
	}
	for _, path := range []string{s.livePath("p1"), s.ackPath("p1")} {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
	if err := s.Ack(ctx, bucketmap.Ack{Proxy: "p1", Version: 4}); err != nil {
		t.Errorf("the id of a dead process cannot be used: %v", err)
	}
}

// dead leaves what a process that died leaves.
func dead(t *testing.T, dir, proxy string, version bucketmap.Version) {
	t.Helper()
	s := open(t, dir, Options{})
	if err := s.Ack(t.Context(), bucketmap.Ack{Proxy: proxy, Version: version}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(s.ackPath(proxy))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.ackPath(proxy), data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// A proxy that starts under the id of a dead one never passes for having said
// what the dead one said, and is never cleared away with it.
func TestStartingProxyIsNotTakenForItsDeadPredecessor(t *testing.T) {
	dir := t.TempDir()
	watcher := open(t, dir, Options{})
	for round := range 100 {
		proxy := fmt.Sprintf("p%d", round%3)
		dead(t, dir, proxy, 1)
		s := open(t, dir, Options{})
		var group sync.WaitGroup
		for range 2 {
			group.Go(func() {
				for range 5 {
					acks, err := watcher.Acks(t.Context())
					if err != nil {
						t.Error(err)
					}
					for _, a := range acks {
						if a.Version == 1 {
							t.Errorf("round %d: the word of a dead proxy: %+v", round, a)
						}
					}
				}
			})
		}
		if err := s.Ack(t.Context(), bucketmap.Ack{Proxy: proxy, Version: 2}); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		group.Wait()
		acks, err := watcher.Acks(t.Context())
		if err != nil || len(acks) != 1 || acks[0].Version != 2 {
			t.Fatalf("round %d: acknowledgements %v, %v", round, acks, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTwoStoresCannotShareAProxyID(t *testing.T) {
	dir := t.TempDir()
	one, two := open(t, dir, Options{}), open(t, dir, Options{})
	a := bucketmap.Ack{Proxy: "p1", Version: 1}
	if err := one.Ack(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if err := two.Ack(t.Context(), a); !errors.Is(err, ErrProxyTaken) {
		t.Fatalf("%v, want ErrProxyTaken", err)
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	if acks, err := two.Acks(t.Context()); err != nil || len(acks) != 0 {
		t.Fatalf("acknowledgements %v, %v after Close", acks, err)
	}
	if err := two.Ack(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if err := one.Ack(t.Context(), a); !errors.Is(err, ErrClosed) {
		t.Fatalf("%v, want ErrClosed", err)
	}
}

func TestAckSurvivesTheRemovalOfItsFilesByHand(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	for version := bucketmap.Version(1); version <= 3; version++ {
		if err := s.Ack(t.Context(), bucketmap.Ack{Proxy: "p1", Version: version}); err != nil {
			t.Fatal(err)
		}
		acks, err := s.Acks(t.Context())
		if err != nil || len(acks) != 1 || acks[0].Version != version {
			t.Fatalf("acknowledgements %v, %v", acks, err)
		}
		if err := os.RemoveAll(s.proxiesDir()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPermissionsFollowTheFolder(t *testing.T) {
	for _, c := range []struct{ folder, file, sub fs.FileMode }{
		{0o755, 0o644, fs.ModeDir | 0o755},
		{0o700, 0o600, fs.ModeDir | 0o700},
		{0o750, 0o640, fs.ModeDir | 0o750},
		{0o775 | fs.ModeSetgid, 0o664, fs.ModeDir | fs.ModeSetgid | 0o775},
	} {
		dir := t.TempDir()
		if err := os.Chmod(dir, c.folder); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir, Options{})
		publish(t, s, storetest.First(t))
		if err := s.Ack(t.Context(), bucketmap.Ack{Proxy: "p1", Version: 1}); err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]fs.FileMode{
			s.mapPath(): c.file, s.ackPath("p1"): c.file, s.historyPath(1, contentSuffix): c.file,
			s.historyPath(1, finalSuffix): c.file, s.historyDir(): c.sub, s.proxiesDir(): c.sub,
			filepath.Join(dir, lockName): c.file,
		} {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if path == filepath.Join(dir, lockName) {
				if info.Mode()&^c.file != 0 || info.Mode()&0o400 == 0 {
					t.Errorf("%s has mode %v in a folder of %v", path, info.Mode(), c.folder)
				}
				continue
			}
			if info.Mode() != want {
				t.Errorf("%s has mode %v in a folder of %v, want %v", path, info.Mode(), c.folder, want)
			}
		}
	}
}
