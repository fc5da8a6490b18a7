package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"drover/tools/sources"
)

// Kind is one of the proxies.
type Kind string

// The proxies.
const (
	Drover  Kind = "drover"
	Nginx   Kind = "nginx"
	HAProxy Kind = "haproxy"
)

// Kinds returns all proxies, Drover first.
func Kinds() []Kind { return []Kind{Drover, Nginx, HAProxy} }

// The limits that every peer is started with.
const (
	HeaderWait = time.Second // for a client to send a request's head
	BodyMax    = 1 << 20     // bytes of a request's body
)

const (
	readyWaitMax = 30 * time.Second
	readyPoll    = 10 * time.Millisecond
	endWaitMax   = 2 * time.Second // after SIGTERM; then SIGKILL
	portTries    = 10
	logTailBytes = 2 << 10 // of a peer's log in an error
)

// errEnded says that a peer ended that should run.
var errEnded = errors.New("it ended")

// Process is one peer that runs.
type Process struct {
	// Client is the address for clients.
	Client  string
	log     string // path
	command *exec.Cmd
	ended   chan struct{} // closed once it has been waited for
}

// program is how a kind is started.
type program struct {
	args []string
	// ready returns nil once the peer answers.
	ready func(context.Context) error
}

// Prepare gets the program of a kind ready: it builds Drover into the folder,
// and finds the others. It returns the program's path.
func Prepare(ctx context.Context, kind Kind, dir string) (string, error) {
	switch kind {
	case Drover:
		return sources.Program(ctx, dir, "proxy")
	case Nginx, HAProxy:
		return find(ctx, string(kind))
	default:
		return "", fmt.Errorf("no peer %q: use drover, nginx or haproxy", kind)
	}
}

// find finds an installed program, and installs it if it may.
func find(ctx context.Context, name string) (string, error) {
	look := func() (string, error) {
		if path := filepath.Join("/usr/sbin", name); exec.Command(path, "-v").Run() == nil { //nolint:noctx // prints its version and ends
			return path, nil
		}
		return exec.LookPath(name)
	}
	path, err := look()
	if err == nil {
		return path, nil
	}
	if os.Geteuid() != 0 {
		return "", fmt.Errorf("%s is not installed: run apt-get install %s as root: %w", name, name, err)
	}
	install := exec.CommandContext(ctx, "apt-get", "install", "-y", "--no-install-recommends", name)
	if output, err := install.CombinedOutput(); err != nil {
		return "", fmt.Errorf("install %s (do it by hand, or leave this peer out): %w\n%s", name, err, output)
	}
	return look()
}

// Place is where a peer runs.
type Place struct {
	Dir  string // the peer's alone
	Slot int    // from 0 to SlotsMax-1, another one for each peer that runs at the same time
}

// Start starts a peer in front of an origin. The binary is Prepare's.
func Start(ctx context.Context, kind Kind, binary, origin string, place Place) (*Process, error) {
	if err := os.MkdirAll(place.Dir, 0o700); err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		p, err := start(ctx, kind, binary, origin, place)
		if err == nil || !errors.Is(err, errEnded) || try == portTries || !strings.Contains(strings.ToLower(err.Error()), "in use") {
			return p, err
		}
	}
}

func start(ctx context.Context, kind Kind, binary, origin string, place Place) (*Process, error) {
	client, err := freeAddress(ctx, place.Slot)
	if err != nil {
		return nil, err
	}
	var what program
	switch kind {
	case Drover:
		what, err = drover(ctx, binary, client, origin, place)
	case Nginx:
		what, err = nginx(binary, client, origin, place.Dir)
	case HAProxy:
		what, err = haproxy(binary, client, origin, place.Dir)
	default:
		err = fmt.Errorf("no peer %q", kind)
	}
	if err != nil {
		return nil, fmt.Errorf("set up %s: %w", kind, err)
	}
	p, err := launch(ctx, kind, what, place.Dir)
	if err != nil {
		return nil, err
	}
	p.Client = client
	return p, nil
}

// launch executes a program, its output in a file of the folder, and waits
// until it is ready.
func launch(ctx context.Context, kind Kind, what program, dir string) (*Process, error) {
	p := &Process{log: filepath.Join(dir, "log"), ended: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.command = exec.Command(what.args[0], what.args[1:]...) //nolint:noctx // it outlives the call, and End is what ends it
	p.command.Dir, p.command.Stdout, p.command.Stderr = dir, log, log
	p.command.SysProcAttr = attributes()
	if err := p.command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", kind, err)
	}
	go func() { // End waits for it
		_ = p.command.Wait() // who asks looks at ProcessState
		close(p.ended)
	}()
	if err := p.wait(ctx, what.ready); err != nil {
		p.End()
		return nil, fmt.Errorf("start %s: %w; its log says:\n%s", kind, err, tail(p.log))
	}
	return p, nil
}

// wait waits until the peer answers.
func (p *Process) wait(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyWaitMax, fmt.Errorf("not ready after %v", readyWaitMax))
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return errEnded
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(readyPoll):
		}
	}
}

// End ends the peer and waits for it.
func (p *Process) End() {
	p.signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(endWaitMax):
		p.signal(syscall.SIGKILL)
		<-p.ended
	}
}

// Ended says whether the peer has ended, by itself or by End.
func (p *Process) Ended() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// Log returns the end of what the peer printed.
func (p *Process) Log() string { return tail(p.log) }

func (p *Process) signal(signal syscall.Signal) {
	if !p.Ended() {
		_ = p.command.Process.Signal(signal) // it ended this moment
	}
}

// Every slot has ports of its own: a peer that shares its port, as some do,
// would not notice that another one has it. They are below those that kernels
// give to outgoing connections.
const (
	portMin   = 12_000
	slotPorts = 500
	SlotsMax  = 16 // up to port 19,999
)

// freeAddress returns an address of loopback, of a slot's ports, on which
// nobody listened a moment ago, and which is none of those taken.
func freeAddress(ctx context.Context, slot int, taken ...string) (string, error) {
	var lc net.ListenConfig
	for range slotPorts {
		address := fmt.Sprintf("127.0.0.1:%d", portMin+slot*slotPorts+rand.IntN(slotPorts))
		if slices.Contains(taken, address) {
			continue
		}
		if listener, err := lc.Listen(ctx, "tcp4", address); err == nil {
			return address, listener.Close()
		}
	}
	return "", fmt.Errorf("no free port of loopback from %d on, after %d tries: end what listens there", portMin+slot*slotPorts, slotPorts)
}

// connects says whether somebody listens at the address.
func connects(address string) func(context.Context) error {
	return func(ctx context.Context) error {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp4", address)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

// tail returns the end of a file, for an error.
func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(text[max(0, len(text)-logTailBytes):]))
}
