package campaign

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"time"

	"drover/bucketmap"
	"drover/internal/config"
)

const (
	// stepsMax bounds a plan: more than a map has shards, and each is a line or five
	// of the journal.
	stepsMax = 50_000
	// wavesMax bounds the waves.
	wavesMax = 1_000
	// parallelMax bounds steps at a time: each has about ten connections to two
	// servers.
	parallelMax = 16
	// bakeMax bounds a bake: the longest window of the objectives is 3 days.
	bakeMax = 30 * 24 * time.Hour
	// paceMax bounds a pace: above everybody at once.
	paceMax = 1 << 50
	// idsMax bounds a step of the whitelist, as one command's.
	idsMax = 100_000
)

// CheckMap refuses a plan for another map than the one in force.
func CheckMap(p *Plan, snap *bucketmap.Snapshot) error {
	switch {
	case p.Map.Version != snap.Version():
		return fmt.Errorf("%w: version %d, and %d is in force: make it anew with migrator campaign plan", ErrOtherMap, p.Map.Version, snap.Version())
	case p.Map.Digest != AssignmentDigest(snap):
		return fmt.Errorf("%w: version %d with other homes than those in force: make it anew with migrator campaign plan", ErrOtherMap, p.Map.Version)
	}
	return nil
}

// Check reports every problem of a plan with a map, and counts its users and
// buckets.
func Check(p *Plan, snap *bucketmap.Snapshot, weight func(bucketmap.BucketID) uint64) error {
	c := &checker{plan: p, snap: snap, weight: weight, buckets: map[bucketmap.BucketID]string{},
		drained: map[bucketmap.ShardName]string{}, shards: map[bucketmap.ShardName]string{}, ids: map[string]string{}}
	if c.weight == nil {
		c.weight = func(bucketmap.BucketID) uint64 { return 1 }
	}
	c.users = map[bucketmap.ShardName]uint64{}
	c.counts = map[bucketmap.ShardName]int{}
	for b := range bucketmap.BucketID(snap.Buckets()) {
		if home, ok := snap.Home(b); ok {
			c.users[home.Name] += c.weight(b)
			c.counts[home.Name]++
		}
	}
	c.head()
	for i := range p.Waves {
		c.wave(i)
	}
	c.both()
	if err := c.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrPlan, err)
	}
	return nil
}

// checker checks one plan.
type checker struct {
	config.Problems
	plan    *Plan
	snap    *bucketmap.Snapshot
	weight  func(bucketmap.BucketID) uint64
	users   map[bucketmap.ShardName]uint64
	counts  map[bucketmap.ShardName]int
	buckets map[bucketmap.BucketID]string  // which step has them
	drained map[bucketmap.ShardName]string // shards that buckets leave
	shards  map[bucketmap.ShardName]string // shards that are promoted
	ids     map[string]string              // users of the whitelist
	steps   int
}

func (c *checker) head() {
	p := c.plan
	c.Want(p.Format == Format, "format", p.Format, fmt.Sprint(Format))
	dcs := c.snap.Datacenters()
	c.Want(slices.Contains(dcs, p.To), "to", string(p.To), fmt.Sprintf("a datacenter of the map: %v", dcs))
	c.Want(p.Default == DefaultAuto || slices.Contains(dcs, bucketmap.Datacenter(p.Default)), "default", p.Default,
		fmt.Sprintf("auto, or a datacenter of the map: %v", dcs))
	c.Want(p.Burning == PolicyHold || p.Burning == PolicyStop || p.Burning == PolicyReturn, "burning", string(p.Burning), "hold, stop or return")
	c.Want(p.Return == AtOnce || p.Return == Stepwise, "return", string(p.Return), "at_once or stepwise")
	pace := p.Pace
	c.Want(pace.Min >= 1 && pace.Min <= pace.Max, "pace.min", pace.Min, fmt.Sprintf("1 to pace.max, %d", pace.Max))
	c.Want(pace.Max <= paceMax, "pace.max", pace.Max, fmt.Sprintf("%d at most", uint64(paceMax)))
	c.Want(pace.Min <= pace.Start && pace.Start <= pace.Max, "pace.start", pace.Start, fmt.Sprintf("pace.min to pace.max, %d to %d", pace.Min, pace.Max))
	c.Want(pace.Add <= pace.Max, "pace.add", pace.Add, fmt.Sprintf("0 to pace.max, %d", pace.Max))
	c.Between("pace.parallel", int64(pace.Parallel), 1, parallelMax)
	p.Quiet.check(&c.Problems)
	c.Want(len(p.Waves) >= 1 && len(p.Waves) <= wavesMax, "waves", len(p.Waves), fmt.Sprintf("1 to %d", wavesMax))
}

