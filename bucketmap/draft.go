package bucketmap

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"math/bits"
	"slices"
)

// ShardsMax is the most shards a map may have: a home is kept in 16 bits.
const ShardsMax = 1<<16 - 2

// Draft is a map under construction. It is not safe for concurrent use. A
// draft may be wrong; only what Snapshot accepts leaves it.
type Draft struct {
	Version     Version
	Moved       uint64 // see Snapshot.Moved; Declare sets it
	Buckets     uint32
	Default     Default
	Datacenters []Datacenter
	Whitelist   map[string]Datacenter
	Holds       []Hold
	Epochs      map[BucketID]Epoch

	shards []Shard   // sorted by name
	homes  []uint16  // as in Snapshot.groups, in one piece
	base   *Snapshot // what the draft is an edit of, to share what stays the same; nil for none
}

// NewDraft returns a draft of version 1 with no shards and no homes. A bucket
// count out of bounds is reported by Snapshot.
func NewDraft(buckets uint32) *Draft {
	d := &Draft{Version: 1, Buckets: buckets, Whitelist: map[string]Datacenter{}, Epochs: map[BucketID]Epoch{}}
	if buckets <= BucketsMax {
		d.homes = make([]uint16, buckets)
	}
	return d
}

// PutShard adds the shard, or replaces the one of the same name. Its
// datacenter is added to Datacenters if it is not there.
func (d *Draft) PutShard(s Shard) error {
	if s.Epoch == 0 {
		s.Epoch = FirstEpoch
	}
	if !slices.Contains(d.Datacenters, s.Datacenter) {
		d.Datacenters = append(d.Datacenters, s.Datacenter)
	}
	i, found := shardIndex(d.shards, s.Name)
	if found {
		d.shards[i] = s
		return nil
	}
	if len(d.shards) >= ShardsMax {
		return fmt.Errorf("shard %q: a map has at most %d shards", s.Name, ShardsMax)
	}
	d.shards = slices.Insert(d.shards, i, s)
	for b, h := range d.homes {
		if int(h) > i {
			d.homes[b] = h + 1
		}
	}
	return nil
}

// DropShard removes a shard. It must be the home of no bucket; its hold, if it
// has one, must be dropped by the caller.
func (d *Draft) DropShard(name ShardName) error {
	i, ok := shardIndex(d.shards, name)
	if !ok {
		return fmt.Errorf("no shard %q in the map", name)
	}
	if b := slices.Index(d.homes, uint16(i+1)); b >= 0 {
		return fmt.Errorf("shard %q is the home of bucket %d and perhaps more: move them first", name, b)
	}
	d.shards = slices.Delete(d.shards, i, i+1)
	for b, h := range d.homes {
		if int(h) > i {
			d.homes[b] = h - 1
		}
	}
	return nil
}

// Shard returns the shard of that name.
func (d *Draft) Shard(name ShardName) (Shard, bool) {
	i, ok := shardIndex(d.shards, name)
	if !ok {
		return Shard{}, false
	}
	return d.shards[i], true
}

// Shards returns all shards, sorted by name.
func (d *Draft) Shards() []Shard { return slices.Clone(d.shards) }

// Runs iterates over the assignment as maximal runs, in order.
func (d *Draft) Runs() iter.Seq[Run] {
	return runs(func(b BucketID) uint16 { return d.homes[b] }, uint32(len(d.homes)), d.shards)
}

// SetHome puts the buckets first to last on a shard; an empty name leaves them
// without a home. It does not touch epochs.
func (d *Draft) SetHome(first, last BucketID, shard ShardName) error {
	if first > last || uint64(last) >= uint64(len(d.homes)) {
		return fmt.Errorf("buckets %d-%d: want 0 to %d, in order", first, last, int64(len(d.homes))-1)
	}
	var home uint16
	if shard != "" {
		i, ok := shardIndex(d.shards, shard)
		if !ok {
			return fmt.Errorf("buckets %d-%d: no shard %q in the map", first, last, shard)
		}
		home = uint16(i + 1)
	}
	for b := first; b <= last; b++ {
		d.homes[b] = home
	}
	return nil
}

// Home returns the shard a bucket is on in the draft.
func (d *Draft) Home(b BucketID) (Shard, bool) {
	if uint64(b) >= uint64(len(d.homes)) || d.homes[b] == 0 {
		return Shard{}, false
	}
	return d.shards[d.homes[b]-1], true
}

// DropHolds removes the holds of one move and says whether there were any.
func (d *Draft) DropHolds(move MoveID) bool {
	n := len(d.Holds)
	d.Holds = slices.DeleteFunc(d.Holds, func(h Hold) bool { return h.Move == move })
	return len(d.Holds) != n
}

// ResolveDefault sets the default in force by the rule of Default.Auto: the
// target once more than half of the users have their home there, else the
// source. weight gives the users of a bucket; nil counts each bucket as one.
// A pinned default is left alone.
func (d *Draft) ResolveDefault(weight func(BucketID) uint64) {
	if !d.Default.Auto {
		return
	}
	// In 128 bits each: weights are the caller's, and a sum that overflowed
	// would send everybody to the wrong side.
	var target, elsewhere [2]uint64
	for b := range d.homes {
		w := uint64(1)
		if weight != nil {
			w = weight(BucketID(b))
		}
		sum := &elsewhere
		if h := d.homes[b]; h != 0 && d.shards[h-1].Datacenter == d.Default.Target {
			sum = &target
		}
		var carry uint64
		sum[1], carry = bits.Add64(sum[1], w, 0)
		sum[0] += carry
	}
	d.Default.Datacenter = d.Default.Source
	if slices.Compare(target[:], elsewhere[:]) > 0 {
		d.Default.Datacenter = d.Default.Target
	}
}

// Snapshot checks the draft and freezes it. The error is an *InvalidError that
// names every problem. The draft may be used on; the snapshot shares nothing
// with it.
func (d *Draft) Snapshot() (*Snapshot, error) {
	if problems := d.problems(); len(problems) != 0 {
		return nil, &InvalidError{Problems: problems}
	}
	s := &Snapshot{
		version:     d.Version,
		moved:       d.Moved,
		buckets:     d.Buckets,
		dflt:        d.Default,
		datacenters: slices.Sorted(slices.Values(d.Datacenters)),
		shards:      slices.Clone(d.shards),
		holds:       slices.Clone(d.Holds),
		sums:        &digests{},
	}
	var err error
	if s.whitelist, err = d.whitelist(); err != nil {
		return nil, err
	}
	s.setPages(d.homes, maps.All(d.Epochs), d.base)
	s.arrange(d.base)
	s.sumFrom(d.base)
	return s, nil
}

// whitelist returns what the draft says, made from the base's where there is
// one: pages that stay the same are shared.
func (d *Draft) whitelist() (*Whitelist, error) {
	if d.base == nil {
		return NewWhitelist(maps.All(d.Whitelist))
	}
	var changes []UserChange
	old := d.base.whitelist
	kept := 0
	for id, dc := range d.Whitelist {
		was, found := old.Lookup([]byte(id))
		if found {
			kept++
		}
		if was != dc {
			changes = append(changes, UserChange{UserID(id), was, dc})
		}
	}
	for _, page := range old.pages {
		if kept == old.length {
			break // nobody left
		}
		for u := range page.users() {
			if _, ok := d.Whitelist[u.id]; !ok {
				changes = append(changes, UserChange{UserID(u.id), u.datacenter, ""})
			}
		}
	}
	slices.SortFunc(changes, func(a, b UserChange) int { return cmp.Compare(a.User, b.User) })
	return old.change(changes)
}
