package shardlib

import (
	"fmt"

	"drover/bucketmap"
)

// Home is where one version of the map says a user's data is.
type Home struct {
	Bucket     bucketmap.BucketID
	Shard      bucketmap.ShardName
	Datacenter bucketmap.Datacenter
	Epoch      bucketmap.Epoch // of the bucket
	ShardEpoch bucketmap.Epoch
	MapVersion bucketmap.Version
}

// Home says where a user's data is, by the map in force here. The whitelist
// has no part in it: it sends requests, not data. The error is ErrUser, or
// ErrNotHome for a bucket without a home.
func (l *Library) Home(user bucketmap.UserID) (Home, error) {
	if len(user) < 1 || len(user) > bucketmap.UserIDMax {
		return Home{}, fmt.Errorf("%w: %d bytes: want 1 to %d", ErrUser, len(user), bucketmap.UserIDMax)
	}
	s := l.current.Load()
	return homeOf(s, bucketmap.Bucket([]byte(user), s.Buckets()))
}

func homeOf(s *bucketmap.Snapshot, b bucketmap.BucketID) (Home, error) {
	shard, ok := s.Home(b)
	if !ok {
		return Home{}, &NotHomeError{Bucket: b, MapVersion: s.Version()}
	}
	return Home{
		Bucket:     b,
		Shard:      shard.Name,
		Datacenter: shard.Datacenter,
		Epoch:      s.Epoch(b),
		ShardEpoch: shard.Epoch,
		MapVersion: s.Version(),
	}, nil
}
