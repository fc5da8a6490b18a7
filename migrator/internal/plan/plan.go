package plan

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"drover/bucketmap"
)

// ErrPlan is the class of goals that cannot be planned for.
var ErrPlan = errors.New("no plan")

// Goal is what a plan is to reach.
type Goal struct {
	// Shares are the shards' parts of the whole, relative to one another. A
	// share of 0 drains the shard. Shards that are not named are left alone.
	Shares map[bucketmap.ShardName]float64
	// Weight is a bucket's weight; nil: every bucket counts as one.
	Weight func(bucketmap.BucketID) uint64
	// Tolerance is by how much of its share a shard may have too much before
	// buckets leave it, with Weight. 0.05 is 5 %.
	Tolerance float64
	// MovesMax bounds the plan, if not 0: the moves that even out the most come
	// first.
	MovesMax int
}

// Move is one bucket's.
type Move struct {
	Bucket bucketmap.BucketID
	From   bucketmap.ShardName
	To     bucketmap.ShardName
	Weight uint64
}

// Rebalance plans the moves from one placement of buckets to the goal. home
// gives a bucket's shard, "" for none.
func Rebalance(buckets uint32, home func(bucketmap.BucketID) bucketmap.ShardName, goal Goal) ([]Move, error) {
	shards, err := newShards(goal)
	if err != nil {
		return nil, err
	}
	var total float64
	for b := range bucketmap.BucketID(buckets) {
		s := shards.named(home(b))
		if s == nil {
			continue
		}
		m := Move{Bucket: b, From: s.name, Weight: 1}
		if goal.Weight != nil {
			m.Weight = goal.Weight(b)
		}
		s.buckets, s.has = append(s.buckets, m), s.has+float64(m.Weight)
		total += float64(m.Weight)
	}
	var moves []Move
	if goal.Weight == nil {
		shards.exactTargets(int(total))
		moves = shards.byCount()
	} else {
		for _, s := range shards.all {
			s.target = total * s.share
		}
		moves = shards.byWeight(goal.Tolerance)
	}
	if goal.MovesMax > 0 && len(moves) > goal.MovesMax {
		moves = moves[:goal.MovesMax]
	}
	return moves, nil
}

// shard is one shard of the plan.
type shard struct {
	name        bucketmap.ShardName
	share       float64 // of 1
	has, target float64
	buckets     []Move // those that are there
}

func (s *shard) surplus() float64 { return s.has - s.target }

type shardSet struct{ all []*shard }

func newShards(goal Goal) (*shardSet, error) {
	set := &shardSet{}
	var sum float64
	for name, share := range goal.Shares {
		if math.IsNaN(share) || math.IsInf(share, 0) || share < 0 {
			return nil, fmt.Errorf("%w: shard %s has a share of %v: want 0 or more", ErrPlan, name, share)
		}
		sum += share
		set.all = append(set.all, &shard{name: name, share: share})
	}
	if len(set.all) < 2 || sum == 0 {
		return nil, fmt.Errorf("%w: want two shards or more, and one with a share above 0", ErrPlan)
	}
	for _, s := range set.all {
		s.share /= sum
	}
	slices.SortFunc(set.all, func(a, b *shard) int { return cmp.Compare(a.name, b.name) })
	return set, nil
}

func (set *shardSet) named(name bucketmap.ShardName) *shard {
	i, found := slices.BinarySearchFunc(set.all, name, func(s *shard, name bucketmap.ShardName) int { return cmp.Compare(s.name, name) })
	if !found {
		return nil
	}
	return set.all[i]
}

