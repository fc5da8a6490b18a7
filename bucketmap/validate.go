package bucketmap

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// NameMax is the longest name of a datacenter, shard or move in bytes.
const NameMax = 64

// VersionMax is the highest version: twelve digits, so that the names in a
// history sort by version. A version a second takes 31,000 years to get there.
const VersionMax Version = 999_999_999_999

// Problem is one thing wrong with a map: the key, what it holds and what it
// may hold.
type Problem struct {
	Key, Value, Bound string
}

func (p Problem) String() string { return fmt.Sprintf("%s: %s: want %s", p.Key, p.Value, p.Bound) }

// InvalidError lists everything that is wrong with a map.
type InvalidError struct {
	Problems []Problem
}

func (e *InvalidError) Error() string {
	const shown = 10 // the rest is counted: a bad map can have a million problems
	var b strings.Builder
	fmt.Fprintf(&b, "invalid map, %d problem(s)", len(e.Problems))
	for i, p := range e.Problems {
		if i == shown {
			fmt.Fprintf(&b, "; and %d more", len(e.Problems)-shown)
			break
		}
		b.WriteString("; ")
		b.WriteString(p.String())
	}
	return b.String()
}

// checker collects what is wrong with a map.
type checker struct {
	problems []Problem
	known    map[Datacenter]bool
	shards   map[ShardName]bool
}

func (c *checker) add(key, value, bound string) {
	c.problems = append(c.problems, Problem{key, value, bound})
}

// sorted returns the problems in one order: by all three, because maps are
// walked in no order.
func (c *checker) sorted() []Problem {
	slices.SortFunc(c.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Value, b.Value), cmp.Compare(a.Bound, b.Bound))
	})
	return c.problems
}

// problems checks everything that a snapshot promises.
func (d *Draft) problems() []Problem {
	c := &checker{}
	c.version(d.Version)
	if c.buckets(d.Buckets) && len(d.homes) != int(d.Buckets) {
		c.add("buckets", fmt.Sprint(d.Buckets), fmt.Sprintf("%d, the count the draft was made with", len(d.homes)))
	}
	c.dictionary(d.Datacenters, d.shards)
	c.dflt(d.Default)
	if len(d.Whitelist) > WhitelistMax {
		c.add("whitelist", fmt.Sprintf("%d users", len(d.Whitelist)), fmt.Sprintf("at most %d", WhitelistMax))
	}
	for id, dc := range d.Whitelist {
		if len(id) < 1 || len(id) > UserIDMax {
			c.add("whitelist", fmt.Sprintf("an id of %d bytes", len(id)), idBound)
		}
		c.datacenter("whitelist", dc)
	}
	for b, e := range d.Epochs {
		if uint32(b) >= d.Buckets || e < FirstEpoch {
			c.add("epochs", fmt.Sprintf("bucket %d, epoch %d", b, e), epochBound)
		}
	}
	c.holds(d.Holds, d.Buckets)
	return c.sorted()
}

// problems checks what is not checked where homes, epochs and users are put
// into a snapshot.
func (s *Snapshot) problems() []Problem {
	c := &checker{}
	c.version(s.version)
	c.buckets(s.buckets)
	c.dictionary(s.datacenters, s.shards)
	c.dflt(s.dflt)
	for dc := range s.whitelist.datacenters() {
		c.datacenter("whitelist", dc)
	}
	c.holds(s.holds, s.buckets)
	return c.sorted()
}

func (v Version) valid() bool { return v >= 1 && v <= VersionMax }

func (c *checker) version(v Version) {
	if !v.valid() {
		c.add("version", fmt.Sprint(v), fmt.Sprintf("1 to %d, one higher than the version in force", VersionMax))
	}
}

func (c *checker) buckets(n uint32) bool {
	if n < 1 || n > BucketsMax {
		c.add("buckets", fmt.Sprint(n), fmt.Sprintf("1 to %d", BucketsMax))
		return false
	}
	return true
}

func (c *checker) datacenter(key string, dc Datacenter) {
	if !c.known[dc] {
		c.add(key, fmt.Sprintf("%q", dc), "one of the map's datacenters")
	}
}

