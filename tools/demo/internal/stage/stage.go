package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"drover/bucketmap"
	"drover/bucketmap/file"
	"drover/tools/testservers"
)

// The datacenters: users leave Source for Target.
const (
	Source bucketmap.Datacenter = "legacy"
	Target bucketmap.Datacenter = "cloud"
)

// The shards. Delta is the server of beta's replica, no shard of its own.
const (
	Alpha bucketmap.ShardName = "alpha"
	Beta  bucketmap.ShardName = "beta"
	Gamma bucketmap.ShardName = "gamma"

	alpha, beta, gamma, delta = "alpha", "beta", "gamma", "delta"
)

// appsPerDatacenter is how many applications a datacenter has.
const appsPerDatacenter = 2

// Four applications on a few cores get in one another's way less with a thread
// each: a tenth of all work, measured on two cores.
var appEnvironment = []string{"GOMAXPROCS=1"}

const (
	logsFolder   = "logs"
	mapFolder    = "map"
	shardsFile   = "shards.yaml"
	migratorFile = "migrator.yaml"
	weightsFile  = "weights.yaml"
)

// FenceOff leaves the writes without a fence: they will be lost.
const FenceOff = "off"

// Options are for Set.
type Options struct {
	Users      int
	Buckets    uint32
	AlphaShare float64 // of the buckets that alpha has at first; beta has the rest
	Fence      string  // of the applications: library, trigger or off
	Bin        string  // a folder with ready programs; built when empty
	Dir        string  // the work folder; a new temporary one when empty
	// Slow is the threshold of the latency objective, a bound of the edge's
	// histogram; 0 is one that two cores meet while all of this shares them.
	Slow time.Duration
	// Log is told what takes long.
	Log func(format string, args ...any)
}

// Stage is everything that runs.
type Stage struct {
	Dir string // the work folder
	// Applications are the addresses of each datacenter's applications.
	Applications map[bucketmap.Datacenter][]string
	Proxy, Admin string // URLs of the edge, for users and for operators
	// Console is the URL of migrator serve, and ConsoleToken the file with the
	// token that lets an operator in.
	Console, ConsoleToken string
	// Warnings is how many checks of migrator check warn.
	Warnings int

	options Options
	bin     string
	fleet   *testservers.Fleet
	servers map[string]*testservers.MariaDB
	caches  map[bucketmap.Datacenter]*testservers.Memcached
	store   *file.Store

	watchdog       *watchdog
	waits          sync.WaitGroup // one for each program that runs
	programs       []*Program     // that run until Close, in the order of their starts
	migratorConfig string
	commands       atomic.Int32 // numbers the migrator's logs

	mu struct {
		sync.Mutex
		others []*Program // that may end before, in the order of their starts
	}
}

// Set sets the stage. Whoever gets an error has nothing to close; the work
// folder is left for the logs in it.
func Set(ctx context.Context, options Options) (_ *Stage, err error) {
	s := &Stage{options: options, Dir: options.Dir, Applications: map[bucketmap.Datacenter][]string{},
		servers: map[string]*testservers.MariaDB{}, caches: map[bucketmap.Datacenter]*testservers.Memcached{}}
	if s.Dir == "" {
		if s.Dir, err = os.MkdirTemp("", "drover-demo-"); err != nil {
			return nil, err
		}
	}
	if s.Dir, err = filepath.Abs(s.Dir); err != nil {
		return nil, err
	}
	for _, folder := range []string{logsFolder, mapFolder} {
		if err := os.MkdirAll(s.path(folder), 0o700); err != nil {
			return nil, err
		}
	}
	if s.watchdog, err = startWatchdog(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
			if options.Dir == "" && ctx.Err() != nil {
				err = errors.Join(err, s.Remove()) // nobody wants the logs of what was interrupted
			}
		}
	}()
	if err := s.buildAndServe(ctx); err != nil {
		return nil, err
	}
	if err := s.prepareDatabases(ctx); err != nil {
		return nil, err
	}
	if err := s.startApplications(ctx); err != nil {
		return nil, err
	}
	if err := s.startProxy(ctx); err != nil {
		return nil, err
	}
	if err := s.writeMigratorConfig(); err != nil {
		return nil, err
	}
	return s, s.startConsole(ctx)
}

