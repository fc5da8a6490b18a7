package plan

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"drover/bucketmap"
)

// fewest tries every placement of the buckets and returns the fewest moves
// after which each shard has its share, rounded down or up.
func fewest(homes []int, shares []float64) int {
	var sum float64
	for _, s := range shares {
		sum += s
	}
	best := math.MaxInt
	placed := make([]int, len(homes))
	var try func(i, moves int, counts []int)
	try = func(i, moves int, counts []int) {
		if moves >= best {
			return
		}
		if i == len(homes) {
			for s, n := range counts {
				exact := shares[s] / sum * float64(len(homes))
				if float64(n) < math.Floor(exact+1e-9) || float64(n) > math.Ceil(exact-1e-9) {
					return
				}
			}
			best = moves
			return
		}
		for s := range shares {
			placed[i] = s
			counts[s]++
			moved := 0
			if s != homes[i] {
				moved = 1
			}
			try(i+1, moves+moved, counts)
			counts[s]--
		}
	}
	try(0, 0, make([]int, len(shares)))
	return best
}

func name(i int) bucketmap.ShardName { return bucketmap.ShardName(fmt.Sprint("s", i)) }

// apply makes the moves and returns what each shard has then.
func apply(t *testing.T, homes []int, moves []Move, weight func(bucketmap.BucketID) uint64) map[bucketmap.ShardName]uint64 {
	t.Helper()
	at := make([]bucketmap.ShardName, len(homes))
	for i, h := range homes {
		at[i] = name(h)
	}
	for _, m := range moves {
		if at[m.Bucket] != m.From || m.From == m.To {
			t.Fatalf("move %+v, and the bucket is on %s", m, at[m.Bucket])
		}
		at[m.Bucket] = m.To
	}
	sums := map[bucketmap.ShardName]uint64{}
	for b, s := range at {
		w := uint64(1)
		if weight != nil {
			w = weight(bucketmap.BucketID(b))
		}
		sums[s] += w
	}
	return sums
}

func TestAPlanByBucketsIsEvenAndHasTheFewestMoves(t *testing.T) {
	const seed = 20261121
	random := rand.New(rand.NewPCG(seed, 1))
	for i := range 400 {
		shards, buckets := 2+random.IntN(3), 1+random.IntN(8)
		shares, homes := make([]float64, shards), make([]int, buckets)
		goal := Goal{Shares: map[bucketmap.ShardName]float64{}}
		for s := range shares {
			shares[s] = float64(random.IntN(4)) // 0: drained
		}
		shares[random.IntN(shards)] = 1
		for s, share := range shares {
			goal.Shares[name(s)] = share
		}
		for b := range homes {
			homes[b] = random.IntN(shards)
		}
		moves, err := Rebalance(uint32(buckets), func(b bucketmap.BucketID) bucketmap.ShardName { return name(homes[b]) }, goal)
		if err != nil {
			t.Fatal(err)
		}
		if want := fewest(homes, shares); len(moves) != want {
			t.Errorf("seed %d, %d: buckets on %v, shares %v: %d moves, and %d are enough: %+v", seed, i, homes, shares, len(moves), want, moves)
		}
		var sum float64
		for _, s := range shares {
			sum += s
		}
		for s, n := range apply(t, homes, moves, nil) {
			at := -1
			for i := range shares {
				if name(i) == s {
					at = i
				}
			}
			exact := shares[at] / sum * float64(buckets)
			if float64(n) < math.Floor(exact+1e-9) || float64(n) > math.Ceil(exact-1e-9) {
				t.Errorf("seed %d, %d: shard %s has %d, its share is %v", seed, i, s, n, exact)
			}
		}
	}
}

func TestAPlanByWeightsIsNoWorseThanBeforeAndNearTheFewest(t *testing.T) {
	const seed = 7
	random := rand.New(rand.NewPCG(seed, 1))
	for i := range 300 {
		shards, buckets := 2+random.IntN(3), 20+random.IntN(100)
		weights, homes := make([]uint64, buckets), make([]int, buckets)
		goal := Goal{Shares: map[bucketmap.ShardName]float64{}, Tolerance: 0.1,
			Weight: func(b bucketmap.BucketID) uint64 { return weights[b] }}
		for s := range shards {
			goal.Shares[name(s)] = 1
		}
		var total, heaviest uint64
		for b := range homes {
			homes[b], weights[b] = random.IntN(1+random.IntN(shards)), 1+random.Uint64N(100)
			total, heaviest = total+weights[b], max(heaviest, weights[b])
		}
		home := func(b bucketmap.BucketID) bucketmap.ShardName { return name(homes[b]) }
		moves, err := Rebalance(uint32(buckets), home, goal)
		if err != nil {
			t.Fatal(err)
		}
		share := float64(total) / float64(shards)
		for s, n := range apply(t, homes, moves, goal.Weight) {
			if float64(n) > share*1.1+float64(heaviest) {
				t.Errorf("seed %d, %d: shard %s has %d of a share of %v", seed, i, s, n, share)
			}
		}
		// No plan can do with fewer than the heaviest buckets that make up what is
		// above the tolerance; one more a shard for what does not fit.
		least := 0
		for s := range shards {
			var there []uint64
			var has float64
			for b, h := range homes {
				if h == s {
					there, has = append(there, weights[b]), has+float64(weights[b])
				}
			}
			slices.Sort(there)
			for has > share*1.1 && len(there) != 0 {
				has -= float64(there[len(there)-1])
				there, least = there[:len(there)-1], least+1
			}
		}
		if len(moves) > 2*least+shards {
			t.Errorf("seed %d, %d: %d moves, the least is %d", seed, i, len(moves), least)
		}
	}
}

func TestAPlanDrainsFillsAndStopsAtItsBound(t *testing.T) {
	home := func(b bucketmap.BucketID) bucketmap.ShardName { return []bucketmap.ShardName{"a", "b", ""}[b%3] }
	for _, weight := range []func(bucketmap.BucketID) uint64{nil, func(b bucketmap.BucketID) uint64 { return uint64(b % 7) }} {
		drained, err := Rebalance(300, home, Goal{Shares: map[bucketmap.ShardName]float64{"a": 0, "b": 1, "c": 1}, Weight: weight})
		if err != nil {
			t.Fatal(err)
		}
		left := 100
		for _, m := range drained {
			if m.From == "a" {
				left--
			}
			if m.To == "a" {
				t.Errorf("%+v fills the drained shard", m)
			}
		}
		if left != 0 {
			t.Errorf("%d buckets are left on the drained shard", left)
		}
	}
	filled, err := Rebalance(300, home, Goal{Shares: map[bucketmap.ShardName]float64{"a": 1, "b": 1, "c": 2}})
	if err != nil || len(filled) != 100 {
		t.Fatal(len(filled), err)
	}
	few, err := Rebalance(300, home, Goal{Shares: map[bucketmap.ShardName]float64{"a": 1, "b": 1, "c": 2}, MovesMax: 7})
	if err != nil || !slices.Equal(few, filled[:7]) {
		t.Fatal(few, err)
	}
	for _, shares := range []map[bucketmap.ShardName]float64{nil, {"a": 1}, {"a": 0, "b": 0}, {"a": -1, "b": 1}, {"a": math.NaN(), "b": 1}} {
		if _, err := Rebalance(300, home, Goal{Shares: shares}); !errors.Is(err, ErrPlan) {
			t.Errorf("%v: got %v", shares, err)
		}
	}
}
