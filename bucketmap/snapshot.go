package bucketmap

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"sort"
	"time"
)

// Shard is a primary database server with its replicas, and where its primary
// lives.
type Shard struct {
	Name       ShardName
	Datacenter Datacenter
	Epoch      Epoch // one higher at each promotion
}

// Default is the datacenter for requests that no other rule places.
type Default struct {
	// Datacenter is the default in force. With Auto it is Source or Target.
	Datacenter Datacenter `json:"datacenter"`
	// Auto makes the default follow the users: Source until more than half of
	// them have their home in Target. Not Auto is pinned.
	Auto   bool       `json:"auto"`
	Source Datacenter `json:"source,omitempty"`
	Target Datacenter `json:"target,omitempty"`
}

// Hold asks the proxies to keep new requests waiting: those of the buckets
// First to Last, or, when Shard is not empty, those of every bucket whose home
// is that shard.
type Hold struct {
	First BucketID  `json:"first"`
	Last  BucketID  `json:"last"`
	Shard ShardName `json:"shard,omitempty"`
	Move  MoveID    `json:"move"`
	// Until ends the hold whatever happens, to the millisecond. A proxy bounds
	// it again by its own configuration, so a wrong clock cannot stretch it.
	Until time.Time `json:"until"`
}

// Run is a row of consecutive buckets with one home. Shard is empty for
// buckets with no home.
type Run struct {
	First, Last BucketID
	Shard       ShardName
}

// Snapshot is one version of the map. It is immutable and safe for any number
// of goroutines. Make one with Draft.Snapshot, Content.Snapshot or Apply.
//
// Homes and epochs are in groups of pages that versions share where nothing changed: a
// copy of a whole map of 1,048,576 buckets for a change of one would be 10 MiB.
type Snapshot struct {
	version     Version
	moved       uint64
	buckets     uint32
	dflt        Default
	datacenters []Datacenter
	shards      []Shard      // sorted by name
	groups      []*group     // bucket → home: index in shards, plus one; 0 is no home; 0 past the last bucket. bucket → epoch: 0 stands for FirstEpoch
	counts      []uint32     // buckets by home, as in groups
	places      []Datacenter // datacenter by home, as in groups; the default for none
	routes      routes       // what Decide reads
	whitelist   *Whitelist   // never nil
	more        *Whitelist   // of this process; nil for none
	holds       []Hold       // sorted; those of bucket ranges first
	rangeHolds  int          // how many of holds are of bucket ranges
	sums        *digests     // never nil
}

// Version returns the map's number.
func (s *Snapshot) Version() Version { return s.version }

// Moved is an odometer: how many buckets publishers have knowingly moved
// between datacenters, over all versions together. A reader that sees more
// change than the odometer says knows that no publisher meant it.
func (s *Snapshot) Moved() uint64 { return s.moved }

// Buckets returns how many buckets the map has, 1 to BucketsMax.
func (s *Snapshot) Buckets() uint32 { return s.buckets }

// Default returns the rule for requests that nothing else places.
func (s *Snapshot) Default() Default { return s.dflt }

// Datacenters returns the names of all datacenters, sorted.
func (s *Snapshot) Datacenters() []Datacenter { return slices.Clone(s.datacenters) }

// Shards returns all shards, sorted by name.
func (s *Snapshot) Shards() []Shard { return slices.Clone(s.shards) }

// Shard returns the shard of that name.
func (s *Snapshot) Shard(name ShardName) (Shard, bool) {
	i, ok := shardIndex(s.shards, name)
	if !ok {
		return Shard{}, false
	}
	return s.shards[i], true
}

// Home returns the shard a bucket is on. ok is false for a bucket that has no
// home or that the map does not have.
func (s *Snapshot) Home(b BucketID) (shard Shard, ok bool) {
	if home := s.home(b); home != 0 {
		return s.shards[home-1], true
	}
	return Shard{}, false
}

// BucketsOf returns how many buckets a shard is the home of.
func (s *Snapshot) BucketsOf(shard ShardName) uint32 {
	i, ok := shardIndex(s.shards, shard)
	if !ok {
		return 0
	}
	return s.counts[i+1]
}

// Homeless returns how many buckets have no home.
func (s *Snapshot) Homeless() uint32 { return s.counts[0] }

// Epoch returns the bucket's ownership number.
func (s *Snapshot) Epoch(b BucketID) Epoch {
	if page := s.epochPage(int(b >> pageBits)); page != nil && page[b%pageLen] != 0 {
		return page[b%pageLen]
	}
	return FirstEpoch
}

// Epochs iterates over the buckets that ever moved, in order.
func (s *Snapshot) Epochs() iter.Seq2[BucketID, Epoch] {
	return func(yield func(BucketID, Epoch) bool) {
		for p := range pagesFor(s.buckets) {
			page := s.epochPage(p)
			if page == nil {
				continue
			}
			for i, e := range page {
				if e != 0 && !yield(BucketID(p<<pageBits+i), e) {
					return
				}
			}
		}
	}
}

