package testservers

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"drover/internal/pause"
)

const consulClusterSize = 3 // survives the loss of one

// ConsulCluster is three Consul servers that are one.
type ConsulCluster struct {
	Servers []*Consul
}

// ConsulCluster starts three Consul servers, named name-1 to name-3, and waits
// until they have a leader and all three take part.
func (f *Fleet) ConsulCluster(ctx context.Context, name string, opts ConsulOptions) (*ConsulCluster, error) {
	cluster := new(ConsulCluster)
	var join []string
	for i := range consulClusterSize {
		server := &Consul{options: opts, cluster: true, join: join}
		if _, err := f.consul(ctx, server, fmt.Sprintf("%s-%d", name, i+1)); err != nil {
			return nil, err
		}
		// Each knows those before it; gossip tells it of those after it.
		join = append(join[:len(join):len(join)], fmt.Sprintf("%s:%d", loopback, server.serfPort))
		cluster.Servers = append(cluster.Servers, server)
	}
	if err := cluster.Await(ctx); err != nil {
		return nil, fmt.Errorf("start the cluster %s: %w", name, err)
	}
	return cluster, nil
}

// Await waits until the servers that run have a leader, agree on three peers,
// and can be written to.
func (c *ConsulCluster) Await(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startWaitMax, fmt.Errorf("no cluster after %v", startWaitMax))
	defer cancel()
	for {
		err := c.whole(ctx)
		if err == nil {
			return nil
		}
		if pause.For(ctx, readyPoll) != nil {
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

func (c *ConsulCluster) whole(ctx context.Context) error {
	for _, server := range c.Servers {
		if _, err := server.current(); errors.Is(err, ErrNotRunning) {
			continue
		}
		var peers []string
		if err := server.call(ctx, http.MethodGet, "/v1/status/peers", "", &peers); err != nil {
			return err
		}
		if len(peers) != consulClusterSize {
			return fmt.Errorf("%s knows of %d peers", server.name, len(peers))
		}
		if err := server.writable(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Leader returns the server that leads now.
func (c *ConsulCluster) Leader(ctx context.Context) (*Consul, error) {
	var failures []error
	for _, server := range c.Servers {
		var leader string
		if err := server.call(ctx, http.MethodGet, "/v1/status/leader", "", &leader); err != nil {
			failures = append(failures, err)
			continue
		}
		for _, candidate := range c.Servers {
			if leader == fmt.Sprintf("%s:%d", loopback, candidate.raftPort) {
				return candidate, nil
			}
		}
	}
	return nil, fmt.Errorf("no server knows the leader: %w", errors.Join(failures...))
}
