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
// of goroutines. Make one with Draft.Snapshot.
type Snapshot struct {
	version     Version
	buckets     uint32
	dflt        Default
	datacenters []Datacenter
	shards      []Shard  // sorted by name
	homes       []uint16 // bucket → index in shards, plus one; 0 is no home
	whitelist   map[string]Datacenter
	holds       []Hold // sorted; those of bucket ranges first
	rangeHolds  int    // how many of holds are of bucket ranges
	epochs      map[BucketID]Epoch
}

// Version returns the map's number.
func (s *Snapshot) Version() Version { return s.version }

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
	if uint32(b) >= s.buckets || s.homes[b] == 0 {
		return Shard{}, false
	}
	return s.shards[s.homes[b]-1], true
}

// Epoch returns the bucket's ownership number.
func (s *Snapshot) Epoch(b BucketID) Epoch {
	if e, ok := s.epochs[b]; ok {
		return e
	}
	return FirstEpoch
}

// Epochs iterates over the buckets that ever moved, in order.
func (s *Snapshot) Epochs() iter.Seq2[BucketID, Epoch] { return sortedEpochs(s.epochs) }

// Runs iterates over the assignment as maximal runs, in order, those without a
// home included.
func (s *Snapshot) Runs() iter.Seq[Run] { return runs(s.homes, s.shards) }

// Whitelist iterates over the whitelisted user ids, sorted by id.
func (s *Snapshot) Whitelist() iter.Seq2[string, Datacenter] {
	return func(yield func(string, Datacenter) bool) {
		for _, id := range slices.Sorted(maps.Keys(s.whitelist)) {
			if !yield(id, s.whitelist[id]) {
				return
			}
		}
	}
}

// WhitelistLen returns how many user ids are on the whitelist.
func (s *Snapshot) WhitelistLen() int { return len(s.whitelist) }

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
		s.buckets == o.buckets &&
		s.dflt == o.dflt &&
		slices.Equal(s.datacenters, o.datacenters) &&
		slices.Equal(s.shards, o.shards) &&
		slices.Equal(s.homes, o.homes) &&
		maps.Equal(s.whitelist, o.whitelist) &&
		slices.EqualFunc(s.holds, o.holds, Hold.equal) &&
		maps.Equal(s.epochs, o.epochs)
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
		Buckets:     s.buckets,
		Default:     s.dflt,
		Datacenters: slices.Clone(s.datacenters),
		Whitelist:   maps.Clone(s.whitelist),
		Holds:       slices.Clone(s.holds),
		Epochs:      maps.Clone(s.epochs),
		shards:      slices.Clone(s.shards),
		homes:       slices.Clone(s.homes),
	}
	// A snapshot of a draft whose maps were nil has nil maps; a draft's can be
	// written to.
	if d.Whitelist == nil {
		d.Whitelist = map[string]Datacenter{}
	}
	if d.Epochs == nil {
		d.Epochs = map[BucketID]Epoch{}
	}
	return d
}

func shardIndex(shards []Shard, name ShardName) (int, bool) {
	return slices.BinarySearchFunc(shards, name, func(s Shard, n ShardName) int { return cmp.Compare(s.Name, n) })
}

func runs(homes []uint16, shards []Shard) iter.Seq[Run] {
	return func(yield func(Run) bool) {
		for first := 0; first < len(homes); {
			last := first
			for last+1 < len(homes) && homes[last+1] == homes[first] {
				last++
			}
			r := Run{First: BucketID(first), Last: BucketID(last)}
			if homes[first] != 0 {
				r.Shard = shards[homes[first]-1].Name
			}
			if !yield(r) {
				return
			}
			first = last + 1
		}
	}
}

func sortedEpochs(epochs map[BucketID]Epoch) iter.Seq2[BucketID, Epoch] {
	return func(yield func(BucketID, Epoch) bool) {
		for _, b := range slices.Sorted(maps.Keys(epochs)) {
			if !yield(b, epochs[b]) {
				return
			}
		}
	}
}
