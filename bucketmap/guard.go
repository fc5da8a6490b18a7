package bucketmap

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"
)

// Rule names what a refused map breaks, in metrics, acknowledgements and logs.
type Rule string

// The rules. Codecs and stores refuse by the last three.
const (
	RuleBuckets    Rule = "buckets"    // the bucket count of a map never changes
	RuleVersion    Rule = "version"    // not higher than the one in force
	RuleDatacenter Rule = "datacenter" // it sends somebody where nobody can be sent
	RuleEmpty      Rule = "empty"      // no bucket has a home
	RuleMaxChange  Rule = "max_change" // it moves more users than one version may
	RuleUnreadable Rule = "unreadable" // it cannot be read, or is no valid map
	RuleHash       Rule = "hash"       // its content is not what its publisher announced
	RuleSignature  Rule = "signature"  // nobody who may has signed it
)

// Rules lists every rule, for metrics that must exist before they count.
func Rules() []Rule {
	return []Rule{
		RuleBuckets, RuleVersion, RuleDatacenter, RuleEmpty, RuleMaxChange,
		RuleUnreadable, RuleHash, RuleSignature,
	}
}

// RefusedError says why a map may not come into force, and what to do. It is
// an ErrRefused.
type RefusedError struct {
	Rule           Rule
	Version        Version // of the map refused, 0 when it is not known
	Detail, Remedy string
}

func (e *RefusedError) Error() string {
	text := ErrRefused.Error()
	if e.Version != 0 {
		text = fmt.Sprintf("%s, version %d", text, e.Version)
	}
	text += fmt.Sprintf(" (%s): %s", e.Rule, e.Detail)
	if e.Remedy != "" {
		text += "; " + e.Remedy
	}
	return text
}

// Is makes every RefusedError an ErrRefused.
func (e *RefusedError) Is(target error) bool { return target == ErrRefused }

// Guard is what a map must satisfy beside being valid. The zero value checks
// the version, the bucket count, and that somebody has a home.
type Guard struct {
	// MaxChange is the share of the users, 0 to 1, that one version may move
	// between datacenters. 0 is no bound.
	MaxChange float64
	// Weight gives the users of a bucket; nil counts each bucket as one.
	Weight func(BucketID) uint64
	// Datacenters are those that may be used; nil is any. One that the map
	// names and sends nobody to is no problem.
	Datacenters map[Datacenter]bool
	// Reader allows besides what publishers declared: the odometer's increase
	// from the map in force. It counts buckets, whatever Weight says, because
	// the odometer does. Without it the guard is a publisher's, who declares.
	Reader bool
}

// Check says whether next may come into force after current, which is nil
// where no map is. The error is a *RefusedError. Its time follows the pages
// that the two do not share.
func (g Guard) Check(current, next *Snapshot) error {
	if next == nil {
		return &RefusedError{RuleUnreadable, 0, "there is no map", "publish one"}
	}
	if err := CheckSuccessor(current, next); err != nil {
		return err
	}
	if next.Homeless() == next.buckets {
		return &RefusedError{RuleEmpty, next.version, fmt.Sprintf("none of its %d buckets has a home", next.buckets),
			"give the buckets homes, then publish again"}
	}
	if err := g.checkDatacenters(next); err != nil {
		return err
	}
	if current == nil || g.MaxChange == 0 {
		return nil
	}
	return g.checkChange(current, next)
}

// checkDatacenters looks where the map sends somebody.
func (g Guard) checkDatacenters(next *Snapshot) error {
	if g.Datacenters == nil {
		return nil
	}
	want := func(dc Datacenter, whom ...string) error {
		if g.Datacenters[dc] {
			return nil
		}
		return &RefusedError{RuleDatacenter, next.version, fmt.Sprintf("it sends %s to datacenter %q, which is not one that may be used here", strings.Join(whom, " "), dc),
			fmt.Sprintf("make %s known here (in a proxy's configuration: datacenters.%s, then restart it), or take it out of the map, and publish again", dc, dc)}
	}
	if err := want(next.dflt.Datacenter, "who has no home"); err != nil {
		return err
	}
	for i, shard := range next.shards {
		if next.counts[i+1] == 0 {
			continue
		}
		if err := want(shard.Datacenter, "the buckets of shard", string(shard.Name)); err != nil {
			return err
		}
	}
	for _, dc := range next.datacenters { // in order, so that the same map gives the same error
		if next.whitelist.uses(dc) {
			if err := want(dc, "whitelisted users"); err != nil {
				return err
			}
		}
	}
	return nil
}

// roundingError is how far a share of a count may be off in floating point.
const roundingError = 1e-9

func (g Guard) checkChange(current, next *Snapshot) error {
	weight, what := g.Weight, "users"
	if g.Reader || weight == nil {
		weight, what = nil, "buckets"
	}
	moved, all := Relocated(current, next, weight)
	allowed := g.MaxChange * float64(all) * (1 + roundingError)
	declared := uint64(0)
	if g.Reader && next.moved > current.moved {
		declared = next.moved - current.moved
		allowed += float64(declared)
	}
	if float64(moved) <= allowed { // false when MaxChange is no number
		return nil
	}
	detail := fmt.Sprintf("it sends %d of %d %s to another datacenter than version %d does, more than the %g%% that one version may",
		moved, all, what, current.version, 100*g.MaxChange)
	remedy := "if that is meant, publish it in smaller steps, or raise the bound (max_change) for this one"
	if g.Reader {
		detail += fmt.Sprintf(", and its publishers declared %d", declared)
		remedy = "nothing is wrong with the map in force; publish from it again, with the tools, which declare what they move"
	}
	return &RefusedError{RuleMaxChange, next.version, detail, remedy}
}