// dictionary must come before what names a datacenter or a shard.
func (c *checker) dictionary(datacenters []Datacenter, shards []Shard) {
	c.known = make(map[Datacenter]bool, len(datacenters))
	for _, dc := range datacenters {
		if !ValidName(string(dc)) {
			c.add("datacenters", fmt.Sprintf("%q", dc), nameBound)
		}
		if c.known[dc] {
			c.add("datacenters", fmt.Sprintf("%q", dc), "each name once")
		}
		c.known[dc] = true
	}
	c.shards = make(map[ShardName]bool, len(shards))
	if len(shards) > ShardsMax {
		c.add("shards", fmt.Sprint(len(shards)), fmt.Sprintf("at most %d", ShardsMax))
	}
	for _, s := range shards {
		if !ValidName(string(s.Name)) {
			c.add("shards", fmt.Sprintf("%q", s.Name), nameBound)
		}
		if !c.known[s.Datacenter] {
			c.datacenter("shards."+string(s.Name), s.Datacenter)
		}
		if s.Epoch < FirstEpoch {
			c.add("shards."+string(s.Name), fmt.Sprintf("epoch %d", s.Epoch), "1 or higher")
		}
		c.shards[s.Name] = true
	}
}

func (c *checker) dflt(d Default) {
	c.datacenter("default.datacenter", d.Datacenter)
	if !d.Auto {
		if d.Source != "" || d.Target != "" {
			c.add("default", "source and target with a pinned default", "neither")
		}
		return
	}
	c.datacenter("default.source", d.Source)
	c.datacenter("default.target", d.Target)
	if d.Source == d.Target {
		c.add("default.target", fmt.Sprintf("%q", d.Target), "another datacenter than the source")
	}
	if d.Datacenter != d.Source && d.Datacenter != d.Target {
		c.add("default.datacenter", fmt.Sprintf("%q", d.Datacenter), "the source or the target")
	}
}

func (c *checker) holds(holds []Hold, buckets uint32) {
	var ranges []Hold
	held := map[ShardName]bool{}
	for _, h := range holds {
		if !ValidName(string(h.Move)) {
			c.add("holds.move", fmt.Sprintf("%q", h.Move), nameBound)
		}
		if h.Until.UnixMilli() <= 0 || h.Until.UTC().Year() > 9999 || !h.Until.Truncate(time.Millisecond).Equal(h.Until) {
			c.add("holds.until", h.Until.String(), "a time after 1970 and before 10000, to the millisecond")
		}
		if h.Shard != "" {
			if !c.shards[h.Shard] {
				c.add("holds.shard", fmt.Sprintf("%q", h.Shard), "one of the map's shards")
			}
			if h.First != 0 || h.Last != 0 {
				c.add("holds", fmt.Sprintf("shard %q and buckets %d-%d", h.Shard, h.First, h.Last), "a shard or buckets")
			}
			if held[h.Shard] {
				c.add("holds.shard", fmt.Sprintf("%q", h.Shard), "one hold a shard")
			}
			held[h.Shard] = true
			continue
		}
		if h.First > h.Last || uint32(h.Last) >= buckets {
			c.add("holds.buckets", fmt.Sprintf("%d-%d", h.First, h.Last), "buckets of the map, in order")
		}
		ranges = append(ranges, h)
	}
	slices.SortFunc(ranges, compareHolds)
	for i := 1; i < len(ranges); i++ {
		if ranges[i].First <= ranges[i-1].Last {
			c.add("holds.buckets", fmt.Sprintf("%d-%d", ranges[i].First, ranges[i].Last), "holds that do not overlap")
		}
	}
}

func compareHolds(a, b Hold) int {
	if (a.Shard == "") != (b.Shard == "") {
		if a.Shard == "" {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(a.Shard, b.Shard), cmp.Compare(a.First, b.First))
}

// What is wanted of a name, a user id and an epoch, for problems.
const (
	nameBound  = "1 to 64 letters, digits, '.', '_' or '-', the first not '.' or '-'"
	idBound    = "1 to 256 bytes"
	epochBound = "a bucket of the map and an epoch of 1 or higher"
)

// ValidName says whether name may be the name of a datacenter, a shard, a move
// or a proxy. What it allows is fit for headers, file names, SQL, metric
// labels and command lines: so no "..", no slash and no leading dash.
func ValidName(name string) bool {
	if len(name) < 1 || len(name) > NameMax || name[0] == '.' || name[0] == '-' {
		return false
	}
	for i := range len(name) {
		c := name[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}
