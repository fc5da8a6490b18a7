package main

import (
	"testing"
	"time"

	"drover/bucketmap"
)

func TestEveryAcknowledgedRequestHasOneRowAndOneStep(t *testing.T) {
	for _, c := range []struct{ acked, rows, steps, lost, doubled uint64 }{
		{0, 0, 0, 0, 0},
		{5, 5, 5, 0, 0},
		{5, 4, 5, 1, 0}, // a row lost
		{5, 5, 3, 2, 0}, // steps lost
		{5, 0, 0, 5, 0},
		{5, 5, 6, 0, 1}, // a step counted twice
		{5, 6, 5, 0, 1},
		{5, 4, 6, 1, 1}, // one does not make up for the other
		{0, 0, 2, 0, 2},
	} {
		if lost, doubled := difference(c.acked, c.rows, c.steps); lost != c.lost || doubled != c.doubled {
			t.Errorf("%d acknowledged, %d rows, %d steps: lost %d, doubled %d; want %d and %d", c.acked, c.rows, c.steps, lost, doubled, c.lost, c.doubled)
		}
	}
}

func TestAStallIsFromTheLastWriteAtOneShardToTheFirstAtAnother(t *testing.T) {
	u := &user{last: map[bucketmap.ShardName]time.Time{}}
	at := func(n int) time.Time { return time.Unix(1, 0).Add(time.Duration(n) * time.Millisecond) }
	for i, c := range []struct {
		shard   bucketmap.ShardName
		at      int
		changes int
		stall   time.Duration
	}{
		{"alpha", 0, 0, 0}, // the first of all is no change
		{"alpha", 10, 0, 0},
		{"gamma", 30, 1, 20 * time.Millisecond},
		{"gamma", 90, 1, 20 * time.Millisecond},
		{"alpha", 95, 2, 5 * time.Millisecond}, // since gamma's last, not alpha's
	} {
		u.acknowledged(uint64(i+1), c.shard, at(c.at))
		if n, stall := u.changes(); n != c.changes || stall != c.stall {
			t.Errorf("after write %d: %d changes, %s; want %d, %s", i+1, n, stall, c.changes, c.stall)
		}
		if u.acked.Load() != uint64(i+1) {
			t.Errorf("write %d is not noted", i+1)
		}
	}
}

func TestEachBucketHasOneUserOfItsOwn(t *testing.T) {
	const buckets = 64
	for b, u := range newCrowd(nil, buckets).users {
		if u == nil || bucketmap.Bucket([]byte(u.id), buckets) != bucketmap.BucketID(b) {
			t.Errorf("bucket %d has %v", b, u)
		}
	}
	p := newPublic("", 16, 8, buckets)
	defer p.close()
	for i, u := range p.users {
		if u == nil || bucketmap.Bucket([]byte(u.id), buckets) != bucketmap.BucketID(16+i) {
			t.Errorf("bucket %d has %v", 16+i, u)
		}
	}
	if p.list() != "16-23" {
		t.Errorf("the migrator is given %q", p.list())
	}
	one := newPublic("", 3, 1, buckets)
	defer one.close()
	if one.list() != "3" {
		t.Errorf("the migrator is given %q", one.list())
	}
}
