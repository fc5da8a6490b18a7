package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"golang.org/x/sync/errgroup"

	"drover/bench/internal/process"
	"drover/bench/internal/times"
	"drover/bucketmap"
	"drover/bucketmap/file"
	"drover/tools/sampleapp/schema"
	"drover/tools/sources"
	"drover/tools/testservers"
)

// What holds make users wait: they write and read through one real proxy, before
// the sample application in both datacenters. The proxies beside it are watchers
// that acknowledge in the same store; they read the map once for all.
//
// The reactive rows have a proxy that never hears of a hold: its map comes from
// a second store, to which every version is copied without its holds. It learns
// of the freeze from the application's 421, as one that was cut off would.

// proactive and reactive are the two kinds of hold.
const (
	proactive = "proactive"
	reactive  = "reactive"
)

// holdCase is a row of the table.
type holdCase struct {
	kind             string
	buckets, proxies int
}

func holdCases() []holdCase {
	var cases []holdCase
	for _, kind := range []string{proactive, reactive} {
		for _, buckets := range []int{1, 16} {
			for _, proxies := range []int{1, 200} {
				cases = append(cases, holdCase{kind, buckets, proxies})
			}
		}
	}
	return cases
}

// stage is the field with applications and a proxy.
type stage struct {
	*field
	apps  map[bucketmap.Datacenter]*process.Process
	edges map[string]string // the proxy's configuration, by kind
	proxy string            // its program
	deaf  string            // the folder of the store without holds
	next  int               // the first bucket that has not moved yet
}

func (o options) holds(ctx context.Context, out io.Writer) (err error) {
	s := &stage{apps: map[bucketmap.Datacenter]*process.Process{}, edges: map[string]string{}}
	if s.field, err = newStageField(ctx, o); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.set(ctx); err != nil {
		return err
	}
	t := table.NewWriter()
	t.SetOutputMirror(out)
	t.AppendHeader(table.Row{"hold", "buckets", "proxies", "requests", "p50", "p99", "max", "longest of a move, p50", "stale reads", "not 200"})
	var wrong int64
	for _, c := range holdCases() {
		r, err := s.measure(ctx, c, o.moves)
		if err != nil {
			return fmt.Errorf("%s, %d buckets, %d proxies: %w", c.kind, c.buckets, c.proxies, err)
		}
		wrong += r.stale
		t.AppendRow(table.Row{c.kind, c.buckets, c.proxies, len(r.took), times.Ms(r.took.Median()), times.Ms(r.took.At(0.99)), times.Ms(r.took.At(1)),
			times.Ms(r.longest.Median()), fmt.Sprintf("%d of %d", r.stale, r.reads), r.refused})
	}
	t.Render()
	if wrong != 0 {
		return fmt.Errorf("%w: %d reads were older than the same user's write", errGate, wrong)
	}
	return nil
}

// newStageField is newField with the sample application's tables.
func newStageField(ctx context.Context, o options) (*field, error) {
	o.sharded = schema.Tables()
	for _, c := range holdCases() {
		o.buckets += uint32((o.moves + 1) / 2 * c.buckets)
	}
	o.tables = func(ctx context.Context, server *testservers.MariaDB) error {
		return server.Exec(ctx, append([]string{"CREATE DATABASE " + databaseName, "USE " + databaseName}, schema.Statements(o.buckets)...)...)
	}
	return newField(ctx, o)
}

