package bucketmap

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Difference is what changes from one snapshot to another, each list in
// order. In every change an empty From says added and an empty To removed. It
// is complete: Apply makes the second snapshot of the first.
type Difference struct {
	FromVersion Version            `json:"from_version"` // 0 when there was no map
	ToVersion   Version            `json:"to_version"`
	FromBuckets uint32             `json:"from_buckets,omitempty"` // both 0 when the count is the same
	ToBuckets   uint32             `json:"to_buckets,omitempty"`
	FromMoved   uint64             `json:"from_moved,omitempty"` // both 0 when the odometer is the same
	ToMoved     uint64             `json:"to_moved,omitempty"`
	Default     *DefaultChange     `json:"default,omitempty"`
	Datacenters []DatacenterChange `json:"datacenters,omitempty"`
	Shards      []ShardChange      `json:"shards,omitempty"`
	Homes       []HomeChange       `json:"homes,omitempty"`
	Epochs      []EpochChange      `json:"epochs,omitempty"`
	Holds       []HoldChange       `json:"holds,omitempty"`
	Whitelist   []UserChange       `json:"whitelist,omitempty"`
}

// DefaultChange is another rule for requests that nothing else places, or
// another default in force. From is nil when there was no map.
type DefaultChange struct {
	From *Default `json:"from,omitempty"`
	To   *Default `json:"to"`
}

// DatacenterChange is a datacenter more, or one less.
type DatacenterChange struct {
	From Datacenter `json:"from,omitempty"`
	To   Datacenter `json:"to,omitempty"`
}

// ShardChange is a shard added, removed, or promoted to another datacenter.
type ShardChange struct {
	Name      ShardName  `json:"name"`
	From      Datacenter `json:"from,omitempty"`
	To        Datacenter `json:"to,omitempty"`
	FromEpoch Epoch      `json:"from_epoch,omitempty"`
	ToEpoch   Epoch      `json:"to_epoch,omitempty"`
}

// HomeChange is a run of buckets that went from one shard to another. No
// shard is no home.
type HomeChange struct {
	First BucketID  `json:"first"`
	Last  BucketID  `json:"last"`
	From  ShardName `json:"from,omitempty"`
	To    ShardName `json:"to,omitempty"`
}

// EpochChange is a run of buckets whose ownership number changed alike.
type EpochChange struct {
	First BucketID `json:"first"`
	Last  BucketID `json:"last"`
	From  Epoch    `json:"from"`
	To    Epoch    `json:"to"`
}

// HoldChange is a hold that began or ended. One that became longer is a hold
// ended and a hold begun.
type HoldChange struct {
	From *Hold `json:"from,omitempty"`
	To   *Hold `json:"to,omitempty"`
}

// UserChange is a user id put on the whitelist, taken off it, or sent
// elsewhere.
type UserChange struct {
	User UserID     `json:"user"`
	From Datacenter `json:"from,omitempty"`
	To   Datacenter `json:"to,omitempty"`
}

// Diff returns what changes from one snapshot to another. from may be nil:
// then everything is added.
func Diff(from, to *Snapshot) *Difference {
	d := &Difference{ToVersion: to.version}
	if from == nil {
		from = emptyMap()
	}
	d.FromVersion = from.version
	if from.buckets != to.buckets {
		d.FromBuckets, d.ToBuckets = from.buckets, to.buckets
	}
	if from.moved != to.moved {
		d.FromMoved, d.ToMoved = from.moved, to.moved
	}
	if from.dflt != to.dflt {
		// Copies, here and below: a snapshot shares nothing that can be written to.
		now, was := to.dflt, from.dflt
		d.Default = &DefaultChange{To: &now}
		if from.version != 0 {
			d.Default.From = &was
		}
	}
	d.diffDatacenters(from, to)
	d.diffShards(from, to)
	d.diffHomes(from, to)
	d.diffEpochs(from, to)
	d.diffHolds(from, to)
	d.Whitelist = diffWhitelists(from.whitelist, to.whitelist)
	return d
}

