package tracer

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"drover/bucketmap"
)

// user is one tracer.
type user struct {
	id     string
	bucket bucketmap.BucketID
	count  *count // of its id, for the whole run

	// The rest is guarded by the view's lock.

	places []place // the newest last
	held   span    // the last hold of its bucket
}

// place is where a tracer was from a moment on.
type place struct {
	From       time.Time
	Version    bucketmap.Version
	Datacenter bucketmap.Datacenter
	Shard      bucketmap.ShardName // empty: its bucket had no home
}

// span is a hold, or the last one.
type span struct {
	from, to time.Time     // to is zero while it lasts
	lasting  time.Duration // what the hold asked for
}

// placeOf is where a map has a user.
func placeOf(snap *bucketmap.Snapshot, id string, at time.Time) place {
	d := snap.Decide([]byte(id))
	p := place{From: at, Version: snap.Version(), Datacenter: d.Datacenter}
	if shard, ok := snap.Home(d.Bucket); ok && d.HasBucket {
		p.Shard = shard.Name
	}
	return p
}

func newUser(snap *bucketmap.Snapshot, id string, at time.Time) *user {
	return &user{id: id, bucket: bucketmap.Bucket([]byte(id), snap.Buckets()), count: &count{}, places: []place{placeOf(snap, id, at)}}
}

// searchFactor bounds the search for a tracer: an id of a shard with one bucket
// is missed with a probability of e^-16.
const searchFactor = 16

// choose returns the tracers of a map: those of before, less what is too many,
// and new ones for shards that have too few. short are the shards for which none
// was found.
func choose(snap *bucketmap.Snapshot, before []*user, prefix string, perShard int, at time.Time) (chosen []*user, short []bucketmap.ShardName) {
	known := make(map[string]bool, len(before))
	need := map[bucketmap.ShardName]int{}
	wanted := 0
	for _, shard := range snap.Shards() {
		if snap.BucketsOf(shard.Name) != 0 {
			need[shard.Name] = perShard
			wanted += perShard
		}
	}
	whitelisted := map[string]bool{}
	for id := range snap.Whitelist() {
		if strings.HasPrefix(id, prefix) {
			whitelisted[id] = true
		}
	}
	for _, u := range slices.Backward(before) { // whoever came last stays
		shard, ok := snap.Home(u.bucket)
		if len(chosen) >= usersMax {
			continue
		}
		if !whitelisted[u.id] {
			if !ok || need[shard.Name] <= -surplusMax {
				continue
			}
			if need[shard.Name]--; need[shard.Name] >= 0 {
				wanted--
			}
		}
		known[u.id] = true
		chosen = append(chosen, u)
	}
	slices.Reverse(chosen)
	add := func(id string) {
		known[id] = true
		chosen = append(chosen, newUser(snap, id, at))
	}
	search(snap, prefix, wanted, need, func(id string) bool { return known[id] || whitelisted[id] }, func(id string) bool {
		add(id)
		return len(chosen) < usersMax
	})
	for _, id := range slices.Sorted(maps.Keys(whitelisted)) {
		if !known[id] && len(chosen) < usersMax {
			add(id)
		}
	}
	for shard, n := range need {
		if n == perShard {
			short = append(short, shard)
		}
	}
	slices.Sort(short)
	return chosen, short
}

// search finds the ids with the lowest numbers for shards that need tracers. It
// looks only at a mark for each bucket: a shard with one bucket of 1,048,576 takes
// a million tries.
func search(snap *bucketmap.Snapshot, prefix string, wanted int, need map[bucketmap.ShardName]int, taken, found func(id string) bool) {
	if wanted == 0 {
		return
	}
	marks := make([]bool, snap.Buckets())
	for run := range snap.Runs() {
		if need[run.Shard] > 0 {
			for b := run.First; b <= run.Last; b++ {
				marks[b] = true
			}
		}
	}
	id := []byte(prefix)
	for n := uint64(0); wanted > 0 && n < searchFactor*uint64(snap.Buckets())+1024; n++ {
		id = strconv.AppendUint(id[:len(prefix)], n, 10)
		b := bucketmap.Bucket(id, snap.Buckets())
		if !marks[b] {
			continue
		}
		shard, _ := snap.Home(b)
		if need[shard.Name] <= 0 || taken(string(id)) {
			continue
		}
		need[shard.Name]--
		wanted--
		if !found(string(id)) {
			return
		}
	}
}