// set builds and starts the applications, and writes the proxy's configurations.
func (s *stage) set(ctx context.Context) (err error) {
	app, err := sources.Program(ctx, s.dir, "tools/sampleapp")
	if err != nil {
		return err
	}
	if s.proxy, err = sources.Program(ctx, s.dir, "proxy"); err != nil {
		return err
	}
	for dc, list := range s.lists {
		path := filepath.Join(s.dir, "shards-"+string(dc)+".yaml")
		text := fmt.Sprintf("database: %s\nshards:\n  alpha: {legacy: %q}\n  gamma: {cloud: %q}\n", databaseName,
			list.Shards["alpha"][legacy], list.Shards["gamma"][cloud])
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
		if s.apps[dc], err = process.Start(ctx, app, "--listen", "127.0.0.1:0", "--datacenter", string(dc), "--map-dir", filepath.Join(s.dir, "map"),
			"--shards", path, "--user", testservers.AccountApp, "--password", testservers.Password); err != nil {
			return err
		}
	}
	s.deaf = filepath.Join(s.dir, "deaf")
	for kind, dir := range map[string]string{proactive: filepath.Join(s.dir, "map"), reactive: s.deaf} {
		text := process.EdgeConfig("real", fmt.Sprintf("store: file, dir: %q, max_change: 0", dir), s.apps[legacy].Address, s.apps[cloud].Address)
		s.edges[kind] = filepath.Join(s.dir, kind+".yaml")
		if err := os.WriteFile(s.edges[kind], []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) close() error {
	var errs []error
	for _, app := range s.apps {
		if app != nil {
			errs = append(errs, app.Stop())
		}
	}
	return errors.Join(append(errs, s.field.close())...)
}

// measure takes a batch there and back for one row of the table.
func (s *stage) measure(ctx context.Context, c holdCase, moves int) (r waited, err error) {
	running, stop := context.WithCancel(ctx)
	defer stop()
	group, running := errgroup.WithContext(running)
	if c.kind == reactive {
		ready := make(chan struct{})
		group.Go(func() error { return s.copyWithoutHolds(running, ready) })
		select {
		case <-ready:
		case <-running.Done():
			return r, group.Wait()
		}
	}
	if c.proxies > 1 {
		group.Go(func() error { return s.watchers(running, c.proxies-1) })
	}
	edge, err := process.Start(running, s.proxy, "run", "--config", s.edges[c.kind])
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, edge.Stop()) }()
	for range (moves + 1) / 2 {
		p := newPublic(edge.Address, s.next, c.buckets, s.bucketCount)
		s.next += c.buckets // a bucket moves there and back once: ending a move takes longer than moving
		if err := s.thereAndBack(running, p, &r); err != nil {
			stop()
			return r, errors.Join(err, group.Wait())
		}
	}
	stop()
	return r, group.Wait()
}

// thereAndBack moves a batch while its users write and read.
func (s *stage) thereAndBack(ctx context.Context, p *public, r *waited) (err error) {
	defer p.close()
	using, stop := context.WithCancel(ctx)
	group, using := errgroup.WithContext(using)
	for _, u := range p.users {
		group.Go(func() error { return p.use(using, u) })
	}
	defer func() {
		stop()
		err = errors.Join(err, group.Wait())
		r.stale, r.reads, r.refused = r.stale+p.stale.Load(), r.reads+p.reads.Load(), r.refused+p.refused.Load()
	}()
	events, err := s.migrator(using, "bucket", "move", p.list(), "--to", "gamma")
	if err != nil {
		return err
	}
	p.collect(r, events)
	if events, err = s.migrator(using, "bucket", "return", events[0].Move); err != nil {
		return err
	}
	p.collect(r, events)
	return nil
}

// watchers acknowledge every version as proxies would.
func (s *stage) watchers(ctx context.Context, count int) (err error) {
	store, err := file.Open(filepath.Join(s.dir, "map"), file.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	var failed error
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	err = store.Watch(watching, func(snap *bucketmap.Snapshot, err error) {
		for n := range count {
			if err == nil {
				err = store.Ack(watching, bucketmap.Ack{Proxy: fmt.Sprintf("watcher-%03d", n), Version: snap.Version(), Digest: snap.Digest(), Since: time.Now()})
			}
		}
		if err != nil && ctx.Err() == nil {
			failed = err
			cancel()
		}
	})
	return ended(ctx, errors.Join(failed, err))
}

// copyWithoutHolds keeps the deaf proxy's store up to date.
func (s *stage) copyWithoutHolds(ctx context.Context, ready chan<- struct{}) (err error) {
	from, err := file.Open(filepath.Join(s.dir, "map"), file.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	to, err := file.Open(s.deaf, file.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	have := bucketmap.Version(0)
	if snap, err := to.Load(ctx); err == nil {
		have = snap.Version()
	}
	var failed error
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	err = from.Watch(watching, func(snap *bucketmap.Snapshot, err error) {
		for err == nil && have < snap.Version() {
			have++
			draft := snap.Edit()
			draft.Version, draft.Holds = have, nil
			var next *bucketmap.Snapshot
			if next, err = draft.Snapshot(); err == nil {
				err = to.Publish(watching, next, bucketmap.Change{Who: "bench"})
			}
		}
		if err != nil && ctx.Err() == nil {
			failed = err
			cancel()
		}
		if ready != nil {
			close(ready)
			ready = nil
		}
	})
	return ended(ctx, errors.Join(failed, err))
}

// ended takes away the error of what was told to end.
func ended(ctx context.Context, err error) error {
	select {
	case <-ctx.Done():
		return nil
	default:
		return err
	}
}
