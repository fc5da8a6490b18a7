package shardlib

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"drover/bucketmap"
)

// Library is an application's way to its users' data.
type Library struct {
	config   Config
	log      *zap.Logger
	metrics  *metrics
	pools    *pools
	flights  *flights
	caches   atomic.Pointer[map[bucketmap.Datacenter]*cache]
	writes   *writes
	samplers *samplers

	current  atomic.Pointer[bucketmap.Snapshot]
	mapSince atomic.Pointer[time.Time] // not later than a map in force was known
	life     context.Context           //nolint:containedctx // of what goes on in the background; ended by stop
	stop     context.CancelFunc
	watch    sync.WaitGroup

	mu struct {
		sync.Mutex
		changed chan struct{} // closed when current changes, and then replaced
		failure error         // why there is no map yet
	}
}

// Open starts to watch the map and waits, until ctx ends, for the first one.
// It connects to no server yet. The caller must Close the library.
func Open(ctx context.Context, config Config) (*Library, error) {
	config = config.withDefaults()
	file, err := readShards(&config)
	if err != nil {
		return nil, err
	}
	if err := config.validate(); err != nil {
		return nil, err
	}
	l := &Library{config: config, log: config.Log, pools: newPools(config), flights: newFlights(),
		writes: newWrites(writersMax), samplers: newSamplers()}
	l.metrics = newMetrics(l.pools)
	l.mu.changed = make(chan struct{})
	caches, err := l.makeCaches(config.Shards, nil)
	if err != nil {
		return nil, err
	}
	l.caches.Store(&caches)
	if err := l.metrics.register(config.Registerer); err != nil {
		return nil, fmt.Errorf("shardlib: register metrics: %w", err)
	}
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.life, l.stop = watching, stop
	if file != nil {
		if err := file.watch(); err != nil {
			l.metrics.unregister(config.Registerer)
			stop()
			return nil, err
		}
		l.watch.Go(func() { l.watchShards(watching, file) })
	}
	l.watch.Go(func() { l.watchMap(watching) })

	if err := l.wait(ctx, func(s *bucketmap.Snapshot) bool { return s != nil }); err != nil {
		l.mu.Lock()
		err = errors.Join(err, l.mu.failure)
		l.mu.Unlock()
		return nil, errors.Join(fmt.Errorf("shardlib: no map: %w", err), l.Close())
	}
	return l, nil
}

// Close stops watching the map and closes all connections. It waits for
// statements that are running.
func (l *Library) Close() error {
	l.stop()
	l.watch.Wait()
	l.samplers.work.Wait()
	l.flights.wait()
	err := l.pools.close()
	for _, c := range l.cachesNow() {
		err = errors.Join(err, c.close())
	}
	l.metrics.unregister(l.config.Registerer)
	return err
}

// The pause before a watch that ended is begun again, doubled each time.
const (
	watchPauseMin = 50 * time.Millisecond
	watchPauseMax = 5 * time.Second
)

func (l *Library) watchMap(ctx context.Context) {
	for pause := watchPauseMin; ; pause = min(2*pause, watchPauseMax) {
		err := l.config.Source.Watch(ctx, func(s *bucketmap.Snapshot, err error) {
			if err == nil {
				pause = watchPauseMin
			}
			l.accept(s, err)
		})
		if ctx.Err() != nil {
			return
		}
		l.log.Warn("watching the map again", zap.Error(err), zap.Duration("pause", pause))
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// accept takes a map into force, or refuses it and goes on with what there is.
func (l *Library) accept(s *bucketmap.Snapshot, err error) {
	current := l.current.Load()
	if err == nil && current != nil && s.Version() == current.Version() {
		return
	}
	if err == nil {
		err = bucketmap.CheckSuccessor(current, s)
	}
	if err != nil {
		l.mu.Lock()
		l.mu.failure = err
		l.mu.Unlock()
		if !errors.Is(err, bucketmap.ErrNoMap) {
			l.metrics.mapRefused.Inc()
			l.log.Warn("map refused", zap.Error(err))
		}
		return
	}
	// Before the map: who finds it finds a time that is not before it was known.
	now := time.Now()
	l.mapSince.Store(&now)
	l.current.Store(s)
	l.metrics.mapVersion.Set(float64(s.Version()))
	l.mu.Lock()
	close(l.mu.changed)
	l.mu.changed = make(chan struct{})
	l.mu.Unlock()
	l.log.Info("map in force", zap.Uint64("version", uint64(s.Version())))
	list := l.Shards()
	for _, shard := range s.Shards() {
		if _, ok := list.Address(shard.Name, shard.Datacenter); !ok {
			l.log.Error("the shard list names no server: its users cannot be served; add it",
				zap.String("shard", string(shard.Name)), zap.String("datacenter", string(shard.Datacenter)))
		}
	}
}

// wait returns nil once the map is as wanted, or ctx's error.
func (l *Library) wait(ctx context.Context, wanted func(*bucketmap.Snapshot) bool) error {
	for {
		l.mu.Lock()
		changed := l.mu.changed
		l.mu.Unlock()
		// Looked at after the channel was taken: no change is missed.
		if wanted(l.current.Load()) {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		}
	}
}

// MapVersion returns the version of the map in force here.
func (l *Library) MapVersion() bucketmap.Version { return l.current.Load().Version() }

// Map returns the map in force here.
func (l *Library) Map() *bucketmap.Snapshot { return l.current.Load() }

// AtLeast waits until the map in force here is of this version or newer. When
// ctx ends first, the error is ErrMapBehind.
func (l *Library) AtLeast(ctx context.Context, version bucketmap.Version) error {
	if l.MapVersion() >= version {
		return nil
	}
	err := l.wait(ctx, func(s *bucketmap.Snapshot) bool { return s.Version() >= version })
	if err != nil {
		return fmt.Errorf("%w: version %d, want %d: %w", ErrMapBehind, l.MapVersion(), version, err)
	}
	return nil
}