// exactTargets gives each shard its share rounded down, and the buckets that are
// left over one each to those that have more than that already, so that they
// need not move.
func (set *shardSet) exactTargets(total int) {
	left := total
	for _, s := range set.all {
		// The sum of shares that are no binary fractions must not lose a bucket.
		s.target = math.Floor(s.share*float64(total) + 1e-9)
		left -= int(s.target)
	}
	order := slices.Clone(set.all)
	slices.SortStableFunc(order, func(a, b *shard) int {
		fa, fb := a.share*float64(total)-a.target, b.share*float64(total)-b.target
		if keepsA, keepsB := a.surplus() > 0, b.surplus() > 0; fa > 1e-9 && fb > 1e-9 && keepsA != keepsB {
			return map[bool]int{true: -1, false: 1}[keepsA]
		}
		if (fa > 1e-9) != (fb > 1e-9) { // an exact share is not rounded up
			return cmp.Compare(fb, fa)
		}
		return cmp.Compare(b.surplus(), a.surplus())
	})
	for _, s := range order {
		if left <= 0 {
			break
		}
		if s.share > 0 {
			s.target++
			left--
		}
	}
}

// byCount moves exactly the surplus of each shard that has one: no plan can do
// with fewer. The last buckets of a shard go, next to one another, so that they
// are few ranges.
func (set *shardSet) byCount() []Move {
	var moves []Move
	for _, from := range set.all {
		for from.surplus() >= 1 {
			// To the one that lacks most: with MovesMax the first moves do most.
			to := slices.MaxFunc(set.all, func(a, b *shard) int { return cmp.Compare(b.surplus(), a.surplus()) })
			if to.surplus() > -1 {
				break
			}
			n := int(min(from.surplus(), -to.surplus()))
			rest := from.buckets[:len(from.buckets)-n]
			for _, m := range from.buckets[len(rest):] {
				m.To = to.name
				moves = append(moves, m)
			}
			from.buckets, from.has, to.has = rest, from.has-float64(n), to.has+float64(n)
		}
	}
	return moves
}

// byWeight lets the shard with the most above its share give the heaviest bucket
// that fits into the room of the one with the most room, until none is above
// the tolerance or nothing fits. A drained shard gives everything, room or not.
func (set *shardSet) byWeight(tolerance float64) []Move {
	for _, s := range set.all {
		slices.SortStableFunc(s.buckets, func(a, b Move) int { return cmp.Compare(b.Weight, a.Weight) })
	}
	var moves []Move
	stuck := map[*shard]bool{}
	for {
		from := set.mostAbove(tolerance, stuck)
		if from == nil {
			return moves
		}
		to := set.mostRoom(from)
		i := -1
		if to != nil {
			i = fitting(from, to)
		}
		if i < 0 {
			stuck[from] = true
			continue
		}
		m := from.buckets[i]
		m.To = to.name
		from.buckets = slices.Delete(from.buckets, i, i+1)
		from.has, to.has = from.has-float64(m.Weight), to.has+float64(m.Weight)
		moves = append(moves, m)
	}
}

func (set *shardSet) mostAbove(tolerance float64, stuck map[*shard]bool) *shard {
	var most *shard
	for _, s := range set.all {
		drained := s.share == 0 && len(s.buckets) != 0
		if stuck[s] || !drained && s.has <= s.target*(1+tolerance) {
			continue
		}
		if most == nil || s.surplus() > most.surplus() {
			most = s
		}
	}
	return most
}

func (set *shardSet) mostRoom(from *shard) *shard {
	var most *shard
	for _, s := range set.all {
		if s != from && s.share > 0 && (most == nil || s.surplus() < most.surplus()) {
			most = s
		}
	}
	return most
}

// fitting is the index of the heaviest bucket whose move leaves the two nearer
// to their shares than they are: it weighs less than the difference of their
// surpluses. Of those that weigh no more than what from has too much the
// heaviest is best; if all weigh more, the lightest is.
func fitting(from, to *shard) int {
	if from.share == 0 {
		if len(from.buckets) == 0 {
			return -1
		}
		return 0
	}
	gap := from.surplus() - to.surplus()
	lightest := -1
	for i, m := range from.buckets { // the heaviest first
		w := float64(m.Weight)
		if w == 0 || w >= gap {
			continue
		}
		if w <= max(from.surplus(), -to.surplus()) {
			return i
		}
		lightest = i
	}
	return lightest
}
