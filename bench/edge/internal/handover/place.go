package handover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"drover/bench/edge/internal/scene"
	"drover/bucketmap"
	"drover/bucketmap/file"
	"drover/internal/pause"
)

const (
	readyMax  = 15 * time.Second // until a process serves
	endMax    = 20 * time.Second // until one that drains has ended
	readyPoll = 2 * time.Millisecond
)

// The drain of every process: idle connections are kept for longer than a
// client waits between two requests.
const (
	drainDelay   = 200 * time.Millisecond
	drainIdle    = time.Second
	drainTimeout = 10 * time.Second
)

// Place is where processes of a proxy follow one another.
type Place struct {
	Address string
	proxy   string // the binary
	dir     string
	origin  string
	starts  int
	cmds    []*exec.Cmd
}

// NewPlace makes a folder with a map in it, and finds an address.
func NewPlace(ctx context.Context, dir, proxy, origin string, s *scene.Scene) (*Place, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("find a free port: %w", err)
	}
	p := &Place{Address: l.Addr().String(), proxy: proxy, dir: dir, origin: origin}
	if err := l.Close(); err != nil {
		return nil, fmt.Errorf("free a port again: %w", err)
	}
	store, err := file.Open(p.mapDir(), file.Options{})
	if err != nil {
		return nil, fmt.Errorf("open the map's folder: %w", err)
	}
	return p, errors.Join(store.Publish(ctx, s.Snapshot, bucketmap.Change{Who: "bench", Why: "the first map"}), store.Close())
}

func (p *Place) mapDir() string { return filepath.Join(p.dir, "map") }

// Process is one of them.
type Process struct {
	place   *Place
	pid, fd int // fd tells of its end
	pidFile string
	log     string
}

// Start starts a process beside those that run, and waits until it serves.
func (p *Place) Start(ctx context.Context) (*Process, error) {
	name := "p" + strconv.Itoa(p.starts)
	p.starts++
	dir := filepath.Join(p.dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // as the bench's other folders
		return nil, fmt.Errorf("make a process's folder: %w", err)
	}
	x := &Process{place: p, pidFile: filepath.Join(dir, "pid"), log: filepath.Join(dir, "output")}
	config := filepath.Join(dir, "proxy.yaml")
	if err := os.WriteFile(config, []byte(p.text(name, x.pidFile)), 0o644); err != nil { //nolint:gosec // no secrets
		return nil, fmt.Errorf("write a configuration: %w", err)
	}
	output, err := os.Create(x.log)
	if err != nil {
		return nil, fmt.Errorf("keep what a process says: %w", err)
	}
	// Not CommandContext: a process is ended by End, which lets it drain.
	cmd := exec.Command(p.proxy, "run", "--config", config) //nolint:noctx // see above
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt is for the bench
	if err := errors.Join(cmd.Start(), output.Close()); err != nil {
		return nil, fmt.Errorf("start the proxy: %w", err)
	}
	p.cmds = append(p.cmds, cmd)
	return x, x.await(ctx, 0)
}

func (p *Place) text(name, pidFile string) string {
	names := scene.Datacenters()
	return fmt.Sprintf(`listen: %q
reuse_port: true
id: %s
admin:
  listen: "127.0.0.1:0"
map:
  dir: %q
identity:
  - header: X-User-Id
datacenters:
  %s:
    upstreams: [%q]
  %s:
    upstreams: [%q]
access_log: none
drain:
  delay: %s
  idle: %s
  timeout: %s
restart:
  pid_file: %q
`, p.Address, name, p.mapDir(), names[0], p.origin, names[1], p.origin, drainDelay, drainIdle, drainTimeout, pidFile)
}

// await waits until the PID file names a process other than before.
func (x *Process) await(ctx context.Context, before int) error {
	ctx, cancel := context.WithTimeout(ctx, readyMax)
	defer cancel()
	for {
		text, err := os.ReadFile(x.pidFile)
		if err == nil {
			x.pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		}
		if err == nil && x.pid != before {
			break
		}
		if pause.For(ctx, readyPoll) != nil {
			return fmt.Errorf("the proxy did not serve within %v: %w; it said: %s", readyMax, errors.Join(err, ctx.Err()), x.said())
		}
	}
	var err error
	if x.fd, err = unix.PidfdOpen(x.pid, 0); err != nil {
		return fmt.Errorf("watch process %d, which may have ended: %w; it said: %s", x.pid, err, x.said())
	}
	return nil
}

func (x *Process) said() string {
	const tail = 2 << 10
	text, err := os.ReadFile(x.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-tail):])
}

// Replace restarts the process hot, and waits until the new one serves and the
// old one has ended.
func (x *Process) Replace(ctx context.Context) (*Process, error) {
	if err := unix.PidfdSendSignal(x.fd, unix.SIGUSR2, nil, 0); err != nil {
		return nil, fmt.Errorf("restart process %d: %w", x.pid, err)
	}
	next := &Process{place: x.place, pidFile: x.pidFile, log: x.log}
	if err := next.await(ctx, x.pid); err != nil {
		return nil, err
	}
	return next, x.wait()
}

// End drains the process and waits until it has ended.
func (x *Process) End() error {
	if err := unix.PidfdSendSignal(x.fd, unix.SIGTERM, nil, 0); err != nil {
		return fmt.Errorf("end process %d: %w", x.pid, err)
	}
	return x.wait()
}

// wait waits for the end; of a process that does not come to it, it is killed.
func (x *Process) wait() error {
	defer unix.Close(x.fd) //nolint:errcheck // only watched
	for end := time.Now().Add(endMax); time.Now().Before(end); {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(x.fd), Events: unix.POLLIN}}, int(time.Until(end).Milliseconds())+1) //nolint:gosec // a descriptor
		if n == 1 {
			return nil
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for process %d: %w", x.pid, err)
		}
	}
	return errors.Join(fmt.Errorf("process %d was killed: it had not drained within %v; it said: %s", x.pid, endMax, x.said()),
		unix.PidfdSendSignal(x.fd, unix.SIGKILL, nil, 0))
}

// Close gathers the processes that were started here and have ended, and kills
// those that have not.
func (p *Place) Close() error {
	var errs []error
	for _, cmd := range p.cmds {
		timer := time.AfterFunc(time.Second, func() { _ = cmd.Process.Kill() }) // it has ended, unless something failed before
		if err := cmd.Wait(); err != nil {
			errs = append(errs, fmt.Errorf("a process ended with %w", err))
		}
		timer.Stop()
	}
	return errors.Join(errs...)
}
