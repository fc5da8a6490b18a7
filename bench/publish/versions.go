package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/consul"
	"drover/bucketmap/file"
	"drover/tools/testservers"
)

const (
	defaultQuiet = 3 * time.Second
	// batch is how many buckets a version moves.
	batch = 16
	// lastMax bounds the wait for the last version.
	lastMax = 30 * time.Second
)

// versions measures requests while versions are published.
type versions struct {
	rounds, count, rate int
	buckets             uint32
	quiet               time.Duration
	proxy               string
}

// store is one that a proxy watches and the bench publishes to.
type store interface {
	bucketmap.Store
	Close() error
}

func (v *versions) run(ctx context.Context, out io.Writer) (err error) {
	if v.rounds < 1 || v.count < v.rounds || v.rate < 1 || v.buckets < 1024 {
		return errors.New("want a round or more, a version a round or more, a request a second or more, and 1,024 buckets or more")
	}
	fleet, err := testservers.New(ctx, testservers.Options{Log: func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fleet.Close()) }()
	server, err := fleet.Consul(ctx, "versions", testservers.ConsulOptions{})
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "drover-publish-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if v.proxy == "" {
		if v.proxy, err = build(ctx, dir); err != nil {
			return err
		}
	}
	origins := map[bucketmap.Datacenter]*httptest.Server{legacy: origin(legacy), cloud: origin(cloud)}
	for _, o := range origins {
		defer o.Close()
	}
	inFile := place{"file", fmt.Sprintf("dir: %q", filepath.Join(dir, "map")), func(name string) (store, error) {
		return file.Open(filepath.Join(dir, name), file.Options{})
	}}
	inConsul := place{"consul", fmt.Sprintf("store: consul, consul: {address: %q, prefix: map}", server.Addr()), func(name string) (store, error) {
		return consul.Open(consul.Options{Address: server.Addr(), Prefix: name})
	}}
	for _, p := range []place{inFile, inConsul} {
		if err := v.measure(ctx, out, dir, p, origins); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// place is where maps can be published: as map, which the proxy watches, and
// under any other name, where nobody does.
type place struct {
	name, config string
	open         func(name string) (store, error)
}

// measure takes the rounds of one place.
func (v *versions) measure(ctx context.Context, out io.Writer, dir string, p place, origins map[bucketmap.Datacenter]*httptest.Server) (err error) {
	watched, err := v.begin(ctx, p, "map")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, watched.store.Close()) }()
	aside, err := v.begin(ctx, p, "aside")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, aside.store.Close()) }()
	own := filepath.Join(dir, "proxy-"+p.name)
	if err := os.MkdirAll(own, 0o700); err != nil {
		return err
	}
	e, err := startEdge(own, v.proxy, p.config, origins)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.stop()) }()
	if err := awaitVersion(ctx, watched.store, watched.now); err != nil {
		return err
	}
	transport := &http.Transport{MaxIdleConnsPerHost: workersMax, DisableCompression: true}
	defer transport.CloseIdleConnections()
	l := &load{address: e.address, rate: v.rate, users: staying(watched.now, watched.free), client: &http.Client{Transport: transport}}
	kinds := []*kind{
		{name: "nothing is published", during: func(ctx context.Context, _ int) error { return sleep(ctx, v.quiet) }},
		{name: "published elsewhere", during: aside.publish},
		{name: "published to the proxy", during: func(ctx context.Context, n int) error {
			return errors.Join(watched.publish(ctx, n), awaitVersion(ctx, watched.store, watched.now))
		}},
	}
	if err := v.takeRounds(ctx, l, kinds); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: %d versions of %d buckets, %d requests a second, none failed\n", p.name, v.count, v.buckets, v.rate)
	for _, k := range kinds {
		fmt.Fprintf(out, "  %-22s %5.1f s  %s\n", k.name, k.took.Seconds(), k.figures)
	}
	p99 := func(i int) float64 { return float64(kinds[i].figures.at(0.99)) }
	fmt.Fprintf(out, "  p99, to the proxy: × %.2f of nothing, × %.2f of elsewhere\n", p99(2)/p99(0), p99(2)/p99(1))
	return nil
}

// kind is what goes on in a round.
type kind struct {
	name    string
	during  func(ctx context.Context, n int) error
	figures figures
	took    time.Duration
}

// takeRounds lets the kinds take turns.
func (v *versions) takeRounds(ctx context.Context, l *load, kinds []*kind) error {
	for round := range v.rounds {
		n := v.count*(round+1)/v.rounds - v.count*round/v.rounds
		for _, k := range kinds {
			begun := time.Now()
			got, err := l.during(ctx, func(ctx context.Context) error { return k.during(ctx, n) })
			if err != nil {
				return fmt.Errorf("while %s: %w", k.name, err)
			}
			k.took += time.Since(begun)
			k.figures = append(k.figures, got...)
		}
	}
	return nil
}

// publisher publishes one version after the other.
type publisher struct {
	store store
	now   *bucketmap.Snapshot
	free  bucketmap.BucketID // from here on versions move buckets, below it users are
}

func (v *versions) begin(ctx context.Context, p place, name string) (*publisher, error) {
	s, err := p.open(name)
	if err != nil {
		return nil, err
	}
	now, err := firstMap(v.buckets)
	if err == nil {
		err = s.Publish(ctx, now, bucketmap.Change{Who: "bench"})
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &publisher{s, now, bucketmap.BucketID(v.buckets / 2)}, nil
}

// publish publishes n versions.
func (p *publisher) publish(ctx context.Context, n int) error {
	random := rand.New(rand.NewPCG(uint64(p.now.Version()), 5))
	for range n {
		d := p.now.Edit()
		first := p.free + bucketmap.BucketID(random.Uint32N(p.now.Buckets()-uint32(p.free)-batch))
		if err := d.SetHome(first, first+batch-1, shardName(random.IntN(shards))); err != nil {
			return err
		}
		d.Declare(p.now)
		next, err := d.Snapshot()
		if err != nil {
			return err
		}
		if err := p.store.Publish(ctx, next, bucketmap.Change{Who: "bench"}); err != nil {
			return err
		}
		p.now = next
	}
	return nil
}

// during sends requests for as long as what takes.
func (l *load) during(ctx context.Context, what func(context.Context) error) (figures, error) {
	loading, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		ended <- what(ctx)
		stop()
	}()
	all, err := l.run(loading)
	return all, errors.Join(err, <-ended)
}

// awaitVersion waits until the proxy runs the map.
func awaitVersion(ctx context.Context, s store, snap *bucketmap.Snapshot) error {
	ctx, cancel := context.WithTimeout(ctx, lastMax)
	defer cancel()
	var last []bucketmap.Ack
	err := s.WatchAcks(ctx, func(acks []bucketmap.Ack) bool {
		last = acks
		return len(acks) != 1 || acks[0].Digest != snap.Digest()
	})
	if err != nil {
		return fmt.Errorf("the proxy does not run version %d: %w; it says %+v", snap.Version(), err, last)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
