package campaign

import (
	"errors"
	"slices"
	"time"

	"github.com/goccy/go-yaml/ast"

	"drover/bucketmap"
	"drover/migrator/internal/move"
)

// Format is the plan's format that this program writes and reads.
const Format = 1

var (
	// ErrPlan is the class of plans that cannot be used.
	ErrPlan = errors.New("the plan cannot be used")
	// ErrOtherMap says that a plan was made for another map.
	ErrOtherMap = errors.New("the plan was made for another map")
)

// Plan is who moves in which order, how fast, and under which conditions.
type Plan struct {
	Format int                  `yaml:"format" json:"format"`
	To     bucketmap.Datacenter `yaml:"to" json:"to"`
	Map    MapOf                `yaml:"map" json:"map"`
	// Default is auto, or the datacenter that it is pinned to.
	Default string `yaml:"default" json:"default"`
	// Burning is what follows when the objectives burn while users bake.
	Burning Policy `yaml:"burning" json:"burning"`
	// Return is how users go back.
	Return Mode   `yaml:"return" json:"return"`
	Pace   Pace   `yaml:"pace" json:"pace"`
	Quiet  Quiet  `yaml:"quiet,omitempty" json:"quiet,omitzero"`
	Waves  []Wave `yaml:"waves" json:"waves"`
}

// MapOf says which map a plan was made for.
type MapOf struct {
	Version bucketmap.Version `yaml:"version" json:"version"`
	// Digest is of the homes alone: see AssignmentDigest.
	Digest string `yaml:"digest" json:"digest"`
}

// Policy is what follows when the objectives burn after a step.
type Policy string

// The policies.
const (
	PolicyHold   Policy = "hold"   // go on by itself once nothing burns
	PolicyStop   Policy = "stop"   // wait for the operator
	PolicyReturn Policy = "return" // take the users back, then wait for the operator
)

// Mode is how users go back.
type Mode string

// The modes.
const (
	AtOnce   Mode = "at_once"  // the steps that run or bake, side by side
	Stepwise Mode = "stepwise" // the newest step first, and on through the wave until nothing burns
)

// DefaultAuto lets the default follow the users.
const DefaultAuto = "auto"

// Pace bounds how fast users move. Start, Add, Min and Max are users an hour.
type Pace struct {
	Start uint64 `yaml:"start" json:"start"`
	Add   uint64 `yaml:"add" json:"add"`
	Min   uint64 `yaml:"min" json:"min"`
	Max   uint64 `yaml:"max" json:"max"`
	// UsersMax bounds the users that move in any 60 minutes; 0 is no bound.
	UsersMax uint64 `yaml:"users_an_hour_max,omitempty" json:"users_an_hour_max,omitempty"`
	// Parallel is how many steps of one wave run or bake at a time.
	Parallel int `yaml:"parallel" json:"parallel"`
}

// Kind is what the steps of a wave move.
type Kind string

// The kinds.
const (
	KindWhitelist Kind = "whitelist"
	KindBuckets   Kind = "buckets"
	KindShards    Kind = "shards"
)

// Wave is steps with one gate. It begins when every step of the wave before has
// passed its bake.
type Wave struct {
	Name string `yaml:"name" json:"name"`
	Kind Kind   `yaml:"kind" json:"kind"`
	Gate Gate   `yaml:"gate" json:"gate"`
	// Parallel is in the place of the pace's, if not 0.
	Parallel int `yaml:"parallel,omitempty" json:"parallel,omitempty"`
	// Users, Buckets and Takes are for the reader: they are counted again when the
	// plan is applied.
	Users   uint64        `yaml:"users" json:"users"`
	Buckets int           `yaml:"buckets" json:"buckets"`
	Takes   time.Duration `yaml:"takes" json:"takes"`
	Steps   []Step        `yaml:"steps" json:"steps"`
}

// Users is how many users the plan moves. Those of the whitelist are among the ones
// of the buckets and shards, and count alone where nothing else moves. It is right
// once the waves' users are counted.
func (p *Plan) Users() (n uint64) {
	for _, w := range p.Waves {
		if p.counts(w.Kind) {
			n += w.Users
		}
	}
	return n
}

// counts says whether the users of a kind of steps add to the plan's.
func (p *Plan) counts(k Kind) bool {
	return k != KindWhitelist || !slices.ContainsFunc(p.Waves, func(w Wave) bool { return w.Kind != KindWhitelist })
}

// Gate is what a step of the wave must pass before the next one begins.
type Gate struct {
	// Bake is how long the objectives are looked at after a step.
	Bake time.Duration `yaml:"bake" json:"bake"`
	// Objectives are those that are asked, by name; empty is all of them.
	Objectives []string `yaml:"objectives,omitempty" json:"objectives,omitempty"`
	// Parity is the share of mirrored answers that may differ, 0 to 1. Nil: parity
	// is not asked.
	Parity *float64 `yaml:"parity,omitempty" json:"parity,omitempty"`
}

// Step is what moves at once: users of the whitelist, the buckets of one move,
// or one shard.
type Step struct {
	IDs     []string            `yaml:"ids,omitempty" json:"ids,omitempty"`
	Buckets Ranges              `yaml:"buckets,omitempty" json:"buckets,omitzero"`
	From    bucketmap.ShardName `yaml:"from,omitempty" json:"from,omitempty"`
	To      bucketmap.ShardName `yaml:"to,omitempty" json:"to,omitempty"`
	Shard   bucketmap.ShardName `yaml:"shard,omitempty" json:"shard,omitempty"`
	// Datacenter is where the shard lives, and goes back to.
	Datacenter bucketmap.Datacenter `yaml:"datacenter,omitempty" json:"datacenter,omitempty"`
	Users      uint64               `yaml:"users" json:"users"`
	Takes      time.Duration        `yaml:"takes" json:"takes"`
}

// Kind says what the step moves.
func (s Step) Kind() Kind {
	switch {
	case s.Shard != "":
		return KindShards
	case len(s.Buckets.Buckets) != 0:
		return KindBuckets
	}
	return KindWhitelist
}

// String says in a few words what the step moves.
func (s Step) String() string {
	switch s.Kind() {
	case KindShards:
		return "shard " + string(s.Shard)
	case KindBuckets:
		return "buckets " + s.Buckets.String() + " from " + string(s.From) + " to " + string(s.To)
	default:
		return "whitelist"
	}
}

// Ranges is a set of buckets, as "0-99,200" in a file.
type Ranges struct{ move.Buckets }

// IsZero says whether there are none.
func (r Ranges) IsZero() bool { return len(r.Buckets) == 0 }

// MarshalYAML writes the ranges.
func (r Ranges) MarshalYAML() (any, error) { return r.String(), nil }

// UnmarshalYAML reads them: one bucket alone may be a number. It takes the node and
// not its text: for a text the decoder goes through the whole file, once a step.
func (r *Ranges) UnmarshalYAML(node ast.Node) error {
	return r.UnmarshalText([]byte(node.GetToken().Value))
}

// parallel is how many steps of a wave run or bake at a time.
func (p *Plan) parallel(wave int) int {
	if n := p.Waves[wave].Parallel; n != 0 {
		return n
	}
	return max(1, p.Pace.Parallel)
}
