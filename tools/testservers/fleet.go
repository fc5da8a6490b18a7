package testservers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"testing"
)

// ErrClosed says that the fleet was closed.
var ErrClosed = errors.New("the fleet is closed")

// Options are for New; the zero value is good.
type Options struct {
	// Log is told what takes long: installations, and the making of the
	// template. Nil is silence.
	Log func(format string, args ...any)

	// Keep leaves the fleet's folder, with the servers' data and logs, behind.
	// The servers end all the same, in order rather than killed.
	Keep bool
}

// Fleet is a set of servers that start and end together.
type Fleet struct {
	dir      string
	keep     bool
	cache    string
	log      func(format string, args ...any)
	binaries binaries
	template string
	owner    *os.File
	watchdog *watchdog
	waits    sync.WaitGroup // one for each process under way

	closing sync.Once
	failure error // of Close

	mu struct {
		sync.Mutex
		closed    bool
		servers   map[string]*process // by name
		serverIDs uint32              // the last one given
	}
}

var serverName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// Start makes a fleet whose servers end with the test. It fails the test if
// servers cannot be had.
func Start(t testing.TB) *Fleet {
	t.Helper()
	fleet, err := New(t.Context(), Options{Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := fleet.Close(); err != nil {
			t.Error(err)
		}
	})
	return fleet
}

// New makes a fleet for a program: it installs what is missing, sweeps what dead
// programs left, and starts no server. The context ends the making alone, not
// the fleet. Close ends and removes everything.
func New(ctx context.Context, opts Options) (*Fleet, error) {
	fleet, err := newFleet(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("make a fleet of test servers: %w", err)
	}
	return fleet, nil
}

func newFleet(ctx context.Context, opts Options) (_ *Fleet, err error) {
	if opts.Log == nil {
		opts.Log = func(string, ...any) {}
	}
	cache, err := cacheFolder()
	if err != nil {
		return nil, err
	}
	programs, err := findOrInstall(ctx, cache, opts.Log)
	if err != nil {
		return nil, err
	}
	base, err := baseFolder()
	if err != nil {
		return nil, err
	}
	if err := sweepBefore(ctx, base, opts.Log); err != nil {
		return nil, err
	}

	f := &Fleet{keep: opts.Keep, cache: cache, log: opts.Log, binaries: programs}
	f.mu.servers = make(map[string]*process)
	if f.dir, f.owner, err = makeFleetFolder(ctx, base, opts.Keep); err != nil {
		return nil, err
	}
	if f.watchdog, err = startWatchdog(f.dir); err != nil {
		err = errors.Join(err, os.RemoveAll(f.dir))
		f.owner.Close()
		return nil, err
	}
	if f.template, err = f.ensureTemplate(ctx, cache, opts.Log); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Install finds MariaDB, memcached and Consul, or installs or builds them, and
// makes the template data folder. It does nothing that is done already, and any
// number of processes may call it at once.
func Install(ctx context.Context, log func(format string, args ...any)) error {
	fleet, err := New(ctx, Options{Log: log})
	if err != nil {
		return err
	}
	_, err = findOrBuildConsul(ctx, fleet.cache, fleet.log)
	return errors.Join(err, fleet.Close())
}

// Dir returns the fleet's own folder, removed by Close.
func (f *Fleet) Dir() string { return f.dir }

// Close ends all servers and removes the fleet's folder, unless it is to be
// kept. Only the first call does anything; all return its result.
func (f *Fleet) Close() error {
	f.closing.Do(func() { f.failure = f.close() })
	return f.failure
}

func (f *Fleet) close() error {
	f.mu.Lock()
	f.mu.closed = true // from here on nothing is executed, so the list is complete
	servers := make([]*process, 0, len(f.mu.servers))
	for _, server := range f.mu.servers {
		servers = append(servers, server)
	}
	f.mu.Unlock()

	signal := syscall.SIGKILL
	if f.keep {
		signal = syscall.SIGTERM
	}
	failures := make([]error, len(servers))
	var ends sync.WaitGroup
	for i, server := range servers {
		// Not under the server's operation lock: a Restart under way may be
		// waiting for a server that never answers, and this is what ends it.
		ends.Go(func() { failures[i] = server.end(signal) })
	}
	ends.Wait()
	err := errors.Join(failures...)

	f.watchdog.end() // kills what is left, and removes the folder
	f.waits.Wait()
	if !f.keep {
		err = errors.Join(err, os.RemoveAll(f.dir))
	}
	if err = errors.Join(err, f.owner.Close()); err != nil {
		return fmt.Errorf("close the fleet %s: %w", f.dir, err)
	}
	return nil
}

// add enters a new server and makes its folder. Both stay if the server does not
// start: its log is there.
func (f *Fleet) add(p *process, name string) error {
	if !serverName.MatchString(name) {
		return fmt.Errorf("server name %q: want 1 to 64 letters, digits, dots, dashes or underscores, and a letter or digit first", name)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.closed {
		return fmt.Errorf("server %s: %w", name, ErrClosed)
	}
	if f.mu.servers[name] != nil {
		return fmt.Errorf("the fleet already has a server named %s", name)
	}
	if err := p.init(f, name, filepath.Join(f.dir, serversFolder, name)); err != nil {
		return err
	}
	f.mu.servers[name] = p
	return nil
}

// nextServerID returns a server id that no other server of the fleet has.
func (f *Fleet) nextServerID() uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.serverIDs++
	return f.mu.serverIDs
}
