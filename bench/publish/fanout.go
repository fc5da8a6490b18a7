package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime/pprof"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"drover/bench/internal/proc"
	"drover/bench/internal/times"
	"drover/bucketmap"
	"drover/bucketmap/consul"
	"drover/tools/testservers"
)

const (
	// activeMax is the gate: publication to in force, 99 of 100.
	activeMax = 250 * time.Millisecond
	// publicationMax is when a publication is given up that not all acknowledge.
	publicationMax = time.Minute
)

var errGate = errors.New("not good enough")

// fanout measures one Consul server and many proxies.
type fanout struct {
	proxies, publications, moved int
	buckets                      uint32
	gate, spread                 bool
	profile                      string

	server *testservers.Consul
	mu     struct {
		sync.Mutex
		active map[bucketmap.Version][]time.Time // when, by version
	}
}

// result is what was measured.
type result struct {
	active       times.Times // of every proxy and version
	last         times.Times // of the last proxy, by version
	acknowledged times.Times // of all, as the publisher sees it, by version
	published    times.Times // Publish's own time
	own, consul  time.Duration
	elapsed      time.Duration
}

func (f *fanout) run(ctx context.Context, out io.Writer) (err error) {
	fleet, err := testservers.New(ctx, testservers.Options{Log: func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fleet.Close()) }()
	if f.server, err = fleet.Consul(ctx, "publish", testservers.ConsulOptions{
		// The default allows 200 connections from one address, and all come from one.
		Config: map[string]any{"limits": map[string]any{"http_max_conns_per_client": 8*f.proxies + 100}},
	}); err != nil {
		return err
	}
	f.mu.active = map[bucketmap.Version][]time.Time{}
	r, err := f.measure(ctx, out)
	if err != nil {
		return err
	}
	f.show(out, r)
	return f.judge(r)
}

// judge says whether the figures are as good as they must be.
func (f *fanout) judge(r result) error {
	if p99 := r.active.At(0.99); f.gate && p99 > activeMax {
		return fmt.Errorf("%w: 99 of 100 proxies have a map in force %s after its publication; at most %s is wanted", errGate, times.Ms(p99), times.Ms(activeMax))
	}
	return nil
}

func (f *fanout) open() (*consul.Store, error) {
	return consul.Open(consul.Options{Address: f.server.Addr(), Prefix: "bench"})
}

// measure starts the proxies, publishes, and ends them.
func (f *fanout) measure(ctx context.Context, out io.Writer) (r result, err error) {
	publisher, err := f.open()
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, publisher.Close()) }()
	first, err := firstMap(f.buckets)
	if err != nil {
		return r, err
	}
	if err := publisher.Publish(ctx, first, bucketmap.Change{Who: "bench"}); err != nil {
		return r, err
	}
	watching, stop := context.WithCancel(ctx)
	group, watching := errgroup.WithContext(watching)
	defer func() {
		stop()
		if ended := group.Wait(); !errors.Is(ended, context.Canceled) {
			err = errors.Join(err, ended)
		}
	}()
	begun := time.Now()
	for i := range f.proxies {
		group.Go(func() error { return f.proxy(watching, fmt.Sprintf("proxy-%03d", i)) })
	}
	if err := f.awaitAcks(watching, publisher, first); err != nil {
		return r, err
	}
	fmt.Fprintf(out, "%d proxies began with a map of %d buckets in %.1f s\n", f.proxies, f.buckets, time.Since(begun).Seconds())
	return f.publish(watching, publisher, first)
}

