package bucketmap

import (
	"cmp"
	"fmt"
	"slices"
)

// Content is everything in a snapshot as plain slices, for codecs.
type Content struct {
	Version      Version
	Moved        uint64
	Default      Default
	Datacenters  []Datacenter // sorted
	Shards       []Shard      // sorted by name
	Homes        []uint16     // one a bucket: index in Shards plus one, 0 for no home
	Whitelist    *Whitelist   // nil for nobody
	Holds        []Hold       // in the order of Snapshot.Holds
	EpochBuckets []BucketID   // the buckets that ever moved, sorted
	Epochs       []Epoch      // of EpochBuckets, none FirstEpoch
	// Await, when not nil, returns the whitelist in place of Whitelist. Snapshot
	// calls it once, in any case, when all else is done: a large one can be made
	// meanwhile.
	Await func() (*Whitelist, error)
}

// Content returns what the snapshot holds. The slices are copies.
func (s *Snapshot) Content() Content {
	c := Content{
		Version:     s.version,
		Moved:       s.moved,
		Default:     s.dflt,
		Datacenters: s.Datacenters(),
		Shards:      s.Shards(),
		Homes:       s.flatHomes(),
		Whitelist:   s.whitelist,
		Holds:       s.Holds(),
	}
	for b, e := range s.Epochs() {
		c.EpochBuckets, c.Epochs = append(c.EpochBuckets, b), append(c.Epochs, e)
	}
	return c
}

// Snapshot checks the content, the order of its lists included, and makes a
// snapshot of it. It takes the slices over: the caller must not use them on.
// The error is an *InvalidError, or Await's.
func (c Content) Snapshot() (*Snapshot, error) {
	s, err := c.snapshot()
	if c.Await == nil {
		return s, err
	}
	users, failed := c.Await()
	switch {
	case err != nil:
		return nil, err
	case failed != nil:
		return nil, failed
	case users == nil:
		return s, nil
	}
	s.whitelist = users
	if problems := s.problems(); len(problems) != 0 {
		return nil, &InvalidError{Problems: problems}
	}
	return s, nil
}

// snapshot is Snapshot without Await.
func (c Content) snapshot() (*Snapshot, error) {
	if problems := c.problems(); len(problems) != 0 {
		return nil, &InvalidError{Problems: problems}
	}
	s := &Snapshot{
		version:     c.Version,
		moved:       c.Moved,
		buckets:     uint32(len(c.Homes)),
		dflt:        c.Default,
		datacenters: c.Datacenters,
		shards:      c.Shards,
		whitelist:   c.Whitelist,
		holds:       c.Holds,
		sums:        &digests{},
	}
	if s.whitelist == nil {
		s.whitelist = emptyMap().whitelist
	}
	if problems := s.problems(); len(problems) != 0 {
		return nil, &InvalidError{Problems: problems}
	}
	s.cutHomes(c.Homes, nil)
	for i, b := range c.EpochBuckets {
		s.setEpoch(b, c.Epochs[i])
	}
	s.arrange(nil)
	return s, nil
}

// problems checks what a snapshot cannot even be made with.
func (c Content) problems() []Problem {
	check := &checker{}
	check.buckets(uint32(min(len(c.Homes), BucketsMax+1)))
	inOrder := func(key string, i, n int, less func(i int) bool) {
		if i != 0 && i < n && !less(i) {
			check.add(key, fmt.Sprintf("entry %d out of order or twice", i), "sorted, each once")
		}
	}
	for i := range c.Datacenters {
		inOrder("datacenters", i, len(c.Datacenters), func(i int) bool { return c.Datacenters[i-1] < c.Datacenters[i] })
	}
	for i := range c.Shards {
		inOrder("shards", i, len(c.Shards), func(i int) bool { return c.Shards[i-1].Name < c.Shards[i].Name })
	}
	for i := range c.Holds {
		inOrder("holds", i, len(c.Holds), func(i int) bool { return compareHolds(c.Holds[i-1], c.Holds[i]) < 0 })
	}
	highest := uint16(0)
	for _, home := range c.Homes {
		highest = max(highest, home)
	}
	for b := 0; int(highest) > len(c.Shards) && b < len(c.Homes); b++ {
		if home := c.Homes[b]; int(home) > len(c.Shards) {
			check.add("homes", fmt.Sprintf("bucket %d, shard number %d", b, home), fmt.Sprintf("0 to %d", len(c.Shards)))
		}
	}
	if len(c.EpochBuckets) != len(c.Epochs) {
		check.add("epochs", fmt.Sprintf("%d buckets, %d epochs", len(c.EpochBuckets), len(c.Epochs)), "one epoch a bucket")
		return check.sorted()
	}
	for i, b := range c.EpochBuckets {
		if int64(b) >= int64(len(c.Homes)) || c.Epochs[i] <= FirstEpoch {
			check.add("epochs", fmt.Sprintf("bucket %d, epoch %d", b, c.Epochs[i]), "a bucket of the map and an epoch of 2 or higher")
		}
	}
	if !slices.IsSortedFunc(c.EpochBuckets, cmp.Compare[BucketID]) || len(slices.Compact(slices.Clone(c.EpochBuckets))) != len(c.EpochBuckets) {
		check.add("epochs", "buckets out of order or twice", "sorted, each once")
	}
	return check.sorted()
}
