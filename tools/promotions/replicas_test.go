package promotions

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// replicas are behind, broken, or have something of their own.
func replicas() []faultCase {
	stop, start := "STOP SLAVE SQL_THREAD", "START SLAVE SQL_THREAD"
	// It may be started, or be no replica any more.
	again := func(x *trial) func() { return func() { _ = x.to.server.Exec(context.Background(), start) } }
	delay := func(seconds int) []string {
		return []string{"STOP SLAVE", fmt.Sprintf("CHANGE MASTER TO MASTER_DELAY=%d", seconds), "START SLAVE"}
	}
	return []faultCase{
		{name: "a replica that does not apply", slow: true, run: func(x *trial) {
			x.exec(x.to, stop)
			x.refused("replica-follows")
			x.exec(x.to, start)
		}},
		{name: "a replica that is 30 s behind on purpose", slow: true, run: func(x *trial) {
			x.exec(x.to, delay(30)...)
			x.w.connected(x.to)
			x.refused("replica-follows")
			x.exec(x.to, delay(0)...)
		}},
		{name: "a replica whose applying is held up for longer than 10 s by somebody's lock", slow: true, run: func(x *trial) {
			free := x.held(x.to.root, "LOCK TABLES app.entry READ")
			x.refused("replica-lag")
			free()
		}},
		{name: "the replica stops applying after the checks, until somebody starts it", slow: true, run: func(x *trial) {
			x.beside("catching_up.after_journal", aloneMax, func() func() { x.exec(x.to, stop); return again(x) })
		}},
		{name: "the replica stops applying within the freeze for 3 s", slow: true, run: func(x *trial) {
			x.w.configure(settings{freezeMax: time.Second})
			x.beside("freezing.before_freeze", 3*time.Second, func() func() { x.exec(x.to, stop); return again(x) })
		}},
		{name: "the replica becomes 30 s late within the freeze, and there is one try", run: func(x *trial) {
			x.w.configure(settings{freezeMax: 500 * time.Millisecond, freezeTries: 1})
			x.beside("freezing.before_freeze", aloneMax, func() func() { x.exec(x.to, delay(30)...); return func() { x.exec(x.to, delay(0)...) } })
		}},
		{name: "the replica stops applying just past the commit point, for 3 s", slow: true, run: func(x *trial) {
			x.beside("freezing.after_commit", 3*time.Second, func() func() { x.exec(x.to, stop); return again(x) })
		}},
		{name: "the link between the servers is cut before the commit point, and the old primary dies with it", slow: true, run: func(x *trial) {
			x.w.follow(x.to, x.from.wire.Addr())
			x.beside("freezing.before_commit", aloneMax, func() func() { // until the migrator has done without it
				x.from.wire.Cut()
				x.child.Continue()
				x.w.until("the commit point is passed", func() error {
					state, err := value(x.t.Context(), x.from.root, "SELECT state FROM app.drover_fence WHERE bucket = -1")
					if err == nil && state != "moved" {
						err = errors.New(state)
					}
					return err
				})
				must(x.t, x.from.server.Kill())
				return func() { x.from.wire.Heal(); must(x.t, x.from.server.Restart(x.t.Context())) }
			})
		}},
		{name: "a replica with a transaction of its own", slow: true, run: func(x *trial) {
			x.exec(x.to, "INSERT INTO app.stranger VALUES (9)")
			x.refused("replica-not-errant")
		}},
		{name: "somebody writes on the replica while it catches up", slow: true, run: func(x *trial) {
			x.beside("catching_up.after_journal", 0, func() func() { x.exec(x.to, "INSERT INTO app.stranger VALUES (9)"); return func() {} })
		}},
	}
}

const (
	// smallDisk is the disk on which the replica's relay log is: a few minutes
	// of the clients' writes, which nothing purges meanwhile.
	smallDisk = 32 << 20
	// fullFor is how long it stays full.
	fullFor = 6 * time.Second
)

// diskFull gives the replica's relay log a small disk of its own, a tmpfs, which
// somebody fills while the promotion catches up, and makes room again. Where
// this machine lets nobody mount one, the server's files may grow no further
// (RLIMIT_FSIZE): the server then has EFBIG in the place of ENOSPC.
func diskFull() faultCase {
	return faultCase{name: "the disk of the replica's relay log is full for 6 s while it catches up", slow: true, run: func(x *trial) {
		// Not within the server's folder: what is left mounted there could not be removed.
		disk, err := os.MkdirTemp("", "drover-promotions-disk-")
		must(x.t, err)
		x.t.Cleanup(func() { _ = os.Remove(disk) })
		relays := filepath.Join(x.to.server.Dir(), "relays")
		var fill, free func()
		refused := unix.Mount("tmpfs", disk, "tmpfs", 0, fmt.Sprintf("size=%d", smallDisk))
		if refused == nil {
			x.t.Cleanup(func() { // the replica is the primary then, and writes no relay log
				_ = unix.Unmount(disk, unix.MNT_DETACH)
				must(x.t, os.Remove(relays))
				must(x.t, os.Mkdir(relays, 0o700))
			})
			x.anew(x.to, func() {
				must(x.t, os.RemoveAll(relays))
				must(x.t, os.Symlink(disk, relays))
			})
			filler := filepath.Join(disk, "filler")
			fill = func() { _ = os.WriteFile(filler, make([]byte, 2*smallDisk), 0o600) } // until there is no room
			free = func() { must(x.t, os.Remove(filler)) }
		} else {
			x.t.Logf("no tmpfs: %v", refused)
			limit := func(bytes uint64) {
				must(x.t, unix.Prlimit(x.to.server.PID(), unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}, nil))
			}
			fill, free = func() { limit(4 << 10) }, func() { limit(unix.RLIM_INFINITY) }
		}
		x.beside("catching_up.after_journal", fullFor, func() func() { fill(); return free })
	}}
}

// anew makes a replica write its relay log anew, where disk has changed it
// meanwhile.
func (x *trial) anew(s *side, disk func()) {
	x.t.Helper()
	x.exec(s, "STOP SLAVE", "RESET SLAVE ALL")
	disk()
	must(x.t, s.server.ReplicateFrom(x.t.Context(), x.w.sides[other(s.dc)].server))
	x.w.follow(s, x.w.sides[other(s.dc)].link.Addr())
}