func (d *Difference) diffDatacenters(from, to *Snapshot) {
	for _, dc := range from.datacenters {
		if _, ok := slices.BinarySearch(to.datacenters, dc); !ok {
			d.Datacenters = append(d.Datacenters, DatacenterChange{From: dc})
		}
	}
	for _, dc := range to.datacenters {
		if _, ok := slices.BinarySearch(from.datacenters, dc); !ok {
			d.Datacenters = append(d.Datacenters, DatacenterChange{To: dc})
		}
	}
}

func (d *Difference) diffShards(from, to *Snapshot) {
	for _, s := range from.shards {
		now, _ := to.Shard(s.Name) // the zero Shard says removed
		if now != s {
			d.Shards = append(d.Shards, ShardChange{s.Name, s.Datacenter, now.Datacenter, s.Epoch, now.Epoch})
		}
	}
	for _, s := range to.shards {
		if _, ok := from.Shard(s.Name); !ok {
			d.Shards = append(d.Shards, ShardChange{s.Name, "", s.Datacenter, 0, s.Epoch})
		}
	}
	slices.SortFunc(d.Shards, func(a, b ShardChange) int { return cmp.Compare(a.Name, b.Name) })
}

// diffHomes compares homes bucket by bucket, but for pages that the two share,
// and joins equal neighbours to runs.
func (d *Difference) diffHomes(from, to *Snapshot) {
	index := renumbered(from.shards, to.shards)
	same := slices.Equal(index, identity(len(index)))
	none := new([pageLen]uint16)
	pages := everyPage(max(from.buckets, to.buckets))
	if same {
		pages = unshared(from, to)
	}
	for p := range pages {
		a, b := cmp.Or(from.homePage(p), none), cmp.Or(to.homePage(p), none)
		if same && (a == b || *a == *b) {
			continue
		}
		for i := range a {
			if index[a[i]] == b[i] {
				continue
			}
			bucket, was, now := BucketID(p<<pageBits+i), from.nameOf(a[i]), to.nameOf(b[i])
			n := len(d.Homes)
			if n != 0 && d.Homes[n-1] == (HomeChange{d.Homes[n-1].First, bucket - 1, was, now}) {
				d.Homes[n-1].Last = bucket
			} else {
				d.Homes = append(d.Homes, HomeChange{bucket, bucket, was, now})
			}
		}
	}
}

// diffEpochs is like diffHomes.
func (d *Difference) diffEpochs(from, to *Snapshot) {
	none := new([pageLen]Epoch)
	for p := range unshared(from, to) {
		a, b := cmp.Or(from.epochPage(p), none), cmp.Or(to.epochPage(p), none)
		if a == b || *a == *b {
			continue
		}
		for i := range a {
			if a[i] == b[i] {
				continue
			}
			bucket, was, now := BucketID(p<<pageBits+i), max(a[i], FirstEpoch), max(b[i], FirstEpoch)
			n := len(d.Epochs)
			if n != 0 && d.Epochs[n-1] == (EpochChange{d.Epochs[n-1].First, bucket - 1, was, now}) {
				d.Epochs[n-1].Last = bucket
			} else {
				d.Epochs = append(d.Epochs, EpochChange{bucket, bucket, was, now})
			}
		}
	}
}

// noShard is the number of a shard that is not there any more.
const noShard = 1<<16 - 1

// renumbered gives, for each home as numbered by from, its number by to.
func renumbered(from, to []Shard) []uint16 {
	index := make([]uint16, 1, len(from)+1)
	j := 0
	for _, s := range from {
		for j < len(to) && to[j].Name < s.Name {
			j++
		}
		if j < len(to) && to[j].Name == s.Name {
			index = append(index, uint16(j+1))
		} else {
			index = append(index, noShard)
		}
	}
	return index
}

func identity(n int) []uint16 {
	index := make([]uint16, 0, n)
	for i := range n {
		index = append(index, uint16(i))
	}
	return index
}

