package bucketmap

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// mismatch is an ErrMismatch that says what does not fit.
func mismatch(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMismatch}, args...)...)
}

// Apply returns the map that d leads to from s, which may be nil where d begins
// at no map. Every From in d must be what s has, every list in order and without
// a change that is none, else the error is ErrMismatch; a map that would not be
// valid is an *InvalidError. The two maps share what d does not touch: the cost
// follows the size of d, and not that of the map, unless d changes the numbers
// of shards, which all pages carry.
func (s *Snapshot) Apply(d *Difference) (*Snapshot, error) {
	if d == nil {
		return nil, mismatch("there is no difference")
	}
	if s == nil {
		s = emptyMap()
	}
	next := &Snapshot{version: d.ToVersion, moved: s.moved, buckets: s.buckets, sums: &digests{}}
	if err := d.applyNumbers(s, next); err != nil {
		return nil, err
	}
	for _, step := range []func(s, next *Snapshot) error{
		d.applyDatacenters, d.applyShards, d.applyHomes, d.applyEpochs, d.applyHolds,
	} {
		if err := step(s, next); err != nil {
			return nil, err
		}
	}
	var err error
	if next.whitelist, err = s.whitelist.change(d.Whitelist); err != nil {
		return nil, err
	}
	if !d.homesOnly(s) {
		if problems := next.problems(); len(problems) != 0 {
			return nil, &InvalidError{Problems: problems}
		}
	}
	next.arrange(s)
	next.sumFrom(s)
	return next, nil
}

// homesOnly says whether all else, but for epochs and the numbers of version and
// odometer, stays as s has it, where it was checked. Most changes are so.
func (d *Difference) homesOnly(s *Snapshot) bool {
	return s.version != 0 && d.ToVersion.valid() && d.FromBuckets == d.ToBuckets && d.Default == nil &&
		len(d.Datacenters)+len(d.Shards)+len(d.Holds)+len(d.Whitelist) == 0
}

// applyNumbers changes version, buckets, odometer and default.
func (d *Difference) applyNumbers(s, next *Snapshot) error {
	if d.FromVersion != s.version {
		return mismatch("it begins at version %d, and this is version %d", d.FromVersion, s.version)
	}
	if d.FromBuckets != d.ToBuckets {
		if d.FromBuckets != s.buckets {
			return mismatch("it begins with %d buckets, and this has %d", d.FromBuckets, s.buckets)
		}
		next.buckets = d.ToBuckets
		if !(&checker{}).buckets(d.ToBuckets) {
			return &InvalidError{Problems: []Problem{{"buckets", fmt.Sprint(d.ToBuckets), fmt.Sprintf("1 to %d", BucketsMax)}}}
		}
	} else if d.FromBuckets != 0 {
		return mismatch("buckets: the change is none")
	}
	if d.FromMoved != d.ToMoved {
		if d.FromMoved != s.moved {
			return mismatch("it begins at %d buckets moved, and this is at %d", d.FromMoved, s.moved)
		}
		next.moved = d.ToMoved
	} else if d.FromMoved != 0 {
		return mismatch("moved: the change is none")
	}
	next.dflt = s.dflt
	if c := d.Default; c != nil {
		var was Default
		if c.From != nil {
			was = *c.From
		}
		if c.To == nil || was != s.dflt || *c.To == s.dflt || (c.From == nil) != (s.version == 0) {
			return mismatch("default: %s to %s, and it is %s", c.From.text(), c.To.text(), s.dflt.text())
		}
		next.dflt = *c.To
	}
	return nil
}

func (d *Difference) applyDatacenters(s, next *Snapshot) error {
	if len(d.Datacenters) == 0 {
		next.datacenters = s.datacenters // immutable, both
		return nil
	}
	there := make(map[Datacenter]bool, len(s.datacenters))
	for _, dc := range s.datacenters {
		there[dc] = true
	}
	changed := map[Datacenter]bool{}
	for _, c := range d.Datacenters {
		dc := cmp.Or(c.From, c.To)
		if (c.From == "") == (c.To == "") || there[dc] != (c.To == "") || changed[dc] {
			return mismatch("datacenter %q: it is removed or added, and was so before", dc)
		}
		there[dc], changed[dc] = c.To != "", true
	}
	maps.DeleteFunc(there, func(_ Datacenter, is bool) bool { return !is })
	next.datacenters = slices.Sorted(maps.Keys(there))
	return nil
}

func (d *Difference) applyShards(s, next *Snapshot) error {
	if len(d.Shards) == 0 {
		next.shards = s.shards
		return nil
	}
	next.shards = make([]Shard, 0, len(s.shards)+len(d.Shards))
	old := s.shards
	for i, c := range d.Shards {
		if i != 0 && d.Shards[i-1].Name >= c.Name {
			return mismatch("shard %q: the changes are not in order", c.Name)
		}
		for len(old) != 0 && old[0].Name < c.Name {
			next.shards = append(next.shards, old[0])
			old = old[1:]
		}
		var was Shard // the zero one says that it is not there
		if len(old) != 0 && old[0].Name == c.Name {
			was, old = old[0], old[1:]
		}
		if was.Datacenter != c.From || was.Epoch != c.FromEpoch {
			return mismatch("shard %q: it is %q, not %q", c.Name, shardText(was.Datacenter, was.Epoch), shardText(c.From, c.FromEpoch))
		}
		if c.From == c.To && c.FromEpoch == c.ToEpoch {
			return mismatch("shard %q: the change is none", c.Name)
		}
		if c.To != "" || c.ToEpoch != 0 {
			next.shards = append(next.shards, Shard{c.Name, c.To, c.ToEpoch})
		}
	}
	next.shards = append(next.shards, old...)
	if len(next.shards) > ShardsMax {
		return &InvalidError{Problems: []Problem{{"shards", fmt.Sprint(len(next.shards)), fmt.Sprintf("at most %d", ShardsMax)}}}
	}
	return nil
}