var waveName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

func (c *checker) wave(i int) {
	w := &c.plan.Waves[i]
	key := fmt.Sprintf("waves[%d]", i)
	c.Want(waveName.MatchString(w.Name), key+".name", w.Name, "1 to 63 of a-z, 0-9, dot, dash and underscore")
	c.Want(!slices.ContainsFunc(c.plan.Waves[:i], func(o Wave) bool { return o.Name == w.Name }), key+".name", w.Name, "a name that no other wave has")
	c.Want(w.Kind == KindWhitelist || w.Kind == KindBuckets || w.Kind == KindShards, key+".kind", string(w.Kind), "whitelist, buckets or shards")
	c.Lasting(key+".gate.bake", w.Gate.Bake, 0, bakeMax)
	if parity := w.Gate.Parity; parity != nil {
		c.Want(!math.IsNaN(*parity) && *parity >= 0 && *parity <= 1, key+".gate.parity", *parity, "0 to 1")
	}
	c.Between(key+".parallel", int64(w.Parallel), 0, parallelMax)
	c.Want(len(w.Steps) != 0, key+".steps", len(w.Steps), "one or more")
	if c.steps += len(w.Steps); c.steps > stepsMax {
		c.Add(key+".steps", c.steps, fmt.Sprintf("%d at most in all waves", stepsMax))
		return
	}
	w.Users, w.Buckets, w.Takes = 0, 0, 0
	for n := range w.Steps {
		s := &w.Steps[n]
		where := fmt.Sprintf("%s.steps[%d]", key, n)
		c.Lasting(where+".takes", s.Takes, 0, bakeMax)
		switch w.Kind {
		case KindWhitelist:
			c.whitelist(s, where)
		case KindBuckets:
			w.Buckets += c.bucketStep(s, where)
		case KindShards:
			w.Buckets += c.shardStep(s, where)
		}
		if most := c.plan.Pace.UsersMax; most != 0 {
			c.Want(s.Users <= most, where, fmt.Sprintf("%d users", s.Users),
				fmt.Sprintf("pace.users_an_hour_max at most, %d: make the step smaller, or the bound larger", most))
		}
		w.Users, w.Takes = w.Users+s.Users, w.Takes+s.Takes
	}
}

func (c *checker) whitelist(s *Step, where string) {
	c.Want(len(s.Buckets.Buckets) == 0 && s.From == "" && s.To == "" && s.Shard == "" && s.Datacenter == "", where, s.String(), "ids and nothing else, in a wave of the kind whitelist")
	c.Want(len(s.IDs) >= 1 && len(s.IDs) <= idsMax, where+".ids", len(s.IDs), fmt.Sprintf("1 to %d", idsMax))
	s.Users = uint64(len(s.IDs))
	on := map[string]bucketmap.Datacenter{}
	for id, dc := range c.snap.Whitelist() {
		on[id] = dc
	}
	for _, text := range s.IDs {
		id, err := bucketmap.ParseUserID(text)
		if err != nil {
			c.Add(where+".ids", text, "user ids: "+err.Error())
			continue
		}
		if other := c.ids[string(id)]; other != "" {
			c.Add(where+".ids", text, "each user once: "+other+" has it")
		}
		c.ids[string(id)] = where
		if dc, listed := on[string(id)]; listed {
			c.Add(where+".ids", text, fmt.Sprintf("users who are not on the whitelist: this one goes to %s already, and a return would take it off", dc))
		}
	}
}