// CheckSuccessor says whether next may replace current where current is in
// force: the same bucket count and a higher version. current may be nil. The
// error is a *RefusedError.
func CheckSuccessor(current, next *Snapshot) error {
	if current == nil {
		return nil
	}
	if next.buckets != current.buckets {
		return &RefusedError{RuleBuckets, next.version,
			fmt.Sprintf("it has %d buckets, the one in force %d", next.buckets, current.buckets),
			"the bucket count of a map never changes"}
	}
	if next.version <= current.version {
		return &RefusedError{RuleVersion, next.version,
			fmt.Sprintf("version %d is not higher than %d, the one in force", next.version, current.version),
			"to go back, publish the old content as a new version (migrator map rollback)"}
	}
	return nil
}

// places is where a map's buckets are sent, for comparison.
type places struct {
	of      *Snapshot            // nil for a draft
	page    func(p int) []uint16 // homes of a page, as in Snapshot
	names   []Datacenter         // as Snapshot.places
	buckets uint32
}

func (s *Snapshot) asPlaces() places {
	return places{s, func(p int) []uint16 {
		if page := s.homePage(p); page != nil {
			return page[:s.pageLen(p)]
		}
		return nil
	}, s.places, s.buckets}
}

// Relocated compares where two maps send the users of each bucket: to the
// datacenter of its home, or, when it has none, to the default. It returns how
// many buckets are sent elsewhere, and how many there are. A bucket that loses
// its home counts, wherever the default is. weight gives the users of a bucket,
// to count them instead; nil counts each bucket as one. Sums that do not fit 64
// bits stay at the highest number. from may be nil: then nothing moved.
func Relocated(from, to *Snapshot, weight func(BucketID) uint64) (moved, all uint64) {
	was := to.asPlaces()
	if from != nil {
		was = from.asPlaces()
	}
	return relocated(was, to.asPlaces(), weight)
}

// relocated skips what is shared when every home is where it was.
func relocated(from, to places, weight func(BucketID) uint64) (moved, all uint64) {
	was, now := numbered(from.names, to.names)
	same := slices.Equal(was, now)
	most := max(from.buckets, to.buckets)
	pages := everyPage(most)
	if weight == nil {
		all = uint64(most)
		if same && from.of != nil && to.of != nil {
			pages = unshared(from.of, to.of)
		}
	}
	for p := range pages {
		a, b := from.page(p), to.page(p)
		if weight == nil && same && len(a) == len(b) {
			moved += movedIn(a, b, was)
			continue
		}
		for i := range max(len(a), len(b)) {
			var x, y uint16
			if i < len(a) {
				x = a[i]
			}
			if i < len(b) {
				y = b[i]
			}
			w := uint64(1)
			if weight != nil {
				w = weight(BucketID(p<<pageBits + i))
				all = saturated(all, w)
			}
			if was[x] != now[y] || x != 0 && y == 0 {
				moved = saturated(moved, w)
			}
		}
	}
	return moved, all
}

// movedIn is relocated for a page of two maps with the same datacenters by home.
func movedIn(from, to []uint16, datacenters []int) (moved uint64) {
	if &from[0] == &to[0] {
		return 0
	}
	to = to[:len(from)]
	for i, x := range from {
		if y := to[i]; x != y && (y == 0 || datacenters[x] != datacenters[y]) {
			moved++
		}
	}
	return moved
}

// numbered replaces names by numbers, the same for the same name.
func numbered(a, b []Datacenter) (x, y []int) {
	numbers := map[Datacenter]int{}
	number := func(names []Datacenter) []int {
		out := make([]int, 0, len(names))
		for _, dc := range names {
			n, ok := numbers[dc]
			if !ok {
				n = len(numbers)
				numbers[dc] = n
			}
			out = append(out, n)
		}
		return out
	}
	x = number(a)
	if slices.Equal(a, b) {
		return x, x
	}
	return x, number(b)
}

func saturated(a, b uint64) uint64 {
	sum, carry := bits.Add64(a, b, 0)
	if carry != 0 {
		return math.MaxUint64
	}
	return sum
}

// Declare sets the odometer: that of the map which the draft will replace, and
// the buckets that it sends elsewhere. See Snapshot.Moved and Relocated. Whoever
// publishes without Update calls it last, when the draft is complete.
func (d *Draft) Declare(from *Snapshot) {
	if from == nil {
		d.Moved = 0
		return
	}
	to := places{page: func(p int) []uint16 {
		return d.homes[min(p<<pageBits, len(d.homes)):min((p+1)<<pageBits, len(d.homes))]
	}, names: []Datacenter{d.Default.Datacenter}, buckets: uint32(len(d.homes))}
	for _, shard := range d.shards {
		to.names = append(to.names, shard.Datacenter)
	}
	moved, _ := relocated(from.asPlaces(), to, nil)
	d.Moved = saturated(from.moved, moved)
}
