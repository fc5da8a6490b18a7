package restart

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/cloudflare/tableflip"
	"go.uber.org/zap"
)

// ErrUpgrade is an upgrade that did not happen: this process goes on.
var ErrUpgrade = errors.New("not upgraded")

// ErrImpossible is the upgrade of a program that is not made for it.
var ErrImpossible = fmt.Errorf("%w: this process cannot be replaced while it runs: end it and start another", ErrUpgrade)

// GenerationVariable is the environment variable by which a process learns its
// generation.
const GenerationVariable = "DROVER_GENERATION"

// readyMax bounds the wait for a new process, where the options do not.
const readyMax = time.Minute

// Options are what New wants.
type Options struct {
	PIDFile      string        // is written by the process that is ready; empty: none
	ReadyTimeout time.Duration // until a new process that is not ready is killed; 0: readyMax
	Log          *zap.Logger
	// Getenv reads the environment, which is the main program's to read.
	Getenv func(name string) string
}

// Restart is this process's side of an upgrade.
type Restart struct {
	log        *zap.Logger
	upgrader   *tableflip.Upgrader
	generation int

	mu   sync.Mutex
	seen map[string]int // how often an address was listened on

	left sync.Once
	exit chan struct{}
}

// New takes over what a parent left, if there is one.
func New(o Options) (*Restart, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.ReadyTimeout <= 0 {
		o.ReadyTimeout = readyMax
	}
	r := &Restart{log: o.Log, seen: map[string]int{}, exit: make(chan struct{})}
	upgrader, err := tableflip.New(tableflip.Options{PIDFile: o.PIDFile, UpgradeTimeout: o.ReadyTimeout})
	if err != nil {
		return nil, fmt.Errorf("prepare for upgrades (turn them off to start without): %w", err)
	}
	r.upgrader = upgrader
	if upgrader.HasParent() { // else the variable is somebody else's leaving
		if r.generation, err = generation(o.Getenv); err != nil {
			r.Stop()
			return nil, err
		}
	}
	if err := os.Setenv(GenerationVariable, strconv.Itoa(r.generation+1)); err != nil {
		r.Stop()
		return nil, fmt.Errorf("set %s for the next process: %w", GenerationVariable, err)
	}
	return r, nil
}

func generation(getenv func(string) string) (int, error) {
	if getenv == nil {
		return 0, errors.New("a process that replaces another wants to read its generation: set Options.Getenv")
	}
	text := getenv(GenerationVariable)
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%s is %q, and must be 1 or more: it is set by the process before and by nobody else", GenerationVariable, text)
	}
	return n, nil
}

// Listen gives the socket that the parent listened with, or a new one. An
// address may be listened on several times, such as one that ends in :0; the
// sockets are then inherited in the order of the calls.
func (r *Restart) Listen(network, address string, lc *net.ListenConfig) (net.Listener, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := address
	if n := r.seen[network+" "+address]; n > 0 {
		key += "#" + strconv.Itoa(n+1)
	}
	l, err := r.upgrader.Listener(network, key)
	if err != nil {
		return nil, fmt.Errorf("inherit the listener on %s (end the process and start another): %w", address, err)
	}
	if l == nil {
		// Not by the library's own call, which loses what kind of error it is.
		if l, err = lc.Listen(context.Background(), network, address); err != nil {
			return nil, err
		}
		shared, ok := l.(tableflip.Listener)
		if !ok {
			return nil, errors.Join(fmt.Errorf("a %T cannot be inherited: give a TCP or Unix address", l), l.Close())
		}
		if err := r.upgrader.AddListener(network, key, shared); err != nil {
			return nil, errors.Join(fmt.Errorf("keep a copy of the listener on %s (raise the limit of open files): %w", address, err), l.Close())
		}
	}
	r.seen[network+" "+address]++
	return l, nil
}

// Ready says that this process serves: its parent may leave. Inherited sockets
// that were not listened on are closed.
func (r *Restart) Ready() error {
	if err := r.upgrader.Ready(); err != nil {
		return fmt.Errorf("tell that this process is ready (is the PID file's folder writable?): %w", err)
	}
	if r.HasParent() {
		r.log.Info("took over from the process before", zap.Int("generation", r.generation))
	}
	return nil
}

// Upgrade starts the binary again, as this process was started, and waits until
// the new process is ready. Then Exit is closed. On an error, which is an
// ErrUpgrade, this process goes on as before.
func (r *Restart) Upgrade() error {
	r.log.Info("upgrading", zap.Int("generation", r.generation+1))
	if err := r.upgrader.Upgrade(); err != nil {
		return fmt.Errorf("%w, this process goes on (look at what the new process said, then try again): %w", ErrUpgrade, err)
	}
	<-r.upgrader.Exit() // its copies of the sockets are closed
	r.left.Do(func() { close(r.exit) })
	return nil
}

// Exit is closed when a new process is ready and this one should drain and end.
// Stop does not close it.
func (r *Restart) Exit() <-chan struct{} { return r.exit }

// HasParent says whether this process replaces another.
func (r *Restart) HasParent() bool { return r.upgrader.HasParent() }

// Generation counts the processes since the first, which is 0.
func (r *Restart) Generation() int { return r.generation }

// Stop ends upgrades, also one under way, whose process it kills, and closes
// this package's copies of the sockets.
func (r *Restart) Stop() {
	r.upgrader.Stop()
	<-r.upgrader.Exit()
}