func (c *checker) bucketStep(s *Step, where string) int {
	c.Want(len(s.IDs) == 0 && s.Shard == "" && s.Datacenter == "", where, s.String(), "buckets, from and to, in a wave of the kind buckets")
	to, known := c.snap.Shard(s.To)
	c.Want(known, where+".to", string(s.To), "a shard of the map")
	c.Want(!known || to.Datacenter == c.plan.To, where+".to", string(s.To), fmt.Sprintf("a shard in %s: it lives in %s", c.plan.To, to.Datacenter))
	from, known := c.snap.Shard(s.From)
	c.Want(known, where+".from", string(s.From), "a shard of the map")
	if known && from.Datacenter == c.plan.To {
		c.Add(where+".from", string(s.From), fmt.Sprintf("a shard elsewhere: its buckets live in %s already", c.plan.To))
	}
	c.Want(len(s.Buckets.Buckets) != 0, where+".buckets", "", "one or more, such as 17 or 0-99,200")
	s.Users = 0
	for _, b := range s.Buckets.Buckets {
		if uint32(b) >= c.snap.Buckets() {
			c.Add(where+".buckets", b, fmt.Sprintf("0 to %d", c.snap.Buckets()-1))
			break
		}
		if other := c.buckets[b]; other != "" {
			c.Add(where+".buckets", b, "each bucket once: "+other+" has it")
			break
		}
		c.buckets[b] = where
		if home, ok := c.snap.Home(b); !ok || home.Name != s.From {
			c.Add(where+".buckets", b, fmt.Sprintf("buckets on %s: its home is %q", s.From, home.Name))
			break
		}
		s.Users += c.weight(b)
	}
	c.drained[s.From] = where
	return len(s.Buckets.Buckets)
}

func (c *checker) shardStep(s *Step, where string) int {
	c.Want(len(s.IDs) == 0 && len(s.Buckets.Buckets) == 0 && s.From == "" && s.To == "", where, s.String(), "a shard and nothing else, in a wave of the kind shards")
	shard, known := c.snap.Shard(s.Shard)
	c.Want(known, where+".shard", string(s.Shard), "a shard of the map")
	if known && shard.Datacenter == c.plan.To {
		c.Add(where+".shard", string(s.Shard), fmt.Sprintf("a shard elsewhere: it lives in %s already", c.plan.To))
	}
	if s.Datacenter == "" {
		s.Datacenter = shard.Datacenter
	}
	c.Want(!known || s.Datacenter == shard.Datacenter, where+".datacenter", string(s.Datacenter), fmt.Sprintf("where %s lives: %s", s.Shard, shard.Datacenter))
	if other := c.shards[s.Shard]; other != "" {
		c.Add(where+".shard", string(s.Shard), "each shard once: "+other+" has it")
	}
	c.shards[s.Shard] = where
	s.Users = c.users[s.Shard]
	return c.counts[s.Shard]
}

// both refuses a shard that is promoted and that buckets leave: a move that
// soaks keeps a promotion from its shard, and the buckets would not be where the
// other step looks for them.
func (c *checker) both() {
	for _, shard := range slices.Sorted(maps.Keys(c.shards)) {
		if where := c.drained[shard]; where != "" {
			c.Add(c.shards[shard]+".shard", string(shard), "a shard that no step takes buckets from: "+where+" does; promote it, or move its buckets")
		}
	}
}

// IsProblem says whether err is of the plan, and not of the machine.
func IsProblem(err error) bool {
	return errors.Is(err, ErrPlan) || errors.Is(err, ErrOtherMap) || errors.Is(err, ErrRefused) || errors.Is(err, ErrNone)
}
