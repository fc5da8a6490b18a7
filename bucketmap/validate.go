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

// problems checks everything that a snapshot promises.
func (d *Draft) problems() []Problem {
	var ps []Problem
	add := func(key, value, bound string) { ps = append(ps, Problem{key, value, bound}) }

	if d.Version == 0 {
		add("version", "0", "1 or higher")
	}
	if d.Buckets < 1 || d.Buckets > BucketsMax {
		add("buckets", fmt.Sprint(d.Buckets), fmt.Sprintf("1 to %d", BucketsMax))
	} else if len(d.homes) != int(d.Buckets) {
		add("buckets", fmt.Sprint(d.Buckets), fmt.Sprintf("%d, the count the draft was made with", len(d.homes)))
	}
	known := map[Datacenter]bool{}
	for _, dc := range d.Datacenters {
		if !ValidName(string(dc)) {
			add("datacenters", fmt.Sprintf("%q", dc), nameBound)
		}
		if known[dc] {
			add("datacenters", fmt.Sprintf("%q", dc), "each name once")
		}
		known[dc] = true
	}
	wantDatacenter := func(key string, dc Datacenter) {
		if !known[dc] {
			add(key, fmt.Sprintf("%q", dc), "one of the map's datacenters")
		}
	}
	d.defaultProblems(wantDatacenter, add)
	for _, s := range d.shards {
		key := fmt.Sprintf("shards.%s", s.Name)
		if !ValidName(string(s.Name)) {
			add("shards", fmt.Sprintf("%q", s.Name), nameBound)
		}
		wantDatacenter(key, s.Datacenter)
		if s.Epoch < FirstEpoch {
			add(key, fmt.Sprintf("epoch %d", s.Epoch), "1 or higher")
		}
	}
	for id, dc := range d.Whitelist {
		if len(id) < 1 || len(id) > UserIDMax {
			add("whitelist", fmt.Sprintf("an id of %d bytes", len(id)), fmt.Sprintf("1 to %d bytes", UserIDMax))
		}
		wantDatacenter("whitelist", dc)
	}
	for b, e := range d.Epochs {
		if uint32(b) >= d.Buckets || e < FirstEpoch {
			add("epochs", fmt.Sprintf("bucket %d, epoch %d", b, e), "a bucket of the map and an epoch of 1 or higher")
		}
	}
	d.holdProblems(add)
	// By all three, because maps are walked in no order.
	slices.SortFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Value, b.Value), cmp.Compare(a.Bound, b.Bound))
	})
	return ps
}

func (d *Draft) defaultProblems(wantDatacenter func(string, Datacenter), add func(key, value, bound string)) {
	wantDatacenter("default.datacenter", d.Default.Datacenter)
	if !d.Default.Auto {
		if d.Default.Source != "" || d.Default.Target != "" {
			add("default", "source and target with a pinned default", "neither")
		}
		return
	}
	wantDatacenter("default.source", d.Default.Source)
	wantDatacenter("default.target", d.Default.Target)
	if d.Default.Source == d.Default.Target {
		add("default.target", fmt.Sprintf("%q", d.Default.Target), "another datacenter than the source")
	}
	if d.Default.Datacenter != d.Default.Source && d.Default.Datacenter != d.Default.Target {
		add("default.datacenter", fmt.Sprintf("%q", d.Default.Datacenter), "the source or the target")
	}
}

func (d *Draft) holdProblems(add func(key, value, bound string)) {
	var ranges []Hold
	shards := map[ShardName]bool{}
	for _, h := range d.Holds {
		if !ValidName(string(h.Move)) {
			add("holds.move", fmt.Sprintf("%q", h.Move), nameBound)
		}
		if h.Until.UnixMilli() <= 0 || h.Until.UTC().Year() > 9999 || !h.Until.Truncate(time.Millisecond).Equal(h.Until) {
			add("holds.until", h.Until.String(), "a time after 1970 and before 10000, to the millisecond")
		}
		if h.Shard != "" {
			if _, ok := d.Shard(h.Shard); !ok {
				add("holds.shard", fmt.Sprintf("%q", h.Shard), "one of the map's shards")
			}
			if h.First != 0 || h.Last != 0 {
				add("holds", fmt.Sprintf("shard %q and buckets %d-%d", h.Shard, h.First, h.Last), "a shard or buckets")
			}
			if shards[h.Shard] {
				add("holds.shard", fmt.Sprintf("%q", h.Shard), "one hold a shard")
			}
			shards[h.Shard] = true
			continue
		}
		if h.First > h.Last || uint32(h.Last) >= d.Buckets {
			add("holds.buckets", fmt.Sprintf("%d-%d", h.First, h.Last), "buckets of the map, in order")
		}
		ranges = append(ranges, h)
	}
	slices.SortFunc(ranges, compareHolds)
	for i := 1; i < len(ranges); i++ {
		if ranges[i].First <= ranges[i-1].Last {
			add("holds.buckets", fmt.Sprintf("%d-%d", ranges[i].First, ranges[i].Last), "holds that do not overlap")
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

const nameBound = "1 to 64 letters, digits, '.', '_' or '-', the first not '.' or '-'"

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

// CheckSuccessor says whether next may replace current where current is in
// force: the same bucket count and a higher version. current may be nil.
func CheckSuccessor(current, next *Snapshot) error {
	if current == nil {
		return nil
	}
	if next.buckets != current.buckets {
		return fmt.Errorf("%w: it has %d buckets, the one in force %d: the bucket count of a map never changes",
			ErrRefused, next.buckets, current.buckets)
	}
	if next.version <= current.version {
		return fmt.Errorf("%w: version %d is not higher than %d, the one in force; "+
			"to go back, publish the old content as a new version (migrator map rollback)",
			ErrRefused, next.version, current.version)
	}
	return nil
}