// Runs iterates over the assignment as maximal runs, in order, those without a
// home included.
func (s *Snapshot) Runs() iter.Seq[Run] { return runs(s.home, s.buckets, s.shards) }

// Whitelist iterates over the map's whitelisted user ids, sorted by id.
func (s *Snapshot) Whitelist() iter.Seq2[string, Datacenter] { return s.whitelist.All() }

// WhitelistLen returns how many user ids are on the map's whitelist.
func (s *Snapshot) WhitelistLen() int { return s.whitelist.Len() }

// Whitelisted returns the map's whitelist, never nil.
func (s *Snapshot) Whitelisted() *Whitelist { return s.whitelist }

// WithUsers returns the snapshot with more whitelisted users, which this
// process has from elsewhere; nil takes them away again. The map's own entry
// wins. Version, Digest, Whitelist and Equal stay the map's, and neither Edit
// nor Apply takes them over. Whether the users' datacenters can be used is for
// the caller to check: they need not be the map's.
func (s *Snapshot) WithUsers(more *Whitelist) *Snapshot {
	with := *s
	with.more = nil
	if more != nil && more.Len() != 0 {
		with.more = more
	}
	return &with
}

// Holds returns the holds in force, those of bucket ranges first, in order.
func (s *Snapshot) Holds() []Hold { return slices.Clone(s.holds) }

// HoldOf returns the hold that covers a bucket. It does not look at the clock:
// the caller compares Until. It allocates nothing.
func (s *Snapshot) HoldOf(b BucketID) (Hold, bool) {
	if len(s.holds) == 0 {
		return Hold{}, false
	}
	ranges := s.holds[:s.rangeHolds]
	i := sort.Search(len(ranges), func(i int) bool { return ranges[i].Last >= b })
	if i < len(ranges) && ranges[i].First <= b {
		return ranges[i], true
	}
	home, ok := s.Home(b)
	if !ok {
		return Hold{}, false
	}
	ofShards := s.holds[s.rangeHolds:]
	i = sort.Search(len(ofShards), func(i int) bool { return ofShards[i].Shard >= home.Name })
	if i < len(ofShards) && ofShards[i].Shard == home.Name {
		return ofShards[i], true
	}
	return Hold{}, false
}

// Equal says whether two snapshots hold the same, the version included. Two
// nil ones are equal.
func (s *Snapshot) Equal(o *Snapshot) bool {
	if s == nil || o == nil {
		return s == o
	}
	return s.version == o.version &&
		s.moved == o.moved &&
		s.buckets == o.buckets &&
		s.dflt == o.dflt &&
		slices.Equal(s.datacenters, o.datacenters) &&
		slices.Equal(s.shards, o.shards) &&
		s.whitelist.digest == o.whitelist.digest &&
		slices.EqualFunc(s.holds, o.holds, Hold.equal) &&
		s.equalPages(o)
}

func (h Hold) equal(o Hold) bool {
	until := h.Until.Equal(o.Until)
	h.Until, o.Until = time.Time{}, time.Time{}
	return until && h == o
}

// Edit returns a draft with the snapshot's content and the next version.
func (s *Snapshot) Edit() *Draft {
	d := &Draft{
		Version:     s.version + 1,
		Moved:       s.moved,
		Buckets:     s.buckets,
		Default:     s.dflt,
		Datacenters: slices.Clone(s.datacenters),
		Whitelist:   make(map[string]Datacenter, s.whitelist.Len()),
		Holds:       slices.Clone(s.holds),
		Epochs:      maps.Collect(s.Epochs()),
		shards:      slices.Clone(s.shards),
		homes:       s.flatHomes(),
		base:        s,
	}
	for _, page := range s.whitelist.pages {
		for u := range page.users() {
			d.Whitelist[u.id] = u.datacenter
		}
	}
	return d
}

func shardIndex(shards []Shard, name ShardName) (int, bool) {
	return slices.BinarySearchFunc(shards, name, func(s Shard, n ShardName) int { return cmp.Compare(s.Name, n) })
}

func runs(home func(BucketID) uint16, buckets uint32, shards []Shard) iter.Seq[Run] {
	return func(yield func(Run) bool) {
		for first := uint32(0); first < buckets; {
			last, at := first, home(BucketID(first))
			for last+1 < buckets && home(BucketID(last+1)) == at {
				last++
			}
			r := Run{First: BucketID(first), Last: BucketID(last)}
			if at != 0 {
				r.Shard = shards[at-1].Name
			}
			if !yield(r) {
				return
			}
			first = last + 1
		}
	}
}