func (d *Difference) applyHomes(s, next *Snapshot) error {
	next.resizeFrom(s, max(s.buckets, next.buckets))
	index := identity(len(s.shards) + 1)
	if len(d.Shards) != 0 {
		index = renumbered(s.shards, next.shards)
	}
	if len(d.Shards) != 0 && !slices.Equal(index, identity(len(index))) {
		for p := range pagesFor(s.buckets) {
			page := new([pageLen]uint16)
			for i, home := range s.homePage(p) {
				page[i] = index[home]
			}
			next.own(s, p/groupPages).homes[p%groupPages] = page
		}
	}
	left := slices.Clone(s.counts) // buckets that stay, as s numbers shards
	left[0] += max(s.buckets, next.buckets) - s.buckets
	gained := make([]uint32, len(next.shards)+1)
	for i, c := range d.Homes {
		if c.First > c.Last || uint32(c.Last) >= max(s.buckets, next.buckets) || i != 0 && c.First <= d.Homes[i-1].Last {
			return mismatch("home %s: out of order, or not buckets of the map", RangeText(c.First, c.Last))
		}
		if c.From == c.To {
			return mismatch("home %s: from %q to %q", RangeText(c.First, c.Last), c.From, c.To)
		}
		from := s.home(c.First)
		if is := s.nameOf(from); is != c.From {
			return mismatch("home of bucket %d: it is on %q, not on %q", c.First, is, c.From)
		}
		to, ok := numberOf(next.shards, c.To)
		if !ok {
			return &InvalidError{Problems: []Problem{{"homes." + RangeText(c.First, c.Last), fmt.Sprintf("%q", c.To), "one of the map's shards"}}}
		}
		for b := c.First; b <= c.Last; b++ {
			if s.home(b) != from {
				return mismatch("home of bucket %d: it is on %q, not on %q", b, s.nameOf(s.home(b)), c.From)
			}
		}
		writeRun(next, s, homesOf, c.First, c.Last, to)
		left[from] -= uint32(c.Last-c.First) + 1
		gained[to] += uint32(c.Last-c.First) + 1
	}
	for home, n := range left {
		if n == 0 {
			continue
		}
		if index[home] == noShard {
			return mismatch("shard %q: it is removed, and is still the home of %d buckets", s.nameOf(uint16(home)), n)
		}
		gained[index[home]] += n
	}
	next.counts = gained
	if next.buckets >= s.buckets {
		return nil
	}
	for b := next.buckets; b < s.buckets; b++ {
		if next.home(BucketID(b)) != 0 {
			return mismatch("home of bucket %d: the map will not have the bucket, and it keeps its home", b)
		}
	}
	next.counts[0] -= s.buckets - next.buckets
	return nil
}

// numberOf returns a shard's number in homes, 0 for the name of no shard.
func numberOf(shards []Shard, name ShardName) (uint16, bool) {
	if name == "" {
		return 0, true
	}
	i, ok := shardIndex(shards, name)
	return uint16(i + 1), ok
}

func (d *Difference) applyEpochs(s, next *Snapshot) error {
	all := max(s.buckets, next.buckets)
	back := false // somewhere to the first epoch
	for i, c := range d.Epochs {
		if c.First > c.Last || uint32(c.Last) >= all || i != 0 && c.First <= d.Epochs[i-1].Last || c.From == c.To {
			return mismatch("epoch %s: out of order, not buckets of the map, or no change", RangeText(c.First, c.Last))
		}
		if c.To < FirstEpoch {
			return &InvalidError{Problems: []Problem{{"epochs", fmt.Sprintf("bucket %d, epoch %d", c.First, c.To), epochBound}}}
		}
		for b := c.First; b <= c.Last; b++ {
			if was := s.Epoch(b); was != c.From {
				return mismatch("epoch of bucket %d: it is %d, not %d", b, was, c.From)
			}
		}
		to := c.To
		if to == FirstEpoch {
			to, back = 0, true
		}
		writeRun(next, s, epochsOf, c.First, c.Last, to)
	}
	for b := next.buckets; b < s.buckets; b++ {
		if next.Epoch(BucketID(b)) != FirstEpoch {
			return mismatch("epoch of bucket %d: the map will not have the bucket, and it keeps its epoch", b)
		}
	}
	for p := range unshared(next, s) {
		if page := next.epochPage(p); back && page != nil && *page == ([pageLen]Epoch{}) {
			next.own(s, p/groupPages).epochs[p%groupPages] = nil // as a map has it of which nothing in the page ever moved
		}
	}
	next.cutFrom(s)
	return nil
}

func (d *Difference) applyHolds(s, next *Snapshot) error {
	ended := make([]bool, len(s.holds))
	var begun []Hold
	for _, c := range d.Holds {
		if (c.From == nil) == (c.To == nil) {
			return mismatch("hold: it neither begins nor ends, or both")
		}
		if c.To != nil {
			begun = append(begun, *c.To)
			continue
		}
		i, ok := slices.BinarySearchFunc(s.holds, *c.From, compareHolds)
		if !ok || ended[i] || !s.holds[i].equal(*c.From) {
			return mismatch("hold %s: it is not there to be ended", c.From.text())
		}
		ended[i] = true
	}
	for i, h := range s.holds {
		if !ended[i] {
			next.holds = append(next.holds, h)
		}
	}
	next.holds = append(next.holds, begun...)
	return nil
}
