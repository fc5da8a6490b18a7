package testservers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// What is in the base folder and in a fleet's folder.
const (
	baseLockFile  = "lock"       // base: held while a fleet is made, a port reserved, or a sweep runs
	fleetPattern  = "fleet-*"    // base: the fleets
	ownerLockFile = "owner.lock" // fleet: held by the process that owns it, as long as it lives
	keepFile      = "keep"       // fleet: there when the folder outlives its owner
	runFolder     = "run"        // fleet: one empty file a process, named for its pid
	portsFolder   = "ports"      // fleet: one empty file a port, named for its number
	serversFolder = "servers"    // fleet: one folder a server
)

// baseFolder makes, if need be, the folder that holds this user's fleets.
func baseFolder() (string, error) {
	return privateFolder(filepath.Join(os.TempDir(), "drover-testservers-"+strconv.Itoa(os.Getuid())))
}

// privateFolder makes the folder at path, if need be, and refuses one that is
// another user's: in a shared temporary folder anybody can take the name first.
func privateFolder(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return "", fmt.Errorf("%s is not a folder: remove it", path)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != os.Getuid() {
		return "", fmt.Errorf("%s belongs to user %d: remove it, or set TMPDIR to a folder of your own", path, stat.Uid)
	}
	return path, nil
}

// makeFleetFolder makes a fleet's folder and takes its owner's lock, both under
// the base lock: a sweep in between would take the folder for an orphan.
func makeFleetFolder(ctx context.Context, base string, keep bool) (dir string, owner *os.File, err error) {
	baseLock, err := lock(ctx, filepath.Join(base, baseLockFile))
	if err != nil {
		return "", nil, err
	}
	defer baseLock.Close()

	dir, err = os.MkdirTemp(base, fleetPattern)
	if err != nil {
		return "", nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	for _, name := range []string{runFolder, portsFolder, serversFolder} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			return "", nil, err
		}
	}
	if keep {
		if err := os.WriteFile(filepath.Join(dir, keepFile), nil, 0o600); err != nil {
			return "", nil, err
		}
	}
	owner, err = tryLock(filepath.Join(dir, ownerLockFile), true)
	return dir, owner, err
}
