package campaign

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"drover/bucketmap"
)

// Options are what Build makes a plan by. The zero value of a field is its
// default.
type Options struct {
	To bucketmap.Datacenter
	// Users are the whitelist's.
	Users []string
	// Replicated says whether a shard has a server in the target; nil: none has.
	// Those that have are promoted, the others' buckets move.
	Replicated func(bucketmap.ShardName) bool
	// Drain are shards whose buckets move, though they have a server there.
	Drain []bucketmap.ShardName
	// Into are the shards that buckets move to; empty: all that live in the target.
	Into []bucketmap.ShardName
	// Singles is how many buckets move alone at first; BatchMax bounds a batch.
	Singles  int
	BatchMax int
	// Weight gives the users of a bucket; nil counts each as one.
	Weight func(bucketmap.BucketID) uint64
	// Takes estimates a step; nil: not known.
	Takes func(Step) time.Duration

	Default    string
	Burning    Policy
	Return     Mode
	Pace       Pace
	Quiet      Quiet
	Bake       time.Duration // 0 is DefaultBake; negative is none
	Objectives []string
	Parity     *float64
}

const (
	// DefaultBake is as long as the shorter window of the slower page: 30 minutes
	// show what burns 6 times too fast.
	DefaultBake = 30 * time.Minute
	// defaultSingles shows the first users one bucket at a time.
	defaultSingles = 3
	// batchesShare: a batch is at most a 50th of what moves by buckets.
	batchesShare = 50
	// batchFactor is how batches grow, and the waves of shards.
	batchFactor = 2
)

// Build makes the plan that takes everybody to a datacenter: the whitelist,
// single buckets, batches that grow, and waves of shards that grow.
func Build(snap *bucketmap.Snapshot, o Options) (*Plan, error) {
	b := &builder{snap: snap, o: o, weight: o.Weight}
	if b.weight == nil {
		b.weight = func(bucketmap.BucketID) uint64 { return 1 }
	}
	if !slices.Contains(snap.Datacenters(), o.To) {
		return nil, fmt.Errorf("%w: --to %s: the map has %v", ErrPlan, o.To, snap.Datacenters())
	}
	if err := b.sort(); err != nil {
		return nil, err
	}
	p := &Plan{Format: Format, To: o.To, Map: MapOf{Version: snap.Version(), Digest: AssignmentDigest(snap)},
		Default: cmp.Or(o.Default, DefaultAuto), Burning: cmp.Or(o.Burning, PolicyReturn), Return: cmp.Or(o.Return, AtOnce),
		Pace: o.Pace, Quiet: o.Quiet}
	if len(o.Users) != 0 {
		p.Waves = append(p.Waves, b.wave("whitelist", KindWhitelist, []Step{{IDs: o.Users}}))
	}
	p.Waves = append(p.Waves, b.bucketWaves()...)
	p.Waves = append(p.Waves, b.shardWaves()...)
	if len(p.Waves) == 0 {
		return nil, fmt.Errorf("%w: everybody lives in %s already", ErrPlan, o.To)
	}
	// Counted as Apply does, and refused for the same reasons.
	pace := p.Pace
	p.Pace = Pace{Start: 1, Min: 1, Max: paceMax, Parallel: max(1, pace.Parallel)}
	if err := Check(p, snap, o.Weight); err != nil {
		return nil, err
	}
	p.Pace = pace
	b.pace(p)
	return p, Check(p, snap, o.Weight)
}

type builder struct {
	snap    *bucketmap.Snapshot
	o       Options
	weight  func(bucketmap.BucketID) uint64
	drained []bucketmap.Shard // whose buckets move
	whole   []bucketmap.Shard // that are promoted
	into    []bucketmap.ShardName
	load    map[bucketmap.ShardName]uint64
	homes   map[bucketmap.ShardName][]bucketmap.BucketID
}

// sort puts the shards where they belong.
func (b *builder) sort() error {
	b.load = map[bucketmap.ShardName]uint64{}
	b.homes = map[bucketmap.ShardName][]bucketmap.BucketID{}
	for bucket := range bucketmap.BucketID(b.snap.Buckets()) {
		if home, ok := b.snap.Home(bucket); ok {
			b.load[home.Name] += b.weight(bucket)
			b.homes[home.Name] = append(b.homes[home.Name], bucket)
		}
	}
	for _, name := range append(slices.Clone(b.o.Drain), b.o.Into...) {
		if _, ok := b.snap.Shard(name); !ok {
			return fmt.Errorf("%w: the map has no shard %q", ErrPlan, name)
		}
	}
	for _, s := range b.snap.Shards() {
		switch drain := slices.Contains(b.o.Drain, s.Name); {
		case s.Datacenter == b.o.To:
			if len(b.o.Into) == 0 || slices.Contains(b.o.Into, s.Name) {
				b.into = append(b.into, s.Name)
			}
		case !drain && b.o.Replicated != nil && b.o.Replicated(s.Name):
			b.whole = append(b.whole, s)
		case drain || len(b.homes[s.Name]) != 0:
			b.drained = append(b.drained, s)
		}
	}
	if len(b.drained) != 0 && len(b.into) == 0 {
		return fmt.Errorf("%w: shard %s has no server in %s, and no shard lives there that its buckets could move to: add a server to the shard list (migrator shard replicate makes the replica), or a shard in %s to the map",
			ErrPlan, b.drained[0].Name, b.o.To, b.o.To)
	}
	// The smallest shard is the first to be tried.
	slices.SortStableFunc(b.whole, func(x, y bucketmap.Shard) int { return cmp.Compare(b.load[x.Name], b.load[y.Name]) })
	return nil
}

