package campaign

import (
	"fmt"
	"time"

	"drover/bucketmap"
	"drover/internal/config"
)

// Model is a fleet, as Simulate sees it. A share is 0 to 1.
type Model struct {
	// Instances of the application, how often one fails, and for how long.
	Instances        int           `yaml:"instances" json:"instances"`
	InstanceFailures float64       `yaml:"instance_failures_an_hour" json:"instance_failures_an_hour"`
	InstanceDown     time.Duration `yaml:"instance_down" json:"instance_down"`
	// Shards, Users and Buckets are of a fleet without a plan; Drained of the shards
	// have no replica in the target, and their buckets move.
	Shards  int    `yaml:"shards" json:"shards"`
	Users   uint64 `yaml:"users" json:"users"`
	Buckets uint32 `yaml:"buckets" json:"buckets"`
	Drained int    `yaml:"drained" json:"drained"`
	// BytesPerUser is what a copy takes over, and WritesPerUser what replication
	// carries of a user in an hour.
	BytesPerUser  config.Bytes `yaml:"bytes_per_user" json:"bytes_per_user"`
	WritesPerUser config.Bytes `yaml:"writes_per_user_an_hour" json:"writes_per_user_an_hour"`
	// Link is between the datacenters, and Copy what one move can copy; bytes a
	// second.
	Link config.Bytes `yaml:"link_a_second" json:"link_a_second"`
	Copy config.Bytes `yaml:"copy_a_second" json:"copy_a_second"`
	// Overhead is a move's own time besides the copy, and Promotion a shard's.
	Overhead  time.Duration `yaml:"overhead" json:"overhead"`
	Promotion time.Duration `yaml:"promotion" json:"promotion"`
	Requests  float64       `yaml:"requests_per_user_an_hour" json:"requests_per_user_an_hour"`
	// BurnsAfter and UnhealthyAfter are how probable it is that a step makes the
	// objectives burn, or unhealthy; Fails, that it does not succeed.
	BurnsAfter     float64 `yaml:"burns_after_step" json:"burns_after_step"`
	UnhealthyAfter float64 `yaml:"unhealthy_after_step" json:"unhealthy_after_step"`
	Fails          float64 `yaml:"step_fails" json:"step_fails"`
	// BadRatio is the share of bad answers of the users who bake while it burns.
	BadRatio float64 `yaml:"bad_ratio" json:"bad_ratio"`
	// Blind is how often a day the objectives are unknown, and BlindFor how long.
	Blind    float64       `yaml:"blind_a_day" json:"blind_a_day"`
	BlindFor time.Duration `yaml:"blind_for" json:"blind_for"`
	// SpellFor is how long it burns, or is unhealthy, and Detect how long nobody sees
	// it. Answer is how long the operator takes to say resume.
	SpellFor time.Duration `yaml:"spell_for" json:"spell_for"`
	Detect   time.Duration `yaml:"detect" json:"detect"`
	Answer   time.Duration `yaml:"answer" json:"answer"`
	// Runs is how often it is simulated, each with the seed one higher.
	Runs int    `yaml:"runs" json:"runs"`
	Seed uint64 `yaml:"seed" json:"seed"`
}

// DefaultModel is 1,000 instances, 200 shards and 100 million users.
func DefaultModel() Model {
	return Model{Instances: 1000, InstanceFailures: 1.0 / 720, InstanceDown: 5 * time.Minute,
		Shards: 200, Users: 100_000_000, Buckets: 1 << 16, Drained: 4,
		BytesPerUser: 100 << 10, WritesPerUser: 4 << 10, Link: 1250 << 20, Copy: 40 << 20,
		Overhead: 10 * time.Second, Promotion: 2 * time.Minute, Requests: 20,
		BurnsAfter: 0.01, UnhealthyAfter: 0.05, Fails: 0.005, BadRatio: 0.02,
		Blind: 0.2, BlindFor: 10 * time.Minute, SpellFor: 20 * time.Minute, Detect: 2 * time.Minute, Answer: time.Hour,
		Runs: 100, Seed: 1}
}