// nameOf returns the name of a home's shard, none for no home.
func (s *Snapshot) nameOf(home uint16) ShardName {
	if home == 0 {
		return ""
	}
	return s.shards[home-1].Name
}

// diffHolds keeps the order of holds, and of one place ended before begun.
func (d *Difference) diffHolds(from, to *Snapshot) {
	i, j := 0, 0
	for i < len(from.holds) || j < len(to.holds) {
		switch {
		case i < len(from.holds) && j < len(to.holds) && from.holds[i].equal(to.holds[j]):
			i, j = i+1, j+1
		case j == len(to.holds) || i < len(from.holds) && compareHolds(from.holds[i], to.holds[j]) <= 0:
			ended := from.holds[i]
			d.Holds = append(d.Holds, HoldChange{From: &ended})
			i++
		default:
			begun := to.holds[j]
			d.Holds = append(d.Holds, HoldChange{To: &begun})
			j++
		}
	}
}

// Empty says whether the two snapshots differ in nothing but their version
// and the odometer, which counts versions' changes and is none itself.
func (d *Difference) Empty() bool {
	return d.FromBuckets == d.ToBuckets && d.Default == nil && len(d.Datacenters) == 0 && len(d.Shards) == 0 &&
		len(d.Homes) == 0 && len(d.Epochs) == 0 && len(d.Holds) == 0 && len(d.Whitelist) == 0
}

// String returns the difference for people, one change a line: "+ " added,
// "- " removed, "~ " changed. It is empty when Empty.
func (d *Difference) String() string {
	var out strings.Builder
	line := func(what, from, to string) {
		switch {
		case from == "":
			fmt.Fprintf(&out, "+ %s: %s\n", what, to)
		case to == "":
			fmt.Fprintf(&out, "- %s: %s\n", what, from)
		default:
			fmt.Fprintf(&out, "~ %s: %s -> %s\n", what, from, to)
		}
	}
	if d.FromBuckets != d.ToBuckets {
		line("buckets", nonZero(d.FromBuckets), nonZero(d.ToBuckets))
	}
	if d.Default != nil {
		line("default", d.Default.From.text(), d.Default.To.text())
	}
	for _, c := range d.Datacenters {
		line("datacenter", string(c.From), string(c.To))
	}
	for _, c := range d.Shards {
		line("shard "+string(c.Name), shardText(c.From, c.FromEpoch), shardText(c.To, c.ToEpoch))
	}
	for _, c := range d.Homes {
		line("home "+RangeText(c.First, c.Last), string(c.From), string(c.To))
	}
	for _, c := range d.Epochs {
		line("epoch "+RangeText(c.First, c.Last), fmt.Sprint(c.From), fmt.Sprint(c.To))
	}
	for _, c := range d.Holds {
		h := cmp.Or(c.From, c.To)
		what := "hold " + RangeText(h.First, h.Last)
		if h.Shard != "" {
			what = "hold shard " + string(h.Shard)
		}
		line(what, c.From.text(), c.To.text())
	}
	for _, c := range d.Whitelist {
		line("whitelist "+c.User.String(), string(c.From), string(c.To))
	}
	return out.String()
}

func nonZero(n uint32) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func (d *Default) text() string {
	if d == nil {
		return ""
	}
	if d.Auto {
		return fmt.Sprintf("%s (auto, %s to %s)", d.Datacenter, d.Source, d.Target)
	}
	return fmt.Sprintf("%s (pinned)", d.Datacenter)
}

func (h *Hold) text() string {
	if h == nil {
		return ""
	}
	return fmt.Sprintf("%s until %s", h.Move, h.Until.UTC().Format(time.RFC3339Nano))
}

func shardText(dc Datacenter, epoch Epoch) string {
	if dc == "" || epoch == FirstEpoch {
		return string(dc)
	}
	return fmt.Sprintf("%s, epoch %d", dc, epoch)
}

// RangeText returns a range of buckets as people write it: "17" or "17-40".
func RangeText(first, last BucketID) string {
	if first == last {
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d-%d", first, last)
}
