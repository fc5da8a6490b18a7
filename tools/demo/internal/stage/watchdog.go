package stage

import (
	"fmt"
	"io"
	"os/exec"
	"sync"
	"syscall"
)

// watchdogScript kills the process groups that it was told of once its
// standard input ends: that is when the demo is dead, by whatever signal.
const watchdogScript = `
pids=" "
while read -r word pid; do
	case $word in
	add) pids="$pids$pid " ;;
	drop) pids="${pids%% $pid *} ${pids#* $pid }" ;;
	esac
done
for pid in $pids; do kill -9 -"$pid" 2>/dev/null; done
`

// watchdog is the shell that outlives the demo to end its programs.
type watchdog struct {
	command *exec.Cmd
	mu      sync.Mutex // one line at a time
	pipe    io.WriteCloser
}

func startWatchdog() (*watchdog, error) {
	command := exec.Command("/bin/sh", "-c", watchdogScript, "drover-demo-watchdog") //nolint:noctx // it outlives the demo and its context
	command.Dir = "/"
	// A session of its own: Ctrl-C and a closed terminal reach the demo alone.
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	pipe, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start the watchdog: %w", err)
	}
	return &watchdog{command: command, pipe: pipe}, nil
}

// add says that the process group is to end with the demo.
func (w *watchdog) add(pid int) error { return w.tell("add", pid) }

// drop says that the process group has ended: its number may go to a stranger.
func (w *watchdog) drop(pid int) error { return w.tell("drop", pid) }

func (w *watchdog) tell(word string, pid int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := fmt.Fprintln(w.pipe, word, pid)
	if err != nil {
		return fmt.Errorf("tell the watchdog: %w", err)
	}
	return nil
}

func (w *watchdog) end() {
	_ = w.pipe.Close()
	w.command.Wait() //nolint:errcheck // what it could not kill is gone already
}
