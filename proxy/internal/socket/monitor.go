package socket

import (
	"context"
	"syscall"
	"time"
)

// monitorTick bounds for how long a goroutine that computes can keep others
// waiting: within it the runtime's monitor thread is awake again. Each waking
// costs some 50 µs of a core, so 20 a second are 0.1 %.
const monitorTick = 50 * time.Millisecond

// Monitor keeps the runtime's monitor thread from sleeping through a busy
// moment, until ctx ends; it returns nil then. The thread falls asleep when all
// is idle, and only an ordinary system call wakes it; this package makes none.
// It helps where the runtime has two or more processors (GOMAXPROCS).
func Monitor(ctx context.Context) error {
	tick := time.NewTicker(monitorTick)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			Wake()
		case <-ctx.Done():
			return nil
		}
	}
}

// Wake makes one ordinary system call. Who is about to compute for long, in a
// program with one processor, calls it first.
func Wake() { syscall.Syscall(syscall.SYS_GETPID, 0, 0, 0) } //nolint:errcheck // cannot fail
