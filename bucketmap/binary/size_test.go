package binary_test

import (
	"fmt"
	"testing"

	"drover/bucketmap"
	"drover/bucketmap/binary"
)

// sizeMax is how much larger than its information a large map may be.
const sizeMax = 1.1

func TestAMapIsAsSmallAsItsInformation(t *testing.T) {
	rng := newMaps(7)
	cases := []struct {
		shards int
		name   string
		pick   func(bucket int) int
	}{
		{2, "99:1", func(int) int { return 1 + rng.IntN(100)/99 }},
		{2, "999:1", func(int) int { return 1 + rng.IntN(1000)/999 }},
		{3, "98:1:1", func(int) int { return 1 + max(0, rng.IntN(100)-97) }},
		{5000, "one has 99 of 100", func(int) int {
			if rng.IntN(100) != 0 {
				return 2500
			}
			return 1 + rng.IntN(5000)
		}},
		{300, "half and half again", func(int) int {
			s := 1
			for s < 300 && rng.IntN(20) != 0 {
				s++
			}
			return s
		}},
	}
	for _, shards := range []int{2, 3, 5, 7, 33, 129, 200, 1000, 5000, 60000} {
		cases = append(cases, struct {
			shards int
			name   string
			pick   func(bucket int) int
		}{shards, "even", func(int) int { return 1 + rng.IntN(shards) }})
	}
	for _, c := range cases {
		t.Run(fmt.Sprintf("%d shards, %s", c.shards, c.name), func(t *testing.T) {
			// A few shards that share evenly are as small a share of a sixteenth of the
			// buckets; the others need more for their tables to be small beside them, and
			// those of the least information all. With DROVER_SOAK=1 there are more.
			buckets := bucketmap.BucketsMax
			switch {
			case c.name == "even" && c.shards < 1000:
				buckets /= binary.Rounds(16, 4)
			case c.shards < 60_000 && c.name != "999:1":
				buckets /= binary.Rounds(4, 1)
			}
			content := plain(t, buckets, c.shards, c.pick)
			want := information(content)
			s := build(t, content)
			data := binary.Append(nil, s, nil)
			// The names of the shards are no part of the assignment.
			names := 8.0 * float64(c.shards)
			t.Logf("%d bytes, %.4f × %.0f", len(data), float64(len(data))/want, want)
			if float64(len(data)) > sizeMax*want+names {
				t.Errorf("%d bytes: want at most %.1f × %.0f, and %.0f for names", len(data), sizeMax, want, names)
			}
			again(t, data, s)
		})
	}
}

func TestAMapOfRangesIsAFewKilobytes(t *testing.T) {
	const shards, limit = 200, 10_000
	s := build(t, plain(t, bucketmap.BucketsMax, shards, func(b int) int { return 1 + b*shards/bucketmap.BucketsMax }))
	data := binary.Append(nil, s, nil)
	t.Logf("%d bytes", len(data))
	if len(data) > limit {
		t.Errorf("%d bytes: want at most %d", len(data), limit)
	}
	again(t, data, s)
}

func TestAWhitelistIsNoLargerThanItsIDsAndTwoBytesEach(t *testing.T) {
	rng := newMaps(8)
	var lists [][]string
	random, numbered := map[string]bool{}, []string{}
	for i := range 20_000 {
		random[string(rng.bytes(16))] = true
		numbered = append(numbered, fmt.Sprintf("employee-%07d@company.example", i))
	}
	var ids []string
	for id := range random {
		ids = append(ids, id)
	}
	lists = append(lists, ids, numbered, rng.users(20_000))
	for i, users := range lists {
		without := build(t, plain(t, 1024, 2, func(b int) int { return 1 + b%2 }))
		with := build(t, plain(t, 1024, 2, func(b int) int { return 1 + b%2 }, users...))
		raw := 0
		for _, u := range users {
			raw += len(u)
		}
		size := len(binary.Append(nil, with, nil)) - len(binary.Append(nil, without, nil))
		t.Logf("list %d: %d users, %d bytes of ids in %d", i, len(users), raw, size)
		if size > raw+2*len(users)+2 {
			t.Errorf("list %d: %d bytes for %d users with %d bytes of ids", i, size, len(users), raw)
		}
	}
}

func TestEpochsInTheMiddleOfACampaignAreOneBitABucket(t *testing.T) {
	rng := newMaps(9)
	c := plain(t, bucketmap.BucketsMax, 2, func(b int) int { return 1 + b*2/bucketmap.BucketsMax })
	for b := range c.Homes {
		if rng.IntN(2) == 0 {
			c.EpochBuckets, c.Epochs = append(c.EpochBuckets, bucketmap.BucketID(b)), append(c.Epochs, 2)
		}
	}
	s := build(t, c)
	data := binary.Append(nil, s, nil)
	if limit := sizeMax * bucketmap.BucketsMax / 8; float64(len(data)) > limit {
		t.Errorf("%d bytes: want at most %.0f", len(data), limit)
	}
	again(t, data, s)
}
