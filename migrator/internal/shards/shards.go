// Package shards finds the servers of the shards.
//
// The shard list says which server a shard has in each datacenter, and the map
// in which datacenter the shard lives: the server there is its primary. A
// Shards keeps one set of connections a server and is safe for concurrent use;
// close it when the program ends.
package shards

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"drover/bucketmap"
	"drover/migrator/internal/database"
	"drover/shardlib"
)

// ErrNoServer is returned where the shard list has no server for a shard in a
// datacenter.
var ErrNoServer = errors.New("the shard list has no such server")

// Map is where the newest map comes from.
type Map interface {
	Load(ctx context.Context) (*bucketmap.Snapshot, error)
}

// Shards finds and keeps servers.
type Shards struct {
	list    shardlib.ShardList
	source  Map
	account database.Account

	mu      sync.Mutex
	servers map[string]*database.Server // by address
}

// New returns the servers of a shard list. It connects to none.
func New(list shardlib.ShardList, source Map, account database.Account) *Shards {
	return &Shards{list: list, source: source, account: account, servers: map[string]*database.Server{}}
}

// List returns the shard list.
func (s *Shards) List() shardlib.ShardList { return s.list }

// Primary returns the server that is the shard's primary by the map now in
// force.
func (s *Shards) Primary(ctx context.Context, shard bucketmap.ShardName) (*database.Server, error) {
	snap, err := s.source.Load(ctx)
	if err != nil {
		return nil, err
	}
	sh, ok := snap.Shard(shard)
	if !ok {
		return nil, fmt.Errorf("the map has no shard %q", shard)
	}
	return s.In(shard, sh.Datacenter)
}

// In returns the shard's server in a datacenter.
func (s *Shards) In(shard bucketmap.ShardName, dc bucketmap.Datacenter) (*database.Server, error) {
	addr, ok := s.list.Address(shard, dc)
	if !ok {
		return nil, fmt.Errorf("%w: shard %q in datacenter %q", ErrNoServer, shard, dc)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if server, ok := s.servers[addr]; ok {
		return server, nil
	}
	server, err := database.Open(shard, dc, addr, s.list.Database, s.account)
	if err != nil {
		return nil, err
	}
	s.servers[addr] = server
	return server, nil
}

// Close ends all connections.
func (s *Shards) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, server := range s.servers {
		errs = append(errs, server.Close())
	}
	return errors.Join(errs...)
}