// buildAndServe builds the programs and starts the servers, side by side.
func (s *Stage) buildAndServe(ctx context.Context) error {
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error {
		if s.bin = s.options.Bin; s.bin != "" {
			var err error
			s.bin, err = filepath.Abs(s.bin)
			return err
		}
		s.bin = s.path("bin")
		s.options.Log("building proxy, migrator and sampleapp")
		return Build(ctx, s.bin)
	})
	both.Go(func() error {
		var err error
		if s.fleet, err = testservers.New(ctx, testservers.Options{Log: s.options.Log}); err != nil {
			return err
		}
		s.options.Log("starting 4 MariaDB servers and 2 memcacheds")
		servers, err := s.fleet.MariaDBs(ctx, alpha, beta, gamma, delta)
		if err != nil {
			return err
		}
		for _, server := range servers {
			s.servers[server.Name()] = server
		}
		for _, datacenter := range []bucketmap.Datacenter{Source, Target} {
			if s.caches[datacenter], err = s.fleet.Memcached(ctx, "cache-"+string(datacenter)); err != nil {
				return err
			}
		}
		return nil
	})
	return both.Wait()
}

func (s *Stage) startApplications(ctx context.Context) error {
	s.options.Log("starting 4 applications and the edge")
	for _, datacenter := range []bucketmap.Datacenter{Source, Target} {
		for i := range appsPerDatacenter {
			name := fmt.Sprintf("%s-%d", datacenter, i+1)
			var address string
			p, err := s.onFreePorts(ctx, 1, func(ports []string) (*Program, string, error) {
				address = ports[0]
				config, err := s.writeAppConfig(name, datacenter, address)
				if err != nil {
					return nil, "", err
				}
				p, err := s.start("app-"+name, appEnvironment, nil, filepath.Join(s.bin, appProgram), "--config", config)
				return p, "http://" + address + "/healthz", err
			})
			if err != nil {
				return err
			}
			s.programs = append(s.programs, p)
			s.Applications[datacenter] = append(s.Applications[datacenter], address)
		}
	}
	return nil
}

// startProxy starts the edge of the stage. Its cohorts are as those of an edge that
// nobody has configured.
func (s *Stage) startProxy(ctx context.Context) error {
	e, err := s.startEdge(ctx, proxyProgram, EdgeOptions{ID: "edge-1", Map: mapFolder, Target: s.Applications[Target],
		Cohort: time.Hour, passports: s.LogPath("passports")})
	if err != nil {
		return err
	}
	s.Proxy, s.Admin, s.programs = e.URL, e.Admin, append(s.programs, e.program)
	return nil
}

// Map returns the map in force.
func (s *Stage) Map(ctx context.Context) (*bucketmap.Snapshot, error) { return s.store.Load(ctx) }

// Ended returns the name of a program that has ended though it should run, ""
// when all run.
func (s *Stage) Ended() string {
	for _, p := range s.programs {
		select {
		case <-p.ended:
			return p.name
		default:
		}
	}
	return ""
}

// Close ends everything. The work folder is left for the logs in it; see
// Remove.
func (s *Stage) Close() error {
	s.mu.Lock()
	all := slices.Concat(s.programs, s.mu.others)
	s.mu.Unlock()
	for _, p := range slices.Backward(all) {
		p.Stop()
	}
	s.waits.Wait()
	s.watchdog.end()
	var err error
	if s.store != nil {
		err = s.store.Close()
	}
	if s.fleet != nil {
		err = errors.Join(err, s.fleet.Close())
	}
	return err
}

// Remove removes the work folder. Only what is closed may be removed.
func (s *Stage) Remove() error { return os.RemoveAll(s.Dir) }