// Check reports every problem of a model.
func (m Model) Check() error {
	var p config.Problems
	p.Between("instances", int64(m.Instances), 1, 1_000_000)
	p.Between("shards", int64(m.Shards), 2, 10_000)
	p.Want(m.Drained >= 0 && m.Drained < m.Shards, "drained", m.Drained, "0 to shards less one")
	p.Want(m.Users >= 1 && m.Users <= 1<<40, "users", m.Users, "1 to 2^40")
	p.Want(m.Buckets >= uint32(max(1, m.Shards)) && m.Buckets <= bucketmap.BucketsMax, "buckets", m.Buckets, fmt.Sprintf("shards to %d", bucketmap.BucketsMax))
	p.Sized("bytes_per_user", m.BytesPerUser, 0, config.GiB)
	p.Sized("writes_per_user_an_hour", m.WritesPerUser, 0, config.GiB)
	p.Sized("link_a_second", m.Link, 1, 1024*config.GiB)
	p.Sized("copy_a_second", m.Copy, 1, 1024*config.GiB)
	for key, share := range map[string]float64{"burns_after_step": m.BurnsAfter, "unhealthy_after_step": m.UnhealthyAfter,
		"step_fails": m.Fails, "bad_ratio": m.BadRatio} {
		p.Want(share >= 0 && share <= 0.9, key, share, "0 to 0.9")
	}
	for key, often := range map[string]float64{"instance_failures_an_hour": m.InstanceFailures, "blind_a_day": m.Blind, "requests_per_user_an_hour": m.Requests} {
		p.Want(often >= 0 && often <= 1e6, key, often, "0 to 1000000")
	}
	for key, d := range map[string]time.Duration{"instance_down": m.InstanceDown, "overhead": m.Overhead, "promotion": m.Promotion,
		"blind_for": m.BlindFor, "spell_for": m.SpellFor, "detect": m.Detect, "answer": m.Answer} {
		p.Lasting(key, d, 0, bakeMax)
	}
	p.Between("runs", int64(m.Runs), 1, 10_000)
	if err := p.Err(); err != nil {
		return fmt.Errorf("%w: the model: %w", ErrPlan, err)
	}
	return nil
}

// LoadModel reads a model's file over the defaults.
func LoadModel(path string) (Model, error) {
	m := DefaultModel()
	if err := config.Load(path, &m); err != nil {
		return m, fmt.Errorf("%w: %w", ErrPlan, err)
	}
	return m, m.Check()
}

// Takes is how long a step takes by the model, with nothing else under way.
func (m Model) Takes(s Step) time.Duration {
	switch s.Kind() {
	case KindShards:
		return m.Promotion
	case KindBuckets:
		seconds := float64(s.Users) * float64(m.BytesPerUser) / float64(min(m.Copy, m.Link))
		return m.Overhead + time.Duration(seconds*float64(time.Second))
	default:
		return time.Second
	}
}

// Plan makes the plan of the model's own fleet: half of a pair of datacenters
// with a shard in the target that takes what the drained ones give.
func (m Model) Plan(o Options) (*Plan, error) {
	draft := bucketmap.NewDraft(m.Buckets)
	draft.Datacenters = []bucketmap.Datacenter{"source", "target"}
	draft.Default = bucketmap.Default{Datacenter: "source", Auto: true, Source: "source", Target: "target"}
	draft.Version = 1
	per := m.Buckets / uint32(m.Shards)
	for i := range uint32(m.Shards) {
		name := bucketmap.ShardName(fmt.Sprintf("shard-%05d", i))
		if err := draft.PutShard(bucketmap.Shard{Name: name, Datacenter: "source"}); err != nil {
			return nil, err
		}
		last := (i+1)*per - 1
		if i == uint32(m.Shards)-1 {
			last = m.Buckets - 1
		}
		if err := draft.SetHome(bucketmap.BucketID(i*per), bucketmap.BucketID(last), name); err != nil {
			return nil, err
		}
	}
	if err := draft.PutShard(bucketmap.Shard{Name: "new", Datacenter: "target"}); err != nil {
		return nil, err
	}
	snap, err := draft.Snapshot()
	if err != nil {
		return nil, err
	}
	o.To = "target"
	o.Replicated = func(s bucketmap.ShardName) bool {
		return s >= bucketmap.ShardName(fmt.Sprintf("shard-%05d", m.Drained))
	}
	o.Weight = func(b bucketmap.BucketID) uint64 {
		n := m.Users / uint64(m.Buckets)
		if uint64(b) < m.Users%uint64(m.Buckets) {
			n++
		}
		return n
	}
	o.Takes = m.Takes
	return Build(snap, o)
}
