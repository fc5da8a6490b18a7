package edgetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gofrs/flock"
)

const (
	programs       = "/usr/sbin/"
	installWaitMax = 5 * time.Minute // for apt's servers, and for another test that installs
	lockPoll       = 50 * time.Millisecond
)

// Find returns the path of a file of a Debian package. A program that is not
// there is installed, with the libraries it needs, if this is root. Any other
// file comes from the package, downloaded and unpacked below the cache folder,
// which takes no rights and changes nothing of the machine. cache is empty for
// the user's own cache folder.
func Find(t testing.TB, file, packageName, cache string) string {
	t.Helper()
	if _, err := os.Stat(file); err == nil {
		return file
	}
	path, err := get(file, packageName, cache)
	if err != nil {
		t.Fatalf("%s: %v\nrun apt-get install %s as root", file, err, packageName)
	}
	return path
}

// get installs or unpacks, one test at a time.
func get(file, packageName, cache string) (string, error) {
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(user, "drover")
	}
	root := filepath.Join(cache, "edges", packageName)
	if err := os.MkdirAll(filepath.Dir(root), 0o755); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), installWaitMax)
	defer cancel()
	lock := flock.New(root + ".lock")
	if ok, err := lock.TryLockContext(ctx, lockPoll); !ok {
		return "", fmt.Errorf("wait for another test's download: %w", err)
	}
	path := filepath.Join(root, file)
	var err error
	if strings.HasPrefix(file, programs) && os.Geteuid() == 0 {
		path, err = file, install(ctx, packageName)
	} else {
		err = unpack(ctx, root, packageName)
	}
	if err = errors.Join(err, lock.Close()); err != nil {
		return "", err
	}
	_, err = os.Stat(path)
	return path, err
}

// install installs a package, by new package lists if those that are there do
// not know it.
func install(ctx context.Context, packageName string) error {
	args := []string{"-q", "install", "-y", "--no-remove", "--no-install-recommends", packageName}
	if run(ctx, "/", "apt-get", args...) == nil {
		return nil
	}
	if err := run(ctx, "/", "apt-get", "-q", "update"); err != nil {
		return err
	}
	return run(ctx, "/", "apt-get", args...)
}

// unpack makes root with the package's files, under the lock.
func unpack(ctx context.Context, root, packageName string) error {
	if _, err := os.Stat(root); err == nil {
		return nil
	}
	download, partial := root+".download", root+".partial"
	if err := errors.Join(os.RemoveAll(download), os.RemoveAll(partial), os.MkdirAll(download, 0o755), os.MkdirAll(partial, 0o755)); err != nil {
		return err
	}
	err := run(ctx, download, "apt-get", "-q", "download", packageName)
	if err != nil && os.Geteuid() == 0 { // only root can renew the package lists
		if err = run(ctx, download, "apt-get", "-q", "update"); err == nil {
			err = run(ctx, download, "apt-get", "-q", "download", packageName)
		}
	}
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(download, "*.deb"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := run(ctx, download, "dpkg", "-x", file, partial); err != nil {
			return err
		}
	}
	return errors.Join(os.Rename(partial, root), os.RemoveAll(download))
}

func run(ctx context.Context, dir, program string, args ...string) error {
	command := exec.CommandContext(ctx, program, args...)
	command.Dir = dir
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", command.Args, err, output)
	}
	return nil
}
