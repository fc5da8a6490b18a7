package proc

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Pinned runs f with its thread bound to one core; a process that f starts
// stays bound to it. A negative core binds nothing.
func Pinned(core int, f func() error) error {
	if core < 0 {
		return f()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("ask which cores may be used: %w", err)
	}
	one.Set(core)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return fmt.Errorf("bind to core %d; is there one? %w", core, err)
	}
	return errors.Join(f(), unix.SchedSetaffinity(0, &before))
}
