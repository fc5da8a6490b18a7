package preflight

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"drover/bucketmap"
	"drover/migrator/internal/database"
	"drover/migrator/internal/move"
	"drover/shardlib/fence"
)

// ServerReachable is the first check: the server answers, and takes the
// account. When it fails there are no others.
const ServerReachable = "server-reachable"

const (
	// serversAtOnce bounds the servers asked side by side.
	serversAtOnce = 16
	// queriesAtOnce bounds what is asked of one server side by side: half of the
	// connections that it is given.
	queriesAtOnce = 4
	// longTransaction is how long a transaction may be open without a warning: a
	// freeze waits for it, and steps back long before.
	longTransaction = 60 * time.Second
)

// Preflight checks servers against one version of the map.
type Preflight struct {
	Servers Servers
	Map     *bucketmap.Snapshot
	Tables  []fence.Sharded
	// Account is the user name that passes the fence.
	Account string

	// longTransaction is another bound than the constant, for tests.
	longTransaction time.Duration
}

// Move checks everything that moving buckets from one shard to another needs.
// The error is of the check itself; what is wrong with the servers is in the
// results.
func (p *Preflight) Move(ctx context.Context, source, target bucketmap.ShardName, buckets []bucketmap.BucketID) ([]Result, error) {
	if len(buckets) == 0 {
		return nil, move.ErrBuckets
	}
	var f findings
	ends := []*facts{{buckets: buckets}, {buckets: buckets, isTarget: true}}
	if err := p.read(ctx, &f, []bucketmap.ShardName{source, target}, ends); err != nil {
		return nil, err
	}
	for _, end := range ends {
		if end.read {
			p.judge(&f, end)
			p.judgeBuckets(&f, end)
		}
	}
	if from, to := ends[0], ends[1]; from.read && to.read {
		p.judgeEnds(&f, from, to)
	}
	p.judgeTables(&f, ends)
	return f.sorted(), nil
}

// Shard checks one shard's server, and all of its rows in the fence.
func (p *Preflight) Shard(ctx context.Context, shard bucketmap.ShardName) ([]Result, error) {
	return p.shards(ctx, []bucketmap.ShardName{shard})
}

// Shards checks every shard of the map, and that their servers can be told
// apart.
func (p *Preflight) Shards(ctx context.Context) ([]Result, error) {
	var names []bucketmap.ShardName
	for _, s := range p.Map.Shards() {
		names = append(names, s.Name)
	}
	return p.shards(ctx, names)
}

func (p *Preflight) shards(ctx context.Context, names []bucketmap.ShardName) ([]Result, error) {
	var f findings
	all := make([]*facts, len(names))
	for i := range all {
		all[i] = &facts{}
	}
	if err := p.read(ctx, &f, names, all); err != nil {
		return nil, err
	}
	for _, one := range all {
		if one.read {
			p.judge(&f, one)
			p.judgeHomes(&f, one)
		}
	}
	judgeServerIDs(&f, all)
	p.judgeFences(&f, all)
	p.judgeTables(&f, all)
	return f.sorted(), nil
}

// read asks all servers side by side.
func (p *Preflight) read(ctx context.Context, f *findings, names []bucketmap.ShardName, all []*facts) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(serversAtOnce)
	for i, name := range names {
		shard, ok := p.Map.Shard(name)
		if !ok {
			return fmt.Errorf("the map has no shard %q", name)
		}
		server, err := p.Servers.In(name, shard.Datacenter)
		if err != nil {
			server = &database.Server{Shard: name, Datacenter: shard.Datacenter}
			f.check(server, ServerReachable, refuse("add the server to the shard list", "%s", err))
			continue
		}
		all[i].server = server
		g.Go(func() error { return p.readServer(ctx, f, all[i]) })
	}
	return g.Wait()
}

// judge is what every server is asked.
func (p *Preflight) judge(f *findings, s *facts) {
	judgeSettings(f, s)
	p.judgeAccounts(f, s)
	p.judgeActivity(f, s)
	p.judgeFenceTables(f, s)
}
