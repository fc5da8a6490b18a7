package config

import (
	"fmt"

	"drover/bucketmap"
	"drover/internal/config"
	"drover/migrator/internal/move"
)

// LoadWeights reads the users per bucket: ranges of buckets and the users of
// each bucket in them. Buckets that the file does not name have no users. An
// empty path gives nil: every bucket counts as one.
func LoadWeights(path string) (func(bucketmap.BucketID) uint64, error) {
	if path == "" {
		return nil, nil
	}
	byRange := map[string]uint64{}
	if err := config.Load(path, &byRange); err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	users := map[bucketmap.BucketID]uint64{}
	for text, n := range byRange {
		buckets, err := move.ParseBuckets(text, bucketmap.BucketsMax)
		if err != nil {
			return nil, fmt.Errorf("weights: %s: %w", path, err)
		}
		for _, b := range buckets {
			users[b] = n
		}
	}
	return func(b bucketmap.BucketID) uint64 { return users[b] }, nil
}
