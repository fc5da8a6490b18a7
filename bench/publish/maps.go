package main

import (
	"fmt"
	"math/rand/v2"

	"drover/bucketmap"
)

const (
	legacy bucketmap.Datacenter = "legacy"
	cloud  bucketmap.Datacenter = "cloud"

	shards = 200
)

func shardName(i int) bucketmap.ShardName { return bucketmap.ShardName(fmt.Sprintf("shard-%03d", i)) }

// firstMap has its buckets in random order on 200 shards, every other of them in
// the cloud: the hardest to encode.
func firstMap(buckets uint32) (*bucketmap.Snapshot, error) {
	random := rand.New(rand.NewPCG(1, 2))
	d := bucketmap.NewDraft(buckets)
	d.Default = bucketmap.Default{Datacenter: legacy}
	for i := range shards {
		if err := d.PutShard(bucketmap.Shard{Name: shardName(i), Datacenter: []bucketmap.Datacenter{legacy, cloud}[i%2]}); err != nil {
			return nil, err
		}
	}
	for b := range bucketmap.BucketID(buckets) {
		if err := d.SetHome(b, b, shardName(random.IntN(shards))); err != nil {
			return nil, err
		}
	}
	return d.Snapshot()
}

// nextMap gives buckets new homes: a run of them to one shard, as a batch that
// moves, or, spread, each anywhere, as many small moves at once.
func nextMap(from *bucketmap.Snapshot, moved int, spread bool, random *rand.Rand) (*bucketmap.Snapshot, error) {
	d := from.Edit()
	first, target := random.Uint32N(from.Buckets()-uint32(moved)+1), shardName(random.IntN(shards))
	for i := range uint32(moved) {
		b := bucketmap.BucketID(first + i)
		if spread {
			b, target = bucketmap.BucketID(random.Uint32N(from.Buckets())), shardName(random.IntN(shards))
		}
		if err := d.SetHome(b, b, target); err != nil {
			return nil, err
		}
		d.Epochs[b] = max(d.Epochs[b], bucketmap.FirstEpoch) + 1
	}
	d.Declare(from)
	return d.Snapshot()
}
