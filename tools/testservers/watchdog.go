package testservers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// watchdogScript ends a fleet once its standard input ends: $1 is the fleet's
// folder. The same script serves as watchdog (input: a pipe from the owner) and
// as sweep (input: nothing).
//
// The run folder is renamed first: a server that is being launched either has
// its pid in it by then, or fails to record it and does not start. A recorded
// pid may have been given to a stranger since, so it counts only while its
// command line names the fleet's folder. A zombie has no command line. The whole
// process group goes, because mariadb-install-db has children.
const watchdogScript = `
dir=$1
while read -r _; do :; done
mv "$dir/run" "$dir/ended" 2>/dev/null

ours() {
	if [ -d /proc/self ]; then
		line=$(tr '\0' ' ' 2>/dev/null <"/proc/$1/cmdline")
	else
		line=$(ps -o command= -p "$1" 2>/dev/null)
	fi
	case $line in *"$dir/"*) return 0 ;; esac
	return 1
}

tries=0
while [ $tries -lt 400 ]; do
	left=0
	for file in "$dir"/ended/*; do
		pid=${file##*/}
		case $pid in '' | *[!0-9]*) continue ;; esac
		if ours "$pid"; then
			kill -9 -"$pid" 2>/dev/null || kill -9 "$pid" 2>/dev/null
			left=1
		fi
	done
	[ $left = 0 ] && break
	tries=$((tries + 1))
	sleep 0.05
done
[ $tries -lt 400 ] || exit 1
[ -e "$dir/keep" ] || rm -rf "$dir"
` // 400 tries × 0.05 s: after 20 s a process is beyond SIGKILL, and the next sweep tries again

// watchdog is the shell that outlives this process to end its servers.
type watchdog struct {
	command *exec.Cmd
	pipe    io.Closer
}

func startWatchdog(dir string) (*watchdog, error) {
	command := watchdogCommand(dir)
	pipe, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start the watchdog: %w", err)
	}
	return &watchdog{command, pipe}, nil
}

// end lets the watchdog do its work, and waits for it. Its own failure does not
// count: the caller looks at what is left.
func (w *watchdog) end() {
	_ = w.pipe.Close()
	_ = w.command.Wait()
}

func watchdogCommand(dir string) *exec.Cmd {
	command := exec.Command("/bin/sh", "-c", watchdogScript, "drover-watchdog", dir) //nolint:noctx // it outlives this process
	command.Dir = "/"
	// A session of its own: Ctrl-C and a closed terminal reach the owner alone.
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return command
}

// Sweep ends and removes the fleets of this user whose owner is dead, and
// returns their folders. Fleets that were told to keep their folders keep them,
// unless kept is set. It does not touch fleets whose owner is alive.
func Sweep(ctx context.Context, kept bool) ([]string, error) {
	base, err := baseFolder()
	if err != nil {
		return nil, err
	}
	return sweep(ctx, base, kept)
}

func sweep(ctx context.Context, base string, kept bool) (swept []string, err error) {
	baseLock, err := lock(ctx, filepath.Join(base, baseLockFile))
	if err != nil {
		return nil, err
	}
	defer baseLock.Close()

	dirs, err := filepath.Glob(filepath.Join(base, fleetPattern))
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		gone, failure := sweepOne(dir, kept)
		if gone {
			swept = append(swept, dir)
		}
		err = errors.Join(err, failure)
	}
	return swept, err
}

// sweepBefore sweeps for a fleet that is about to be made. What cannot be swept is
// told and left: it is none of the new fleet's.
func sweepBefore(ctx context.Context, base string, log func(string, ...any)) error {
	if _, err := sweep(ctx, base, false); ctx.Err() != nil {
		return ctx.Err()
	} else if err != nil {
		log("what a dead program left stays: %v", err)
	}
	return nil
}

func sweepOne(dir string, kept bool) (gone bool, err error) {
	owner, err := tryLock(filepath.Join(dir, ownerLockFile), true)
	if errors.Is(err, errLocked) || errors.Is(err, os.ErrNotExist) {
		return false, nil // alive, or just removed by its watchdog
	}
	if err != nil {
		return false, err
	}
	defer owner.Close()
	if kept {
		_ = os.Remove(filepath.Join(dir, keepFile)) // most have none; one that stays keeps the folder, which is seen below
	}
	if err := watchdogCommand(dir).Run(); err != nil {
		return false, fmt.Errorf("sweep %s: its servers did not end, or its folder cannot be removed: %w", dir, err)
	}
	_, err = os.Stat(dir)
	return errors.Is(err, os.ErrNotExist), nil
}
