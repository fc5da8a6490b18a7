package book

import (
	"fmt"
	"slices"

	"drover/bucketmap"
)

// Owners returns what proves that a bucket had two owners, or that a write was
// accepted under an epoch that was over.
//
// A write is committed at some instant between its beginning and its end. So
// two proofs are certain: two acknowledged writes of one bucket and one epoch
// on two shards; and one that began after another, of a later epoch, had ended.
// Two that overlap in time prove nothing if their epochs differ.
func (b *Book) Owners() (dual, stale []string) {
	byBucket := map[bucketmap.BucketID][]*Entry{}
	for _, e := range b.writes(Acknowledged) {
		byBucket[e.Bucket] = append(byBucket[e.Bucket], e)
	}
	for bucket, entries := range byBucket {
		owner := map[bucketmap.Epoch]*Entry{}
		for _, e := range entries {
			first, ok := owner[e.Epoch]
			if !ok {
				owner[e.Epoch] = e
				continue
			}
			if first.Shard != e.Shard {
				dual = append(dual, fmt.Sprintf("bucket %d, epoch %d: %s wrote %d on %s, %s wrote %d on %s",
					bucket, e.Epoch, first.Client, first.ID, first.Shard, e.Client, e.ID, e.Shard))
			}
		}
		stale = append(stale, staleOf(bucket, entries)...)
	}
	return dual, stale
}

// staleOf compares each write, in the order of their beginnings, with the
// highest epoch among those that had ended by then.
func staleOf(bucket bucketmap.BucketID, entries []*Entry) []string {
	ended := slices.Clone(entries)
	slices.SortFunc(ended, func(a, b *Entry) int { return int(a.Ended - b.Ended) })
	began := slices.Clone(entries)
	slices.SortFunc(began, func(a, b *Entry) int { return int(a.Began - b.Began) })
	var stale []string
	var newest *Entry
	for _, e := range began {
		for len(ended) != 0 && ended[0].Ended < e.Began {
			if newest == nil || ended[0].Epoch > newest.Epoch {
				newest = ended[0]
			}
			ended = ended[1:]
		}
		if newest != nil && e.Epoch < newest.Epoch {
			stale = append(stale, fmt.Sprintf("bucket %d: %s wrote %d on %s in epoch %d, after %d was acknowledged on %s in epoch %d",
				bucket, e.Client, e.ID, e.Shard, e.Epoch, newest.ID, newest.Shard, newest.Epoch))
		}
	}
	return stale
}
