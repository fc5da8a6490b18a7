package testservers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"drover/internal/pause"
)

// lockPoll is how often a lock that another process has is asked for again.
// Not a blocking flock: that one could not be ended by a context.
const lockPoll = 20 * time.Millisecond

// errLocked says that another open file has the lock.
var errLocked = errors.New("locked by another process")

// tryLock takes the advisory lock of the file at path, making the file when
// create is set. Closing the file frees the lock, and so does the process's end,
// however it came: that is why locks and not pid files say who is alive.
func tryLock(path string, create bool) (*os.File, error) {
	flags := os.O_RDWR
	if create {
		flags |= os.O_CREATE
	}
	file, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err == nil {
		return file, nil
	}
	file.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errLocked
	}
	return nil, fmt.Errorf("lock %s: %w", path, err)
}

// lock waits for the advisory lock of the file at path, until ctx ends.
func lock(ctx context.Context, path string) (*os.File, error) {
	for {
		file, err := tryLock(path, true)
		if !errors.Is(err, errLocked) {
			return file, err
		}
		if pause.For(ctx, lockPoll) != nil {
			return nil, fmt.Errorf("wait for the lock %s: %w", path, context.Cause(ctx))
		}
	}
}