func (b *builder) wave(name string, kind Kind, steps []Step) Wave {
	w := Wave{Name: name, Kind: kind, Gate: Gate{Bake: b.o.Bake, Objectives: b.o.Objectives, Parity: b.o.Parity}, Steps: steps}
	if w.Gate.Bake == 0 {
		w.Gate.Bake = DefaultBake
	}
	w.Gate.Bake = max(0, w.Gate.Bake)
	if b.o.Takes != nil {
		for i := range w.Steps {
			w.Steps[i].Takes = b.o.Takes(w.Steps[i])
		}
	}
	return w
}

// step gives buckets of one shard to the target's shard that has the fewest
// users.
func (b *builder) step(from bucketmap.ShardName, buckets []bucketmap.BucketID) Step {
	to := slices.MinFunc(b.into, func(x, y bucketmap.ShardName) int {
		return cmp.Or(cmp.Compare(b.load[x], b.load[y]), cmp.Compare(x, y))
	})
	s := Step{From: from, To: to, Buckets: Ranges{slices.Clone(buckets)}}
	slices.Sort(s.Buckets.Buckets)
	for _, bucket := range buckets {
		s.Users += b.weight(bucket)
	}
	b.load[to] += s.Users
	return s
}

// bucketWaves are the singles, and batches of 2, 4, 8 … up to the largest.
func (b *builder) bucketWaves() []Wave {
	total := 0
	for _, s := range b.drained {
		total += len(b.homes[s.Name])
	}
	singles, most := b.o.Singles, b.o.BatchMax
	if singles == 0 {
		singles = defaultSingles
	}
	if most <= 0 {
		most = max(1, total/batchesShare)
	}
	var waves []Wave
	var steps []Step
	add := func(name string) {
		if len(steps) != 0 {
			waves = append(waves, b.wave(name, KindBuckets, steps))
		}
		steps = nil
	}
	size, name := 1, "singles"
	for _, s := range b.drained {
		rest := b.homes[s.Name]
		for len(rest) != 0 {
			switch {
			case size == 1 && len(steps) >= max(1, singles) && most > 1, size > 1 && size < most && len(steps) >= 1:
				add(name)
				size = min(most, size*batchFactor)
				if name = fmt.Sprintf("batches-%d", size); size == most {
					name = "batches"
				}
			}
			n := min(size, len(rest))
			steps = append(steps, b.step(s.Name, rest[:n]))
			rest = rest[n:]
		}
	}
	add(name)
	return waves
}

// shardWaves are 1, 2, 4 … shards, and then the rest.
func (b *builder) shardWaves() []Wave {
	const biggest = 16 // steps of a wave that still has a name of its own
	var waves []Wave
	rest := b.whole
	for n := 1; len(rest) != 0; n *= batchFactor {
		name := fmt.Sprintf("shards-%d", n)
		if n > biggest {
			n, name = len(rest), "shards"
		}
		var steps []Step
		for _, s := range rest[:min(n, len(rest))] {
			steps = append(steps, Step{Shard: s.Name, Datacenter: s.Datacenter, Users: b.load[s.Name]})
		}
		rest = rest[len(steps):]
		waves = append(waves, b.wave(name, KindShards, steps))
	}
	return waves
}

// pace fills in what the operator has not said: at first everybody would take
// four days, at most half a day, at least 40 days.
func (b *builder) pace(p *Plan) {
	users, pace := p.Users(), &p.Pace
	pace.Max = cmp.Or(pace.Max, max(1, users/12, pace.Start, pace.Min))
	pace.Min = cmp.Or(pace.Min, max(1, min(pace.Max, users/960)))
	pace.Start = cmp.Or(pace.Start, min(pace.Max, max(pace.Min, users/96)))
	pace.Add = cmp.Or(pace.Add, min(pace.Max, max(1, users/96)))
	pace.Parallel = cmp.Or(pace.Parallel, 1)
}
