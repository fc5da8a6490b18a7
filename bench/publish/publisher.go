package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/consul"
	"drover/bucketmap/file"
	"drover/internal/pause"
)

const (
	// batch is how many buckets a version moves.
	batch = 16
	// acknowledgedMax bounds the wait for an acknowledgement.
	acknowledgedMax = 30 * time.Second
	// elsewhere is the proxy that a publisher plays itself, where no other is.
	elsewhere = "elsewhere"
)

// place is where maps are published.
type place struct {
	Store  string `json:"store"`  // "file" or "consul"
	At     string `json:"at"`     // folder or prefix
	Consul string `json:"consul"` // its address
}

// store is one that a publisher opens.
type store interface {
	bucketmap.Store
	Close() error
}

func (p place) open() (store, error) {
	if p.Store == "file" {
		return file.Open(p.At, file.Options{})
	}
	return consul.Open(consul.Options{Address: p.Consul, Prefix: p.At})
}

// config is the proxy's.
func (p place) config() string {
	if p.Store == "file" {
		return fmt.Sprintf("dir: %q", p.At)
	}
	return fmt.Sprintf("store: consul, consul: {address: %q, prefix: %q}", p.Consul, p.At)
}

// publisher publishes one version after the other. It is a process of its own,
// as it would be in a fleet.
type publisher struct {
	place
	Buckets   uint32 `json:"buckets"`
	Elsewhere bool   `json:"elsewhere"` // no proxy watches: it acknowledges itself

	store store
	now   *bucketmap.Snapshot
}

// publish is a question to it: to publish so many versions.
type publish struct {
	Versions int           `json:"versions"`
	Every    time.Duration `json:"every"` // no sooner
}

// published is its answer.
type published struct {
	Version bucketmap.Version `json:"version"` // the last, which is acknowledged
	Took    time.Duration     `json:"took"`
}

// run publishes the first map, and answers questions until there are no more.
func (p *publisher) run(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	if p.store, err = p.open(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.store.Close()) }()
	if p.now, err = firstMap(p.Buckets); err != nil {
		return err
	}
	if err := p.store.Publish(ctx, p.now, bucketmap.Change{Who: "bench"}); err != nil {
		return err
	}
	return serve(in, out, func(q publish) (published, error) { return p.publish(ctx, q) })
}

// publish publishes each version once the one before is acknowledged. It
// begins with the wait for the last one before.
func (p *publisher) publish(ctx context.Context, q publish) (a published, err error) {
	if err := p.acknowledged(ctx); err != nil {
		return a, err
	}
	begun := time.Now()
	for i := range q.Versions {
		if err := pause.For(ctx, time.Until(begun.Add(time.Duration(i)*q.Every))); err != nil {
			return a, err
		}
		if err := p.publishOne(ctx); err != nil {
			return a, err
		}
		if err := p.acknowledged(ctx); err != nil {
			return a, err
		}
	}
	return published{p.now.Version(), time.Since(begun)}, nil
}

// publishOne moves buckets of the upper half; users are in the lower.
func (p *publisher) publishOne(ctx context.Context) error {
	random := rand.New(rand.NewPCG(uint64(p.now.Version()), 5))
	half := p.Buckets / 2
	first := bucketmap.BucketID(half + random.Uint32N(half-batch))
	d := p.now.Edit()
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
	return nil
}

// acknowledged waits until the proxy runs the map.
func (p *publisher) acknowledged(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, acknowledgedMax)
	defer cancel()
	if p.Elsewhere {
		ack := bucketmap.Ack{Proxy: elsewhere, Version: p.now.Version(), Digest: p.now.Digest(), Since: time.Now()}
		if err := p.store.Ack(ctx, ack); err != nil {
			return err
		}
	}
	var last []bucketmap.Ack
	err := p.store.WatchAcks(ctx, func(acks []bucketmap.Ack) bool {
		last = acks
		return len(acks) != 1 || acks[0].Digest != p.now.Digest()
	})
	if err != nil {
		return fmt.Errorf("the proxy does not run version %d: %w; it says %+v", p.now.Version(), err, last)
	}
	return nil
}