// proxy watches, puts in force and acknowledges, as the edge does.
func (f *fanout) proxy(ctx context.Context, id string) (err error) {
	store, err := f.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	guard := bucketmap.Guard{Reader: true, MaxChange: 0.25, Datacenters: map[bucketmap.Datacenter]bool{legacy: true, cloud: true}}
	var current *bucketmap.Snapshot
	var failed error
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err = store.Watch(ctx, func(next *bucketmap.Snapshot, err error) {
		if err == nil {
			err = guard.Check(current, next)
		}
		if err != nil {
			failed = fmt.Errorf("%s: %w", id, err)
			cancel()
			return
		}
		current = next
		now := time.Now()
		f.mu.Lock()
		f.mu.active[next.Version()] = append(f.mu.active[next.Version()], now)
		f.mu.Unlock()
		ack := bucketmap.Ack{Proxy: id, Version: next.Version(), Digest: next.Digest(), Since: now}
		if err := store.Ack(ctx, ack); err != nil && ctx.Err() == nil {
			failed = fmt.Errorf("%s: %w", id, err)
			cancel()
		}
	})
	if failed != nil {
		return failed
	}
	return err
}

// awaitAcks waits until every proxy runs the map.
func (f *fanout) awaitAcks(ctx context.Context, publisher *consul.Store, snap *bucketmap.Snapshot) error {
	ctx, cancel := context.WithTimeout(ctx, publicationMax)
	defer cancel()
	have := 0
	err := publisher.WatchAcks(ctx, func(acks []bucketmap.Ack) bool {
		have = 0
		for _, ack := range acks {
			if ack.Version == snap.Version() && ack.Digest == snap.Digest() {
				have++
			}
		}
		return have < f.proxies
	})
	if err != nil {
		return fmt.Errorf("%d of %d proxies acknowledge version %d: %w", have, f.proxies, snap.Version(), err)
	}
	return nil
}

// publish is the part that is measured.
func (f *fanout) publish(ctx context.Context, publisher *consul.Store, now *bucketmap.Snapshot) (r result, err error) {
	if f.profile != "" {
		file, err := os.Create(f.profile)
		if err != nil {
			return r, err
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return r, err
		}
		defer pprof.StopCPUProfile()
	}
	random := rand.New(rand.NewPCG(3, 4))
	own, server, err := f.cpu()
	if err != nil {
		return r, err
	}
	begun := time.Now()
	for range f.publications {
		if now, err = nextMap(now, f.moved, f.spread, random); err != nil {
			return r, err
		}
		now.Digest() // a publisher has it from its check
		at := time.Now()
		if err := publisher.Publish(ctx, now, bucketmap.Change{Who: "bench"}); err != nil {
			return r, err
		}
		r.published = append(r.published, time.Since(at))
		if err := f.awaitAcks(ctx, publisher, now); err != nil {
			return r, err
		}
		r.acknowledged = append(r.acknowledged, time.Since(at))
		f.collect(&r, now.Version(), at)
	}
	r.elapsed = time.Since(begun)
	ownEnd, serverEnd, err := f.cpu()
	r.own, r.consul = ownEnd-own, serverEnd-server
	return r, err
}

func (f *fanout) collect(r *result, version bucketmap.Version, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	last := time.Duration(0)
	for _, active := range f.mu.active[version] {
		r.active = append(r.active, active.Sub(at))
		last = max(last, active.Sub(at))
	}
	r.last = append(r.last, last)
	delete(f.mu.active, version)
}

func (f *fanout) cpu() (own, server time.Duration, err error) {
	if own, err = proc.Clock(os.Getpid()); err != nil {
		return 0, 0, err
	}
	server, err = proc.Clock(f.server.PID())
	return own, server, err
}

func (f *fanout) show(out io.Writer, r result) {
	n := time.Duration(f.publications)
	fmt.Fprintf(out, "%d publications of %d moved buckets each\n", f.publications, f.moved)
	fmt.Fprintf(out, "  publish to in force, each proxy   %s\n", r.active)
	fmt.Fprintf(out, "  publish to in force, last proxy   %s\n", r.last)
	fmt.Fprintf(out, "  publish to all acknowledged       %s\n", r.acknowledged)
	fmt.Fprintf(out, "  the call of Publish               %s\n", r.published)
	fmt.Fprintf(out, "  CPU a publication                 publisher and all proxies %s, Consul %s, of %s\n", times.Ms(r.own/n), times.Ms(r.consul/n), times.Ms(r.elapsed/n))
}
